//! A sound card's clock: it runs at its own rate, calls back a little late, and loses time now and then.

use proto::units::Mono;

use crate::random::Random;

/// How a card misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CardSpec {
    /// Clock error in parts per million; positive runs fast.
    pub ppm: f64,
    /// Callbacks come up to this much late, evenly distributed, in nanoseconds.
    pub jitter: i64,
    /// The converter's times, as callbacks are told them, are off by up to this either way, in nanoseconds.
    pub blur: i64,
    /// After each such span of time one period is lost, in nanoseconds; 0 for never.
    pub xrun_every: i64,
    /// Seed of the jitter.
    pub seed: u64,
}

/// One call of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// When the callback runs.
    pub callback: Mono,
    /// When the period's first frame leaves the DAC, or when it entered the ADC.
    pub converter: Mono,
    /// The same as the callback is told.
    pub told: Mono,
    /// Frames lost just before this period.
    pub lost: u32,
}

/// A card that runs.
#[derive(Clone, Debug)]
pub struct Card {
    spec: CardSpec,
    period_ns: f64,
    frames: u32,
    /// Start of the next period on the card's own time, in nanoseconds since `start`.
    next: f64,
    next_xrun: f64,
    start: Mono,
    random: Random,
    direction: Direction,
}

/// Which way the samples go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A period is handed out once it is full.
    Capture,
    /// A period is asked for one period before it is heard: the card holds two.
    Playback,
}

impl Card {
    /// A card that starts at `start`, with periods of `frames` at `rate` frames a second.
    pub fn new(spec: CardSpec, direction: Direction, rate: u32, frames: u32, start: Mono) -> Self {
        Self {
            spec,
            period_ns: f64::from(frames) * 1e9 / f64::from(rate) / (1.0 + spec.ppm * 1e-6),
            frames,
            next: 0.0,
            next_xrun: spec.xrun_every as f64,
            start,
            random: Random::new(spec.seed),
            direction,
        }
    }

    /// The next call.
    pub fn next_period(&mut self) -> Period {
        let mut lost = 0;
        if self.spec.xrun_every > 0 && self.next >= self.next_xrun {
            self.next += self.period_ns;
            self.next_xrun += self.spec.xrun_every as f64;
            lost = self.frames;
        }
        let begin = self.next;
        self.next += self.period_ns;
        let late = self.random.unit() * self.spec.jitter as f64;
        let (callback, converter) = match self.direction {
            Direction::Capture => (self.next + late, begin),
            Direction::Playback => (begin + late, self.next),
        };
        let converter = self.start.plus(converter as i64);
        Period { callback: self.start.plus(callback as i64), converter, told: self.blurred(converter), lost }
    }

    fn blurred(&mut self, converter: Mono) -> Mono {
        if self.spec.blur == 0 {
            return converter;
        }
        converter.plus(((2.0 * self.random.unit() - 1.0) * self.spec.blur as f64) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_card_calls_more_often() {
        let spec = CardSpec { ppm: 500.0, ..CardSpec::default() };
        let mut card = Card::new(spec, Direction::Playback, 48_000, 480, Mono(0));
        let last = (0..=1000).map(|_| card.next_period()).last().unwrap();
        // 1000 periods of 10 ms last 10 s, less 500 ppm = 5 ms (to first order).
        assert!((last.callback.0 - 9_995_002_499).abs() < 10, "{last:?}");
        assert!((last.converter.since(last.callback) - 9_995_002).abs() <= 1);
    }

    #[test]
    fn jitter_makes_callbacks_late_but_not_the_converter() {
        let spec = CardSpec { jitter: 1_000_000, seed: 7, ..CardSpec::default() };
        let mut jittery = Card::new(spec, Direction::Capture, 48_000, 480, Mono(0));
        let mut steady = Card::new(CardSpec::default(), Direction::Capture, 48_000, 480, Mono(0));
        let mut lateness = Vec::new();
        for _ in 0..100 {
            let (a, b) = (jittery.next_period(), steady.next_period());
            assert_eq!(a.converter, b.converter);
            lateness.push(a.callback.since(b.callback));
        }
        assert!(lateness.iter().all(|late| (0..1_000_000).contains(late)));
        assert!(lateness.iter().max().unwrap() - lateness.iter().min().unwrap() > 800_000);
    }

    #[test]
    fn blur_moves_what_is_told_either_way_and_nothing_else() {
        let spec = CardSpec { blur: 50_000, seed: 3, ..CardSpec::default() };
        let mut card = Card::new(spec, Direction::Playback, 48_000, 480, Mono(0));
        let off: Vec<i64> = (1..=100)
            .map(|n| {
                let p = card.next_period();
                assert_eq!(p.converter.0, n * 10_000_000);
                p.told.since(p.converter)
            })
            .collect();
        let (least, most) = (off.iter().min().unwrap(), off.iter().max().unwrap());
        assert!((-50_000..-40_000).contains(least) && (40_000..50_000).contains(most), "{least} to {most}");
    }

    #[test]
    fn xruns_lose_whole_periods_at_their_times() {
        let spec = CardSpec { xrun_every: 100_000_000, ..CardSpec::default() };
        let mut card = Card::new(spec, Direction::Playback, 48_000, 480, Mono(0));
        let periods: Vec<_> = (0..50).map(|_| card.next_period()).collect();
        let lost: Vec<_> = periods.iter().filter(|p| p.lost > 0).map(|p| p.callback.0 / 10_000_000).collect();
        assert_eq!(lost, [11, 21, 31, 41, 51]);
    }
}
