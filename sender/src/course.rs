//! One course of positions through all the streams of a device that went away and came back, or lost time.

use audio::tracker::Tracker;
use device::capture::CaptureStamp;
use proto::units::{Mono, Position, frames_to_nanos, nanos_to_frames};

/// Seconds of a device's stream after which its rate is known to some 20 ppm, where callbacks come up to a millisecond late.
const KNOWN: u32 = 2;

/// Numbers captured blocks in true time: between two streams, and where a device loses time without a word, the position
/// goes on as time does, so that what receivers have made of it holds. The times are those of the device's own clock,
/// without its system's jitter: they say at which rate it really runs.
#[derive(Debug)]
pub struct Course {
    rate: u32,
    tracker: Tracker,
    /// The first frame of the last block, on its stream's own count.
    last: Option<Position>,
    /// Added to the positions of the stream at hand, which count from zero.
    offset: u64,
    /// Position and time of the frame after the last block.
    next: Option<(Position, Mono)>,
    joined: bool,
    /// Frames that the tracker has seen, and the rate that was known last.
    tracked: u64,
    slow: f64,
}

impl Course {
    /// A course of `rate` frames a second.
    pub fn new(rate: u32) -> Self {
        let tracker = Tracker::new(rate);
        Self { rate, tracker, last: None, offset: 0, next: None, joined: false, tracked: 0, slow: 0.0 }
    }

    /// What comes from now on is of another stream.
    pub fn renew(&mut self) {
        self.joined = false;
        self.tracker = Tracker::new(self.rate);
        self.last = None;
        self.tracked = 0;
    }

    /// By which share the device runs slow: 1e-6 is one part per million. 0 until that is known.
    pub fn slow(&self) -> f64 {
        self.slow
    }

    /// The stamp with its position on the course, and the time at which its device's clock had it.
    pub fn place(&mut self, stamp: CaptureStamp) -> CaptureStamp {
        let since_last = self.last.map_or(0, |last| stamp.position.since(last));
        self.last = Some(stamp.position);
        if let Some(jump) = self.tracker.note(since_last as u32, stamp.at) {
            let missed = nanos_to_frames(jump, self.rate).max(0);
            self.offset = self.offset.wrapping_add(missed as u64);
        }
        self.tracked += u64::from(stamp.frames);
        if self.tracked >= u64::from(KNOWN * self.rate) {
            self.slow = self.tracker.slow();
        }
        let stamp = CaptureStamp { at: self.tracker.time_of(0).unwrap_or(stamp.at), ..stamp };
        let rate = self.rate;
        if !std::mem::replace(&mut self.joined, true)
            && let Some((position, at)) = self.next
        {
            let missed = nanos_to_frames(stamp.at.since(at), rate).max(0);
            self.offset = position.advanced(missed as u64).0.wrapping_sub(stamp.position.0);
        }
        let position = Position(stamp.position.0.wrapping_add(self.offset));
        let end = stamp.at.plus(frames_to_nanos(i64::from(stamp.frames), rate));
        self.next = Some((position.advanced(u64::from(stamp.frames)), end));
        CaptureStamp { position, ..stamp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;
    const MS: i64 = 1_000_000;

    fn place(course: &mut Course, position: u64, frames: u32, at: i64) -> u64 {
        let stamp = CaptureStamp { position: Position(position), frames, at: Mono(at) };
        let placed = course.place(stamp);
        assert_eq!(placed.frames, frames);
        placed.position.0
    }

    #[test]
    fn one_stream_keeps_its_own_positions() {
        let mut course = Course::new(RATE);
        assert_eq!(place(&mut course, 0, 480, 7 * MS), 0);
        // What a full ring left out, and a clock that jitters.
        assert_eq!(place(&mut course, 960, 480, 30 * MS), 960);
        assert_eq!(place(&mut course, 1440, 480, 36 * MS), 1440);
    }

    #[test]
    fn the_next_stream_goes_on_in_true_time() {
        let mut course = Course::new(RATE);
        assert_eq!(place(&mut course, 0, 480, 0), 0);
        course.renew();
        // Frame 480 was due at 10 ms; a second later, 48000 frames have gone by.
        assert_eq!(place(&mut course, 0, 480, 1010 * MS), 48_480);
        assert_eq!(place(&mut course, 480, 480, 1020 * MS), 48_960);
        course.renew();
        // A stream whose first block found no room.
        assert_eq!(place(&mut course, 480, 480, 2030 * MS), 97_440);
        assert_eq!(place(&mut course, 960, 480, 2040 * MS), 97_920);
    }

    #[test]
    fn a_device_that_glitches_is_timed_anew() {
        let mut course = Course::new(RATE);
        let at = |n: i64| n * 10 * MS + if n >= 200 { 25 * MS } else { 0 };
        let placed: Vec<_> = (0..300).map(|n| place(&mut course, n as u64 * 480, 480, at(n))).collect();
        assert_eq!(placed[199], 199 * 480);
        // 25 ms are 1200 frames that the device never brought.
        assert_eq!(placed[299], 299 * 480 + 1200);
        assert_eq!(placed.windows(2).filter(|pair| pair[1] != pair[0] + 480).count(), 1);
    }

    #[test]
    fn the_devices_rate_is_told_once_it_is_known_and_outlives_its_stream() {
        let mut course = Course::new(RATE);
        // 200 ppm fast, with callbacks up to a millisecond late.
        let at = |n: i64| n * 9_998_000 + n * 7919 % 1000 * 1000;
        for n in 0..100 {
            place(&mut course, n as u64 * 480, 480, at(n));
            assert_eq!(course.slow(), 0.0);
        }
        for n in 100..500 {
            place(&mut course, n as u64 * 480, 480, at(n));
            assert!(n < 200 || (course.slow() + 200e-6).abs() < 40e-6, "block {n}: {}", course.slow());
        }
        let known = course.slow();
        course.renew();
        for n in 0..100 {
            place(&mut course, n as u64 * 480, 480, at(n + 600));
            assert_eq!(course.slow(), known);
        }
    }

    #[test]
    fn positions_never_go_back() {
        let mut course = Course::new(RATE);
        assert_eq!(place(&mut course, 0, 480, 100 * MS), 0);
        course.renew();
        // The new stream says that it captured this before the old one ended.
        assert_eq!(place(&mut course, 0, 480, 50 * MS), 480);
        assert_eq!(place(&mut course, 480, 480, 60 * MS), 960);
    }

    #[test]
    fn a_first_stream_that_was_never_heard_leaves_nothing() {
        let mut course = Course::new(RATE);
        course.renew();
        assert_eq!(place(&mut course, 0, 480, 5000 * MS), 0);
    }
}
