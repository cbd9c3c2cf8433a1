//! When a device's stream has to be built anew, decided in virtual time.
//!
//! | what happens | what a stream sees |
//! | --- | --- |
//! | PulseAudio ends, behind ALSA | every call fails with an I/O error, a hundred thousand times a second, for ever |
//! | PulseAudio starts a stream, or starts it again after an xrun | the same for up to six milliseconds |
//! | PulseAudio or JACK hangs | callbacks stop, and whoever opens or closes a stream waits |
//! | JACK ends, is killed, or changes its rate | it is told so at once |
//! | a card is unplugged | by its documentation, ALSA says so; not tried |

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use proto::units::Mono;

/// Errors a second that are no storm yet: a device at 64 frames that misses every second period has fewer.
const ERRORS: i64 = 500;
/// How long a storm may last, in nanoseconds: those that pass by themselves take a few milliseconds.
const STORM: i64 = 200_000_000;
/// Fair weather that makes up for a storm is so many times as long.
const RECOVERY: i64 = 8;
/// Least time without a callback after which a device has stopped, in nanoseconds.
const SILENCE: i64 = 500_000_000;
/// Periods without a callback that are no silence yet.
const SILENT_PERIODS: i64 = 4;
/// How long the first callback may take: some devices wake up slowly. In nanoseconds.
const FIRST: i64 = 2_000_000_000;
/// Most time that one look can account for, in nanoseconds: while the whole machine stands still, nobody is to blame, and a storm that
/// was over soon may be anywhere between two looks.
const LONGEST_LOOK: i64 = 120_000_000;
/// A stream that has flowed this long has proved itself, in nanoseconds.
const PROVED: i64 = 1_000_000_000;
/// Time between attempts, in nanoseconds; the last goes on.
const PAUSES: [i64; 6] = [0, 100_000_000, 200_000_000, 400_000_000, 500_000_000, 500_000_000];

/// What a stream's callbacks leave behind. They may come thousands of times a second, from several threads: they only
/// count.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    callbacks: AtomicU64,
    errors: AtomicU64,
    gone: AtomicBool,
}

impl Signs {
    pub(crate) fn note_callback(&self) {
        self.callbacks.fetch_add(1, Relaxed);
    }

    pub(crate) fn note_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn note_gone(&self) {
        self.gone.store(true, Relaxed);
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            callbacks: self.callbacks.load(Relaxed),
            errors: self.errors.load(Relaxed),
            gone: self.gone.load(Relaxed),
        }
    }
}

/// What was seen of a stream at one look, since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) callbacks: u64,
    pub(crate) errors: u64,
    /// The system says that the stream is over.
    pub(crate) gone: bool,
}

/// Why a stream is built anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The system says that the device, or this stream of it, is gone.
    Gone,
    /// Errors came without end.
    Errors,
    /// The device has stopped: it neither brings nor takes sound.
    Stopped,
}

impl Reason {
    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Errors => "errors",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the system says that it is gone",
            Self::Errors => "it brings nothing but errors",
            Self::Stopped => "it has stopped",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    /// The first callback of this stream has come.
    Flows,
    Rebuild(Reason),
}

/// Judges one device over all its streams.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Silence of a stream that flowed, in nanoseconds.
    silence: i64,
    last_look: Mono,
    seen: Seen,
    /// Time without a callback, in nanoseconds.
    silent: i64,
    flowed: i64,
    /// Stormy time that fair weather has not made up for, in nanoseconds.
    stormy: i64,
    /// Attempts since a stream has proved itself.
    attempts: usize,
}

impl Watch {
    /// When to try next, after what was there has been lost or refused at `now`.
    pub(crate) fn next_attempt(&mut self, now: Mono) -> Mono {
        let pause = PAUSES[self.attempts.min(PAUSES.len() - 1)];
        self.attempts += 1;
        now.plus(pause)
    }

    /// A new stream was opened, with a period of so many nanoseconds.
    pub(crate) fn opened(&mut self, now: Mono, period: i64) {
        self.silence = SILENCE.max(period.saturating_mul(SILENT_PERIODS));
        self.last_look = now;
        self.seen = Seen::default();
        (self.silent, self.flowed, self.stormy) = (0, 0, 0);
    }

    /// Takes what was seen of the stream since it was opened.
    pub(crate) fn look(&mut self, now: Mono, seen: Seen) -> Verdict {
        let since = now.since(self.last_look).max(0);
        let elapsed = since.min(LONGEST_LOOK);
        let before = std::mem::replace(&mut self.seen, seen);
        self.last_look = now;
        let errors = i64::try_from(seen.errors.saturating_sub(before.errors)).unwrap_or(i64::MAX);
        if errors.saturating_mul(1_000_000_000) > since.saturating_mul(ERRORS) {
            self.stormy += elapsed;
        } else {
            self.stormy = (self.stormy - elapsed / RECOVERY).max(0);
        }
        if seen.callbacks == before.callbacks {
            self.silent += elapsed;
        } else {
            self.silent = 0;
            self.flowed += elapsed;
        }
        let patience = if seen.callbacks == 0 { FIRST } else { self.silence };
        if seen.gone {
            return Verdict::Rebuild(Reason::Gone);
        }
        if self.stormy > STORM {
            return Verdict::Rebuild(Reason::Errors);
        }
        if self.silent > patience {
            return Verdict::Rebuild(Reason::Stopped);
        }
        if self.has_proved_itself() {
            self.attempts = 0;
        }
        if before.callbacks == 0 && seen.callbacks > 0 { Verdict::Flows } else { Verdict::Keep }
    }

    /// Whether the stream has proved itself, and nothing is wrong with it.
    pub(crate) fn is_calm(&self) -> bool {
        self.has_proved_itself() && self.silent == 0 && self.stormy == 0
    }

    fn has_proved_itself(&self) -> bool {
        self.flowed >= PROVED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    /// Between two looks.
    const LOOK: i64 = 10 * MS;

    /// A device in virtual time.
    struct Device {
        watch: Watch,
        period: i64,
        now: Mono,
        seen: Seen,
    }

    impl Device {
        fn new(period: i64) -> Self {
            let mut watch = Watch::default();
            watch.opened(Mono(0), period);
            Self { watch, period, now: Mono(0), seen: Seen::default() }
        }

        /// Looks until something else than `Keep` is said, for `time` at most; each look brings so many callbacks and errors.
        fn run(&mut self, time: i64, callbacks: u64, errors: u64) -> (i64, Verdict) {
            let start = self.now;
            while self.now.since(start) < time {
                self.now = self.now.plus(LOOK);
                self.seen.callbacks += callbacks;
                self.seen.errors += errors;
                let verdict = self.watch.look(self.now, self.seen);
                if verdict != Verdict::Keep {
                    return (self.now.since(start), verdict);
                }
            }
            (time, Verdict::Keep)
        }

        fn reopen(&mut self) {
            self.seen = Seen::default();
            self.watch.opened(self.now, self.period);
        }
    }

    /// A device that flows.
    fn flowing() -> Device {
        let mut device = Device::new(3 * MS);
        assert_eq!(device.run(LOOK, 3, 0), (LOOK, Verdict::Flows));
        assert_eq!(device.run(5000 * MS, 3, 0), (5000 * MS, Verdict::Keep));
        device
    }

    #[test]
    fn silence_and_storms_end_the_calm() {
        for (callbacks, errors) in [(0, 0), (3, 10_000)] {
            let mut device = flowing();
            assert!(device.watch.is_calm());
            device.run(LOOK, callbacks, errors);
            assert!(!device.watch.is_calm());
            device.run(200 * MS, 3, 0);
            assert!(device.watch.is_calm());
            device.reopen();
            assert!(!device.watch.is_calm());
        }
    }

    #[test]
    fn looks_that_are_far_apart_take_neither_some_errors_nor_a_short_storm_for_a_long_one() {
        for (errors, calm) in [(90, true), (600, false)] {
            let mut device = flowing();
            device.seen.callbacks += 80;
            device.seen.errors += errors;
            assert_eq!(device.watch.look(device.now.plus(250 * MS), device.seen), Verdict::Keep);
            assert_eq!(device.watch.is_calm(), calm);
        }
    }

    #[test]
    fn what_the_system_calls_gone_is_rebuilt_at_once() {
        let mut device = flowing();
        device.seen.gone = true;
        assert_eq!(device.run(1000 * MS, 3, 0), (LOOK, Verdict::Rebuild(Reason::Gone)));
    }

    #[test]
    fn a_storm_is_not_waited_out() {
        assert_eq!(flowing().run(1000 * MS, 0, 75), (210 * MS, Verdict::Rebuild(Reason::Errors)));
        // That sound gets through as well makes no difference.
        assert_eq!(flowing().run(1000 * MS, 3, 1000), (210 * MS, Verdict::Rebuild(Reason::Errors)));
        // Short ones, but one each 50 ms.
        let mut device = flowing();
        let mut rounds = 0;
        while device.run(10 * MS, 3, 3000).1 == Verdict::Keep && device.run(40 * MS, 3, 0).1 == Verdict::Keep
        {
            rounds += 1;
            assert!(rounds < 100);
        }
        assert!(rounds > 20, "{rounds}");
    }

    #[test]
    fn errors_that_a_device_survives_are_let_pass() {
        assert_eq!(flowing().run(60_000 * MS, 3, 5), (60_000 * MS, Verdict::Keep));
        // What each xrun of a stream of PulseAudio's brings.
        let mut device = flowing();
        for _ in 0..100 {
            assert_eq!(device.run(20 * MS, 3, 1500), (20 * MS, Verdict::Keep));
            assert_eq!(device.run(200 * MS, 3, 0), (200 * MS, Verdict::Keep));
        }
    }

    #[test]
    fn a_device_that_stops_is_rebuilt_after_half_a_second() {
        assert_eq!(flowing().run(5000 * MS, 0, 0), (510 * MS, Verdict::Rebuild(Reason::Stopped)));
    }

    #[test]
    fn long_periods_take_longer() {
        let mut device = Device::new(1024 * MS);
        assert_eq!(device.run(LOOK, 1, 0), (LOOK, Verdict::Flows));
        assert_eq!(device.run(1020 * MS, 0, 0), (1020 * MS, Verdict::Keep));
        device.seen.callbacks += 1;
        assert_eq!(device.run(9000 * MS, 0, 0), (4110 * MS, Verdict::Rebuild(Reason::Stopped)));
    }

    #[test]
    fn the_first_callback_may_take_two_seconds() {
        let mut device = Device::new(3 * MS);
        assert_eq!(device.run(1990 * MS, 0, 0), (1990 * MS, Verdict::Keep));
        assert_eq!(device.run(LOOK, 1, 0), (LOOK, Verdict::Flows));
        let mut device = Device::new(3 * MS);
        assert_eq!(device.run(9000 * MS, 0, 0), (2010 * MS, Verdict::Rebuild(Reason::Stopped)));
    }

    #[test]
    fn a_machine_that_stood_still_is_no_reason() {
        let mut device = flowing();
        device.now = device.now.plus(60_000 * MS);
        assert_eq!(device.run(LOOK, 0, 0), (LOOK, Verdict::Keep));
        assert_eq!(device.run(1000 * MS, 3, 0), (1000 * MS, Verdict::Keep));
    }

    #[test]
    fn attempts_come_at_once_and_then_further_apart() {
        let mut device = flowing();
        let pauses = |device: &mut Device, count: usize| -> Vec<i64> {
            let pause = |_| device.watch.next_attempt(device.now).since(device.now) / MS;
            (0..count).map(pause).collect()
        };
        assert_eq!(pauses(&mut device, 8), [0, 100, 200, 400, 500, 500, 500, 500]);
        // It opens, and is gone again before it has proved anything.
        device.reopen();
        assert_eq!(device.run(LOOK, 3, 0), (LOOK, Verdict::Flows));
        assert_eq!(pauses(&mut device, 1), [500]);
        device.reopen();
        assert_eq!(device.run(LOOK, 3, 0), (LOOK, Verdict::Flows));
        assert_eq!(device.run(1500 * MS, 3, 0), (1500 * MS, Verdict::Keep));
        assert_eq!(pauses(&mut device, 2), [0, 100]);
    }
}
