//! When pictures are due: arithmetic on times, without a clock.

use std::time::Duration;

use crate::picture::Rate;

/// Time of so many pictures.
pub fn span(rate: Rate, pictures: u64) -> Duration {
    let nanos = u128::from(pictures) * u128::from(rate.seconds) * 1_000_000_000;
    let nanos = nanos / u128::from(rate.pictures.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Pictures that begin within this time.
pub fn count(rate: Rate, time: Duration) -> u64 {
    let pictures =
        time.as_nanos() * u128::from(rate.pictures) / (u128::from(rate.seconds.max(1)) * 1_000_000_000);
    u64::try_from(pictures).unwrap_or(u64::MAX)
}

/// Which picture of a source at its own rate is shown as the n-th of a stream at `rate`.
pub fn index(rate: Rate, source: Rate, number: u64) -> u64 {
    let shown = u128::from(number) * u128::from(rate.seconds) * u128::from(source.pictures);
    let index = shown / (u128::from(rate.pictures.max(1)) * u128::from(source.seconds.max(1)));
    u64::try_from(index).unwrap_or(u64::MAX)
}

/// The pace of a source that we clock: the n-th picture is due n intervals after the first.
#[derive(Clone, Debug)]
pub struct Clock {
    rate: Rate,
    begun: Duration,
    next: u64,
}

/// A picture's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Pictures of the stream before it.
    pub number: u64,
    /// When it is shown.
    pub at: Duration,
    /// Pictures before it that are left out, because their time has passed.
    pub missed: u64,
}

impl Clock {
    /// Begins now.
    pub fn new(rate: Rate, now: Duration) -> Self {
        Self { rate, begun: now, next: 0 }
    }

    /// The next turn that can be kept: one that is less than an interval ago.
    pub fn turn(&mut self, now: Duration) -> Turn {
        let current = count(self.rate, now.saturating_sub(self.begun));
        let number = self.next.max(current);
        let missed = number - self.next;
        self.next = number + 1;
        Turn { number, at: self.begun + span(self.rate, number), missed }
    }
}

/// The pace of a source that sets its own: at most `rate` over time, with one picture ahead of it.
#[derive(Clone, Debug)]
pub struct Arrival {
    interval: Duration,
    /// When the next is due, were they even.
    due: Duration,
}

impl Arrival {
    /// At most so many.
    pub fn new(rate: Rate) -> Self {
        Self { interval: span(rate, 1), due: Duration::ZERO }
    }

    /// How long the picture that came now is held back.
    pub fn wait(&mut self, now: Duration) -> Duration {
        let wait = self.due.saturating_sub(now + self.interval);
        self.due = self.due.max(now) + self.interval;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TELEVISION: Rate = Rate { pictures: 30_000, seconds: 1001 };
    const TEN: Rate = Rate { pictures: 10, seconds: 1 };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_day_of_television_does_not_drift() {
        let day = span(TELEVISION, 2_589_410);
        assert!(day.abs_diff(Duration::from_secs_f64(86_399.98)) < millis(10), "{day:?}");
        for number in [0, 1, 2, 1_000_003, 2_589_410] {
            let at = span(TELEVISION, number);
            assert_eq!(count(TELEVISION, at + Duration::from_nanos(1)), number);
        }
    }

    #[test]
    fn a_source_of_another_rate_is_repeated_or_thinned_evenly() {
        let shown = |rate, source| (0..6).map(|n| index(rate, source, n)).collect::<Vec<_>>();
        let five = Rate { pictures: 5, seconds: 1 };
        assert_eq!(shown(TEN, TEN), [0, 1, 2, 3, 4, 5]);
        assert_eq!(shown(TEN, five), [0, 0, 1, 1, 2, 2]);
        assert_eq!(shown(five, TEN), [0, 2, 4, 6, 8, 10]);
        assert_eq!(index(TELEVISION, TELEVISION, 2_589_409), 2_589_409);
    }

    #[test]
    fn pictures_whose_time_has_passed_are_left_out_and_counted() {
        let mut clock = Clock::new(TEN, millis(5_000));
        assert_eq!(clock.turn(millis(5_000)), Turn { number: 0, at: millis(5_000), missed: 0 });
        assert_eq!(clock.turn(millis(5_020)), Turn { number: 1, at: millis(5_100), missed: 0 });
        assert_eq!(clock.turn(millis(5_295)), Turn { number: 2, at: millis(5_200), missed: 0 });
        assert_eq!(clock.turn(millis(5_650)), Turn { number: 6, at: millis(5_600), missed: 3 });
        assert_eq!(clock.turn(millis(5_650)), Turn { number: 7, at: millis(5_700), missed: 0 });
    }

    #[test]
    fn a_program_that_hurries_is_held_back_and_one_that_keeps_time_is_not() {
        let mut arrival = Arrival::new(TEN);
        let mut now = millis(1_000);
        let mut waited = Vec::new();
        for _ in 0..5 {
            let wait = arrival.wait(now);
            waited.push(wait);
            now += wait;
        }
        assert_eq!(waited, [millis(0), millis(0), millis(100), millis(100), millis(100)]);
        let mut arrival = Arrival::new(TEN);
        for (n, jitter) in [0, 40, 0, 40, 10, 50].into_iter().enumerate() {
            assert_eq!(arrival.wait(millis(1_000 + 100 * n as u64 + jitter)), Duration::ZERO);
        }
    }
}
