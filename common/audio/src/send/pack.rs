//! From a client's frames to payloads. Allocates only when built.

use proto::pcm::{self, ByteOrder, Sample};
use proto::srtp;
use proto::units::Position;

use super::mix::{Block, Mixer};
use super::spec::{Codec, EncodingSpec, Wire};
use crate::opus::{self, Encoder};
use crate::resample::Chunked;

/// An encoder that takes the place of another is told so many frames of sound again: beyond what it looks back on, filters
/// have settled by then.
const RETOLD: u64 = 720;
/// Packets among which there is one that begins with a whole frame of the input, for the usual rates: at 44.1 kHz every
/// fourth of 2.5 ms does.
const CHOICE: u64 = 4;

/// Gathers frames until they fill a packet.
#[derive(Debug)]
pub(super) enum Packer {
    Pcm(Pcm),
    Opus(Box<Opus>),
    /// Holds the place for another.
    Vacant,
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
    /// The end of the input, at least that of the last packets, for an encoder that is to go on from here.
    past: Vec<f32>,
    /// Frames of input and packets since the start.
    taken: u64,
    given: u64,
    /// The next packet comes after those of another encoder.
    joining: bool,
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
        let mut filling = Vec::with_capacity(spec.packet_length() + srtp::OVERHEAD);
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
            Self::Vacant => usize::MAX,
        }
    }

    /// Takes captured frames, no more than are wanted. Returns the largest magnitude.
    pub(super) fn append(&mut self, block: Block<'_>, mixer: &mut Mixer) -> f32 {
        match self {
            Self::Pcm(pcm) => pcm.append(block, mixer),
            Self::Opus(opus) => opus.append(block, mixer),
            Self::Vacant => 0.0,
        }
    }

    /// Puts the packet into `out`, its payload after room for the header; also a last, shorter one, where the codec has
    /// such. Returns its time on the encoding's clock; `None` where there is no packet.
    pub(super) fn complete(&mut self, out: &mut Vec<u8>) -> Option<Position> {
        match self {
            Self::Pcm(pcm) => pcm.complete(out),
            Self::Opus(opus) => opus.complete(out),
            Self::Vacant => None,
        }
    }

    /// By how much later than its time says a packet's sound was captured, in nanoseconds.
    pub(super) fn shift(&self) -> i64 {
        match self {
            Self::Pcm(_) | Self::Vacant => 0,
            Self::Opus(opus) => opus.shift,
        }
    }

    /// Ends what goes on without a gap: the next frame may have any position. What is too little for a packet is
    /// forgotten.
    pub(super) fn restart(&mut self) {
        if let Self::Opus(opus) = self {
            opus.chunked.reset();
            opus.next = None;
            opus.past.clear();
            (opus.taken, opus.given) = (0, 0);
        }
    }

    /// Goes on from where another of the same kind is, which goes on too; `room` is for packets on the way there.
    pub(super) fn follow(&mut self, other: &Self, room: &mut Vec<u8>) {
        match (self, other) {
            (Self::Pcm(pcm), Self::Pcm(other)) => pcm.follow(other),
            (Self::Opus(opus), Self::Opus(other)) => opus.follow(other, room),
            _ => {}
        }
    }

    /// Puts what is too little for a packet into `out`, as [`complete`](Self::complete) would, and keeps it.
    pub(super) fn copy_rest(&self, out: &mut Vec<u8>) -> Option<Position> {
        let Self::Pcm(pcm) = self else { return None };
        (pcm.filled > 0).then_some(())?;
        out.extend_from_slice(&pcm.filling);
        Some(pcm.position)
    }
}

impl Pcm {
    fn append(&mut self, block: Block<'_>, mixer: &mut Mixer) -> f32 {
        let frames = block.frames();
        if self.filled == 0 {
            self.position = block.from;
        }
        self.filled += frames;
        let samples = frames * usize::from(mixer.channels());
        let start = self.filling.len();
        self.filling.resize(start + samples * self.sample.octets(), 0);
        match self.sample {
            Sample::Bits16(order) => {
                let slots = self.filling[start..].as_chunks_mut().0;
                // A loop for each order, without the choice inside.
                match order {
                    ByteOrder::Big => {
                        mixer.render(block, slots, |s, slot| pcm::write_sample(s, ByteOrder::Big, slot))
                    }
                    ByteOrder::Little => {
                        mixer.render(block, slots, |s, slot| pcm::write_sample(s, ByteOrder::Little, slot))
                    }
                }
            }
            Sample::Bits24(order) => {
                let slots = self.filling[start..].as_chunks_mut().0;
                mixer.render(block, slots, |s, slot| pcm::write_sample_24(s, order, slot))
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

    fn follow(&mut self, other: &Self) {
        (self.position, self.filled) = (other.position, other.filled);
        self.filling.clear();
        self.filling.extend_from_slice(&other.filling);
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
            past: Vec::with_capacity(2 * Self::kept(frames as u64, rate) * usize::from(channels)),
            taken: 0,
            given: 0,
            joining: false,
        }
    }

    fn append(&mut self, block: Block<'_>, mixer: &mut Mixer) -> f32 {
        let frames = block.frames();
        if self.next.is_none() {
            let lag = self.chunked.delay() + self.encoder.lookahead() as f64;
            let frames = lag.round();
            self.next = Some(block.from.at_rate(opus::RATE, self.rate).before(frames as u64));
            let rest = (frames - lag) * 1e9 / f64::from(opus::RATE);
            self.shift = rest as i64 - block.from.rounding_at_rate(opus::RATE, self.rate);
        }
        let mut peak = 0.0;
        let keep = |sample, slot: &mut f32| *slot = sample;
        let (past, channels) = (&mut self.past, usize::from(mixer.channels()));
        if past.len() + frames * channels > past.capacity() {
            past.drain(..past.len() - Self::kept(self.frames, self.rate) * channels);
        }
        self.chunked.push(frames, |room| {
            peak = mixer.render(block, room, keep);
            past.extend_from_slice(room);
        });
        self.taken += frames as u64;
        peak
    }

    /// Least number of packets that are told again.
    fn retold(frames: u64) -> u64 {
        RETOLD.div_ceil(frames).max(2)
    }

    /// Frames of the past that have to be known: those of the packets that may be told again, and of the one after them.
    fn kept(frames: u64, rate: u32) -> usize {
        let packets = Self::retold(frames) + CHOICE;
        (packets * frames * u64::from(rate)).div_ceil(u64::from(opus::RATE)) as usize + 1
    }

    fn complete(&mut self, out: &mut Vec<u8>) -> Option<Position> {
        self.chunked.pull(&mut self.pcm).then_some(())?;
        let position = self.next?;
        self.next = Some(position.advanced(self.frames));
        self.given += 1;
        out.resize(self.longest, 0);
        let length = self.encoder.encode(&self.pcm, &mut out[self.header..]);
        self.join(false);
        out.truncate(length.map_or(0, |length| self.header + length));
        length.and(Some(position))
    }

    fn join(&mut self, joining: bool) {
        if std::mem::replace(&mut self.joining, joining) != joining {
            self.encoder.set_independent(joining);
        }
    }

    /// The state of an encoder or a resampler cannot be copied. One that is told the last packets' sound again comes to hold
    /// the same sound, if a resampler begins where a packet did; what the decoder knows beside it, the next packet does not
    /// build on.
    fn follow(&mut self, other: &Self, room: &mut Vec<u8>) {
        if other.next.is_none() {
            return;
        }
        let (frames, rate, clock) = (other.frames, u64::from(other.rate), u64::from(opus::RATE));
        let fraction =
            |packet: &u64| (packet * frames * rate).next_multiple_of(clock) - packet * frames * rate;
        let newest = other.given.saturating_sub(Self::retold(frames));
        let packets = newest.saturating_sub(CHOICE - 1)..=newest;
        let first = packets.rev().min_by_key(fraction).unwrap_or(0);
        let frames_back = other.taken - (first * frames * rate).div_ceil(clock);
        let channels = self.pcm.len() / self.frames as usize;
        let start = other.past.len().saturating_sub(frames_back as usize * channels);
        let mut rest = &other.past[start..];
        self.next = other.next;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.chunked.wanted() * channels));
            self.chunked.push(now.len() / channels, |room| room.copy_from_slice(now));
            self.complete(room);
            rest = later;
        }
        room.clear();
        self.join(true);
        self.past.clear();
        self.past.extend_from_slice(&other.past);
        (self.next, self.shift) = (other.next, other.shift);
        (self.taken, self.given) = (other.taken, other.given);
    }
}
