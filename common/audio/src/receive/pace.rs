//! How much a device is handed, and when that leaves the DAC.

use proto::units::{self, Mono};

use super::CHUNK;
use crate::tracker::Tracker;

/// The memory for the least time between two callbacks, in nanoseconds.
const INTERVAL_WINDOW: i64 = 8_000_000_000;
/// What it takes to be woken and to make a period's chunks: this long, in nanoseconds, and a share of the period.
const WAKING: i64 = 200_000;
const MAKING_SHARE: i64 = 4;
/// How long before a call of a device that is left alone its sound is made, in nanoseconds.
const BEFORE_CALL: i64 = 1_000_000;
/// What such a device holds at least beyond what it needs, when it calls: whoever is late by as much is in time still. In nanoseconds.
const EASE: i64 = 10_000_000;

/// What a callback of a device tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaybackStamp {
    /// Frames taken from the ring before this callback.
    pub taken: u64,
    /// Frames that the callback asked for.
    pub asked: u32,
    /// Frames that the ring could not give.
    pub missing: u32,
    /// When the callback's first frame leaves the DAC.
    pub at: Mono,
    /// Of a device that takes sound ahead of its time.
    pub ahead: Option<Ahead>,
}

impl PlaybackStamp {
    fn held(&self) -> u32 {
        self.ahead.map_or(0, |ahead| ahead.held)
    }
}

/// What a device that takes sound ahead of its time tells beside, in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// What was to leave the DAC before this callback's first frame, when it was called.
    pub held: u32,
    /// What it will have room for when it calls again.
    pub room: u32,
    /// What it has to hold after each callback.
    pub least: u32,
    /// How much of what it holds is played before it calls again.
    pub pause: u32,
    /// How long what leaves that takes to the DAC.
    pub delay: u32,
    /// It has lost time before this callback.
    pub restarted: bool,
}

/// When a chunk is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    /// When its first frame leaves the DAC.
    pub at: Mono,
    /// By which share the device runs slow, as far as that is known: 1e-6 is one part per million.
    pub slow: f64,
    /// Until when it can wait for a packet that is late.
    pub by: Mono,
    /// For a device that takes sound ahead of its time: before then a chunk is made of what has come, or not at all.
    pub soon: Option<Mono>,
}

impl Due {
    /// When a chunk had to be made that was made at `now`.
    pub fn latest(&self, now: Mono) -> Mono {
        self.soon.map_or(now, |_| now.max(self.by))
    }
}

impl From<Mono> for Due {
    /// For a device that runs true, at once.
    fn from(at: Mono) -> Self {
        Self { at, slow: 0.0, by: Mono(i64::MIN), soon: None }
    }
}

/// The pace of one device.
#[derive(Debug)]
pub struct Pace {
    rate: u32,
    pushed: u64,
    last: Option<PlaybackStamp>,
    largest_request: usize,
    tracker: Tracker,
    interval: Interval,
}

/// The least time between two callbacks of the last while.
#[derive(Debug, Default)]
struct Interval {
    last: Option<Mono>,
    /// Of the window before, and of the one at hand; `None` where there was none.
    former: Option<i64>,
    current: Option<i64>,
    ends: Mono,
}

impl Interval {
    fn note(&mut self, now: Mono) {
        let Some(last) = self.last.replace(now) else {
            self.ends = now.plus(INTERVAL_WINDOW);
            return;
        };
        if now >= self.ends {
            self.former = self.current.take();
            self.ends = now.plus(INTERVAL_WINDOW);
        }
        let interval = now.since(last);
        self.current = Some(self.current.map_or(interval, |least| least.min(interval)));
    }

    /// The earliest that so many callbacks may have come by, from the next one on.
    fn after(&self, callbacks: i64) -> Option<Mono> {
        let least = self.former.into_iter().chain(self.current).min()?;
        Some(self.last?.plus(least.saturating_mul(callbacks + 1)))
    }
}

impl Pace {
    /// The pace of a device at `rate` frames a second that has not called back yet.
    pub fn new(rate: u32) -> Self {
        let (tracker, interval) = (Tracker::new(rate), Interval::default());
        Self { rate, pushed: 0, last: None, largest_request: 0, tracker, interval }
    }

    /// Takes what a callback has told by `now`. Returns whether the device has lost time: it went on without our frames.
    pub fn note(&mut self, stamp: PlaybackStamp, now: Mono) -> bool {
        self.interval.note(now);
        // A device that goes ahead is followed where it plays: it takes more at one time and less at another.
        let held = stamp.held();
        let frames = self.last.map_or(0, |last| (last.asked + last.held()).saturating_sub(held));
        let at = stamp.at.plus(-units::frames_to_nanos(i64::from(held), self.rate));
        let restarted = stamp.ahead.is_some_and(|ahead| ahead.restarted);
        if restarted {
            self.tracker.restart();
        }
        let jumped = self.tracker.note(frames, at).is_some();
        self.largest_request = self.largest_request.max(stamp.asked as usize);
        self.last = Some(stamp);
        // Before the first push, callbacks find nothing: that is no loss.
        (stamp.missing > 0 || jumped || restarted) && self.pushed > 0
    }

    /// Whether the ring, which holds `level` frames, wants another chunk for a latency of so many nanoseconds; if so, when the
    /// chunk leaves the DAC. As much is kept as the next callback will take, and what an eighth of the latency has room for; for
    /// a device that takes sound ahead of its time, all that it has room for.
    pub fn next_chunk(&self, level: usize, latency: i64) -> Option<Due> {
        let stamp = self.last?;
        let ahead = i64::from(stamp.missing) + self.pushed as i64 - stamp.taken as i64;
        let at = self.tracker.time_of(ahead + i64::from(stamp.held()))?;
        let slow = self.tracker.slow();
        if let Some(Ahead { room, least, delay, .. }) = stamp.ahead {
            let time = |frames: u32| units::frames_to_nanos(i64::from(frames), self.rate);
            let by = at.plus(-time(least + delay) - WAKING - time(least) / (2 * MAKING_SHARE));
            return (level < room as usize).then(|| Due { at, slow, by, soon: Some(by.plus(-time(least))) });
        }
        let eighth = units::nanos_to_frames(latency / 8, self.rate) as usize / CHUNK * CHUNK;
        let target = self.largest_request + eighth.min(self.largest_request.max(CHUNK));
        (level < target).then(|| Due { at, slow, by: self.latest(level), soon: None })
    }

    /// Until when a device that is left alone for a while needs nothing more, if it finds `level` frames in the ring when it calls
    /// next; `None` of one that is not, or has called since.
    pub fn leisure(&self, level: usize, now: Mono) -> Option<Mono> {
        let stamp = self.last?;
        let Ahead { held, room, least, pause, delay, .. } = stamp.ahead.filter(|ahead| ahead.pause > 0)?;
        let enough = (held + stamp.asked).saturating_sub(delay + pause);
        if enough < least + units::nanos_to_frames(EASE, self.rate) as u32 {
            return None;
        }
        let after = |from: Mono, frames: i64| from.plus(units::frames_to_nanos(frames, self.rate));
        let next = after(stamp.at, i64::from(pause) - i64::from(held));
        let served = now.since(next) > -2 * BEFORE_CALL;
        let next = if served { after(next, level.min(room as usize) as i64) } else { next };
        Some(next.plus(-BEFORE_CALL)).filter(|until| now < *until)
    }

    /// Until when the next chunk may be made, where the ring holds `level` frames.
    fn latest(&self, level: usize) -> Mono {
        let request = self.largest_request.max(1);
        let period = units::frames_to_nanos(request as i64, self.rate);
        let callback = self.interval.after((level / request) as i64);
        callback.map_or(Mono(i64::MIN), |callback| callback.plus(-WAKING - period / MAKING_SHARE))
    }

    /// Frames were put into the ring.
    pub fn pushed(&mut self, frames: usize) {
        self.pushed += frames as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(n: u64, at: i64) -> PlaybackStamp {
        PlaybackStamp { taken: n * 128, asked: 128, missing: 0, at: Mono(at), ahead: None }
    }

    #[test]
    fn lost_frames_and_lost_time_are_told() {
        let mut pace = Pace::new(48_000);
        let at = |n: i64| n * 128 * 1_000_000_000 / 48_000;
        assert!(!pace.note(PlaybackStamp { missing: 128, ..stamp(0, at(0)) }, Mono(0)));
        pace.pushed(256);
        let mut note = |stamp: PlaybackStamp| pace.note(stamp, stamp.at);
        assert!((1..20).all(|n| !note(stamp(n, at(n as i64)))));
        assert!(note(PlaybackStamp { missing: 12, ..stamp(20, at(20)) }));
        let lost: Vec<_> = (21..40).filter(|&n| note(stamp(n, at(n as i64) + 3_000_000))).collect();
        assert_eq!(lost, [28]);
    }

    #[test]
    fn a_chunk_follows_on_what_was_pushed() {
        let mut pace = Pace::new(48_000);
        assert_eq!(pace.next_chunk(0, 8_000_000), None);
        pace.note(
            PlaybackStamp { taken: 100, asked: 96, missing: 4, at: Mono(1_000_000), ahead: None },
            Mono(0),
        );
        pace.pushed(148);
        // 48 frames were left for the callback, of which 4 more are missing: the next one is heard 52 frames after its start.
        let due = pace.next_chunk(0, 8_000_000).unwrap();
        assert_eq!(due.at.0, 1_000_000 + 52 * 1_000_000_000 / 48_000);
        assert_eq!(pace.next_chunk(96, 1_000_000), None);
    }

    #[test]
    fn a_device_that_goes_ahead_gets_what_it_has_room_for() {
        const MS: i64 = 1_000_000;
        let mut pace = Pace::new(48_000);
        // Called, it has 10 ms left and makes them 12 with silence; it could hold 20 more, and needs 5.
        let ahead = Ahead { held: 480, room: 960, least: 240, pause: 0, delay: 0, restarted: false };
        let first = PlaybackStamp { taken: 0, asked: 96, missing: 96, at: Mono(10 * MS), ahead: Some(ahead) };
        assert!(!pace.note(first, Mono(0)));
        let due = pace.next_chunk(0, 30 * MS).unwrap();
        assert_eq!(due.at, Mono(12 * MS));
        assert_eq!(due.by, Mono(7 * MS - 200_000 - 625_000));
        assert_eq!(due.soon, Some(due.by.plus(-5 * MS)));
        assert_eq!((due.latest(Mono(0)), due.latest(Mono(8 * MS))), (due.by, Mono(8 * MS)));
        assert!(pace.next_chunk(959, 30 * MS).is_some());
        assert_eq!(pace.next_chunk(960, 30 * MS), None);
        // It takes 960 frames 5 ms later, when 7 of its 12 ms are left; what it holds leaves as steadily as before.
        pace.pushed(960);
        let second = PlaybackStamp {
            asked: 960,
            missing: 0,
            at: Mono(12 * MS),
            ahead: Some(Ahead { held: 336, room: 240, ..ahead }),
            ..first
        };
        assert!(!pace.note(second, Mono(5 * MS)));
        assert_eq!(pace.next_chunk(0, 30 * MS).unwrap().at, Mono(32 * MS));
        // Its delay beyond what it holds takes from the time to wait.
        let beyond = Ahead { delay: 96, ..second.ahead.unwrap() };
        pace.note(
            PlaybackStamp { asked: 0, taken: 960, at: Mono(32 * MS), ahead: Some(beyond), ..second },
            Mono(5 * MS),
        );
        let due = pace.next_chunk(0, 30 * MS).unwrap();
        assert_eq!(due.at.since(due.by), 7 * MS + 200_000 + 625_000);
    }

    #[test]
    fn a_device_that_holds_enough_is_left_alone_until_just_before_it_calls() {
        const MS: i64 = 1_000_000;
        let mut pace = Pace::new(48_000);
        assert_eq!(pace.leisure(0, Mono(0)), None);
        // Called at 100 ms, it has 40 ms left, is filled up to 60 and calls again when it is down to 40.
        let ahead = Ahead { held: 1920, room: 1920, least: 240, pause: 960, delay: 0, restarted: false };
        let at = Mono(140 * MS);
        pace.note(PlaybackStamp { taken: 0, asked: 960, missing: 0, at, ahead: Some(ahead) }, Mono(101 * MS));
        assert_eq!(pace.leisure(0, Mono(101 * MS)), Some(Mono(119 * MS)));
        // Shortly before, it is given 25 ms more, of which it takes all: it calls when those are played. It takes 40 at most.
        assert_eq!(pace.leisure(1200, Mono(119 * MS)), Some(Mono(144 * MS)));
        assert_eq!(pace.leisure(2400, Mono(119 * MS)), Some(Mono(159 * MS)));
        assert_eq!(pace.leisure(0, Mono(119 * MS)), None);
        assert_eq!(pace.leisure(1200, Mono(144 * MS)), None);
        // One that needs almost as much as it holds then, or that is not left alone, is looked after.
        for ahead in [Ahead { least: 1500, ..ahead }, Ahead { pause: 0, ..ahead }] {
            pace.note(PlaybackStamp { taken: 960, asked: 960, missing: 0, at, ahead: Some(ahead) }, Mono(0));
            assert_eq!(pace.leisure(0, Mono(101 * MS)), None);
        }
    }

    #[test]
    fn a_device_that_has_lost_time_is_followed_from_there() {
        const MS: i64 = 1_000_000;
        let mut pace = Pace::new(48_000);
        let stamp = |n: i64, at, restarted| PlaybackStamp {
            taken: 480 * n as u64,
            asked: 480,
            missing: 0,
            at: Mono(at),
            ahead: Some(Ahead { held: 480, room: 960, least: 240, pause: 0, delay: 0, restarted }),
        };
        pace.pushed(480 * 40);
        assert!((0..20).all(|n| !pace.note(stamp(n, n * 10 * MS, false), Mono(0))));
        assert!(pace.note(stamp(20, 237 * MS, true), Mono(0)));
        let next = pace.next_chunk(0, 30 * MS).unwrap().at;
        assert!((next.0 - 437 * MS).abs() < 1000, "{next:?}");
    }

    #[test]
    fn a_chunk_can_wait_until_the_next_callback_is_near() {
        const MS: i64 = 1_000_000;
        let mut pace = Pace::new(48_000);
        let mut by = |n: u64, now: i64, level: usize| {
            pace.note(
                PlaybackStamp { taken: n * 480, asked: 480, missing: 0, at: Mono(now + 5 * MS), ahead: None },
                Mono(now),
            );
            pace.next_chunk(level, 20 * MS).unwrap().by
        };
        assert_eq!(by(0, 0, 0), Mono(i64::MIN));
        // 10 ms later, less a quarter of that and the time to wake.
        assert_eq!(by(1, 10 * MS, 0), Mono(17 * MS + 300_000));
        assert_eq!(by(2, 20 * MS, 480), Mono(37 * MS + 300_000));
        // Callbacks have come 8 ms after one another, and may again.
        assert_eq!(by(3, 28 * MS, 0), Mono(33 * MS + 300_000));
        assert_eq!(by(4, 38 * MS, 0), Mono(43 * MS + 300_000));
    }
}
