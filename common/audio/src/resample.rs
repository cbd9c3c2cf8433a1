//! Resampling, by rubato: a fractional one that is steered while it runs, and a fixed one for files.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

/// 64 taps delay by 0.73 ms at 44.1 kHz; with this window they stay flat to 19 kHz and 130 dB clean.
const STEERED: (usize, WindowFunction) = (64, WindowFunction::Hann2);
/// Files have time for a longer filter.
const FIXED: (usize, WindowFunction) = (256, WindowFunction::BlackmanHarris2);
/// Largest correction that the steered resampler is built for, relative to 1.
const MAX_CORRECTION: f64 = 0.005;

fn sinc(taps: (usize, WindowFunction)) -> SincInterpolationParameters {
    SincInterpolationParameters::new(taps.0, taps.1)
        .oversampling_factor(256)
        .interpolation(SincInterpolationType::Cubic)
}

/// A resampler near the ratio 1 whose speed follows a servo. Allocates only when built.
pub struct Steered {
    inner: Async<f32>,
    channels: usize,
    chunk: usize,
    input: Vec<f32>,
}

impl Steered {
    /// A resampler that hands out `chunk` frames at a time.
    ///
    /// # Panics
    /// Never for 1 to 255 channels and a chunk of 1 to 8192 frames.
    pub fn new(channels: u16, chunk: usize) -> Self {
        let channels = usize::from(channels);
        let inner =
            Async::new_sinc(1.0, 1.0 + MAX_CORRECTION, &sinc(STEERED), chunk, channels, FixedAsync::Output)
                .expect("the parameters are constants within rubato's range");
        let input = vec![0.0; inner.input_frames_max() * channels];
        Self { inner, channels, chunk, input }
    }

    /// Frames by which the output lags behind the input.
    pub fn delay(&self) -> usize {
        self.inner.output_delay()
    }

    /// Frames that each call of [`process`](Self::process) hands out.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Plays faster by this share (1e-6 is one part per million), within ±0.5 %.
    pub fn set_speed(&mut self, speed: f64) {
        // rubato's ratio is output over input: more input for the same output is a lower ratio.
        let ratio = 1.0 / (1.0 + speed.clamp(-MAX_CORRECTION * 0.9, MAX_CORRECTION * 0.9));
        let applied = self.inner.set_resample_ratio(ratio, true);
        debug_assert!(applied.is_ok(), "the ratio is clamped to the range that was asked for");
    }

    /// Fills one chunk of output; `read` is asked once to fill the input that it takes.
    pub fn process(&mut self, out: &mut [f32], read: impl FnOnce(&mut [f32])) {
        let needed = self.inner.input_frames_next();
        let input = &mut self.input[..needed * self.channels];
        read(input);
        let done = InterleavedSlice::new(&*input, self.channels, needed).ok().and_then(|from| {
            let mut to = InterleavedSlice::new_mut(out, self.channels, self.chunk).ok()?;
            self.inner.process_into_buffer(&from, &mut to, None).ok()
        });
        debug_assert!(done.is_some(), "the buffers have the sizes that rubato asks for");
    }
}

/// A resampler from one rate to another, for sources that are not in a hurry.
pub struct Converter {
    inner: Async<f32>,
    channels: usize,
    input: Vec<f32>,
    output: Vec<f32>,
    /// Output frames still to be dropped: the filter's delay.
    skip: usize,
    /// Frames taken and handed out so far.
    taken: u64,
    given: u64,
}

impl Converter {
    const CHUNK: usize = 1024;

    /// From `from` to `to` frames a second.
    ///
    /// # Panics
    /// Never for 1 to 255 channels and rates from 1 kHz to 1 MHz.
    pub fn new(from: u32, to: u32, channels: u16) -> Self {
        let channels = usize::from(channels);
        let ratio = f64::from(to) / f64::from(from);
        let inner = Async::new_sinc(ratio, 1.1, &sinc(FIXED), Self::CHUNK, channels, FixedAsync::Input)
            .expect("the parameters are constants within rubato's range");
        let output = vec![0.0; inner.output_frames_max() * channels];
        let skip = inner.output_delay();
        Self { inner, channels, input: Vec::new(), output, skip, taken: 0, given: 0 }
    }

    /// Takes whole frames and appends what they become to `out`.
    pub fn process(&mut self, frames: &[f32], out: &mut Vec<f32>) {
        self.taken += (frames.len() / self.channels) as u64;
        self.push(frames, out);
    }

    fn push(&mut self, frames: &[f32], out: &mut Vec<f32>) {
        self.input.extend_from_slice(frames);
        let chunk = Self::CHUNK * self.channels;
        let mut done = 0;
        while self.input.len() - done >= chunk {
            let start = done;
            done += chunk;
            let Some(written) = self.convert(start) else { continue };
            let skipped = self.skip.min(written);
            self.skip -= skipped;
            self.given += (written - skipped) as u64;
            out.extend_from_slice(&self.output[skipped * self.channels..written * self.channels]);
        }
        self.input.drain(..done);
    }

    /// Appends what is still inside the filter, so that all of it lasts as long as what was taken.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let wanted = (self.taken as f64 * self.inner.resample_ratio()).round() as u64;
        let silence = vec![0.0; Self::CHUNK * self.channels];
        // What is left, and the filter's delay, are two chunks at most.
        for _ in 0..3 {
            if self.given < wanted {
                self.push(&silence, out);
            }
        }
        let excess = self.given.saturating_sub(wanted) as usize * self.channels;
        out.truncate(out.len().saturating_sub(excess));
        self.input.clear();
    }

    fn convert(&mut self, start: usize) -> Option<usize> {
        let input = &self.input[start..start + Self::CHUNK * self.channels];
        let from = InterleavedSlice::new(input, self.channels, Self::CHUNK).ok()?;
        let room = self.output.len() / self.channels;
        let mut to = InterleavedSlice::new_mut(&mut self.output, self.channels, room).ok()?;
        self.inner.process_into_buffer(&from, &mut to, None).ok().map(|(_, written)| written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frames: usize, rate: f64) -> Vec<f32> {
        (0..frames).map(|n| (std::f64::consts::TAU * 997.0 * n as f64 / rate).sin() as f32 * 0.5).collect()
    }

    /// Amplitude, delay in frames and residual (relative, in decibels) of the 997 Hz tone in `samples`, by least
    /// squares away from both ends.
    fn fit(samples: &[f32], rate: f64) -> (f64, f64, f64) {
        let middle = 1000..samples.len() - 1000;
        let step = std::f64::consts::TAU * 997.0 / rate;
        let (mut ss, mut sc, mut cc, mut ys, mut yc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for n in middle.clone() {
            let (s, c) = (step * n as f64).sin_cos();
            let y = f64::from(samples[n]);
            (ss, sc, cc, ys, yc) = (ss + s * s, sc + s * c, cc + c * c, ys + y * s, yc + y * c);
        }
        let det = ss * cc - sc * sc;
        let (a, b) = ((ys * cc - yc * sc) / det, (yc * ss - ys * sc) / det);
        let residual = |n: usize| {
            let (s, c) = (step * n as f64).sin_cos();
            f64::from(samples[n]) - a * s - b * c
        };
        let noise: f64 = middle.clone().map(|n| residual(n).powi(2)).sum::<f64>() / middle.len() as f64;
        let amplitude = a.hypot(b);
        (amplitude, -b.atan2(a) / step, 10.0 * (noise / (amplitude * amplitude / 2.0)).log10())
    }

    #[test]
    fn a_file_keeps_its_length_its_place_and_its_sound() {
        for (from, to) in [(48_000, 44_100), (44_100, 48_000), (22_050, 44_100), (96_000, 44_100)] {
            let mut converter = Converter::new(from, to, 1);
            let mut out = Vec::new();
            for piece in tone(from as usize, f64::from(from)).chunks(777) {
                converter.process(piece, &mut out);
            }
            converter.finish(&mut out);
            let (amplitude, delay, residual) = fit(&out, f64::from(to));
            assert!((amplitude - 0.5).abs() < 1e-4, "{from} to {to}: amplitude {amplitude}");
            assert!(delay.abs() < 1.5, "{from} to {to}: {delay} frames late");
            assert!(residual < -110.0, "{from} to {to}: residual {residual} dB");
            assert_eq!(out.len(), to as usize, "{from} to {to}: one second");
        }
    }

    #[test]
    fn the_steered_one_plays_faster_when_told() {
        let mut steered = Steered::new(1, 64);
        steered.set_speed(200e-6);
        let mut taken = 0;
        let mut out = [0.0; 64];
        for _ in 0..10_000 {
            steered.process(&mut out, |input| taken += input.len());
        }
        let expected = 640_000.0 * (1.0 + 200e-6);
        assert!((taken as f64 - expected).abs() < 3.0, "took {taken}, expected {expected}");
    }
}
