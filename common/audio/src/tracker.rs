//! A device's own clock, from the times of its callbacks.
//!
//! A callback says when its frames pass the converter, with the jitter of its system. The converter's clock is far
//! steadier, so the times are filtered: with a growing memory at first, of ten seconds in the end. A device that has lost time
//! is somewhere else, but runs as it did: its place is found anew, its rate is kept.

use proto::units::Mono;

/// Memory of the filter, in nanoseconds.
const MEMORY: f64 = 10e9;
/// This many times in a row that are off by as many nanoseconds say that the device has lost time. One alone says that its
/// callback was held up. A card that says so itself need not be found out: see [`Tracker::restart`].
const OFF_RUN: u32 = 8;
const OFF: i64 = 1_000_000;
/// Callbacks before a rate is believed.
const FEW: f64 = 8.0;

/// Filters the times of one device.
#[derive(Clone, Debug)]
pub struct Tracker {
    /// How long a frame lasts by the book, and as it was found, in nanoseconds.
    nominal: f64,
    frame: f64,
    /// The filtered time of the last callback; `None` before the first.
    at: Option<Mono>,
    /// Callbacks that the rate was found from, and how long they took, in nanoseconds: no more than is remembered.
    callbacks: f64,
    seen: f64,
    /// Callbacks since the device last lost time.
    placed: f64,
    /// Times in a row that were off by much the same, and by how much the first of them was.
    off: (u32, i64),
}

impl Tracker {
    /// For a device that is to run at `rate` frames a second.
    pub fn new(rate: u32) -> Self {
        let nominal = 1e9 / f64::from(rate);
        Self { nominal, frame: nominal, at: None, callbacks: 0.0, seen: 0.0, placed: 0.0, off: (0, 0) }
    }

    /// Takes the time of a callback that comes so many frames after the last one. Returns by how much the device jumped, in
    /// nanoseconds, where it has lost time (or found some); it is followed from there.
    pub fn note(&mut self, frames: u32, at: Mono) -> Option<i64> {
        let Some(last) = self.at else {
            (self.at, self.placed) = (Some(at), 1.0);
            return None;
        };
        let frames = f64::from(frames);
        let expected = last.plus((frames * self.frame) as i64);
        let error = at.since(expected);
        self.off = match self.off {
            _ if error.abs() <= OFF => (0, 0),
            (run, first) if run > 0 && (error - first).abs() <= OFF => (run + 1, first),
            _ => (1, error),
        };
        if self.off.0 >= OFF_RUN {
            (self.at, self.placed, self.off) = (Some(at), 1.0, (0, 0));
            return Some(error);
        }
        if self.off.0 > 0 && self.placed > FEW {
            self.at = Some(expected);
            return None;
        }
        // The gains are those of a least-squares line through all callbacks so far; once its slope is known, of their mean.
        let interval = (frames * self.frame).max(1.0);
        self.callbacks += 1.0;
        self.seen = (self.seen + interval).min(MEMORY);
        self.placed += 1.0;
        // As many as there would be, had all of them come at this interval.
        let n = self.callbacks.min((self.seen / interval).max(2.0));
        let alpha = 2.0 * (2.0 * n + 1.0) / ((n + 1.0) * (n + 2.0));
        let beta = 6.0 / ((n + 1.0) * (n + 2.0));
        let alpha = alpha.max(1.0 / self.placed).min(1.0);
        self.at = Some(expected.plus((alpha * error as f64) as i64));
        if n > FEW && frames > 0.0 {
            let frame = self.frame + beta * error as f64 / frames;
            self.frame = frame.clamp(self.nominal * 0.99, self.nominal * 1.01);
        }
        None
    }

    /// The device has lost time: its next callback's time counts, with the rate that was found.
    pub fn restart(&mut self) {
        (self.at, self.placed, self.off) = (None, 0.0, (0, 0));
    }

    /// When a frame passes the converter that comes so many frames after the last callback's first.
    pub fn time_of(&self, frames: i64) -> Option<Mono> {
        Some(self.at?.plus((frames as f64 * self.frame) as i64))
    }

    /// By which share the device runs slow: 1e-6 is one part per million.
    pub fn slow(&self) -> f64 {
        self.frame / self.nominal - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_filtered_and_the_rate_is_found() {
        // A device 200 ppm fast whose callbacks come up to a millisecond late.
        let period = 128e9 / (44_100.0 * (1.0 + 200e-6));
        let mut tracker = Tracker::new(44_100);
        let mut spread = (f64::MAX, f64::MIN);
        for n in 0..20_000 {
            let late = f64::from(n * 7919 % 1000) * 1000.0;
            assert_eq!(tracker.note(128, Mono((f64::from(n) * period + late) as i64)), None);
            if n > 10_000 {
                let error = tracker.time_of(0).unwrap().0 as f64 - f64::from(n) * period;
                spread = (spread.0.min(error), spread.1.max(error));
            }
        }
        assert!(spread.1 - spread.0 < 60_000.0, "{spread:?}");
        assert!((tracker.slow() + 200e-6).abs() < 5e-6, "{}", tracker.slow());
    }

    #[test]
    fn a_device_that_lost_time_keeps_its_rate() {
        let mut tracker = Tracker::new(48_000);
        let note = |tracker: &mut Tracker, n: i64, lost: i64| {
            let late = n * 7919 % 1000 * 100;
            tracker.note(480, Mono(n * 10_000_000 + lost + late));
            let error = tracker.time_of(0).unwrap().since(Mono(n * 10_000_000 + lost + 50_000));
            (error.abs(), tracker.slow().abs())
        };
        let before: Vec<_> = (0..1000).map(|n| note(&mut tracker, n, 0)).collect();
        assert!(before[800..].iter().all(|(error, slow)| *error < 10_000 && *slow < 1e-6), "{before:?}");
        tracker.restart();
        let after: Vec<_> = (1000..1100).map(|n| note(&mut tracker, n, 7_000_000)).collect();
        assert!(after[20..].iter().all(|(error, slow)| *error < 20_000 && *slow < 1e-6), "{after:?}");
    }

    #[test]
    fn callbacks_that_come_more_often_say_no_more_of_the_rate() {
        let mut tracker = Tracker::new(48_000);
        let (mut at, mut most) = (0, 0.0f64);
        for n in 0..2000 {
            // Every 40 ms, then every 5 ms; up to 0.1 ms late.
            let frames = if n < 1000 { 1920 } else { 240 };
            at += i64::from(frames) * 1_000_000 / 48;
            tracker.note(frames as u32, Mono(at + n * 7919 % 1000 * 100));
            if n >= 500 {
                most = most.max(tracker.slow().abs());
            }
        }
        assert!(most < 2e-6, "{most}");
    }

    #[test]
    fn lost_time_is_told_soon_and_a_late_callback_is_not() {
        let mut tracker = Tracker::new(48_000);
        let late = |n: i64| match n {
            50 => 30_000_000,
            100..200 => 12_000_000,
            200.. => 15_000_000,
            _ => 0,
        };
        let jumps: Vec<_> =
            (0..300).filter_map(|n| Some((n, tracker.note(480, Mono(n * 10_000_000 + late(n)))?))).collect();
        assert_eq!(jumps, [(107, 12_000_000), (207, 3_000_000)]);
    }
}
