//! How much a device is handed, and when that leaves the DAC.
//!
//! A device says when the first frame of each callback is heard, with the jitter of its system. Its own clock is far
//! steadier, so the times are filtered: a growing memory at first, ten seconds in the end.

use proto::units::{self, Mono};

use super::CHUNK;

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

/// Memory of the filter, in nanoseconds.
const MEMORY: f64 = 10e9;
/// A time this far from where the filter expects it says that the device has lost time, in nanoseconds.
const LOST: f64 = 4e6;
/// So do this many times in a row that are off by a smaller span, in nanoseconds.
const OFF: f64 = 1e6;
const OFF_RUN: u32 = 8;

/// The pace of one device.
#[derive(Debug)]
pub struct Pace {
    rate: u32,
    pushed: u64,
    last: Option<PlaybackStamp>,
    largest_request: usize,
    /// Times in a row that were off.
    off: u32,
    /// The filtered time of the last callback; how long a frame lasts, in nanoseconds; callbacks in the filter.
    at: Mono,
    frame: f64,
    callbacks: f64,
}

impl Pace {
    /// The pace of a device at `rate` frames a second that has not called back yet.
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            pushed: 0,
            last: None,
            largest_request: 0,
            off: 0,
            at: Mono(0),
            frame: 1e9 / f64::from(rate),
            callbacks: 0.0,
        }
    }

    /// Takes what a callback tells. Returns whether the device has lost time: it went on without our frames.
    pub fn note(&mut self, stamp: PlaybackStamp) -> bool {
        let jumped = self.filter(&stamp);
        self.largest_request = self.largest_request.max(stamp.asked as usize);
        self.last = Some(stamp);
        // Before the first push, callbacks find nothing: that is no loss.
        (stamp.missing > 0 || jumped) && self.pushed > 0
    }

    /// An alpha-beta filter whose gains are those of a least-squares line through all callbacks so far.
    fn filter(&mut self, stamp: &PlaybackStamp) -> bool {
        let frames = self.last.map_or(0.0, |last| f64::from(last.asked));
        let expected = self.at.plus((frames * self.frame) as i64);
        let error = stamp.at.since(expected) as f64;
        self.off = if error.abs() > OFF { self.off + 1 } else { 0 };
        if self.last.is_none() || error.abs() > LOST || self.off >= OFF_RUN {
            let jumped = self.last.is_some();
            (self.at, self.callbacks, self.off) = (stamp.at, 0.0, 0);
            return jumped;
        }
        if self.off > 0 && self.callbacks > OFF_RUN.into() {
            self.at = expected;
            return false;
        }
        self.callbacks = (self.callbacks + 1.0).min((MEMORY / (frames * self.frame).max(1.0)).max(2.0));
        let n = self.callbacks;
        let alpha = 2.0 * (2.0 * n + 1.0) / ((n + 1.0) * (n + 2.0));
        let beta = 6.0 / ((n + 1.0) * (n + 2.0));
        self.at = expected.plus((alpha.min(1.0) * error) as i64);
        // The first few intervals say little of the rate.
        if n > 8.0 && frames > 0.0 {
            let nominal = 1e9 / f64::from(self.rate);
            let change = beta * error / frames;
            self.frame = (self.frame + change).clamp(nominal * 0.99, nominal * 1.01);
        }
        false
    }

    /// Whether the ring, which holds `level` frames, wants another chunk for a latency of so many nanoseconds; if so, when the
    /// chunk leaves the DAC. As much is kept as the next callback will take, and what an eighth of the latency has room for.
    pub fn next_chunk(&self, level: usize, latency: i64) -> Option<Due> {
        let stamp = self.last?;
        let eighth = units::nanos_to_frames(latency / 8, self.rate) as usize / CHUNK * CHUNK;
        let target = self.largest_request + eighth.min(self.largest_request.max(CHUNK));
        let ahead = i64::from(stamp.missing) + self.pushed as i64 - stamp.taken as i64;
        (level < target).then(|| Due {
            at: self.at.plus((ahead as f64 * self.frame) as i64),
            slow: self.frame * f64::from(self.rate) / 1e9 - 1.0,
        })
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
    fn jitter_is_filtered_and_the_rate_is_found() {
        // A device 200 ppm fast whose callbacks come up to a millisecond late.
        let period = 128e9 / (44_100.0 * (1.0 + 200e-6));
        let mut pace = Pace::new(44_100);
        pace.pushed(256);
        let mut spread = (f64::MAX, f64::MIN);
        for n in 0..20_000u64 {
            let late = (n * 7919 % 1000) as f64 * 1000.0;
            assert!(!pace.note(stamp(n, (n as f64 * period + late) as i64)));
            pace.pushed(128);
            if n > 10_000 {
                let error = pace.next_chunk(0, 30_000_000).unwrap().at.0 as f64 - (n + 3) as f64 * period;
                spread = (spread.0.min(error), spread.1.max(error));
            }
        }
        assert!(spread.1 - spread.0 < 60_000.0, "{spread:?}");
    }

    #[test]
    fn lost_time_is_seen_at_once() {
        let mut pace = Pace::new(48_000);
        assert!(!pace.note(stamp(0, 0)));
        pace.pushed(256);
        assert!(!pace.note(stamp(1, 2_666_667)));
        assert!(pace.note(stamp(2, 15_000_000)));
        assert!(pace.note(PlaybackStamp { missing: 12, ..stamp(3, 17_666_667) }));
        assert_eq!(pace.next_chunk(0, 30_000_000).map(|due| due.at.0 / 1000), Some(17_666 - 2_416));
    }
}
