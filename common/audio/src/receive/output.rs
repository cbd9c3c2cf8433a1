//! What the samples go to, and how a packet's octets become samples for it.

use proto::pcm::{self, ByteOrder};
use proto::units::Mono;

use super::CHUNK;
use crate::conceal::Concealer;
use crate::drift::Servo;
use crate::jitter::Slot;
use crate::resample::Steered;

/// What the samples go to. Built by a thread that may allocate.
pub struct Output {
    pub(super) channels: u16,
    pub(super) rate: u32,
    pub(super) device: Option<DeviceOutput>,
}

/// What only a device needs: it has a clock of its own.
pub(super) struct DeviceOutput {
    pub(super) concealer: Concealer,
    pub(super) steering: Option<(Steered, Servo)>,
    pub(super) last: Option<Mono>,
}

impl Output {
    /// A file, a pipe or nothing: follows the stream's clock and gets exactly what came.
    pub fn stream_clocked(channels: u16, rate: u32) -> Self {
        Self { channels, rate, device: None }
    }

    /// A device. With `steered`, a resampler keeps it on the stream's time.
    pub fn device(channels: u16, rate: u32, steered: bool) -> Self {
        let device = DeviceOutput {
            concealer: Concealer::new(usize::from(channels), rate),
            steering: steered.then(|| (Steered::new(channels, CHUNK), Servo::default())),
            last: None,
        };
        Self { channels, rate, device: Some(device) }
    }

    /// Channels of an output frame.
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Frames a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }
}

/// Decodes a packet's frames from `skip` on. One channel goes to every output; of several, each to its own.
pub(super) fn render(slot: &Slot, payload: &[u8], skip: usize, out: &mut [f32], channels: usize) {
    let order = if slot.big_endian { ByteOrder::Big } else { ByteOrder::Little };
    let source = usize::from(slot.channels);
    let payload = payload.get(skip * source * pcm::BYTES_PER_SAMPLE..).unwrap_or(&[]);
    if source == channels {
        return pcm::decode(payload, order, out);
    }
    let frames = payload.chunks_exact(source * pcm::BYTES_PER_SAMPLE);
    for (frame, octets) in out.chunks_exact_mut(channels).zip(frames) {
        if source == 1 {
            let mut sample = [0.0];
            pcm::decode(octets, order, &mut sample);
            frame.fill(sample[0]);
        } else {
            let (heard, rest) = frame.split_at_mut(source.min(channels));
            pcm::decode(octets, order, heard);
            rest.fill(0.0);
        }
    }
}
