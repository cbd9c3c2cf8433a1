//! Opus (RFC 6716) by libopus, always at 48 kHz. Memory is taken at construction: libopus works on the stack.
//!
//! One or two channels are plain Opus, as RTP carries it (RFC 7587). More are several Opus streams in one payload, as
//! libwebrtc's `multiopus` carries them: every two channels are one coupled (stereo) stream, the last of an odd count
//! is a stream of its own, and channels keep their order. Both ends derive this from the channel count alone; as
//! `multiopus` writes it, 5 channels are `num_streams=3;coupled_streams=2;channel_mapping=0,1,2,3,4`.
//!
//! An encoder looks ahead, so that what a decoder hands out for a packet was captured
//! [`lookahead`](Encoder::lookahead) frames before what the encoder took for it.

use opus::{Bitrate, MSDecoder, MSEncoder};

/// Frames a second.
pub const RATE: u32 = proto::announce::OPUS_RATE;
/// Most frames in a packet: 120 ms (RFC 6716, section 3.2.5).
pub const MAX_FRAMES: usize = 5760;
/// Bit/s that are accepted for each channel: what a stream may have (RFC 6716, section 2.1.1).
pub const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=510_000;
/// Highest complexity.
pub const MAX_COMPLEXITY: u8 = 10;

/// Bit/s for each channel where nothing else is asked for: short packets cost more than the 64 kbit/s that RFC 7587
/// recommends for music in packets of 20 ms.
const DEFAULT_BITRATE: u32 = 96_000;

/// How long a packet lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FrameTime {
    /// 2.5 ms.
    Ms2_5,
    /// 5 ms.
    #[default]
    Ms5,
    /// 10 ms.
    Ms10,
    /// 20 ms.
    Ms20,
}

impl FrameTime {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Ms2_5, Self::Ms5, Self::Ms10, Self::Ms20];

    /// Frames at 48 kHz.
    pub fn frames(self) -> u16 {
        match self {
            Self::Ms2_5 => 120,
            Self::Ms5 => 240,
            Self::Ms10 => 480,
            Self::Ms20 => 960,
        }
    }

    /// Milliseconds.
    pub fn millis(self) -> f64 {
        f64::from(self.frames()) / 48.0
    }
}

/// What the encoder is tuned for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Application {
    /// Faithful to any sound; looks 6.5 ms ahead.
    Audio,
    /// Intelligible speech; looks 6.5 ms ahead.
    Voip,
    /// Looks 2.5 ms ahead, without the speech modes.
    #[default]
    LowDelay,
}

/// How the bit rate is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RateControl {
    /// Variable, within what a constant rate would buffer for one packet.
    #[default]
    ConstrainedVbr,
    /// All packets equally long.
    Cbr,
}

/// The settings of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Length of a packet.
    pub frame: FrameTime,
    /// Bit/s, all channels together, each within [`BITRATES`]; `None` is 96 kbit/s for each.
    pub bitrate: Option<u32>,
    /// Effort, 0 to 10.
    pub complexity: u8,
    /// What to tune for.
    pub application: Application,
    /// How the bit rate is kept.
    pub rate_control: RateControl,
    /// Loss to prepare for, 0 to 100 %. Above 0, packets carry the one before in less quality (in-band FEC), in those
    /// modes that have it: speech at low bit rates, [`Application::Voip`] or [`Application::Audio`], at least 10 ms.
    pub expected_loss: u8,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            frame: FrameTime::default(),
            bitrate: None,
            complexity: 5,
            application: Application::default(),
            rate_control: RateControl::default(),
            expected_loss: 0,
        }
    }
}

impl Spec {
    /// Bit/s, all channels together.
    pub fn total_bitrate(&self, channels: u16) -> u32 {
        let channels = u32::from(channels);
        let wanted = self.bitrate.unwrap_or(DEFAULT_BITRATE * channels);
        wanted.clamp(BITRATES.start() * channels, BITRATES.end() * channels)
    }

    /// Octets of a payload at the bit rate. Only with [`RateControl::Cbr`] is none longer.
    pub fn payload_length(&self, channels: u16) -> usize {
        let bits = u64::from(self.total_bitrate(channels)) * u64::from(self.frame.frames()) / u64::from(RATE);
        bits.div_ceil(8) as usize
    }
}

/// How channels are spread over streams. See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Streams in a payload.
    pub streams: u8,
    /// How many of them, the first ones, carry two channels.
    pub coupled: u8,
    /// For each channel, its place among those of all streams.
    pub mapping: Vec<u8>,
}

impl Layout {
    /// The layout of 1 to 255 channels.
    pub fn of(channels: u16) -> Self {
        let channels = channels.clamp(1, 255) as u8;
        let coupled = channels / 2;
        Self { streams: channels - coupled, coupled, mapping: (0..channels).collect() }
    }
}

/// Turns samples into packets.
#[derive(Debug)]
pub struct Encoder {
    inner: MSEncoder,
    lookahead: usize,
}

impl Encoder {
    /// An encoder of 1 to 255 channels. Values beyond their ranges are brought back to them.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn new(channels: u16, spec: &Spec) -> Result<Self, opus::Error> {
        let layout = Layout::of(channels);
        let application = match spec.application {
            Application::Audio => opus::Application::Audio,
            Application::Voip => opus::Application::Voip,
            Application::LowDelay => opus::Application::LowDelay,
        };
        let mut inner = MSEncoder::new(RATE, layout.streams, layout.coupled, &layout.mapping, application)?;
        inner.set_bitrate(Bitrate::Bits(spec.total_bitrate(channels).cast_signed()))?;
        inner.set_complexity(i32::from(spec.complexity.min(MAX_COMPLEXITY)))?;
        inner.set_vbr(spec.rate_control == RateControl::ConstrainedVbr)?;
        inner.set_vbr_constraint(true)?;
        inner.set_inband_fec(spec.expected_loss > 0)?;
        inner.set_packet_loss_perc(i32::from(spec.expected_loss.min(100)))?;
        let lookahead = usize::try_from(inner.get_lookahead()?).unwrap_or(0);
        Ok(Self { inner, lookahead })
    }

    /// Frames by which a decoder's output lags behind this encoder's input.
    pub fn lookahead(&self) -> usize {
        self.lookahead
    }

    /// Encodes one packet's frames into `out`, with less quality where they would not fit. Returns the octets written;
    /// `None` where `pcm` is not as long as a packet may be or `out` is too short for any.
    pub fn encode(&mut self, pcm: &[f32], out: &mut [u8]) -> Option<usize> {
        self.inner.encode_float(pcm, out).ok()
    }

    /// Whether packets are to be understood by a decoder that knows of what came before from another encoder. They cost more.
    pub fn set_independent(&mut self, independent: bool) {
        let set = self.inner.set_prediction_disabled(independent);
        debug_assert!(set.is_ok(), "libopus knows this request");
    }

    /// Forgets what came before, as if newly built.
    pub fn reset(&mut self) {
        let reset = self.inner.reset_state();
        debug_assert!(reset.is_ok(), "libopus knows this request");
    }
}

/// Turns packets into samples.
#[derive(Debug)]
pub struct Decoder {
    inner: MSDecoder,
    channels: usize,
}

impl Decoder {
    /// A decoder of 1 to 255 channels.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn new(channels: u16) -> Result<Self, opus::Error> {
        let layout = Layout::of(channels);
        let inner = MSDecoder::new(RATE, layout.streams, layout.coupled, &layout.mapping)?;
        Ok(Self { inner, channels: layout.mapping.len() })
    }

    /// Decodes a packet into `out`, which has room for [`MAX_FRAMES`] or for as many as [`frames`] says. Returns the
    /// frames written; `None` for anything that is not Opus.
    pub fn decode(&mut self, payload: &[u8], out: &mut [f32]) -> Option<usize> {
        // To libopus, no octets are a lost packet.
        (!payload.is_empty()).then_some(())?;
        self.inner.decode_float(payload, out, false).ok()
    }

    /// Makes up what a lost packet may have been: `frames` of it, a multiple of 2.5 ms, at most [`MAX_FRAMES`].
    /// Returns the frames written.
    pub fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        let out = out.get_mut(..frames * self.channels)?;
        self.inner.decode_float(&[], out, false).ok()
    }

    /// As [`conceal`](Self::conceal), from what the packet after the lost one says of it, where it
    /// [has that](has_redundancy). `next_payload` is still to be decoded afterwards, and is no longer than `frames`.
    pub fn recover(&mut self, next_payload: &[u8], frames: usize, out: &mut [f32]) -> Option<usize> {
        (!next_payload.is_empty()).then_some(())?;
        let out = out.get_mut(..frames * self.channels)?;
        self.inner.decode_float(next_payload, out, true).ok()
    }

    /// Forgets what came before, as if newly built.
    pub fn reset(&mut self) {
        let reset = self.inner.reset_state();
        debug_assert!(reset.is_ok(), "libopus knows this request");
    }
}

/// Frames in a packet, at 48 kHz, from its first two octets (RFC 6716, section 3.1; of several streams, those of the
/// first, which all share). `None` where they are not Opus's or say more than 120 ms; the rest is only known once it is
/// decoded.
pub fn frames(payload: &[u8]) -> Option<usize> {
    opus::packet::get_nb_samples(payload, RATE).ok().filter(|&frames| frames > 0)
}

/// Whether a packet may tell of the one before it: those of the speech and hybrid modes do, where the encoder expects
/// loss.
pub fn has_redundancy(payload: &[u8]) -> bool {
    // The configurations from 16 on are CELT alone (RFC 6716, table 2).
    payload.first().is_some_and(|toc| toc >> 3 < 16)
}

#[cfg(test)]
mod tests;
