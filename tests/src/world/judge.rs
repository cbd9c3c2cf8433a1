//! What a receiver plays, held against what was captured.

use std::f64::consts::TAU;

use proto::units::Mono;

use super::RATE;
use super::outcome::{Heard, Outcome};
use super::scenario::{PILOT, PILOT_AMPLITUDE, Sound};

/// A crossfade of 5 ms in frames of [`RATE`].
const CROSSFADE: f64 = 0.005 * RATE as f64;
/// Cycles of a pilot in which its phase is taken: over two, a raised cosine meets none of its mirror image.
const CYCLES: f64 = 2.0;

/// What a card plays in one period.
pub(super) struct Played<'a> {
    pub(super) samples: &'a [f32],
    /// When the first of them leaves the DAC, in true time.
    pub(super) from: Mono,
    /// How long a frame lasts, in nanoseconds.
    pub(super) frame_ns: f64,
    /// The latency that the receiver shows, in nanoseconds.
    pub(super) shown: f64,
}

/// Judges what comes from a card.
pub(super) struct Judge {
    sound: Sound,
    settle: Mono,
    /// How long a frame of the sender's card lasts, in nanoseconds.
    captured_ns: f64,
    /// The sample before.
    last: f32,
    pilot: Pilot,
}

impl Judge {
    /// Of a card of `rate` frames a second; frame 0 was captured at time 0.
    pub(super) fn new(sound: Sound, settle: Mono, captured_ns: f64, rate: u32) -> Self {
        Self { sound, settle, captured_ns, last: 0.0, pilot: Pilot::new(rate) }
    }

    /// The card has lost time, or begins: what comes next does not follow on what was.
    pub(super) fn interrupted(&mut self) {
        self.pilot.forget();
    }

    pub(super) fn judge(&mut self, played: &Played<'_>, outcome: &mut Outcome) {
        if played.from < self.settle {
            self.last = *played.samples.last().unwrap_or(&0.0);
            return;
        }
        match self.sound {
            Sound::Ramp => self.judge_ramp(played, outcome),
            Sound::Tone(_) => outcome.played.extend(played.samples),
            Sound::Pilot => self.pilot.judge(played, self.captured_ns, outcome),
        }
    }

    /// One step of the ramp each frame, but where it wraps: there the resampler rings.
    fn judge_ramp(&mut self, played: &Played<'_>, outcome: &mut Outcome) {
        let mut before = self.last;
        let mut whole = true;
        for &sample in played.samples {
            let step = (sample - before) * 32_768.0;
            let wrapping = sample.abs() > 0.8 || before.abs() > 0.8;
            let right = (step - 1.0).abs() < 0.02 || wrapping;
            outcome.wrong += u64::from(!right);
            whole &= right && !wrapping;
            before = sample;
        }
        outcome.judged += played.samples.len() as u64;
        self.last = before;
        if whole {
            let middle = played.samples.len() / 2;
            let heard_at = played.from.0 as f64 + middle as f64 * played.frame_ns;
            // Which of the frames with this value is the one that was captured last before it was heard?
            let value = f64::from(played.samples[middle]) * 32_768.0;
            let newest = heard_at / self.captured_ns;
            let frame = value + ((newest - value) / 65_536.0).floor() * 65_536.0;
            outcome.heard.push(Heard { at: heard_at / 1e9, latency: heard_at - frame * self.captured_ns });
        }
    }
}

/// Takes the phase of a pilot in one window after the other.
struct Pilot {
    /// Radians a frame.
    step: f64,
    window: usize,
    /// The window so far, and when its first frame left the DAC.
    samples: Vec<f32>,
    from: f64,
    /// The two samples before, once there are two.
    before: Option<[f32; 2]>,
}

impl Pilot {
    fn new(rate: u32) -> Self {
        let step = TAU * PILOT / f64::from(rate);
        let window = (CYCLES * f64::from(rate) / PILOT) as usize;
        Self { step, window, samples: Vec::new(), from: 0.0, before: None }
    }

    fn forget(&mut self) {
        self.samples.clear();
        self.before = None;
    }

    fn judge(&mut self, played: &Played<'_>, captured_ns: f64, outcome: &mut Outcome) {
        for (index, &sample) in played.samples.iter().enumerate() {
            let at = played.from.0 as f64 + index as f64 * played.frame_ns;
            if self.bends(sample) {
                outcome.clicks.push(at / 1e9);
            }
            if self.samples.is_empty() {
                self.from = at;
            }
            self.samples.push(sample);
            if self.samples.len() == self.window {
                outcome.heard.extend(self.heard(played, captured_ns));
                self.samples.clear();
            }
        }
    }

    /// Whether the sound bends more sharply here than where a linear crossfade of 5 ms between opposite phases begins.
    fn bends(&mut self, sample: f32) -> bool {
        let bend = self.before.map_or(0.0, |[first, second]| (first - 2.0 * second + sample).abs());
        self.before = self.before.map_or(Some([sample; 2]), |[_, second]| Some([second, sample]));
        f64::from(bend) > PILOT_AMPLITUDE * (2.0 / CROSSFADE + self.step.powi(2))
    }

    /// The middle of the window; `None` where it is not the pilot all through.
    fn heard(&self, played: &Played<'_>, captured_ns: f64) -> Option<Heard> {
        let middle = (self.window - 1) as f64 / 2.0;
        let (mut a, mut b, mut power) = (0.0, 0.0, 0.0);
        for (index, &sample) in self.samples.iter().enumerate() {
            let (sample, off) = (f64::from(sample), index as f64 - middle);
            let weight = 1.0 + (TAU * off / self.window as f64).cos();
            let (sin, cos) = (self.step * off).sin_cos();
            a += weight * sample * sin;
            b += weight * sample * cos;
            power += sample * sample;
        }
        let amplitude = 2.0 * a.hypot(b) / self.window as f64;
        let rms = (2.0 * power / self.window as f64).sqrt();
        let whole = |found: f64| (found / PILOT_AMPLITUDE - 1.0).abs() < 0.02;
        if !whole(amplitude) || !whole(rms) {
            return None;
        }
        let heard_at = self.from + middle * played.frame_ns;
        let cycle = f64::from(RATE) / PILOT * captured_ns;
        let captured = b.atan2(a) / TAU * cycle;
        let latency = (heard_at - captured).rem_euclid(cycle);
        let latency = latency + ((played.shown - latency) / cycle).round() * cycle;
        Some(Heard { at: heard_at / 1e9, latency })
    }
}

/// Judges a file: the ramp without a gap.
#[derive(Default)]
pub(super) struct FileJudge {
    next: Option<i16>,
}

impl FileJudge {
    pub(super) fn judge(&mut self, block: &[f32], judged: bool, outcome: &mut Outcome) {
        for &sample in block {
            let value = (sample * 32_768.0) as i16;
            let expected = self.next.unwrap_or(value);
            self.next = Some(expected.wrapping_add(1));
            if judged {
                outcome.judged += 1;
                outcome.wrong += u64::from(value != expected);
            }
        }
    }
}
