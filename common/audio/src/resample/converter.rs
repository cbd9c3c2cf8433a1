//! For sources that are not in a hurry: files.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Resampler as _, SincInterpolationParameters};
use rubato::{SincInterpolationType, WindowFunction};

/// Files have time for a longer filter than a device.
const TAPS: usize = 256;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris2;

/// A resampler from one rate to another.
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
        let filter =
            SincInterpolationParameters::new(TAPS, WINDOW).interpolation(SincInterpolationType::Cubic);
        let inner = Async::new_sinc(ratio, 1.1, &filter, Self::CHUNK, channels, FixedAsync::Input)
            .expect("the parameters are within rubato's range");
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
    use crate::tone::{Fit, tone};

    #[test]
    fn a_file_keeps_its_length_its_place_and_its_sound() {
        for (from, to) in [(48_000, 44_100), (44_100, 48_000), (22_050, 44_100), (96_000, 44_100)] {
            let mut converter = Converter::new(from, to, 1);
            let mut out = Vec::new();
            for piece in tone(997.0, from, from as usize).chunks(777) {
                converter.process(piece, &mut out);
            }
            converter.finish(&mut out);
            let fit = Fit::of(&out, 997.0, to);
            assert!((fit.amplitude - 0.5).abs() < 1e-4, "{from} to {to}: amplitude {}", fit.amplitude);
            let off = fit.later_than(0.0);
            assert!(off.abs() < 1.5, "{from} to {to}: {off} frames off");
            assert!(fit.residual < -110.0, "{from} to {to}: residual {} dB", fit.residual);
            assert_eq!(out.len(), to as usize, "{from} to {to}: one second");
        }
    }
}
