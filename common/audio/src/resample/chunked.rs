//! Blocks of any length in, chunks of a fixed length at another rate out: what an encoder of whole frames needs.

use super::Steered;

/// Cuts a stream into chunks and resamples it where the rates differ. Allocates only when built.
#[derive(Debug)]
pub struct Chunked {
    /// `None` where the rates are equal: samples pass as they are.
    resampler: Option<Steered>,
    channels: usize,
    chunk: usize,
    delay: f64,
    /// Input that waits until a chunk is whole.
    pending: Vec<f32>,
}

impl Chunked {
    /// From `from` to `to` frames a second, in chunks of `chunk` frames.
    ///
    /// # Panics
    /// As [`Steered::new`].
    pub fn new(channels: u16, chunk: usize, from: u32, to: u32) -> Self {
        let resampler = (from != to).then(|| Steered::new(channels, chunk, from, to));
        let delay = resampler.as_ref().map_or(0.0, Steered::delay) * f64::from(to) / f64::from(from);
        let channels = usize::from(channels);
        // The first chunk and each that follows take this or a frame or two more, as the fractions fall.
        let longest = (chunk as u64 * u64::from(from)).div_ceil(u64::from(to)) as usize + 2;
        let pending = Vec::with_capacity(longest.max(chunk) * channels);
        Self { resampler, channels, chunk, delay, pending }
    }

    /// Output frames by which the output lags behind the input: output frame `n` sounds like the input at `n - delay`, in
    /// output frames.
    pub fn delay(&self) -> f64 {
        self.delay
    }

    /// Input frames that are missing for the next chunk.
    pub fn wanted(&self) -> usize {
        let needed = self.resampler.as_ref().map_or(self.chunk, Steered::needed);
        needed.saturating_sub(self.pending.len() / self.channels)
    }

    /// Takes `frames` more, at most those [`wanted`](Self::wanted); `write` is given room for them, filled with zeroes.
    pub fn push(&mut self, frames: usize, write: impl FnOnce(&mut [f32])) {
        let start = self.pending.len();
        self.pending.resize(start + frames.min(self.wanted()) * self.channels, 0.0);
        write(&mut self.pending[start..]);
    }

    /// Fills `out`, one chunk long, where none is wanted any more. Returns whether it did.
    pub fn pull(&mut self, out: &mut [f32]) -> bool {
        if self.wanted() > 0 {
            return false;
        }
        match &mut self.resampler {
            Some(resampler) => resampler.process(out, |input| input.copy_from_slice(&self.pending)),
            None => out.copy_from_slice(&self.pending),
        }
        self.pending.clear();
        true
    }

    /// Forgets all input, as if newly built.
    pub fn reset(&mut self) {
        self.pending.clear();
        if let Some(resampler) = &mut self.resampler {
            resampler.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{Fit, tone};

    /// What becomes of `input` in blocks of `block` frames.
    fn convert(chunked: &mut Chunked, input: &[f32], block: usize) -> Vec<f32> {
        let (mut all, mut out) = (Vec::new(), vec![0.0; chunked.chunk]);
        for mut rest in input.chunks(block) {
            while !rest.is_empty() {
                let (now, later) = rest.split_at(chunked.wanted().min(rest.len()));
                chunked.push(now.len(), |room| room.copy_from_slice(now));
                if chunked.pull(&mut out) {
                    all.extend_from_slice(&out);
                }
                rest = later;
            }
        }
        all
    }

    #[test]
    fn tones_stay_clean_and_in_their_place() {
        for (frequency, clean) in [(997.0, -100.0), (10_000.0, -90.0)] {
            let mut chunked = Chunked::new(1, 240, 44_100, 48_000);
            let out = convert(&mut chunked, &tone(frequency, 44_100, 44_100), 128);
            let fit = Fit::of(&out, frequency, 48_000);
            assert!((fit.amplitude - 0.5).abs() < 2e-4, "{frequency} Hz: amplitude {}", fit.amplitude);
            assert!(fit.residual < clean, "{frequency} Hz: residual {} dB", fit.residual);
            let off = fit.later_than(chunked.delay());
            assert!(off.abs() < 0.01, "{frequency} Hz: {off} frames off");
        }
    }

    #[test]
    fn five_minutes_are_as_long_as_five_minutes() {
        let mut chunked = Chunked::new(1, 960, 44_100, 48_000);
        let (mut taken, mut given, mut out) = (0i64, 0i64, vec![0.0; 960]);
        while taken < 300 * 44_100 {
            let frames = chunked.wanted();
            chunked.push(frames, |_| {});
            taken += frames as i64;
            given += if chunked.pull(&mut out) { 960 } else { 0 };
            assert!((given * 147 - taken * 160).abs() <= 3 * 160, "{given} of {taken}");
        }
    }

    #[test]
    fn blocks_of_any_length_give_the_same() {
        let input = tone(440.0, 44_100, 10_000);
        let whole = convert(&mut Chunked::new(1, 240, 44_100, 48_000), &input, 10_000);
        for block in [1, 7, 220, 221, 500] {
            assert_eq!(convert(&mut Chunked::new(1, 240, 44_100, 48_000), &input, block), whole);
        }
        let mut same_rate = Chunked::new(1, 240, 48_000, 48_000);
        assert_eq!(convert(&mut same_rate, &input, 77), input[..9840]);
        assert_eq!(same_rate.delay(), 0.0);
        same_rate.reset();
        assert_eq!(same_rate.wanted(), 240);
    }
}
