use std::net::SocketAddr;

use proto::exchange::Request;

use super::*;

const MS: i64 = 1_000_000;
const RATE: u32 = 44_100;
const MOST: u32 = 200_000;
/// Where all of them speak from.
const AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// A group whose members ask once in half a second, in virtual time.
struct Stage {
    group: Group,
    members: Vec<Member>,
    /// What each member needs, in microseconds; `None` where it is silent.
    wants: Vec<Option<u32>>,
    now: Mono,
}

impl Stage {
    fn new(policy: Policy, wants: &[Option<u32>]) -> Self {
        let group = Group::new(GroupId(1), policy, Arc::default());
        Self { group, members: vec![Member::default(); wants.len()], wants: wants.to_vec(), now: Mono(1) }
    }

    fn here(&self) -> Position {
        Position(units::nanos_to_frames(self.now.0, RATE).unsigned_abs())
    }

    /// One moment: every member asks, then the group decides. Whether there is something to announce.
    fn step(&mut self) -> bool {
        for (member, wanted) in self.members.iter_mut().zip(&self.wants) {
            if let Some(wanted_us) = *wanted {
                member.ask(self.now, AT, &Request { written: Mono(0), wanted_us, media: 0 });
            }
        }
        self.group.decide(self.now, Some(self.here()), RATE, self.members.iter())
    }

    /// Every announcement within so many milliseconds: when it came (in milliseconds from now on), from, to, and how many
    /// milliseconds after it the ramp begins.
    fn run(&mut self, millis: i64) -> Vec<(i64, u32, u32, i64)> {
        let (start, mut all) = (self.now, Vec::new());
        while self.now.since(start) < millis * MS {
            if self.step() {
                let ramp = self.group.ramp().unwrap();
                let ahead = units::frames_to_nanos(ramp.begin.since(self.here()), RATE);
                all.push((self.now.since(start) / MS, ramp.from_us, ramp.to_us, (ahead + MS / 2) / MS));
            }
            self.now = self.now.plus(50 * MS);
        }
        all
    }
}

#[test]
fn the_first_delay_is_the_most_that_a_member_needs_and_takes_effect_at_once() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_001), Some(61_300), Some(8_000)]);
    assert_eq!(stage.run(3000), [(0, 61_500, 61_500, 0)]);
}

#[test]
fn the_first_to_say_what_they_need_wait_a_little_for_the_others() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_000), Some(0), None]);
    assert_eq!(stage.run(100), []);
    stage.wants[1] = Some(60_000);
    // The third is not there at all.
    assert_eq!(stage.run(3000), [(50, 60_000, 60_000, 0)]);
}

#[test]
fn one_that_needs_more_has_the_delay_slew_for_all_after_it_was_announced() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_000), None]);
    stage.run(5000);
    stage.wants[1] = Some(40_000);
    assert_eq!(stage.run(500), [(0, 30_000, 40_000, 1250)]);
    // One ramp after the other: 10 ms take five seconds, and what was announced holds.
    stage.wants[0] = Some(50_000);
    assert_eq!(stage.run(20_000), [(5800, 40_000, 50_000, 1250)]);
}

#[test]
fn the_delay_shrinks_only_where_clearly_less_was_enough_for_ten_seconds() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(50_000), Some(30_000)]);
    stage.run(1000);
    stage.wants[0] = Some(48_001);
    assert_eq!(stage.run(60_000), []);
    stage.wants[0] = Some(40_000);
    assert_eq!(stage.run(9000), []);
    stage.wants[0] = Some(48_500);
    stage.run(50);
    stage.wants[0] = Some(44_000);
    assert_eq!(stage.run(9000), [], "the ten seconds begin anew");
    stage.wants[0] = Some(40_000);
    assert_eq!(stage.run(5000), [(1000, 50_000, 44_000, 1250)], "what was needed meanwhile counts");
}

#[test]
fn one_that_needs_more_than_is_allowed_drags_nobody() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_000), Some(200_001)]);
    assert_eq!(stage.run(20_000), [(0, 30_000, 30_000, 0)]);
    let mut alone = Stage::new(Policy::Auto(MOST), &[Some(250_000)]);
    assert_eq!(alone.run(20_000), [(0, MOST, MOST, 0)]);
    let mut odd = Stage::new(Policy::Auto(33_300), &[Some(33_200)]);
    assert_eq!(odd.run(20_000), [(0, 33_300, 33_300, 0)], "steps end at what is allowed");
}

#[test]
fn a_member_that_falls_silent_counts_no_more_after_five_seconds() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_000), Some(80_000)]);
    stage.run(1000);
    stage.wants[1] = None;
    assert_eq!(stage.run(30_000), [(14_950, 80_000, 30_000, 1250)]);
}

#[test]
fn the_delay_outlives_its_members_and_fits_at_once_whoever_comes_next() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_000), None]);
    stage.run(1000);
    stage.wants[0] = None;
    assert_eq!(stage.run(10_000), []);
    assert_eq!(stage.group.ramp().unwrap().to_us, 30_000);
    stage.wants[1] = Some(29_000);
    assert_eq!(stage.run(1000), [], "near enough");
    stage.wants[1] = None;
    stage.run(10_000);
    stage.wants[1] = Some(90_000);
    assert_eq!(stage.run(3000), [(150, 90_000, 90_000, 0)]);
}

#[test]
fn a_lone_receiver_that_starts_anew_is_fitted_at_once() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_000)]);
    stage.run(1000);
    stage.wants[0] = Some(0);
    stage.run(100);
    stage.wants[0] = Some(100_000);
    assert_eq!(stage.run(3000), [(0, 100_000, 100_000, 0)]);
}

#[test]
fn a_fixed_delay_is_what_it_is() {
    let mut stage = Stage::new(Policy::Fixed(40_250), &[Some(30_000), Some(80_000)]);
    assert_eq!(stage.run(60_000), [(0, 40_250, 40_250, 0)]);
    stage.wants = vec![None, None];
    assert_eq!(stage.run(60_000), []);
}

#[test]
fn a_ramp_that_is_over_is_forgotten() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_000)]);
    stage.run(1000);
    stage.wants[0] = Some(32_000);
    stage.run(1000);
    let announced = stage.group.ramp().unwrap();
    // It begins 1.25 s after it was announced and takes a second.
    stage.run(1200);
    assert_eq!(stage.group.ramp(), Some(announced));
    stage.run(200);
    let flat = stage.group.ramp().unwrap();
    assert_eq!((flat.from_us, flat.to_us), (32_000, 32_000));
    stage.run(48 * 3_600_000 / 100);
    assert!(stage.here().since(stage.group.ramp().unwrap().begin) < 10_000);
}

#[test]
fn a_group_without_capture_decides_and_slews_once_there_is_one() {
    let mut stage = Stage::new(Policy::Auto(MOST), &[Some(30_000)]);
    let decide = |stage: &mut Stage, wanted_us| {
        stage.now = stage.now.plus(50 * MS);
        stage.members[0].ask(stage.now, AT, &Request { written: Mono(0), wanted_us, media: 0 });
        stage.group.decide(stage.now, None, RATE, stage.members.iter())
    };
    assert!(decide(&mut stage, 30_000));
    assert!(!decide(&mut stage, 50_000));
    stage.wants[0] = Some(50_000);
    assert_eq!(stage.run(100), [(0, 30_000, 50_000, 1250)]);
}
