//! A tone that tells when it was captured, by its phase, whatever codec, rate or card it went through; and by how even it is,
//! whether something clicked.

use std::f64::consts::TAU;

/// Hertz of a tone of which a cycle is longer than receivers are ever apart. High-pass filters, as Opus has one, shift it by
/// 50 µs.
pub const LOW: f64 = 100.0;
/// Hertz of a tone which such filters leave where it is.
pub const HIGH: f64 = 1000.0;
/// Seconds in which the phase is taken: two cycles at least, over which a raised cosine meets none of the tone's mirror image.
const WINDOW: f64 = 0.02;
/// A crossfade that counts as smooth, in seconds.
const CROSSFADE: f64 = 0.005;

/// The phase of the tone at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// When, in nanoseconds.
    pub at: f64,
    /// Nanoseconds since the tone last rose through zero, by its own clock.
    pub since: f64,
}

/// Takes the phase in one window after the other.
#[derive(Clone, Debug)]
pub struct Pilot {
    amplitude: f64,
    /// Nanoseconds of a cycle.
    cycle: f64,
    /// Radians a frame.
    step: f64,
    /// Most that three samples in a row may bend.
    bend: f64,
    window: usize,
    samples: Vec<f32>,
    /// When the window's first frame was heard, in nanoseconds.
    from: f64,
    /// The two samples before.
    before: [Option<f32>; 2],
}

impl Pilot {
    /// A tone of so many hertz and this amplitude, at `rate` frames a second.
    pub fn new(hertz: f64, amplitude: f64, rate: u32) -> Self {
        let step = TAU * hertz / f64::from(rate);
        // Where a linear crossfade between opposite phases begins or ends.
        let bend = amplitude * (2.0 / (CROSSFADE * f64::from(rate)) + step * step);
        let window = (WINDOW * f64::from(rate)) as usize;
        Self {
            amplitude,
            cycle: 1e9 / hertz,
            step,
            bend,
            window,
            samples: Vec::new(),
            from: 0.0,
            before: [None; 2],
        }
    }

    /// What comes next does not follow on what was.
    pub fn interrupt(&mut self) {
        self.samples.clear();
        self.before = [None; 2];
    }

    /// Whether the sound bends more sharply at this sample, which comes next, than a crossfade does. Call before [`push`](Self::push).
    pub fn clicks(&self, sample: f32) -> bool {
        let [Some(first), Some(second)] = self.before else { return false };
        f64::from((first - 2.0 * second + sample).abs()) > self.bend
    }

    /// Takes the next sample and when it was heard, in nanoseconds; `frame` is how long each lasts. Returns the phase at the middle
    /// of each window that was the tone all through.
    pub fn push(&mut self, sample: f32, at: f64, frame: f64) -> Option<Phase> {
        self.before = [self.before[1], Some(sample)];
        if self.samples.is_empty() {
            self.from = at;
        }
        self.samples.push(sample);
        if self.samples.len() < self.window {
            return None;
        }
        let phase = self.phase(frame);
        self.samples.clear();
        phase
    }

    fn phase(&self, frame: f64) -> Option<Phase> {
        let middle = (self.window - 1) as f64 / 2.0;
        let (mut a, mut b, mut power) = (0.0, 0.0, 0.0);
        for (index, &sample) in self.samples.iter().enumerate() {
            let (sample, off) = (f64::from(sample), index as f64 - middle);
            let weight = 1.0 + (TAU * off / self.window as f64).cos();
            let (sin, cos) = (self.step * off).sin_cos();
            a += weight * sample * cos;
            b += weight * sample * sin;
            power += sample * sample;
        }
        // The tone is sin(phase + step * off).
        let amplitude = 2.0 * a.hypot(b) / self.window as f64;
        let rms = (2.0 * power / self.window as f64).sqrt();
        let whole = |found: f64| (found / self.amplitude - 1.0).abs() < 0.02;
        let since = a.atan2(b).rem_euclid(TAU) / TAU * self.cycle;
        (whole(amplitude) && whole(rms)).then_some(Phase { at: self.from + middle * frame, since })
    }
}

/// The delay nearest to `about` of all that differ from `delay` by whole cycles of so many hertz, in nanoseconds.
pub fn nearest(delay: f64, about: f64, hertz: f64) -> f64 {
    let cycle = 1e9 / hertz;
    delay + ((about - delay) / cycle).round() * cycle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_tells_when_it_was_captured() {
        // A card 300 ppm fast, and sound that takes 12.345678 ms.
        for hertz in [LOW, HIGH] {
            finds(hertz, 44_100, 12_345_678.0);
        }
    }

    fn finds(hertz: f64, rate: u32, delay: f64) {
        let frame = 1e9 / (f64::from(rate) * (1.0 + 300e-6));
        let mut pilot = Pilot::new(hertz, 0.5, rate);
        let mut found = Vec::new();
        for n in 0..10_000 {
            let at = 5e9 + f64::from(n) * frame;
            let sample = (0.5 * (TAU * (at - delay) * hertz / 1e9).sin() * 32_768.0).round() / 32_768.0;
            assert!(!pilot.clicks(sample as f32), "a click at {n}");
            found.extend(pilot.push(sample as f32, at, frame));
        }
        assert_eq!(found.len(), 11);
        for phase in found {
            let off = nearest(phase.at - phase.since, delay, hertz) - delay;
            assert!(off.abs() < 100.0, "{off} ns");
        }
    }

    #[test]
    fn a_frame_left_out_or_silence_is_no_pilot_and_a_step_clicks() {
        let mut pilot = Pilot::new(LOW, 0.5, 48_000);
        let sample = |n: usize| (0.5 * (TAU * n as f64 / 480.0).sin()) as f32;
        let clicks = |n: usize| if n < 600 { sample(n) } else { sample(n + 40) };
        let heard = (0..960).filter(|&n| {
            let found = pilot.clicks(clicks(n));
            pilot.push(clicks(n), n as f64, 1.0);
            found
        });
        assert_eq!(heard.collect::<Vec<_>>(), [600, 601]);
        assert!((0..960).all(|n| pilot.push(0.0, n as f64, 1.0).is_none()));
    }
}
