//! How much a device is handed, and when that leaves the DAC.

use proto::units::{self, Mono};

use super::CHUNK;
use crate::tracker::Tracker;

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
}

/// When a chunk is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    /// When its first frame leaves the DAC.
    pub at: Mono,
    /// By which share the device runs slow, as far as that is known: 1e-6 is one part per million.
    pub slow: f64,
}

impl From<Mono> for Due {
    /// For a device that runs true.
    fn from(at: Mono) -> Self {
        Self { at, slow: 0.0 }
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
}

impl Pace {
    /// The pace of a device at `rate` frames a second that has not called back yet.
    pub fn new(rate: u32) -> Self {
        Self { rate, pushed: 0, last: None, largest_request: 0, tracker: Tracker::new(rate) }
    }

    /// Takes what a callback tells. Returns whether the device has lost time: it went on without our frames.
    pub fn note(&mut self, stamp: PlaybackStamp) -> bool {
        let frames = self.last.map_or(0, |last| last.asked);
        let jumped = self.tracker.note(frames, stamp.at).is_some();
        self.largest_request = self.largest_request.max(stamp.asked as usize);
        self.last = Some(stamp);
        // Before the first push, callbacks find nothing: that is no loss.
        (stamp.missing > 0 || jumped) && self.pushed > 0
    }

    /// Whether the ring, which holds `level` frames, wants another chunk for a latency of so many nanoseconds; if so, when the
    /// chunk leaves the DAC. As much is kept as the next callback will take, and what an eighth of the latency has room for.
    pub fn next_chunk(&self, level: usize, latency: i64) -> Option<Due> {
        let stamp = self.last?;
        let eighth = units::nanos_to_frames(latency / 8, self.rate) as usize / CHUNK * CHUNK;
        let target = self.largest_request + eighth.min(self.largest_request.max(CHUNK));
        let ahead = i64::from(stamp.missing) + self.pushed as i64 - stamp.taken as i64;
        let at = self.tracker.time_of(ahead)?;
        (level < target).then(|| Due { at, slow: self.tracker.slow() })
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
        PlaybackStamp { taken: n * 128, asked: 128, missing: 0, at: Mono(at) }
    }

    #[test]
    fn lost_frames_and_lost_time_are_told() {
        let mut pace = Pace::new(48_000);
        let at = |n: i64| n * 128 * 1_000_000_000 / 48_000;
        assert!(!pace.note(PlaybackStamp { missing: 128, ..stamp(0, at(0)) }));
        pace.pushed(256);
        assert!((1..20).all(|n| !pace.note(stamp(n, at(n as i64)))));
        assert!(pace.note(PlaybackStamp { missing: 12, ..stamp(20, at(20)) }));
        let lost: Vec<_> = (21..40).filter(|&n| pace.note(stamp(n, at(n as i64) + 3_000_000))).collect();
        assert_eq!(lost, [28]);
    }

    #[test]
    fn a_chunk_follows_on_what_was_pushed() {
        let mut pace = Pace::new(48_000);
        assert_eq!(pace.next_chunk(0, 8_000_000), None);
        pace.note(PlaybackStamp { taken: 100, asked: 96, missing: 4, at: Mono(1_000_000) });
        pace.pushed(148);
        // 48 frames were left for the callback, of which 4 more are missing: the next one is heard 52 frames after its start.
        let due = pace.next_chunk(0, 8_000_000).unwrap();
        assert_eq!(due.at.0, 1_000_000 + 52 * 1_000_000_000 / 48_000);
        assert_eq!(pace.next_chunk(96, 1_000_000), None);
    }
}
