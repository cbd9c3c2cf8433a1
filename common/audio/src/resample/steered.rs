//! From one rate to nearly another: what keeps a device with a clock of its own on the stream's time.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Adjustable, Async, FixedAsync, Resampler as _, WindowFunction, calculate_cutoff};

use super::{OVERSAMPLING, sinc};

/// 64 taps delay by 0.73 ms at 44.1 kHz; with this window they stay flat to 19 kHz and 130 dB clean.
const TAPS: usize = 64;
const WINDOW: WindowFunction = WindowFunction::Hann2;
/// Largest correction that the resampler is built for, relative to 1.
const MAX_CORRECTION: f64 = 0.005;

/// A resampler near a fixed ratio, whose speed follows a servo. Allocates only when built.
#[derive(Debug)]
pub struct Steered {
    inner: Async<f32>,
    channels: usize,
    chunk: usize,
    /// Frames a second, output over input, at speed 0.
    ratio: f64,
    delay: f64,
    /// Input frames for an output frame at the end of the last chunk, and at the end of the next.
    step: f64,
    next_step: f64,
    /// Input frames taken beyond what the output so far stands for.
    ahead: f64,
    input: Vec<f32>,
}

impl Steered {
    /// A resampler from `from` to `to` frames a second that hands out `chunk` frames at a time.
    ///
    /// # Panics
    /// Never for 1 to 255 channels, a chunk of 1 to 8192 frames and rates from 1 kHz to 1 MHz.
    pub fn new(channels: u16, chunk: usize, from: u32, to: u32) -> Self {
        let channels = usize::from(channels);
        let ratio = f64::from(to) / f64::from(from);
        // A lower output rate needs a filter that is as much longer, so that it still ends before what would alias.
        let taps = (TAPS as f64 / ratio.min(1.0)).ceil() as usize;
        let taps = taps.next_multiple_of(8);
        let filter = sinc(taps, WINDOW).f_cutoff(calculate_cutoff(TAPS, WINDOW));
        let inner =
            Async::new_sinc(ratio, 1.0 + MAX_CORRECTION, &filter, chunk, channels, FixedAsync::Output)
                .expect("the parameters are within rubato's range");
        let input = vec![0.0; inner.input_frames_max() * channels];
        // rubato takes a step before each frame that it hands out, and its filters begin one point late.
        let delay = taps as f64 / 2.0 - 1.0 / ratio - 1.0 / OVERSAMPLING as f64;
        let step = 1.0 / ratio;
        Self { inner, channels, chunk, ratio, delay, step, next_step: step, ahead: 0.0, input }
    }

    /// Input frames by which the output lags behind the input: output frame `n` sounds like input frame
    /// `n * from / to - delay`.
    pub fn delay(&self) -> f64 {
        self.delay
    }

    /// Input frames by which the next chunk's first frame lags behind all the input that was taken: the
    /// [`delay`](Self::delay), and a part of a frame that changes from chunk to chunk, since input is taken in whole ones.
    pub fn lag(&self) -> f64 {
        self.delay + self.ahead
    }

    /// Frames that each call of [`process`](Self::process) hands out.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Input frames that the next call of [`process`](Self::process) takes.
    pub fn needed(&self) -> usize {
        self.inner.input_frames_next()
    }

    /// Plays faster by this share (1e-6 is one part per million), within ±0.5 %.
    pub fn set_speed(&mut self, speed: f64) {
        // rubato's ratio is output over input: more input for the same output is a lower ratio.
        let correction = 1.0 + speed.clamp(-MAX_CORRECTION * 0.9, MAX_CORRECTION * 0.9);
        let ratio = self.ratio / correction;
        self.next_step = 1.0 / ratio;
        let applied = self.inner.set_resample_ratio(ratio, true);
        debug_assert!(applied.is_ok(), "the ratio is clamped to the range that was asked for");
    }

    /// Forgets all input, as if newly built.
    pub fn reset(&mut self) {
        self.inner.reset();
        (self.step, self.next_step, self.ahead) = (1.0 / self.ratio, 1.0 / self.ratio, 0.0);
    }

    /// Fills one chunk of output; `read` is asked once to fill the input that it takes.
    pub fn process(&mut self, out: &mut [f32], read: impl FnOnce(&mut [f32])) {
        let needed = self.needed();
        let input = &mut self.input[..needed * self.channels];
        read(input);
        let done = InterleavedSlice::new(&*input, self.channels, needed).ok().and_then(|from| {
            let mut to = InterleavedSlice::new_mut(out, self.channels, self.chunk).ok()?;
            self.inner.process_into_buffer(&from, &mut to, None).ok()
        });
        // rubato's step changes evenly over the chunk, before each frame.
        let frames = self.chunk as f64;
        let stood_for = frames * self.step + (frames + 1.0) / 2.0 * (self.next_step - self.step);
        self.ahead += needed as f64 - stood_for;
        self.step = self.next_step;
        debug_assert!(done.is_some(), "the buffers have the sizes that rubato asks for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{Fit, tone};

    const PAIRS: [(u32, u32); 7] = [
        (44_100, 44_100),
        (44_100, 48_000),
        (48_000, 44_100),
        (8_000, 48_000),
        (48_000, 8_000),
        (192_000, 48_000),
        (96_000, 44_100),
    ];

    /// What becomes of `input`, as far as whole chunks go.
    fn resample(steered: &mut Steered, input: &[f32]) -> Vec<f32> {
        let (mut rest, mut all, mut out) = (input, Vec::new(), vec![0.0; steered.chunk()]);
        while rest.len() >= steered.needed() {
            let (now, later) = rest.split_at(steered.needed());
            steered.process(&mut out, |input| input.copy_from_slice(now));
            all.extend_from_slice(&out);
            rest = later;
        }
        all
    }

    #[test]
    fn the_delay_is_known_to_a_hundredth_of_a_frame() {
        for (from, to) in PAIRS {
            let mut steered = Steered::new(1, 64, from, to);
            let out = resample(&mut steered, &tone(997.0, from, from as usize / 2));
            let fit = Fit::of(&out, 997.0, to);
            let off = fit.later_than(steered.delay() * f64::from(to) / f64::from(from));
            assert!(off.abs() < 0.01, "{from} to {to}: {off} frames off");
            assert!((fit.amplitude - 0.5).abs() < 2e-4, "{from} to {to}: amplitude {}", fit.amplitude);
            assert!(fit.residual < -100.0, "{from} to {to}: residual {} dB", fit.residual);
        }
    }

    #[test]
    fn what_the_output_cannot_hold_is_removed() {
        for (from, to, frequency) in
            [(192_000, 48_000, 27_000.0), (48_000, 8_000, 4_400.0), (96_000, 44_100, 26_000.0)]
        {
            let out = resample(&mut Steered::new(1, 64, from, to), &tone(frequency, from, from as usize / 4));
            let power = out.iter().skip(1000).map(|s| s * s).sum::<f32>() / (out.len() - 1000) as f32;
            let level = 10.0 * (power / 0.125).log10();
            assert!(level < -80.0, "{frequency} Hz from {from} to {to}: {level} dB");
        }
    }

    #[test]
    fn reset_begins_anew() {
        let mut steered = Steered::new(1, 64, 44_100, 48_000);
        let input = tone(997.0, 44_100, 5000);
        let first = resample(&mut steered, &input);
        steered.reset();
        assert_eq!(resample(&mut steered, &input), first);
    }

    #[test]
    fn the_lag_is_known_while_the_speed_changes() {
        for (from, to) in PAIRS {
            let mut steered = Steered::new(1, 8, from, to);
            let (mut taken, mut worst, mut out) = (0, 0.0f64, [0.0; 8]);
            for round in 0..100 {
                steered.set_speed(f64::from(round * 7919 % 1000 - 500) * 1e-6);
                let expected = f64::from(taken) - steered.lag();
                // Each sample is its own place.
                steered.process(&mut out, |input| {
                    for sample in input {
                        *sample = taken as f32;
                        taken += 1;
                    }
                });
                if round > 60 {
                    worst = worst.max((f64::from(out[0]) - expected).abs());
                }
            }
            // The filter's gain is right to 3e-5, which counts for much where values are thousands.
            assert!(worst < 0.15, "{from} to {to}: {worst} frames off");
        }
    }

    #[test]
    fn it_plays_faster_when_told() {
        for (from, to) in PAIRS {
            let mut steered = Steered::new(1, 64, from, to);
            steered.set_speed(200e-6);
            let mut taken = 0;
            let mut out = [0.0; 64];
            for _ in 0..10_000 {
                steered.process(&mut out, |input| taken += input.len());
            }
            let expected = 640_000.0 * f64::from(from) / f64::from(to) * (1.0 + 200e-6);
            // Beside rounding, as many as the filter is ahead: none, since it begins with silence.
            assert!(
                (taken as f64 - expected).abs() < 3.0,
                "{from} to {to}: took {taken}, expected {expected}"
            );
        }
    }
}
