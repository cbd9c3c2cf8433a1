use proptest::prelude::*;
use proto::exchange::{Reply, Request};
use proto::units::Mono;
use sim::agenda::Agenda;
use sim::clock::{Clock, ClockSpec};
use sim::link::{Jitter, Link, LinkSpec, Loss, Stalls};

use super::*;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;

enum Happening {
    Ask,
    Asked(Request),
    Answered(Reply),
    Look,
}

/// Two machines and the paths between them, in true time.
struct World {
    agenda: Agenda<Happening>,
    local: Clock,
    remote: Clock,
    there: Link,
    back: Link,
    peer: PeerClock,
}

impl World {
    fn new(local: ClockSpec, remote: ClockSpec, there: LinkSpec, back: LinkSpec, seed: u64) -> Self {
        let mut agenda = Agenda::default();
        agenda.push(Mono(0), Happening::Ask);
        agenda.push(Mono(0), Happening::Look);
        Self {
            agenda,
            local: Clock::new(local, seed),
            remote: Clock::new(remote, seed + 1000),
            there: Link::new(there, seed + 2000),
            back: Link::new(back, seed + 3000),
            peer: PeerClock::new(seed as u32 + 1),
        }
    }

    /// Runs to true time `end`; returns, each ten milliseconds, true time and the error of the peer's clock as it is
    /// believed to be, in nanoseconds.
    fn run(&mut self, end: i64) -> Vec<(i64, i64)> {
        let mut errors = Vec::new();
        while let Some((now, happening)) = self.agenda.pop() {
            if now.0 > end {
                self.agenda.push(now, happening);
                break;
            }
            let local = self.local.local(now);
            match happening {
                Happening::Ask => {
                    if let Some(request) = self.peer.poll_request(local, 0, 0) {
                        for arrival in self.there.send(now, 60).into_iter().flatten() {
                            self.agenda.push(arrival, Happening::Asked(request));
                        }
                    }
                    self.agenda.push(now.plus(MS), Happening::Ask);
                }
                Happening::Asked(request) => {
                    let received = self.remote.local(now);
                    // The answer is written by another thread, a little later.
                    let written = now.plus(70_000);
                    let answered = self.remote.local(written);
                    let reply = Reply { asked: request.written, received, answered };
                    for arrival in self.back.send(written, 72).into_iter().flatten() {
                        self.agenda.push(arrival, Happening::Answered(reply));
                    }
                }
                Happening::Answered(reply) => {
                    self.peer.handle_reply(local, &reply);
                }
                Happening::Look => {
                    if let Some(believed) = self.peer.remote_of(local).filter(|_| self.peer.ready()) {
                        errors.push((now.0, believed.since(self.remote.local(now))));
                    }
                    self.agenda.push(now.plus(10 * MS), Happening::Look);
                }
            }
        }
        errors
    }
}

fn ppm(ppm: f64) -> ClockSpec {
    ClockSpec { ppm, steps: vec![(0, 3600 * SECOND)], ..ClockSpec::default() }
}

fn wired() -> LinkSpec {
    let jitter = Jitter::Normal { sigma: 50_000 };
    LinkSpec { delay: 100_000, jitter, in_order: true, ..LinkSpec::default() }
}

fn wireless() -> LinkSpec {
    LinkSpec {
        loss: Loss::Random(0.01),
        delay: 1_000_000,
        jitter: Jitter::Pareto { scale: 300_000, shape: 1.5, most: 3_000_000 },
        stalls: Some(Stalls { every: SECOND, shortest: 20 * MS, longest: 20 * MS }),
        in_order: true,
        ..LinkSpec::default()
    }
}

/// The size that this share of the errors from `from` until `until` stays within, in microseconds.
fn quantile(errors: &[(i64, i64)], from: i64, until: i64, share: f64) -> f64 {
    let within = errors.iter().filter(|(at, _)| (from..until).contains(at));
    let mut sizes: Vec<i64> = within.map(|(_, error)| error.abs()).collect();
    sizes.sort_unstable();
    sizes[((sizes.len() - 1) as f64 * share) as usize] as f64 / 1e3
}

/// A minute on these paths for each of ten seeds, between clocks that are off by as much as crystals are, and wander.
fn minutes(there: LinkSpec, back: LinkSpec) -> Vec<(i64, i64)> {
    let run = |seed: u64| {
        let fast = if seed.is_multiple_of(2) { 100.0 } else { -100.0 };
        let [local, remote] = [fast, -fast].map(|off| ClockSpec { wander: 1.0, ..ppm(off) });
        World::new(local, remote, there, back, seed).run(60 * SECOND)
    };
    (0..10).flat_map(run).collect()
}

#[test]
fn a_cable_tells_the_time_at_once() {
    let errors = minutes(wired(), wired());
    let at_once = quantile(&errors, 300 * MS, SECOND, 0.95);
    let later = quantile(&errors, 10 * SECOND, 60 * SECOND, 0.95);
    assert!(at_once <= 25.0 && later <= 10.0, "{at_once} µs at once, {later} µs later");
}

#[test]
fn jitter_loss_and_stalls_hardly_matter_nor_in_one_direction_only() {
    let near = LinkSpec { delay: 100_000, ..wireless() };
    for (there, back) in [(wireless(), wireless()), (wired(), near), (near, wired())] {
        let errors = minutes(there, back);
        let soon = quantile(&errors, 300 * MS, SECOND, 0.99);
        let later = quantile(&errors, 10 * SECOND, 60 * SECOND, 0.95);
        assert!(soon <= 200.0 && later <= 40.0, "{soon} µs soon, {later} µs later");
    }
}

#[test]
fn the_rate_has_its_sign() {
    let mut world = World::new(ppm(80.0), ppm(-100.0), wireless(), wireless(), 3);
    world.run(30 * SECOND);
    // The peer's second lasts 180 µs longer.
    assert!((world.peer.slow() - 180e-6).abs() < 5e-6, "{}", world.peer.slow());
    let trip = world.peer.round_trip().unwrap();
    assert!((2 * MS..2_300_000).contains(&trip), "{trip}");
}

#[test]
fn a_step_of_either_clock_is_over_within_a_second() {
    for (link, most) in [(wired(), 50.0), (wireless(), 200.0)] {
        for by in [3600 * SECOND, 40 * MS, 4 * MS, -40 * MS] {
            for of_peer in [false, true] {
                let stepped = ClockSpec { steps: vec![(0, 3600 * SECOND), (20 * SECOND, by)], ..ppm(50.0) };
                let (local, remote) = if of_peer { (ppm(0.0), stepped) } else { (stepped, ppm(0.0)) };
                let errors = World::new(local, remote, link, link, 4).run(25 * SECOND);
                let after = quantile(&errors, 21 * SECOND, 25 * SECOND, 1.0);
                assert!(after <= most, "{after} µs after {by} ns, of the peer: {of_peer}");
                assert!(errors.last().unwrap().0 > 24 * SECOND);
            }
        }
    }
}

#[test]
fn another_route_changes_nothing() {
    let longer = LinkSpec { delay: 5 * MS, ..wired() };
    // One way for a while, and both for good.
    for (back, until) in [(wired(), 25), (longer, 60)] {
        let mut world = World::new(ppm(30.0), ppm(0.0), wired(), wired(), 5);
        world.run(20 * SECOND);
        world.there.set(longer);
        world.back.set(back);
        let errors = world.run(until * SECOND);
        world.there.set(wired());
        world.back.set(wired());
        let again = world.run((until + 30) * SECOND);
        let worst = quantile(&errors, 0, i64::MAX, 1.0).max(quantile(&again, 0, i64::MAX, 1.0));
        assert!(worst <= 40.0, "{worst} µs");
    }
}

#[test]
fn a_peer_that_does_not_answer_is_asked_seldom() {
    let dead = LinkSpec { loss: Loss::Random(1.0), ..LinkSpec::default() };
    let mut world = World::new(ppm(0.0), ppm(0.0), dead, wired(), 6);
    assert_eq!(world.run(60 * SECOND), []);
    let asked = world.there.counters().sent;
    assert!((50..80).contains(&asked), "{asked} questions");
    world.there.set(wired());
    assert!(world.run(64 * SECOND).len() > 50);
}

#[test]
fn only_what_was_asked_is_taken() {
    let mut peer = PeerClock::new(1);
    let at = |micros: i64| Mono(micros * 1000);
    let request = peer.poll_request(at(100), 7, 5).unwrap();
    assert_eq!(request, Request { written: at(100), wanted_us: 7, media: 5 });
    assert_eq!(peer.poll_request(at(101), 7, 5), None);
    let reply = Reply { asked: at(100), received: at(5000), answered: at(5010) };
    assert!(!peer.handle_reply(at(300), &Reply { asked: at(99), ..reply }), "never asked");
    assert!(!peer.clone().handle_reply(at(105), &reply), "longer on the way than it took");
    assert!(!peer.clone().handle_reply(at(99), &reply), "before it was asked");
    assert!(peer.handle_reply(at(300), &reply));
    assert!(!peer.handle_reply(at(310), &reply), "a second time");
    assert_eq!((peer.round_trip(), peer.ready()), (Some(190_000), false));
    assert_eq!(peer.remote_of(at(200)), Some(at(5005)));
    peer.restart();
    assert_eq!(peer.remote_of(at(200)), None);
}

proptest! {
    /// Whatever a peer answers, the two directions belong together, and nothing overflows.
    #[test]
    fn answers_of_any_kind_do_no_harm(
        answers in prop::collection::vec((0i64..1 << 62, 0i64..1_000_000, 0i64..3_000_000_000), 1..100),
        start in 0i64..1 << 61,
    ) {
        let mut peer = PeerClock::new(9);
        let mut now = Mono(start);
        for (received, spent, taken) in answers {
            now = now.max(peer.poll_timeout());
            let asked = peer.poll_request(now, 0, 0).unwrap().written;
            let (received, answered) = (Mono(received), Mono(received + spent));
            now = now.plus(taken);
            peer.handle_reply(now, &Reply { asked, received, answered });
            if let Some(remote) = peer.remote_of(now.plus(12_345)) {
                let error = peer.local_of(remote).unwrap().since(now.plus(12_345));
                prop_assert!(error.abs() <= 2, "{error} ns");
                prop_assert!(peer.slow().abs() < 3_000e-6);
            }
        }
    }
}
