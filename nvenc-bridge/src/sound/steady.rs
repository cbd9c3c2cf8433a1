//! A card's sound on this machine's clock: resampled, at a speed that follows the card's own.

use audio::drift::Servo;
use audio::resample::Steered;
use audio::tracker::Tracker;
use proto::units::{self, Mono, Position};

/// Frames that are handed out at a time, at the track's rate: 5 ms or so.
const CHUNK: usize = 256;
/// Frames that a chunk may take more than it was to take before its speed changed: 0.5 % of it, and what is rounded.
const SPARE: usize = 4;

pub(crate) struct Steady {
    channels: usize,
    from: u32,
    to: u32,
    resampler: Steered,
    servo: Servo,
    tracker: Tracker,
    /// Where the last block began, and where it ended.
    last: Option<(Position, Position)>,
    pending: Vec<f32>,
    /// When the first frame that is handed out was captured, and how many were handed out since; `None` to begin anew.
    origin: Option<(Mono, u64)>,
    out: Vec<f32>,
}

impl Steady {
    /// From a card of `from` frames a second to a track of `to`.
    pub(crate) fn new(channels: u16, from: u32, to: u32) -> Self {
        Self {
            channels: usize::from(channels),
            from,
            to,
            resampler: Steered::new(channels, CHUNK, from, to),
            servo: Servo::default(),
            tracker: Tracker::new(from),
            last: None,
            pending: Vec::new(),
            origin: None,
            out: vec![0.0; CHUNK * usize::from(channels)],
        }
    }

    /// Takes a block of the card: the position of its first frame, and when that was captured as the card told it. Hands out
    /// what becomes of it, each block with its time.
    pub(crate) fn push(
        &mut self,
        block: &[f32],
        position: Position,
        at: Mono,
        emit: &mut impl FnMut(&[f32], Mono),
    ) {
        let frames = (block.len() / self.channels) as u64;
        let last = self.last.replace((position, position.advanced(frames)));
        let since = last.map_or(0, |(start, _)| position.since(start));
        let jumped = self.tracker.note(u32::try_from(since).unwrap_or(0), at).is_some();
        if jumped || last.is_some_and(|(_, end)| end != position) {
            // What comes is placed by its own time, and stands apart from what came before.
            self.pending.clear();
            self.resampler.reset();
            self.origin = None;
        }
        let frame = (1.0 + self.tracker.slow()) * 1e9 / f64::from(self.from);
        let ahead = self.pending.len() / self.channels;
        let Some(start) = self.tracker.time_of(-(ahead as i64)) else { return };
        self.pending.extend_from_slice(block);
        self.hand_out(start, frame, emit);
    }

    /// `start` is when the first pending frame was captured, and `frame` how long one lasts, in nanoseconds.
    fn hand_out(&mut self, mut start: Mono, frame: f64, emit: &mut impl FnMut(&[f32], Mono)) {
        let seconds = CHUNK as f64 / f64::from(self.to);
        // What the card is known to do needs no error to be corrected.
        let known = 1.0 / (1.0 + self.tracker.slow()) - 1.0;
        let mut used = 0;
        loop {
            if self.pending.len() - used < (self.resampler.needed() + SPARE) * self.channels {
                break;
            }
            let captured = start.plus(-(self.resampler.lag() * frame) as i64);
            let (origin, given) = *self.origin.get_or_insert((captured, 0));
            let due = origin.plus(units::frames_to_nanos(given as i64, self.to));
            let late = due.since(captured) as f64 / 1e9;
            self.resampler.set_speed(known + self.servo.update(late, seconds));
            let needed = self.resampler.needed();
            let input = &self.pending[used..used + needed * self.channels];
            self.resampler.process(&mut self.out, |to| to.copy_from_slice(input));
            self.origin = Some((origin, given + CHUNK as u64));
            emit(&self.out, due);
            used += needed * self.channels;
            start = start.plus((needed as f64 * frame) as i64);
        }
        self.pending.drain(..used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of `seconds` of a card that is off by `ppm` and tells its times with up to 0.4 ms of jitter, capturing a
    /// sine of 100 Hz that crosses zero at every hundredth of this machine's second. Returns the worst distance of a block's
    /// time from the sound in it, after five seconds, in nanoseconds, and the frames handed out.
    fn off(ppm: f64, from: u32, to: u32, seconds: usize) -> (i64, usize) {
        let mut steady = Steady::new(1, from, to);
        let (mut worst, mut count) = (0, 0);
        let frame = 1e9 / f64::from(from) * (1.0 + ppm * 1e-6);
        for n in 0..seconds * from as usize / 441 {
            let at = |index: usize| 3.6e12 + (n * 441 + index) as f64 * frame;
            let sound = |nanos: f64| ((nanos % 1e7) / 1e7 * std::f64::consts::TAU).sin() as f32;
            let block: Vec<f32> = (0..441).map(|index| sound(at(index))).collect();
            let told = Mono(at(0) as i64 + (n * 7919 % 401) as i64 * 1000);
            steady.push(&block, Position(n as u64 * 441), told, &mut |out, due| {
                count += out.len();
                if n * 441 < 5 * from as usize {
                    return;
                }
                // Near a crossing the sine is its angle.
                let Some(up) = out.windows(2).position(|pair| pair[0] < 0.0 && pair[1] >= 0.0) else {
                    return;
                };
                let part = f64::from(-out[up]) / f64::from(out[up + 1] - out[up]);
                let crossing = due.0 as f64 + (up as f64 + part) * 1e9 / f64::from(to);
                let distance = (crossing + 5e6) % 1e7 - 5e6;
                worst = worst.max(distance.abs() as i64);
            });
        }
        (worst, count)
    }

    #[test]
    fn sound_of_any_card_leaves_on_this_machines_clock() {
        for (ppm, from, to) in [(0.0, 48_000, 48_000), (300.0, 48_000, 44_100), (-300.0, 44_100, 48_000)] {
            let (worst, frames) = off(ppm, from, to, 12);
            // Jitter of 0.4 ms has a mean of 0.2 ms, which is the card's word.
            assert!(worst < 300_000, "{ppm} ppm: {worst} ns");
            let expected = 12.0 * f64::from(to) * (1.0 + ppm * 1e-6);
            assert!((frames as f64 - expected).abs() < 1200.0, "{ppm} ppm: {frames} frames");
        }
    }

    #[test]
    fn after_frames_were_lost_sound_has_its_own_time() {
        let mut steady = Steady::new(1, 48_000, 48_000);
        let mut times = Vec::new();
        for n in (0..100u64).chain(150..250) {
            let at = Mono(3_600_000_000_000 + n as i64 * 10_000_000);
            steady.push(&[0.5; 480], Position(n * 480), at, &mut |_, due| times.push(due.0 / 1_000_000));
        }
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 100).collect();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert!((495..=510).contains(&gaps[0]), "{gaps:?}");
    }
}
