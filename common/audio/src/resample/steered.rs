//! From one rate to nearly another: what keeps a device with a clock of its own on the stream's time.
//!
//! A windowed sinc whose fractional position moves by a step that follows the speed. A frame's filter is blended from the two nearest
//! of a table, once for four channels at a time.

use std::f64::consts::PI;

use wide::f32x8;

/// 64 taps delay by 0.73 ms at 44.1 kHz; with a squared Hann window they stay flat to 19 kHz and 130 dB clean.
const TAPS: usize = 64;
/// The half-amplitude point, as a share of half the rate: what this window's transition band leaves.
const CUTOFF: f64 = 0.9156;
/// Between two input frames, the filter is known at this many points, and linear between those: a tone of 10 kHz stays 118 dB
/// clean.
const PHASES: usize = 256;
/// Products are summed in so many lanes: two of the narrowest vector registers, so that additions to one need not wait for each other.
/// Taps come in multiples of them.
const LANES: usize = 8;
/// Channels that share a blend: as many as the registers have room for.
const GROUP: usize = 4;
/// Largest correction of the speed, relative to 1.
const MAX_CORRECTION: f64 = 0.005;

/// Positions are in input frames, with this many bits for their fractions: a step is right to 1e-12.
const FRACTION: u32 = 40;
const ONE: i64 = 1 << FRACTION;

/// A resampler near a fixed ratio, whose speed follows a servo. Allocates only when built.
#[derive(Debug)]
pub struct Steered {
    /// `PHASES + 1` filters, each for a fraction of a frame later than the one before.
    table: Vec<f32>,
    taps: usize,
    channels: usize,
    chunk: usize,
    /// Input frames for an output frame at speed 0.
    nominal: f64,
    /// The same at the end of the last chunk, and at the end of the next; fixed point.
    step: i64,
    next_step: i64,
    /// How far the last output frame's position is before the whole input frame that follows it; fixed point, below one.
    before: i64,
    /// Each channel by itself: what the filter still reaches back to, then what a chunk takes.
    lines: Vec<f32>,
    line: usize,
    input: Vec<f32>,
}

impl Steered {
    /// A resampler from `from` to `to` frames a second that hands out `chunk` frames at a time.
    ///
    /// # Panics
    /// Never for 1 to 255 channels, a chunk of 1 to 8192 frames and rates from 1 kHz to 1 MHz.
    pub fn new(channels: u16, chunk: usize, from: u32, to: u32) -> Self {
        let channels = usize::from(channels);
        let nominal = f64::from(from) / f64::from(to);
        // A lower output rate needs a filter that is as much longer, so that it still ends before what would alias.
        let longer = nominal.max(1.0);
        let taps = ((TAPS as f64 * longer).ceil() as usize).next_multiple_of(LANES);
        let most = (chunk as f64 * nominal * (1.0 + MAX_CORRECTION)).ceil() as usize + 1;
        let step = fixed(nominal);
        Self {
            table: table(taps, CUTOFF / longer),
            taps,
            channels,
            chunk,
            nominal,
            step,
            next_step: step,
            before: 0,
            lines: vec![0.0; (taps + most) * channels],
            line: taps + most,
            input: vec![0.0; most * channels],
        }
    }

    /// Input frames by which the output lags behind the input: output frame `n` sounds like input frame
    /// `n * from / to - delay`.
    pub fn delay(&self) -> f64 {
        self.taps as f64 / 2.0 - self.nominal
    }

    /// Input frames by which the next chunk's first frame lags behind all the input that was taken: the
    /// [`delay`](Self::delay), and a part of a frame that changes from chunk to chunk, since input is taken in whole ones.
    pub fn lag(&self) -> f64 {
        self.taps as f64 / 2.0 + (self.before - self.step) as f64 / ONE as f64
    }

    /// Frames that each call of [`process`](Self::process) hands out.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Input frames that the next call of [`process`](Self::process) takes.
    pub fn needed(&self) -> usize {
        whole(self.end()) as usize
    }

    /// Plays faster by this share (1e-6 is one part per million), within ±0.5 %.
    pub fn set_speed(&mut self, speed: f64) {
        let correction = 1.0 + speed.clamp(-MAX_CORRECTION * 0.9, MAX_CORRECTION * 0.9);
        self.next_step = fixed(self.nominal * correction);
    }

    /// Forgets all input, as if newly built.
    pub fn reset(&mut self) {
        self.lines.fill(0.0);
        self.step = fixed(self.nominal);
        (self.next_step, self.before) = (self.step, 0);
    }

    /// Fills one chunk of output; `read` is asked once to fill the input that it takes.
    pub fn process(&mut self, out: &mut [f32], read: impl FnOnce(&mut [f32])) {
        let needed = self.needed();
        let input = &mut self.input[..needed * self.channels];
        read(input);
        for (channel, line) in self.lines.chunks_exact_mut(self.line).enumerate() {
            let taken = input.chunks_exact(self.channels);
            line[self.taps..].iter_mut().zip(taken).for_each(|(to, from)| *to = from[channel]);
        }
        for first in (0..self.channels).step_by(GROUP) {
            match self.channels - first {
                1 => self.render::<1>(first, out),
                2 => self.render::<2>(first, out),
                3 => self.render::<3>(first, out),
                _ => self.render::<GROUP>(first, out),
            }
        }
        self.before = needed as i64 * ONE - self.end();
        self.step = self.next_step;
        for line in self.lines.chunks_exact_mut(self.line) {
            line.copy_within(needed..needed + self.taps, 0);
        }
    }

    /// By how much the step changes with each frame of the chunk.
    fn change(&self) -> i64 {
        (self.next_step - self.step) / self.chunk as i64
    }

    /// Where the chunk's last frame is, from the first frame that the filter reaches back to.
    fn end(&self) -> i64 {
        let frames = self.chunk as i64;
        frames * self.step + frames * (frames + 1) / 2 * self.change() - self.before
    }

    /// Makes a chunk of so many channels, from the first one given on.
    fn render<const CHANNELS: usize>(&self, first: usize, out: &mut [f32]) {
        let lines: [_; CHANNELS] =
            std::array::from_fn(|channel| &self.lines[(first + channel) * self.line..][..self.line]);
        let (mut position, mut step, change) = (-self.before, self.step, self.change());
        for frame in out.chunks_exact_mut(self.channels).take(self.chunk) {
            step += change;
            position += step;
            let start = whole(position) as usize;
            let (near, far, share) = self.filters(start as i64 * ONE - position);
            let reach = lines.map(|line| lanes(&line[start..start + self.taps]));
            let mut sums = [f32x8::ZERO; CHANNELS];
            for (place, (near, far)) in near.iter().zip(far).enumerate() {
                let (near, far) = (f32x8::new(*near), f32x8::new(*far));
                let taps = (far - near).mul_add(share, near);
                for (sum, line) in sums.iter_mut().zip(&reach) {
                    *sum = taps.mul_add(f32x8::new(line[place]), *sum);
                }
            }
            frame[first..].iter_mut().zip(sums).for_each(|(sample, sum)| *sample = sum.reduce_add());
        }
    }

    /// The filters nearest to that of a frame that is so far before a whole one, and the share of the second.
    fn filters(&self, before: i64) -> (&[[f32; LANES]], &[[f32; LANES]], f32x8) {
        let phase = before * PHASES as i64;
        let start = (phase >> FRACTION) as usize * self.taps;
        let (near, far) = self.table[start..start + 2 * self.taps].split_at(self.taps);
        (lanes(near), lanes(far), f32x8::splat((phase & (ONE - 1)) as f32 / ONE as f32))
    }
}

fn lanes(samples: &[f32]) -> &[[f32; LANES]] {
    samples.as_chunks().0
}

fn fixed(frames: f64) -> i64 {
    (frames * ONE as f64) as i64
}

/// The next whole frame.
fn whole(position: i64) -> i64 {
    (position + ONE - 1) >> FRACTION
}

/// The filters for frames that are 0, 1, ... `PHASES` parts of an input frame before the middle tap.
fn table(taps: usize, cutoff: f64) -> Vec<f32> {
    let mut table = Vec::with_capacity((PHASES + 1) * taps);
    for phase in 0..=PHASES {
        let middle = taps as f64 / 2.0 - phase as f64 / PHASES as f64;
        let tap = |n: usize| {
            let x = n as f64 - middle;
            let sinc = if x == 0.0 { 1.0 } else { (PI * cutoff * x).sin() / (PI * cutoff * x) };
            sinc * (PI * x / taps as f64).cos().powi(4)
        };
        // Each lets a constant pass as it is.
        let sum: f64 = (0..taps).map(tap).sum();
        table.extend((0..taps).map(|n| (tap(n) / sum) as f32));
    }
    table
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
    fn each_of_many_channels_sounds_as_it_does_alone() {
        const MOST: usize = 2 * GROUP + 1;
        let alone: Vec<_> = (0..MOST)
            .map(|channel| tone(300.0 + 700.0 * channel as f64, 44_100, 2000))
            .map(|input| (resample(&mut Steered::new(1, 64, 44_100, 48_000), &input), input))
            .collect();
        for channels in 1..=MOST {
            let mut steered = Steered::new(channels as u16, 64, 44_100, 48_000);
            let (mut taken, mut out) = (0, vec![0.0; 64 * channels]);
            for chunk in 0..30 {
                steered.process(&mut out, |input| {
                    for frame in input.chunks_exact_mut(channels) {
                        frame.iter_mut().zip(&alone).for_each(|(sample, (_, input))| *sample = input[taken]);
                        taken += 1;
                    }
                });
                for (n, frame) in out.chunks_exact(channels).enumerate() {
                    let expected = alone[..channels].iter().map(|(output, _)| output[64 * chunk + n]);
                    assert!(
                        expected.eq(frame.iter().copied()),
                        "{channels} channels, chunk {chunk}, frame {n}"
                    );
                }
            }
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
