//! When pictures are due: arithmetic on times, without a clock.

use std::sync::atomic::{AtomicU64, Ordering};
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

/// A rate that changes while others go by it.
#[derive(Debug)]
pub struct Wanted(AtomicU64);

impl Wanted {
    /// This one to begin with.
    pub fn new(rate: Rate) -> Self {
        let wanted = Self(AtomicU64::new(0));
        wanted.set(rate);
        wanted
    }

    /// Another from now on.
    pub fn set(&self, rate: Rate) {
        self.0.store((u64::from(rate.pictures) << 32) | u64::from(rate.seconds), Ordering::Relaxed);
    }

    /// The one that holds.
    pub fn get(&self) -> Rate {
        let both = self.0.load(Ordering::Relaxed);
        Rate { pictures: (both >> 32) as u32, seconds: both as u32 }
    }
}

/// The pace of a source that we clock: pictures are due at even intervals, from the first or from a change of rate on.
#[derive(Clone, Debug)]
pub struct Clock {
    rate: Rate,
    /// When the first picture of this rate was due, and its number.
    begun: Duration,
    first: u64,
    next: u64,
}

/// A picture's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Pictures of the stream before it.
    pub number: u64,
    /// Those of them at the rate that holds now.
    pub since: u64,
    /// When it is shown.
    pub at: Duration,
    /// Pictures before it that are left out, because their time has passed.
    pub missed: u64,
}

impl Clock {
    /// Begins now.
    pub fn new(rate: Rate, now: Duration) -> Self {
        Self { rate, begun: now, first: 0, next: 0 }
    }

    /// Another rate holds from the next picture on, which is due when it was.
    pub fn change(&mut self, rate: Rate) {
        self.begun += span(self.rate, self.next - self.first);
        self.first = self.next;
        self.rate = rate;
    }

    /// The next turn that can be kept: one that is less than an interval ago.
    pub fn turn(&mut self, now: Duration) -> Turn {
        let current = self.first + count(self.rate, now.saturating_sub(self.begun));
        let number = self.next.max(current);
        let missed = number - self.next;
        self.next = number + 1;
        let since = number - self.first;
        Turn { number, since, at: self.begun + span(self.rate, since), missed }
    }
}

/// What a program that was held up may make up for at once. Were it held back then, all that follows would come late.
const CATCH_UP: Duration = Duration::from_millis(500);

/// The pace of a source that sets its own: at most so many pictures over time, with one ahead of it.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// When the next is due, were they even; nothing before the first.
    due: Option<Duration>,
}

impl Arrival {
    /// How long the picture that came now is held back, for so many a second at most.
    pub fn wait(&mut self, rate: Rate, now: Duration) -> Duration {
        let interval = span(rate, 1);
        let due = self.due.map_or(now, |due| due.max(now.saturating_sub(CATCH_UP)));
        self.due = Some(due + interval);
        due.saturating_sub(now + interval)
    }

    /// Whether the picture that came now would be held back. It may be left out instead, and counts for nothing then.
    pub fn is_early(&self, rate: Rate, now: Duration) -> bool {
        !self.clone().wait(rate, now).is_zero()
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
        let mut turn = |now| {
            let Turn { number, at, missed, .. } = clock.turn(millis(now));
            (number, at.as_millis(), missed)
        };
        assert_eq!(turn(5_000), (0, 5_000, 0));
        assert_eq!(turn(5_020), (1, 5_100, 0));
        assert_eq!(turn(5_295), (2, 5_200, 0));
        assert_eq!(turn(5_650), (6, 5_600, 3));
        assert_eq!(turn(5_650), (7, 5_700, 0));
    }

    #[test]
    fn another_rate_begins_where_the_next_picture_was_due() {
        let wanted = Wanted::new(TEN);
        let mut clock = Clock::new(wanted.get(), millis(1_000));
        clock.turn(millis(1_000));
        clock.turn(millis(1_050));
        wanted.set(Rate { pictures: 20, seconds: 1 });
        clock.change(wanted.get());
        let turns = [1_100, 1_210, 1_210].map(|now| clock.turn(millis(now)));
        assert_eq!(turns.map(|turn| turn.at), [millis(1_200), millis(1_250), millis(1_300)]);
        assert_eq!(
            turns.map(|turn| (turn.number, turn.since, turn.missed)),
            [(2, 0, 0), (3, 1, 0), (4, 2, 0)]
        );
    }

    #[test]
    fn a_program_that_was_held_up_makes_up_for_half_a_second_at_most() {
        let waits = |times: &[u64]| {
            let mut arrival = Arrival::default();
            times.iter().map(|at| arrival.wait(TEN, millis(*at)).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(waits(&[1_000, 1_100, 1_450, 1_450, 1_450, 1_500, 1_600, 1_700]), [0; 8]);
        assert_eq!(
            waits(&[1_000, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000, 9_000]),
            [0, 0, 0, 0, 0, 0, 0, 0, 100]
        );
    }

    #[test]
    fn a_device_that_hurries_is_thinned_evenly_and_one_that_keeps_time_is_not() {
        let kept = |times: &mut dyn Iterator<Item = u64>| {
            let mut arrival = Arrival::default();
            let mut keep = |at: &u64| {
                let early = arrival.is_early(TEN, millis(*at));
                if !early {
                    arrival.wait(TEN, millis(*at));
                }
                !early
            };
            times.filter(|at| keep(at)).collect::<Vec<_>>()
        };
        // One is ahead, as with programs.
        assert_eq!(kept(&mut (0..=500).step_by(25)), [0, 25, 100, 200, 300, 400, 500]);
        let even = [0, 130, 180, 300, 440, 490];
        assert_eq!(kept(&mut even.into_iter()), even);
    }

    #[test]
    fn a_program_that_hurries_is_held_back_and_one_that_keeps_time_is_not() {
        let mut arrival = Arrival::default();
        let mut now = millis(1_000);
        let mut waited = Vec::new();
        for _ in 0..5 {
            let wait = arrival.wait(TEN, now);
            waited.push(wait);
            now += wait;
        }
        assert_eq!(waited, [millis(0), millis(0), millis(100), millis(100), millis(100)]);
        let mut arrival = Arrival::default();
        for (n, jitter) in [0, 40, 0, 40, 10, 50].into_iter().enumerate() {
            assert_eq!(arrival.wait(TEN, millis(1_000 + 100 * n as u64 + jitter)), Duration::ZERO);
        }
    }
}
