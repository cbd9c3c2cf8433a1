//! What a track holds, as RTP and SDP say it.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{h264, h265, nal};
use crate::encode::Codec;

/// How a track is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Pictures.
    Video(Codec),
    /// MPEG-1 or 2, layer III (RFC 2250).
    Mp3 {
        /// Hz.
        rate: u32,
    },
    /// AAC (RFC 3640, mode AAC-hbr), each access unit without a header of its own.
    Aac {
        /// Hz.
        rate: u32,
        /// How many.
        channels: u16,
        /// AudioSpecificConfig (ISO 14496-3), which a decoder has to know.
        config: Vec<u8>,
    },
    /// Opus (RFC 7587).
    Opus {
        /// 1 or 2.
        channels: u16,
    },
    /// 16-bit samples in network order (RFC 3551).
    L16 {
        /// Hz.
        rate: u32,
        /// How many.
        channels: u16,
    },
}

/// Parameter sets of H.264 or H.265, NAL units without start codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Arc<[Vec<u8>]>);

impl Parameters {
    /// Those of an access unit with start codes; `None` where it has none.
    pub(super) fn of(codec: Codec, stream: &[u8]) -> Option<Self> {
        let wanted = match codec {
            Codec::H264 => h264::is_parameters,
            Codec::H265 => h265::is_parameters,
            Codec::Av1 => return None,
        };
        let found: Arc<[Vec<u8>]> =
            nal::units(stream).filter(|nal| wanted(nal)).map(<[u8]>::to_vec).collect();
        (!found.is_empty()).then_some(Self(found))
    }
}

impl Format {
    /// Whether it is pictures.
    pub fn is_video(&self) -> bool {
        matches!(self, Self::Video(_))
    }

    /// Ticks of RTP time in a second.
    pub fn clock(&self) -> u32 {
        match self {
            Self::Video(_) | Self::Mp3 { .. } => 90_000,
            Self::Opus { .. } => 48_000,
            Self::Aac { rate, .. } | Self::L16 { rate, .. } => *rate,
        }
    }

    /// Frames of sound in a second; of pictures, ticks.
    pub fn rate(&self) -> u32 {
        if let Self::Mp3 { rate } = self { *rate } else { self.clock() }
    }

    /// The static payload type where there is one (RFC 3551, section 6), and else one of the dynamic.
    pub fn payload_type(&self) -> u8 {
        match self {
            Self::Mp3 { .. } => 14,
            Self::L16 { rate: 44_100, channels: 2 } => 10,
            Self::L16 { rate: 44_100, channels: 1 } => 11,
            Self::Video(_) => 96,
            Self::Aac { .. } | Self::Opus { .. } | Self::L16 { .. } => 97,
        }
    }

    /// `rtpmap` behind the payload type.
    pub fn encoding(&self) -> String {
        match self {
            Self::Video(Codec::H264) => "H264/90000".into(),
            Self::Video(Codec::H265) => "H265/90000".into(),
            Self::Video(Codec::Av1) => "AV1/90000".into(),
            Self::Mp3 { .. } => "MPA/90000".into(),
            Self::Aac { rate, channels, .. } => format!("mpeg4-generic/{rate}/{channels}"),
            // Always so, whatever there is in it (RFC 7587, section 7).
            Self::Opus { .. } => "opus/48000/2".into(),
            Self::L16 { rate, channels } => format!("L16/{rate}/{channels}"),
        }
    }

    /// `fmtp` behind the payload type, where there is something to say.
    pub fn details(&self, parameters: &Parameters) -> Option<String> {
        match self {
            Self::Video(Codec::H264) => {
                let mut text = String::from("packetization-mode=1");
                if let Some(profile) = h264::profile(&parameters.0) {
                    let _ = write!(text, ";profile-level-id={}", hex(profile));
                    let sets: Vec<_> = parameters.0.iter().map(|nal| STANDARD.encode(nal)).collect();
                    let _ = write!(text, ";sprop-parameter-sets={}", sets.join(","));
                }
                Some(text)
            }
            Self::Video(Codec::H265) => {
                let text = |(name, sets): (&str, Vec<&[u8]>)| {
                    let sets: Vec<_> = sets.iter().map(|nal| STANDARD.encode(nal)).collect();
                    (!sets.is_empty()).then(|| format!("{name}={}", sets.join(",")))
                };
                let texts: Vec<_> = h265::sorted(&parameters.0).into_iter().filter_map(text).collect();
                (!texts.is_empty()).then(|| texts.join(";"))
            }
            Self::Aac { config, .. } => Some(format!(
                "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}",
                hex(config)
            )),
            Self::Opus { channels: 2 } => Some("sprop-stereo=1".into()),
            Self::Video(Codec::Av1) | Self::Mp3 { .. } | Self::Opus { .. } | Self::L16 { .. } => None,
        }
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02X}");
        text
    })
}
