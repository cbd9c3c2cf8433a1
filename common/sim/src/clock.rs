//! A machine's monotonic clock against true time: off by its rate, wandering, jumping now and then.
//!
//! The reading is piecewise linear. Each piece begins at a whole nanosecond and counts in fixed point, so that nothing
//! adds up over hours but what the specification asks for.

use std::collections::VecDeque;

use proto::units::Mono;

use crate::random::Random;

/// Fixed point: one nanosecond. Leaves room for 2^63 ns at twice the rate, and 2^-57 of a rate is 0.001 ns in a day.
const ONE: i128 = 1 << 56;
/// A wandering rate changes this often, in nanoseconds.
const TICK: i64 = 100_000_000;
/// Readings this much older than the latest are still turned back, in nanoseconds.
const KEPT: i64 = 10_000_000_000;
/// The wander is drawn at most this far ahead of the latest reading, in nanoseconds: a time out of reach costs no more.
const AHEAD: i64 = 3_600_000_000_000;
/// No clock runs further off than this, in parts per million: it would stand still at -1 million.
const MOST_PPM: f64 = 500_000.0;

/// How a clock misbehaves. The default is true time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClockSpec {
    /// Rate error at true time 0 in parts per million; positive runs fast.
    pub ppm: f64,
    /// Random walk of the rate: the root mean square change within a minute in parts per million, which grows with the
    /// square root of time.
    pub wander: f64,
    /// Jumps: at which true time and by how much, in nanoseconds. As a monotonic clock never goes back, it stands still
    /// for the length of a jump backwards. A jump at 0 sets the origin.
    pub steps: Vec<(i64, i64)>,
}

/// A clock that runs from true time 0.
#[derive(Clone, Debug)]
pub struct Clock {
    ppm: f64,
    /// Deviation of the rate's change at each tick, in parts per million.
    wander: f64,
    /// Jumps to come, earliest first.
    steps: VecDeque<(i64, i64)>,
    random: Random,
    /// Never empty.
    pieces: VecDeque<Piece>,
    /// True time of the latest reading.
    latest: i64,
}

/// The clock until the next piece begins.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// True time.
    start: i64,
    /// Lead over true time at the start, in fixed point.
    lead: i128,
    /// What each true nanosecond adds to the lead, in fixed point.
    gain: i128,
    /// What the clock has shown already.
    shown: i64,
}

impl Clock {
    /// A clock whose wander follows `seed`.
    pub fn new(spec: ClockSpec, seed: u64) -> Self {
        let mut steps = spec.steps;
        steps.sort_by_key(|(at, _)| *at);
        let mut clock = Self {
            ppm: spec.ppm,
            wander: spec.wander * (TICK as f64 / 60e9).sqrt(),
            steps: steps.into(),
            random: Random::new(seed),
            pieces: VecDeque::new(),
            latest: 0,
        };
        clock.begin(0, 0, i64::MIN);
        clock
    }

    /// What the clock shows. Times are expected in order, as far as ten seconds.
    pub fn local(&mut self, true_time: Mono) -> Mono {
        let now = true_time.0;
        while let Some(next) = self.next_start().filter(|next| *next <= now) {
            self.extend(next);
        }
        self.latest = self.latest.max(now);
        while self.pieces.get(1).is_some_and(|piece| piece.start < self.latest - KEPT) {
            self.pieces.pop_front();
        }
        let begun = self.pieces.partition_point(|piece| piece.start <= now);
        Mono(self.pieces[begun.saturating_sub(1)].show(now))
    }

    /// The first true nanosecond at which the clock shows `local` or more. Exact from ten seconds before the latest
    /// reading to an hour after it; earlier and later ones are estimates.
    pub fn true_time(&mut self, local: Mono) -> Mono {
        let wanted = local.0;
        while let Some(next) = self
            .next_start()
            .filter(|next| *next <= self.latest.saturating_add(AHEAD) && self.newest().show(*next) < wanted)
        {
            self.extend(next);
        }
        let later = self.pieces.partition_point(|piece| piece.show(piece.start) < wanted);
        let time = self.pieces[later.saturating_sub(1)].reach(wanted);
        // A jump ahead: shown by the next piece, never by this one.
        Mono(self.pieces.get(later).map_or(time, |next| time.min(next.start)))
    }

    fn newest(&self) -> &Piece {
        &self.pieces[self.pieces.len() - 1]
    }

    /// When the newest piece ends, if it does.
    fn next_start(&self) -> Option<i64> {
        let tick = (self.wander > 0.0).then(|| (self.newest().start / TICK + 1) * TICK);
        let step = self.steps.front().map(|(at, _)| *at);
        tick.into_iter().chain(step).min()
    }

    fn extend(&mut self, start: i64) {
        let newest = *self.newest();
        if self.wander > 0.0 && start % TICK == 0 {
            self.ppm += self.wander * self.random.normal();
        }
        self.begin(start, newest.lead_at(start), newest.show(start));
    }

    fn begin(&mut self, start: i64, mut lead: i128, shown: i64) {
        while let Some((_, by)) = self.steps.front().filter(|(at, _)| *at <= start) {
            lead += i128::from(*by) * ONE;
            self.steps.pop_front();
        }
        let gain = (self.ppm.clamp(-MOST_PPM, MOST_PPM) * 1e-6 * ONE as f64) as i128;
        self.pieces.push_back(Piece { start, lead, gain, shown });
    }
}

impl Piece {
    fn lead_at(&self, time: i64) -> i128 {
        self.lead + self.gain * (i128::from(time) - i128::from(self.start))
    }

    fn show(&self, time: i64) -> i64 {
        narrow(i128::from(time) + self.lead_at(time).div_euclid(ONE)).max(self.shown)
    }

    /// The first time at which it shows `local`, did it last for ever.
    fn reach(&self, local: i64) -> i64 {
        if local <= self.shown {
            return self.start;
        }
        let distance = (i128::from(local) - i128::from(self.start)) * ONE - self.lead;
        // The quotient rounded up.
        narrow(i128::from(self.start) - (-distance).div_euclid(ONE + self.gain))
    }
}

fn narrow(nanos: i128) -> i64 {
    nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const HOUR: i64 = 3600 * SECOND;

    fn clock(ppm: f64, wander: f64, steps: &[(i64, i64)]) -> Clock {
        Clock::new(ClockSpec { ppm, wander, steps: steps.to_vec() }, 5)
    }

    #[test]
    fn a_rate_error_is_exact_after_hours() {
        for (ppm, per_second) in [(0.0, 0), (37.0, 37_000), (-250.0, -250_000)] {
            let mut clock = clock(ppm, 0.0, &[]);
            for hour in 0..=30 {
                let ideal = hour * (HOUR + 3600 * per_second);
                assert!((clock.local(Mono(hour * HOUR)).0 - ideal).abs() <= 1, "{ppm} ppm, hour {hour}");
            }
        }
    }

    #[test]
    fn true_time_is_the_first_at_which_the_clock_shows_it() {
        let steps = [(7 * SECOND + 3, 40_000_000), (9 * SECOND, -30_000_000), (9 * SECOND, 1)];
        let mut clock = clock(120.0, 5.0, &steps);
        let mut last = Mono(0);
        for time in (0..20 * SECOND).step_by(1_234_567) {
            let shown = clock.local(Mono(time));
            assert!(shown >= last, "went back at {time}");
            last = shown;
            for ahead in [-40_000_000, -1, 0, 1, 250_000_000] {
                let first = clock.true_time(shown.plus(ahead));
                // A copy looks, so that what it draws ahead of time stays out of this clock.
                let mut copy = clock.clone();
                assert!(copy.local(first) >= shown.plus(ahead), "too early for {ahead} at {time}");
                assert!(copy.local(first.plus(-1)) < shown.plus(ahead), "too late for {ahead} at {time}");
            }
        }
    }

    #[test]
    fn jumps_ahead_at_once_and_waits_out_a_jump_back() {
        let mut clock = clock(0.0, 0.0, &[(0, 5), (100, 50), (200, -30)]);
        let shown = [0, 99, 100, 199, 210, 231, 300].map(|time| clock.local(Mono(time)).0);
        assert_eq!(shown, [5, 104, 155, 254, 255, 256, 325]);
        let times = [5, 120, 155, 255, 256].map(|local| clock.true_time(Mono(local)).0);
        assert_eq!(times, [0, 100, 100, 200, 231]);
    }

    #[test]
    fn a_jump_leaves_the_wander_alone() {
        let (mut jumping, mut steady) = (clock(0.0, 50.0, &[(SECOND + 7, 1000)]), clock(0.0, 50.0, &[]));
        let [a, b] = [&mut jumping, &mut steady].map(|clock| clock.local(Mono(60 * SECOND)));
        assert_eq!(a.since(b), 1000);
    }

    #[test]
    fn wander_has_its_size_and_does_not_depend_on_who_asks() {
        let mut squares = 0.0;
        for seed in 0..400 {
            let spec = ClockSpec { wander: 2.0, ..ClockSpec::default() };
            let (mut clock, mut asked) = (Clock::new(spec.clone(), seed), Clock::new(spec, seed));
            asked.true_time(Mono(30 * SECOND));
            let [a, b] = [60, 61].map(|time| clock.local(Mono(time * SECOND)));
            asked.true_time(Mono(i64::MAX));
            assert_eq!(asked.local(Mono(61 * SECOND)), b);
            squares += ((b.since(a) - SECOND) as f64 / 1e3).powi(2);
        }
        let rms = (squares / 400.0f64).sqrt();
        assert!((rms - 2.0).abs() < 0.2, "{rms} ppm after a minute");
    }
}
