//! Sound: where it comes from, and how it is encoded.
//!
//! ```text
//!  a card, a file, a tone ──ring──► Captured ─┐
//!  a stream's packets ─► ReceivePipeline ─► Received ─► Cutter ─► Encoder ─► EncodedSound
//! ```
//!
//! All of it runs on one thread for each track. Sound leaves on this machine's clock: a card that runs fast or slow, and a
//! stream of such a card, are resampled to it, so that pictures and sound stay together in players that count frames. Times
//! are those at which sound was captured, as pictures' are.

mod capture;
mod cut;
mod encode;
#[cfg(feature = "aac")]
mod fdk;
#[allow(unsafe_code)]
mod lame;
mod mpeg;
mod source;
mod steady;
mod stream;
mod work;

use std::time::Duration;

pub use crate::encode::Error;
use crate::rtp::Format;
pub use source::{KEYS, Source};
pub use work::{Counters, Sound};

/// `audiocodec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Codec {
    /// MPEG-1 audio layer III (ISO/IEC 11172-3), by libmp3lame, which is opened at run time.
    Mp3,
    /// AAC-LC (ISO/IEC 14496-3), by libfdk-aac.
    Aac,
    /// Opus (RFC 6716), always at 48 kHz.
    Opus,
    /// 16-bit PCM in network byte order (RFC 3551, 4.5.11), for players on the same network; the bit rate is its own.
    L16,
}

/// `audiobitrate`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
#[expect(missing_docs, reason = "the names are the menu's own and say all there is")]
pub enum Bitrate {
    B96,
    #[default]
    B128,
    B192,
    B256,
    B320,
}

impl Bitrate {
    /// Bits a second, of all channels together.
    pub fn bits(self) -> u32 {
        match self {
            Self::B96 => 96_000,
            Self::B128 => 128_000,
            Self::B192 => 192_000,
            Self::B256 => 256_000,
            Self::B320 => 320_000,
        }
    }
}

/// `includesilentaudio`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Silent {
    /// A track of silence where the protocol expects one (RTMP) and no source is set.
    #[default]
    Automatic,
    /// A track always; silence wherever there is no sound.
    On,
    /// Never: no track without a source, and a pause in the track where the source pauses.
    Off,
}

impl Silent {
    /// What a track is made from; `None` for no track. `expected` says whether the protocol's services ask for one.
    pub fn track(self, source: Option<Source>, expected: bool) -> Option<Source> {
        let wanted = match self {
            Self::Automatic => expected,
            Self::On => true,
            Self::Off => false,
        };
        source.or_else(|| wanted.then(Source::silence))
    }
}

/// What a track is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the sound comes from.
    pub source: Source,
    /// How it is coded.
    pub codec: Codec,
    /// Bits a second.
    pub bitrate: Bitrate,
    /// Frames a second: 44 100 or 48 000. Opus has 48 000 alone.
    pub rate: u32,
    /// 1 or 2. One channel of the source goes to both of these; of more than two, the first two are taken.
    pub channels: u16,
    /// Whether silence fills what the source leaves.
    pub silent: Silent,
}

impl Settings {
    /// Looks whether the codec and the protocols have this rate and so many channels.
    ///
    /// # Errors
    /// One line: they do not.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::Unavailable(message));
        match (self.codec, self.rate) {
            (Codec::Opus, 48_000) | (Codec::Mp3 | Codec::Aac | Codec::L16, 44_100 | 48_000) => {}
            (Codec::Opus, rate) => return refuse(format!("Opus has 48000 Hz, not {rate}: choose that rate")),
            (_, rate) => return refuse(format!("sound at {rate} Hz is not sent: choose 44100 or 48000")),
        }
        match self.channels {
            1 | 2 => Ok(()),
            channels => refuse(format!("a track has 1 or 2 channels, not {channels}")),
        }
    }
}

/// What a description of the session has to say of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// How it is coded.
    pub codec: Codec,
    /// Frames a second; positions count them.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u16,
    /// Frames in each access unit.
    pub frames: u32,
    /// Bits a second.
    pub bitrate: u32,
    /// AAC: the `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1). Empty for others.
    pub config: Vec<u8>,
}

impl Track {
    /// As RTP and SDP have it.
    pub fn format(&self) -> Format {
        let &Self { rate, channels, .. } = self;
        match self.codec {
            Codec::Mp3 => Format::Mp3 { rate },
            Codec::Aac => Format::Aac { rate, channels, config: self.config.clone() },
            Codec::Opus => Format::Opus { channels },
            Codec::L16 => Format::L16 { rate, channels },
        }
    }
}

/// Sound in bits: one MPEG audio frame with its header, one raw AAC access unit, one Opus packet, or PCM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedSound {
    /// The bits.
    pub data: Vec<u8>,
    /// On the clock of [`os::clock`]: when the first frame was captured that a decoder hands out for it.
    pub at: Duration,
    /// Frames of the track before this one, at [`Track::rate`]: an RTP time, but for its offset. A pause leaves a gap.
    pub position: u64,
    /// Frames that a decoder hands out for it.
    pub frames: u32,
}
