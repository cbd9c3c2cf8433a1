//! From blocks of any length, each with its time, to chunks of one length: what an encoder takes. What is missing becomes
//! silence, or a pause that the positions tell of.

use proto::units::{self, Mono};

/// Times that differ by less than this follow each other, in nanoseconds: a servo takes care of them.
const TOLERANCE: i64 = 5_000_000;
/// A hole up to this length is filled with silence always, in nanoseconds: sound that is lost for so short a time is no pause.
const SHORT: i64 = 1_000_000_000;
/// No hole longer than this is filled, in nanoseconds: the machine has slept.
const LONG: i64 = 10_000_000_000;

/// As many frames as an encoder takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chunk<'a> {
    /// Interleaved; finite, and within ±1.
    pub(crate) samples: &'a [f32],
    /// When the first frame was captured.
    pub(crate) at: Mono,
    /// Frames before this one, pauses included.
    pub(crate) position: u64,
}

pub(crate) struct Cutter {
    channels: usize,
    rate: u32,
    /// Frames in a chunk.
    chunk: usize,
    /// Silence takes the place of sound that does not come.
    fill: bool,
    pending: Vec<f32>,
    /// When the frame after the last pending one was captured; `None` before the first.
    end: Option<Mono>,
    /// Of the first pending frame.
    position: u64,
    /// Frames of silence that were put in.
    filled: u64,
}

impl Cutter {
    pub(crate) fn new(channels: u16, rate: u32, chunk: usize, fill: bool) -> Self {
        let channels = usize::from(channels);
        let pending = Vec::with_capacity(2 * chunk * channels);
        Self { channels, rate, chunk, fill, pending, end: None, position: 0, filled: 0 }
    }

    pub(crate) fn filled(&self) -> u64 {
        self.filled
    }

    /// Takes whole frames, the first of which was captured at `at`. What was captured before what is there already is left out.
    pub(crate) fn push(&mut self, block: &[f32], at: Mono, emit: &mut impl FnMut(Chunk<'_>)) {
        let hole = self.end.map_or(0, |end| at.since(end));
        if hole > TOLERANCE {
            self.bridge(hole, emit);
        }
        let known = if hole < -TOLERANCE { units::nanos_to_frames(-hole, self.rate) as usize } else { 0 };
        let frames = block.len() / self.channels;
        let rest = &block[known.min(frames) * self.channels..];
        if rest.is_empty() {
            return;
        }
        // What is no number, or beyond the scale, is nothing that every encoder takes.
        let sane = |sample: &f32| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
        self.pending.extend(rest.iter().map(sane));
        self.end = Some(at.plus(units::frames_to_nanos(frames as i64, self.rate)));
        self.cut(emit);
    }

    /// Nothing that was captured before `to` will come any more.
    pub(crate) fn fill_until(&mut self, to: Mono, emit: &mut impl FnMut(Chunk<'_>)) {
        if !self.fill {
            return;
        }
        let end = *self.end.get_or_insert(to);
        self.bridge(to.since(end), emit);
    }

    /// Puts silence in, or makes a pause of it.
    fn bridge(&mut self, hole: i64, emit: &mut impl FnMut(Chunk<'_>)) {
        let most = if self.fill { LONG } else { SHORT };
        let frames = usize::try_from(units::nanos_to_frames(hole, self.rate)).unwrap_or(0);
        if hole <= most {
            return self.put_silence(frames, emit);
        }
        // What is pending goes out with what makes it a chunk.
        let pending = self.pending.len() / self.channels;
        let rest = if pending > 0 { self.chunk - pending } else { 0 };
        self.put_silence(rest, emit);
        let skipped = frames.saturating_sub(rest) as u64;
        self.position += skipped;
        self.end = self.end.map(|end| end.plus(units::frames_to_nanos(skipped as i64, self.rate)));
    }

    fn put_silence(&mut self, frames: usize, emit: &mut impl FnMut(Chunk<'_>)) {
        self.pending.resize(self.pending.len() + frames * self.channels, 0.0);
        self.end = self.end.map(|end| end.plus(units::frames_to_nanos(frames as i64, self.rate)));
        self.filled += frames as u64;
        self.cut(emit);
    }

    fn cut(&mut self, emit: &mut impl FnMut(Chunk<'_>)) {
        let Some(end) = self.end else { return };
        let frames = self.pending.len() / self.channels;
        let start = end.plus(-units::frames_to_nanos(frames as i64, self.rate));
        let chunks = self.pending.chunks_exact(self.chunk * self.channels);
        let whole = chunks.len() * self.chunk;
        for (n, samples) in chunks.enumerate() {
            let before = n * self.chunk;
            let at = start.plus(units::frames_to_nanos(before as i64, self.rate));
            emit(Chunk { samples, at, position: self.position + before as u64 });
        }
        self.pending.drain(..whole * self.channels);
        self.position += whole as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// The chunks of four frames at 1 kHz that come of blocks of one channel, each given with its time in milliseconds.
    fn chunks(fill: bool, blocks: &[(i64, &[f32])], until: i64) -> Vec<(i64, u64, Vec<f32>)> {
        let mut cutter = Cutter::new(1, 1000, 4, fill);
        let mut out = Vec::new();
        let mut emit = |c: Chunk<'_>| out.push((c.at.0 / MS, c.position, c.samples.to_vec()));
        for (at, block) in blocks {
            cutter.push(block, Mono(at * MS), &mut emit);
        }
        cutter.fill_until(Mono(until * MS), &mut emit);
        out
    }

    #[test]
    fn blocks_of_any_length_are_cut_with_their_times() {
        let cut = chunks(false, &[(100, &[0.1, 0.2, 0.3]), (103, &[0.4, 0.5]), (105, &[0.6; 4])], 0);
        assert_eq!(cut, [(100, 0, vec![0.1, 0.2, 0.3, 0.4]), (104, 4, vec![0.5, 0.6, 0.6, 0.6])]);
    }

    #[test]
    fn a_short_hole_is_silent_and_a_long_one_a_pause() {
        let short = chunks(false, &[(100, &[0.1; 4]), (112, &[0.2; 4])], 0);
        assert_eq!(
            short,
            [(100, 0, vec![0.1; 4]), (104, 4, vec![0.0; 4]), (108, 8, vec![0.0; 4]), (112, 12, vec![0.2; 4])]
        );
        let long = chunks(false, &[(100, &[0.1; 6]), (2106, &[0.2; 4])], 5000);
        assert_eq!(
            long,
            [(100, 0, vec![0.1; 4]), (104, 4, vec![0.1, 0.1, 0.0, 0.0]), (2106, 2006, vec![0.2; 4])]
        );
    }

    #[test]
    fn silence_fills_what_does_not_come_and_gives_way_to_what_does() {
        let mut cutter = Cutter::new(1, 1000, 4, true);
        let mut out = Vec::new();
        let mut emit = |c: Chunk<'_>| out.push((c.at.0 / MS, c.position, c.samples.to_vec()));
        cutter.fill_until(Mono(100 * MS), &mut emit);
        cutter.fill_until(Mono(108 * MS), &mut emit);
        // Eight of these frames come too late.
        cutter.push(&[0.1; 12], Mono(100 * MS), &mut emit);
        cutter.fill_until(Mono(90 * MS), &mut emit);
        assert_eq!(out, [(100, 0, vec![0.0; 4]), (104, 4, vec![0.0; 4]), (108, 8, vec![0.1; 4])]);
        assert_eq!(cutter.filled(), 8);
    }

    #[test]
    fn a_sleep_of_the_machine_is_not_filled() {
        let day = 86_400_000;
        let cut = chunks(true, &[(100, &[0.1; 4]), (day, &[0.2; 4])], 0);
        assert_eq!(cut, [(100, 0, vec![0.1; 4]), (day, day as u64 - 100, vec![0.2; 4])]);
    }

    #[test]
    fn what_is_no_sound_becomes_some() {
        let cut = chunks(false, &[(0, &[f32::NAN, f32::INFINITY, -7.0, 1.5])], 0);
        assert_eq!(cut, [(0, 0, vec![0.0, 0.0, -1.0, 1.0])]);
    }
}
