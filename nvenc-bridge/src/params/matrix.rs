//! Which codec goes over which protocol.

use crate::encode::Codec;
use crate::sound;

/// `mode`: how a stream leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// An RTSP server (RFC 2326), sound and pictures over RTP.
    Rtsp,
    /// A sender of RTMP, enhanced where the codec needs it.
    Rtmp,
    /// MPEG-TS over SRT.
    Srt,
    /// A WebRTC peer.
    Webrtc,
}

/// What a codec is called for people.
pub trait Named {
    /// Its name.
    fn label(self) -> &'static str;
}

impl Named for Protocol {
    fn label(self) -> &'static str {
        match self {
            Self::Rtsp => "RTSP",
            Self::Rtmp => "RTMP",
            Self::Srt => "SRT",
            Self::Webrtc => "WebRTC",
        }
    }
}

impl Named for Codec {
    fn label(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Av1 => "AV1",
        }
    }
}

impl Named for sound::Codec {
    fn label(self) -> &'static str {
        match self {
            Self::Mp3 => "MP3",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::L16 => "L16",
        }
    }
}

/// How pictures of this codec travel, in few words.
///
/// # Errors
/// Why they do not, and what to choose.
pub fn pictures(protocol: Protocol, codec: Codec) -> Result<&'static str, &'static str> {
    Ok(match (protocol, codec) {
        (Protocol::Rtsp, Codec::H264) => "RTP payload of RFC 6184",
        (Protocol::Rtsp, Codec::H265) => "RTP payload of RFC 7798",
        (Protocol::Rtsp, Codec::Av1) => "RTP payload of the Alliance for Open Media",
        (Protocol::Rtmp, Codec::H264) => "FLV's AVC",
        (Protocol::Rtmp, Codec::H265) => "Enhanced RTMP's hvc1",
        (Protocol::Rtmp, Codec::Av1) => "Enhanced RTMP's av01",
        (Protocol::Srt, Codec::H264) => "MPEG-TS, stream type 0x1B",
        (Protocol::Srt, Codec::H265) => "MPEG-TS, stream type 0x24",
        (Protocol::Srt, Codec::Av1) => {
            return Err("SRT carries H.264 or H.265: players do not agree on AV1 in MPEG-TS");
        }
        (Protocol::Webrtc, Codec::H264 | Codec::Av1) => "RTP, in every browser",
        (Protocol::Webrtc, Codec::H265) => "RTP, where the peer's answer takes it; few browsers do",
    })
}

/// How sound of this codec travels, and at which rates in Hz it may be.
///
/// # Errors
/// Why it does not, and what to choose.
pub fn sound(
    protocol: Protocol,
    codec: sound::Codec,
) -> Result<(&'static str, &'static [u32]), &'static str> {
    const BOTH: &[u32] = &[44_100, 48_000];
    const OPUS: &[u32] = &[48_000];
    Ok(match (protocol, codec) {
        (Protocol::Rtsp, sound::Codec::Mp3) => ("RTP payload of RFC 2250", BOTH),
        (Protocol::Rtsp, sound::Codec::Aac) => ("RTP payload of RFC 3640, AAC-hbr", BOTH),
        (Protocol::Rtsp, sound::Codec::Opus) => ("RTP payload of RFC 7587", OPUS),
        (Protocol::Rtsp, sound::Codec::L16) => ("RTP payload of RFC 3551", BOTH),
        (Protocol::Rtmp, sound::Codec::Mp3) => {
            ("FLV's sound format 2, which cannot say 48 000 Hz", &[44_100])
        }
        (Protocol::Rtmp, sound::Codec::Aac) => ("FLV's AAC", BOTH),
        (Protocol::Rtmp, sound::Codec::Opus) => ("Enhanced RTMP's Opus", OPUS),
        (Protocol::Srt, sound::Codec::Mp3) => ("MPEG-TS, stream type 0x03", BOTH),
        (Protocol::Srt, sound::Codec::Aac) => ("MPEG-TS, stream type 0x0F", BOTH),
        (Protocol::Srt, sound::Codec::Opus) => ("MPEG-TS, registered as Opus", OPUS),
        (Protocol::Webrtc, sound::Codec::Opus) => ("RTP, in every browser", OPUS),
        (Protocol::Webrtc, sound::Codec::Mp3 | sound::Codec::Aac) => {
            return Err("browsers take neither MP3 nor AAC over WebRTC: choose opus");
        }
        (Protocol::Rtmp | Protocol::Srt | Protocol::Webrtc, sound::Codec::L16) => {
            return Err("l16 goes over RTSP alone: choose mp3, aac or opus");
        }
    })
}
