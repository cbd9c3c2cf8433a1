//! From captured frames to a client's: channels picked and summed, gain, the level for the meter.

use proto::units::Position;

use crate::map::ChannelMap;
use crate::signal::Signal;

/// What is done to each frame.
pub(super) struct Mix<'a> {
    pub(super) map: &'a ChannelMap,
    pub(super) factor: f32,
    /// Channels of a captured frame. Those beyond are silent.
    pub(super) captured: usize,
    /// What every output hears in place of what was captured, and the first frame's position.
    pub(super) signal: Option<(&'a Signal, Position)>,
}

impl Mix<'_> {
    /// Puts whole frames into `slots`, one for each sample, by `write`. Returns the largest magnitude.
    pub(super) fn render<T>(&self, block: &[f32], slots: &mut [T], write: impl Fn(f32, &mut T)) -> f32 {
        let outputs = self.map.outputs();
        let mut peak = 0.0f32;
        for (output, sources) in outputs.iter().enumerate() {
            let slots = slots.iter_mut().skip(output).step_by(outputs.len());
            let mut put = |slot, sum: f32| {
                let sample = sum * self.factor;
                peak = peak.max(sample.abs());
                write(sample, slot);
            };
            if let Some((signal, from)) = self.signal {
                let samples = signal.samples(from).take(block.len() / self.captured);
                slots.zip(samples).for_each(|(slot, sample)| put(slot, sample));
                continue;
            }
            match sources[..] {
                [only] if usize::from(only) < self.captured => {
                    let source = block.iter().skip(usize::from(only)).step_by(self.captured);
                    slots.zip(source).for_each(|(slot, sample)| put(slot, *sample));
                }
                _ => {
                    for (slot, frame) in slots.zip(block.chunks_exact(self.captured)) {
                        let source = |&channel: &u16| frame.get(usize::from(channel)).unwrap_or(&0.0);
                        put(slot, sources.iter().map(source).sum());
                    }
                }
            }
        }
        peak
    }
}
