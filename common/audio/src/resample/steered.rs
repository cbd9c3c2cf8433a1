//! From one rate to nearly another: what keeps a device with a clock of its own on the stream's time.
//!
//! A windowed sinc, known at [`PHASES`] points between two samples and linear between those. Its taps are worked out once for
//! each output frame and serve every channel; that costs a third of what a general resampler does.

/// 64 taps delay by 0.73 ms at 44.1 kHz; with this window and cutoff they are flat to 19 kHz.
const TAPS: usize = 64;
const CUTOFF: f64 = 0.92;
/// Linear between so many points, a 10 kHz tone is 105 dB clean.
const PHASES: usize = 256;
/// Sums that are kept apart, so that the compiler can use vectors.
const LANES: usize = 8;
/// Largest correction that the resampler is built for, relative to 1.
const MAX_CORRECTION: f64 = 0.005;

/// A resampler near a fixed ratio, whose speed follows a servo. Allocates only when built.
#[derive(Debug)]
pub struct Steered {
    channels: usize,
    chunk: usize,
    /// Input frames for each output frame, at speed 0.
    step: f64,
    /// The speed at the last chunk's end, and that at the next one's.
    speed: (f64, f64),
    filter: Vec<f32>,
    taps: Vec<f32>,
    /// The input that is still needed, channel by channel, `room` frames each, and how much of it is there.
    planes: Vec<f32>,
    room: usize,
    filled: usize,
    /// The next output frame's place in it, in frames.
    centre: f64,
    /// Interleaved input on its way into the planes.
    input: Vec<f32>,
}

impl Steered {
    /// A resampler from `from` to `to` frames a second that hands out `chunk` frames at a time.
    ///
    /// # Panics
    /// Never for 1 to 255 channels, a chunk of 1 to 8192 frames and rates from 1 kHz to 1 MHz.
    pub fn new(channels: u16, chunk: usize, from: u32, to: u32) -> Self {
        let channels = usize::from(channels);
        let step = f64::from(from) / f64::from(to);
        // A lower output rate needs a filter that is as much longer, so that it still ends before what would alias.
        let taps = ((TAPS as f64 * step.max(1.0)).ceil() as usize).next_multiple_of(2 * LANES);
        let most = (chunk as f64 * step * (1.0 + MAX_CORRECTION)).ceil() as usize + 4;
        let room = taps + most;
        let mut steered = Self {
            channels,
            chunk,
            step,
            speed: (0.0, 0.0),
            filter: filter(taps, CUTOFF / step.max(1.0)),
            taps: vec![0.0; taps],
            planes: vec![0.0; room * channels],
            room,
            filled: 0,
            centre: 0.0,
            input: vec![0.0; most * channels],
        };
        steered.reset();
        steered
    }

    /// Input frames by which the output lags behind the input from the start: output frame `n` sounds like input frame
    /// `n * from / to - delay`, as long as the speed is 0.
    pub fn delay(&self) -> f64 {
        (self.taps.len() / 2) as f64
    }

    /// Input frames from the next output frame's place to the end of what was read.
    pub fn lag(&self) -> f64 {
        self.filled as f64 - self.centre
    }

    /// Frames that each call of [`process`](Self::process) hands out.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Input frames that the next call of [`process`](Self::process) takes.
    pub fn needed(&self) -> usize {
        let last = self.place(self.chunk - 1) as usize;
        (last + self.taps.len() / 2 + 1).saturating_sub(self.filled)
    }

    /// Plays faster by this share (1e-6 is one part per million), within ±0.5 %. The speed gets there by the end of the next
    /// chunk.
    pub fn set_speed(&mut self, speed: f64) {
        self.speed.1 = speed.clamp(-MAX_CORRECTION * 0.9, MAX_CORRECTION * 0.9);
    }

    /// Forgets all input, as if newly built.
    pub fn reset(&mut self) {
        self.planes.fill(0.0);
        // As much silence before the first frame as the filter reaches back.
        self.filled = self.taps.len();
        self.centre = (self.taps.len() / 2) as f64;
        self.speed = (0.0, 0.0);
    }

    /// Fills one chunk of output; `read` is asked once to fill the input that it takes.
    pub fn process(&mut self, out: &mut [f32], read: impl FnOnce(&mut [f32])) {
        let needed = self.needed();
        let input = &mut self.input[..needed * self.channels];
        read(input);
        for (plane, channel) in self.planes.chunks_exact_mut(self.room).zip(0..) {
            let samples = input.iter().skip(channel).step_by(self.channels);
            plane[self.filled..][..needed].iter_mut().zip(samples).for_each(|(to, from)| *to = *from);
        }
        self.filled += needed;
        for (n, frame) in out.chunks_exact_mut(self.channels).take(self.chunk).enumerate() {
            let start = self.set_taps(self.place(n));
            for (sample, plane) in frame.iter_mut().zip(self.planes.chunks_exact(self.room)) {
                *sample = dot(&self.taps, &plane[start..start + self.taps.len()]);
            }
        }
        self.centre = self.place(self.chunk);
        self.speed.0 = self.speed.1;
        self.forget();
    }

    /// Where the chunk's output frame `n` lies, in frames of the planes: the speed changes evenly over the chunk.
    fn place(&self, n: usize) -> f64 {
        let n = n as f64;
        let (from, to) = self.speed;
        self.centre + self.step * (n * (1.0 + from) + (to - from) * n * (n + 1.0) / (2.0 * self.chunk as f64))
    }

    /// Works out the taps for a place. Returns the first frame that they apply to.
    fn set_taps(&mut self, place: f64) -> usize {
        let length = self.taps.len();
        let whole = place as usize;
        let phase = (place - whole as f64) * PHASES as f64;
        let index = (phase as usize).min(PHASES - 1);
        let weight = (phase - index as f64) as f32;
        let (before, after) = self.filter[index * length..(index + 2) * length].split_at(length);
        for ((tap, before), after) in self.taps.iter_mut().zip(before).zip(after) {
            *tap = before + weight * (after - before);
        }
        whole + 1 - length / 2
    }

    /// Drops the frames that lie before the next output frame's filter.
    fn forget(&mut self) {
        let over = (self.centre as usize + 1).saturating_sub(self.taps.len() / 2).min(self.filled);
        for plane in self.planes.chunks_exact_mut(self.room) {
            plane.copy_within(over..self.filled, 0);
        }
        self.filled -= over;
        self.centre -= over as f64;
    }
}

/// The taps for each phase, one after the other, and those of the last phase's end.
fn filter(taps: usize, cutoff: f64) -> Vec<f32> {
    let half = (taps / 2) as f64;
    let mut filter = Vec::with_capacity((PHASES + 1) * taps);
    for phase in 0..=PHASES {
        let fraction = phase as f64 / PHASES as f64;
        let tap = |n: usize| {
            let x = n as f64 - (half - 1.0) - fraction;
            let angle = std::f64::consts::PI * x * cutoff;
            let sinc = if x == 0.0 { 1.0 } else { angle.sin() / angle };
            // The square of Hann's window.
            let window = (std::f64::consts::FRAC_PI_2 * x / half).cos().powi(4);
            sinc * window
        };
        let row: Vec<f64> = (0..taps).map(tap).collect();
        let sum: f64 = row.iter().sum();
        filter.extend(row.iter().map(|tap| (tap / sum) as f32));
    }
    filter
}

/// Both are equally long, a multiple of [`LANES`].
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
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
            // Beside rounding to a whole output frame, as many as the filter is ahead: none, since it begins with silence.
            assert!(
                (taken as f64 - expected).abs() < 3.0 + f64::from(from) / f64::from(to),
                "{from} to {to}: took {taken}, expected {expected}"
            );
        }
    }
}
