//! From a client's frames to payloads. Allocates only when built.

use proto::pcm::{self, ByteOrder};
use proto::units::Position;

use super::encoding::{Codec, EncodingSpec, Wire};
use super::mix::Mix;
use crate::opus::{self, Encoder};
use crate::resample::Chunked;

/// Gathers frames until they fill a packet.
#[derive(Debug)]
pub(super) enum Packer {
    Pcm(Pcm),
    Opus(Box<Opus>),
}

#[derive(Debug)]
pub(super) struct Pcm {
    sample: Sample,
    frames: usize,
    header: usize,
    /// Position of the first frame in `filling`.
    position: Position,
    filled: usize,
    /// Room for the header, and what has been gathered.
    filling: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Sample {
    Bits16(ByteOrder),
    Bits24(ByteOrder),
}

#[derive(Debug)]
pub(super) struct Opus {
    encoder: Encoder,
    chunked: Chunked,
    /// Frames in a packet, and room for them.
    frames: u64,
    pcm: Vec<f32>,
    /// Rate of what is captured.
    rate: u32,
    header: usize,
    longest: usize,
    /// On the encoding's clock, when the next packet's first decoded frame was captured; `None` before the first frame.
    next: Option<Position>,
    /// By how much later than that it was really captured, in nanoseconds: less than a frame.
    shift: i64,
}

impl Packer {
    /// For sound that is captured at `rate` frames a second.
    pub(super) fn new(spec: &EncodingSpec, rate: u32) -> Self {
        let header = spec.wire.header_length();
        let order = if spec.wire == Wire::Rtp { ByteOrder::Big } else { ByteOrder::Little };
        let sample = match spec.codec() {
            Codec::Opus(settings) => return Self::Opus(Box::new(Opus::new(spec, &settings, rate))),
            Codec::Pcm24 => Sample::Bits24(order),
            Codec::Pcm16 => Sample::Bits16(order),
        };
        let mut filling = Vec::with_capacity(spec.packet_length());
        filling.resize(header, 0);
        Self::Pcm(Pcm {
            sample,
            frames: usize::from(spec.packet_frames()),
            header,
            position: Position(0),
            filled: 0,
            filling,
        })
    }

    /// Captured frames that are missing for the next packet.
    pub(super) fn wanted(&self) -> usize {
        match self {
            Self::Pcm(pcm) => pcm.frames - pcm.filled,
            Self::Opus(opus) => opus.chunked.wanted(),
        }
    }

    /// Takes captured frames, no more than are wanted, of which the first has this position. Returns the largest
    /// magnitude.
    pub(super) fn append(&mut self, position: Position, block: &[f32], mix: &Mix<'_>) -> f32 {
        let frames = block.len() / mix.captured;
        match self {
            Self::Pcm(pcm) => pcm.append(position, frames, block, mix),
            Self::Opus(opus) => opus.append(position, frames, block, mix),
        }
    }

    /// Puts the packet into `out`, its payload after room for the header; also a last, shorter one, where the codec has
    /// such. Returns its time on the encoding's clock; `None` where there is no packet.
    pub(super) fn complete(&mut self, out: &mut Vec<u8>) -> Option<Position> {
        match self {
            Self::Pcm(pcm) => pcm.complete(out),
            Self::Opus(opus) => opus.complete(out),
        }
    }

    /// By how much later than its time says a packet's sound was captured, in nanoseconds.
    pub(super) fn shift(&self) -> i64 {
        match self {
            Self::Pcm(_) => 0,
            Self::Opus(opus) => opus.shift,
        }
    }

    /// Ends what goes on without a gap: the next frame may have any position. What is too little for a packet is
    /// forgotten.
    pub(super) fn restart(&mut self) {
        if let Self::Opus(opus) = self {
            opus.chunked.reset();
            opus.next = None;
        }
    }
}

impl Pcm {
    fn append(&mut self, position: Position, frames: usize, block: &[f32], mix: &Mix<'_>) -> f32 {
        if self.filled == 0 {
            self.position = position;
        }
        self.filled += frames;
        let samples = frames * usize::from(mix.map.channels());
        let start = self.filling.len();
        match self.sample {
            Sample::Bits16(order) => {
                self.filling.resize(start + samples * pcm::BYTES_PER_SAMPLE, 0);
                let slots = self.filling[start..].as_chunks_mut().0;
                // A loop for each order, without the choice inside.
                match order {
                    ByteOrder::Big => {
                        mix.render(block, slots, |s, slot| pcm::write_sample(s, ByteOrder::Big, slot))
                    }
                    ByteOrder::Little => {
                        mix.render(block, slots, |s, slot| pcm::write_sample(s, ByteOrder::Little, slot))
                    }
                }
            }
            Sample::Bits24(order) => {
                self.filling.resize(start + samples * pcm::BYTES_PER_SAMPLE_24, 0);
                let slots = self.filling[start..].as_chunks_mut().0;
                mix.render(block, slots, |s, slot| pcm::write_sample_24(s, order, slot))
            }
        }
    }

    fn complete(&mut self, out: &mut Vec<u8>) -> Option<Position> {
        (self.filled > 0).then_some(())?;
        std::mem::swap(&mut self.filling, out);
        self.filling.clear();
        self.filling.resize(self.header, 0);
        self.filled = 0;
        Some(self.position)
    }
}

impl Opus {
    fn new(spec: &EncodingSpec, settings: &opus::Spec, rate: u32) -> Self {
        let channels = spec.map.channels();
        let frames = usize::from(settings.frame.frames());
        Self {
            encoder: Encoder::new(channels, settings).expect("there is memory for an encoder"),
            chunked: Chunked::new(channels, frames, rate, opus::RATE),
            frames: frames as u64,
            pcm: vec![0.0; frames * usize::from(channels)],
            rate,
            header: spec.wire.header_length(),
            longest: spec.longest_packet(),
            next: None,
            shift: 0,
        }
    }

    fn append(&mut self, position: Position, frames: usize, block: &[f32], mix: &Mix<'_>) -> f32 {
        if self.next.is_none() {
            let lag = self.chunked.delay() + self.encoder.lookahead() as f64;
            let frames = lag.round();
            self.next = Some(position.at_rate(opus::RATE, self.rate).before(frames as u64));
            let rest = (frames - lag) * 1e9 / f64::from(opus::RATE);
            self.shift = rest as i64 - position.rounding_at_rate(opus::RATE, self.rate);
        }
        let mut peak = 0.0;
        let keep = |sample, slot: &mut f32| *slot = sample;
        self.chunked.push(frames, |room| peak = mix.render(block, room, keep));
        peak
    }

    fn complete(&mut self, out: &mut Vec<u8>) -> Option<Position> {
        self.chunked.pull(&mut self.pcm).then_some(())?;
        let position = self.next?;
        self.next = Some(position.advanced(self.frames));
        out.resize(self.longest, 0);
        let length = self.encoder.encode(&self.pcm, &mut out[self.header..]);
        out.truncate(length.map_or(0, |length| self.header + length));
        length.and(Some(position))
    }
}
