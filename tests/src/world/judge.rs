//! What a receiver plays, held against what was captured.

use proto::units::Mono;

use super::RATE;
use super::outcome::{Heard, Outcome};
use super::scenario::{PILOT_AMPLITUDE, Sound};
use crate::pilot::{LOW, Pilot, nearest};

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
        let hertz = if let Sound::Pilot(hertz) = sound { hertz } else { LOW };
        let pilot = Pilot::new(hertz, PILOT_AMPLITUDE, rate);
        Self { sound, settle, captured_ns, last: 0.0, pilot }
    }

    /// The card has lost time, or begins: what comes next does not follow on what was.
    pub(super) fn interrupted(&mut self) {
        self.pilot.interrupt();
    }

    pub(super) fn judge(&mut self, played: &Played<'_>, outcome: &mut Outcome) {
        if played.from < self.settle {
            self.last = *played.samples.last().unwrap_or(&0.0);
            return;
        }
        match self.sound {
            Sound::Ramp => self.judge_ramp(played, outcome),
            Sound::Tone(_) => outcome.played.extend(played.samples),
            Sound::Pilot(hertz) => self.judge_pilot(played, hertz, outcome),
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

    fn judge_pilot(&mut self, played: &Played<'_>, hertz: f64, outcome: &mut Outcome) {
        // By the sender's card, a cycle lasts other than by true time.
        let stretch = self.captured_ns * f64::from(RATE) / 1e9;
        for (index, &sample) in played.samples.iter().enumerate() {
            let at = played.from.0 as f64 + index as f64 * played.frame_ns;
            if self.pilot.clicks(sample) {
                outcome.clicks.push(at / 1e9);
            }
            if let Some(phase) = self.pilot.push(sample, at, played.frame_ns) {
                let cycles = (phase.at / stretch - phase.since).rem_euclid(1e9 / hertz);
                let latency = nearest(cycles, played.shown / stretch, hertz) * stretch;
                outcome.heard.push(Heard { at: phase.at / 1e9, latency });
            }
        }
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
