//! What distinguishes one encoding from another.

use proto::announce::{self, Format};
use proto::{payload_type, pcm, rtp, vban};

use crate::map::ChannelMap;
use crate::opus;
use crate::signal::Test;

/// What goes over the wire for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// RTP (RFC 3550, RFC 3551), RTCP on the same port (RFC 5761).
    Rtp,
    /// Headerless signed 16-bit little-endian PCM.
    Plain,
    /// VBAN: PCM of 16 or 24 bits with a name and a number.
    Vban,
}

impl Wire {
    /// Its name on command lines, in files and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::Plain => "plain",
            Self::Vban => "vban",
        }
    }

    /// Octets before a payload.
    pub(super) fn header_length(self) -> usize {
        match self {
            Self::Rtp => rtp::HEADER_LENGTH,
            Self::Plain => 0,
            Self::Vban => vban::HEADER_LENGTH,
        }
    }
}

/// Octets of the longest header.
pub(super) const LONGEST_HEADER: usize = vban::HEADER_LENGTH;

/// How samples become octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 16-bit linear PCM: `L16` (RFC 3551).
    #[default]
    Pcm16,
    /// 24-bit linear PCM: `L24` (RFC 3190).
    Pcm24,
    /// Opus (RFC 7587).
    Opus(opus::Spec),
}

impl Codec {
    /// Its name on command lines, in files and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcm16 => "pcm16",
            Self::Pcm24 => "pcm24",
            Self::Opus(_) => "opus",
        }
    }

    /// Rate of its RTP clock, for sound that is captured at `rate`.
    pub fn clock_rate(self, rate: u32) -> u32 {
        if matches!(self, Self::Opus(_)) { opus::RATE } else { rate }
    }
}

/// What distinguishes one encoding from another. Equal specifications are encoded once.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodingSpec {
    /// The wire format.
    pub wire: Wire,
    /// The codec. Headerless streams are [`Codec::Pcm16`], whatever stands here; VBAN carries PCM only.
    pub codec: Codec,
    /// Which source channels.
    pub map: ChannelMap,
    /// Factor for each sample; negative inverts the polarity, zero mutes.
    pub factor: f32,
    /// What every output plays in place of the source channels.
    pub test: Option<Test>,
    /// Frames in a packet of PCM, at least 1. Those of Opus last as long as its own settings say.
    pub frames: u16,
    /// Most octets of a packet of Opus, whose length varies. Those of PCM are as long as they are.
    pub mtu: u16,
}

impl EncodingSpec {
    /// The codec that is used.
    pub fn codec(&self) -> Codec {
        if self.wire == Wire::Plain { Codec::Pcm16 } else { self.codec }
    }

    /// Frames in a packet, of the codec's own clock.
    pub fn packet_frames(&self) -> u16 {
        match self.codec() {
            Codec::Opus(settings) => settings.frame.frames(),
            Codec::Pcm16 | Codec::Pcm24 => self.frames,
        }
    }

    /// Octets of a full packet; of Opus, at its bit rate.
    pub fn packet_length(&self) -> usize {
        let samples = usize::from(self.frames) * usize::from(self.map.channels());
        let payload = match self.codec() {
            Codec::Pcm16 => samples * pcm::BYTES_PER_SAMPLE,
            Codec::Pcm24 => samples * pcm::BYTES_PER_SAMPLE_24,
            Codec::Opus(settings) => settings.payload_length(self.map.channels()),
        };
        self.wire.header_length() + payload
    }

    /// What its packets hold, captured at `rate`: how receivers are told of it.
    pub fn format(&self, rate: u32) -> Format {
        let channels = self.map.channels();
        let (codec, payload_type) = match self.codec() {
            Codec::Pcm16 => (announce::Codec::L16, payload_type::of_l16(rate, channels)),
            Codec::Pcm24 => (announce::Codec::L24, payload_type::L24),
            Codec::Opus(_) => (announce::Codec::Opus, payload_type::OPUS),
        };
        let rate = self.codec().clock_rate(rate);
        Format { payload_type, codec, channels, rate, frames: self.packet_frames() }
    }

    /// Whether clients that hear the same get the same packets. Those of VBAN have the client's name in them.
    pub fn is_shared(&self) -> bool {
        self.wire != Wire::Vban
    }

    /// How VBAN names the samples.
    pub(super) fn vban_sample(&self) -> vban::Sample {
        if self.codec() == Codec::Pcm24 { vban::Sample::Bits24 } else { vban::Sample::Bits16 }
    }

    /// Whether one stream can go on from this to another: its packets are of the same kind, whatever is heard in them.
    pub fn continues_as(&self, other: &Self) -> bool {
        let kind = |spec: &Self| (spec.wire, spec.codec(), spec.map.channels(), spec.frames, spec.mtu);
        kind(self) == kind(other)
    }

    /// Octets of the longest packet.
    pub(super) fn longest_packet(&self) -> usize {
        match self.codec() {
            Codec::Opus(_) => usize::from(self.mtu).max(self.wire.header_length()),
            Codec::Pcm16 | Codec::Pcm24 => self.packet_length(),
        }
    }

    /// The largest block of frames, captured at `rate`, that becomes at most one packet.
    pub(super) fn max_block(&self, rate: u32) -> usize {
        let clock = u64::from(self.codec().clock_rate(rate));
        (u64::from(self.packet_frames()) * u64::from(rate) / clock.max(1)).max(1) as usize
    }
}
