//! From captured frames to a client's: channels picked and summed, gain, the level for the meter; and the way from one
//! such mix to another.
//!
//! A change is crossfaded with shares that add up to one: what was heard and what is to be heard are often the same
//! programme (another gain, the polarity, a neighbouring channel), which shares of equal power would make 3 dB too loud
//! halfway. The shares follow `3t² - 2t³`, which begins and ends level, so that no corner is heard either.

use std::sync::Arc;

use proto::units::Position;

use super::spec::EncodingSpec;
use crate::map::ChannelMap;
use crate::signal::Signal;

/// A change is crossfaded over the rate divided by this, in frames: 5 ms.
const FADES_A_SECOND: u32 = 200;
/// Mixes that are remembered of what is faded out. Each change within a crossfade adds one; the list of clients is read
/// again less often than that.
const PARTS: usize = 8;

/// Captured frames.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// Position of the first.
    pub(super) from: Position,
    /// Samples in a frame.
    pub(super) channels: usize,
    /// Whole frames.
    pub(super) samples: &'a [f32],
}

/// What is heard of captured frames.
#[derive(Clone, Debug, PartialEq)]
struct Mix {
    /// Shared, so that the send thread can copy it.
    map: Arc<ChannelMap>,
    factor: f32,
    /// What is heard in place of captured channels.
    signal: Option<Arc<Signal>>,
}

/// A mix, and what of the one before is still heard.
#[derive(Debug)]
pub(super) struct Mixer {
    mix: Mix,
    /// What is faded out, and its shares, which add up to one.
    former: Vec<(Mix, f32)>,
    /// Frames of the crossfade that were mixed, and all of them.
    done: usize,
    length: usize,
}

impl<'a> Block<'a> {
    pub(super) fn frames(&self) -> usize {
        self.samples.len() / self.channels
    }

    /// So many of its frames, and the rest.
    pub(super) fn split_at(self, frames: usize) -> (Self, Self) {
        let (samples, rest) = self.samples.split_at(frames * self.channels);
        (Self { samples, ..self }, Self { from: self.from.advanced(frames as u64), samples: rest, ..self })
    }

    fn each(self) -> std::slice::ChunksExact<'a, f32> {
        self.samples.chunks_exact(self.channels)
    }
}

impl Mix {
    /// A sample of an output with these sources. Channels beyond those captured are silent.
    fn sample(&self, frame: &[f32], sources: &[u16]) -> f32 {
        let source = |&channel: &u16| frame.get(usize::from(channel)).unwrap_or(&0.0);
        sources.iter().map(source).sum::<f32>() * self.factor
    }

    /// A sample as it is heard from an output of whoever plays this: a single channel comes from all of them.
    fn spread(&self, at: Position, frame: &[f32], output: usize) -> f32 {
        if let Some(signal) = &self.signal {
            return signal.at(at) * self.factor;
        }
        let outputs = self.map.outputs();
        let sources = outputs.get(if outputs.len() == 1 { 0 } else { output });
        sources.map_or(0.0, |sources| self.sample(frame, sources))
    }

    fn render<T>(&self, block: Block<'_>, slots: &mut [T], write: impl Fn(f32, &mut T)) -> f32 {
        let outputs = self.map.outputs();
        let mut peak = 0.0f32;
        for (output, sources) in outputs.iter().enumerate() {
            let slots = slots.iter_mut().skip(output).step_by(outputs.len());
            let mut put = |slot, sample: f32| {
                // One instruction, where `max` takes care of what is not a number in four.
                let magnitude = sample.abs();
                peak = if magnitude > peak { magnitude } else { peak };
                write(sample, slot);
            };
            if let Some(signal) = &self.signal {
                slots
                    .zip(signal.samples(block.from))
                    .for_each(|(slot, sample)| put(slot, sample * self.factor));
                continue;
            }
            match sources[..] {
                [only] if usize::from(only) < block.channels => {
                    let source = block.samples.iter().skip(usize::from(only)).step_by(block.channels);
                    slots.zip(source).for_each(|(slot, sample)| put(slot, *sample * self.factor));
                }
                _ => slots.zip(block.each()).for_each(|(slot, frame)| put(slot, self.sample(frame, sources))),
            }
        }
        peak
    }
}

impl Mixer {
    /// Of sound that is captured at `rate` frames a second.
    pub(super) fn new(spec: &EncodingSpec, rate: u32) -> Self {
        let length = (rate / FADES_A_SECOND) as usize;
        let signal = spec.test.map(|test| Arc::new(Signal::new(test, rate)));
        let mix = Mix { map: Arc::new(spec.map.clone()), factor: spec.factor, signal };
        Self { mix, former: Vec::with_capacity(PARTS), done: length, length }
    }

    /// Goes on from what is heard of another: at once where that is the same, else by a crossfade. Nothing is allocated;
    /// nor is anything freed before `before` is, since it keeps what is shared.
    pub(super) fn follow(&mut self, before: &Self) {
        let changed = self.mix != before.mix;
        let risen = if before.done < before.length { before.share(before.done) } else { 1.0 };
        self.former.clear();
        if risen < 1.0 {
            let left = if changed { 1.0 - risen } else { 1.0 };
            self.former.extend(before.former.iter().map(|(mix, share)| (mix.clone(), share * left)));
        }
        self.done = if changed { 0 } else { before.done };
        if changed && risen > 0.0 {
            // Of more changes than are remembered the oldest is all but gone.
            let dropped = if self.former.len() == PARTS { self.former.remove(0).1 } else { 0.0 };
            self.former.push((before.mix.clone(), risen + dropped));
        }
    }

    pub(super) fn channels(&self) -> u16 {
        self.mix.map.channels()
    }

    /// Puts a block into `slots`, one for each sample of a client's, by `write`. Returns the largest magnitude.
    pub(super) fn render<T>(
        &mut self,
        block: Block<'_>,
        slots: &mut [T],
        write: impl Fn(f32, &mut T),
    ) -> f32 {
        let fading = (self.length - self.done).min(block.frames());
        let (blended, block) = block.split_at(fading);
        let (first, slots) = slots.split_at_mut(fading * usize::from(self.channels()));
        let peak = if fading > 0 { self.blend(blended, first, &write) } else { 0.0 };
        peak.max(self.mix.render(block, slots, write))
    }

    fn blend<T>(&mut self, block: Block<'_>, slots: &mut [T], write: impl Fn(f32, &mut T)) -> f32 {
        let mut peak = 0.0f32;
        let outputs = usize::from(self.channels());
        for (n, (frame, slots)) in block.each().zip(slots.chunks_exact_mut(outputs)).enumerate() {
            let at = block.from.advanced(n as u64);
            self.done += 1;
            let share = self.share(self.done);
            for (output, slot) in slots.iter_mut().enumerate() {
                let heard = |(mix, share): &(Mix, f32)| share * mix.spread(at, frame, output);
                let old: f32 = self.former.iter().map(heard).sum();
                // What does not change is left as it is, to the last bit.
                let sample = old + share * (self.mix.spread(at, frame, output) - old);
                peak = peak.max(sample.abs());
                write(sample, slot);
            }
        }
        peak
    }

    /// The new mix's share in a frame, counted from 1; in the one after the last of the crossfade it is 1.
    fn share(&self, frame: usize) -> f32 {
        let time = frame as f32 / (self.length + 1) as f32;
        time * time * (3.0 - 2.0 * time)
    }
}
