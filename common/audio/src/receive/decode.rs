//! How a packet's octets become samples of an output.

use proto::pcm::{self, ByteOrder};

use crate::jitter::{Coding, Slot};

/// Decodes a packet's frames from `skip` on. One channel goes to every output; of several, each to its own.
pub(super) fn render(slot: &Slot, payload: &[u8], skip: usize, out: &mut [f32], channels: usize) {
    let order = match slot.coding {
        Coding::Plain => ByteOrder::Little,
        Coding::L16 => ByteOrder::Big,
    };
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
