//! What the sender tells our own receivers about a stream, in an RTCP APP packet named `SAnn`.
//!
//! The body is a list of items, each an octet of type, an octet of length and that many octets of value, with
//! integers in network order. Receivers skip types they do not know, so that later versions can add some:
//!
//! | type | length | value |
//! | --- | --- | --- |
//! | 0 | – | end; the rest is padding, and the length octet may be missing |
//! | 1 | 10 | format: payload type (8 bits), codec (8), channels (16), rate in Hz (32), frames in a packet (16) |
//! | 2 | ≤ 64 | name of the client, UTF-8 |
//! | 3 | ≤ 255 | the source channels behind each output channel, as text: `0,1+2` |
//! | 4 | 5 | packets sent again on request: payload type (8), SSRC (32) |
//! | 5 | 5 | repair sent in advance: payload type (8), SSRC (32) |
//! | 6 | 4 | how often each of many receivers may speak, in milliseconds: time between two reports (16), between two questions about the clock (16) |

use crate::Reject;
use crate::cursor::{Reader, Writer};

/// The APP packet's four-letter name.
pub const APP_NAME: [u8; 4] = *b"SAnn";

/// Longest client name that is announced, in octets.
pub const MAX_NAME: usize = 64;

const END: u8 = 0;
const FORMAT: u8 = 1;
const NAME: u8 = 2;
const MAP: u8 = 3;
const RETRANSMISSION: u8 = 4;
const PARITY: u8 = 5;
const PACE: u8 = 6;

/// How samples are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 16-bit linear PCM, big-endian (RFC 3551).
    L16,
    /// 24-bit linear PCM, big-endian (RFC 3190).
    L24,
    /// Opus (RFC 7587), whose RTP clock always runs at 48 kHz.
    Opus,
}

impl Codec {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::L16 => "L16",
            Self::L24 => "L24",
            Self::Opus => "Opus",
        }
    }

    fn from_wire(value: u8) -> Result<Self, Reject> {
        match value {
            1 => Ok(Self::L16),
            2 => Ok(Self::L24),
            3 => Ok(Self::Opus),
            _ => Err(Reject::Value),
        }
    }

    fn to_wire(self) -> u8 {
        match self {
            Self::L16 => 1,
            Self::L24 => 2,
            Self::Opus => 3,
        }
    }
}

/// The shape of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// The RTP payload type that this format is sent under.
    pub payload_type: u8,
    /// How samples are coded.
    pub codec: Codec,
    /// Channels, 1 to 255.
    pub channels: u16,
    /// Frames a second, 8 000 to 192 000.
    pub rate: u32,
    /// Frames in a full packet; 0 where unknown.
    pub frames: u16,
}

/// Most channels a stream may have.
pub const MAX_CHANNELS: u16 = 255;
/// Sample rates that are accepted, in Hz.
pub const RATES: core::ops::RangeInclusive<u32> = 8_000..=192_000;
/// The only rate of Opus's RTP clock, in Hz (RFC 7587, section 4.1).
pub const OPUS_RATE: u32 = 48_000;

/// A checked view of an announcement's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement<'a> {
    /// The stream's shape.
    pub format: Format,
    /// The client's name in the sender's list.
    pub name: &'a str,
    /// The channel map as text.
    pub map: &'a str,
    /// Where packets that were asked for come again; `None` where nobody may ask.
    pub retransmission: Option<Companion>,
    /// Where repair comes in advance; `None` where there is none.
    pub parity: Option<Companion>,
    /// How often receivers may speak; `None` where there is only one.
    pub pace: Option<Pace>,
}

/// How often each receiver of a stream that many hear may speak to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Time between two reports, in milliseconds: what RFC 3550, section 6.3 calls the deterministic interval.
    pub report_ms: u16,
    /// Time between two questions about the sender's clock, in milliseconds.
    pub question_ms: u16,
}

/// An RTP stream that goes with the media, on the same port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Companion {
    /// Its RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Its synchronisation source.
    pub ssrc: u32,
}

impl<'a> Announcement<'a> {
    /// Reads the body of an APP packet named [`APP_NAME`].
    ///
    /// # Errors
    /// [`Reject::Truncated`] where an item reaches past the end, [`Reject::Value`] where the format is absent or
    /// a value is out of range.
    pub fn parse(body: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader(body);
        let (mut format, mut name, mut map) = (None, "", "");
        let (mut retransmission, mut parity, mut pace) = (None, None, None);
        while !reader.0.is_empty() {
            let kind = reader.u8()?;
            if kind == END {
                break;
            }
            let length = usize::from(reader.u8()?);
            let value = reader.take(length)?;
            match kind {
                FORMAT => format = Some(parse_format(value)?),
                NAME => name = text(value)?,
                MAP => map = text(value)?,
                RETRANSMISSION => retransmission = Some(parse_companion(value)?),
                PARITY => parity = Some(parse_companion(value)?),
                PACE => pace = Some(parse_pace(value)?),
                _ => {}
            }
        }
        Ok(Self { format: format.ok_or(Reject::Value)?, name, map, retransmission, parity, pace })
    }

    /// Writes the body, padded to a multiple of four octets. `None` where `out` is too small.
    ///
    /// A name or map that is too long for its item is left out rather than cut within a character.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        writer.put(&[FORMAT, 10, self.format.payload_type, self.format.codec.to_wire()]);
        writer.put(&self.format.channels.to_be_bytes());
        writer.put(&self.format.rate.to_be_bytes());
        writer.put(&self.format.frames.to_be_bytes());
        for (kind, limit, value) in [(NAME, MAX_NAME, self.name), (MAP, 255, self.map)] {
            if !value.is_empty() && value.len() <= limit {
                writer.put(&[kind, value.len() as u8]);
                writer.put(value.as_bytes());
            }
        }
        for (kind, companion) in [(RETRANSMISSION, self.retransmission), (PARITY, self.parity)] {
            if let Some(companion) = companion {
                writer.put(&[kind, 5, companion.payload_type]);
                writer.put(&companion.ssrc.to_be_bytes());
            }
        }
        if let Some(pace) = self.pace {
            writer.put(&[PACE, 4]);
            writer.put(&pace.report_ms.to_be_bytes());
            writer.put(&pace.question_ms.to_be_bytes());
        }
        writer.align();
        writer.finish()
    }
}

/// Control characters are refused: the text is shown on terminals.
fn text(value: &[u8]) -> Result<&str, Reject> {
    let text = core::str::from_utf8(value).map_err(|_| Reject::Value)?;
    if text.chars().any(char::is_control) { Err(Reject::Value) } else { Ok(text) }
}

fn parse_format(value: &[u8]) -> Result<Format, Reject> {
    let mut reader = Reader(value);
    let format = Format {
        payload_type: reader.u8()?,
        codec: Codec::from_wire(reader.u8()?)?,
        channels: reader.u16()?,
        rate: reader.u32()?,
        frames: reader.u16()?,
    };
    let sane = format.payload_type < 128
        && (1..=MAX_CHANNELS).contains(&format.channels)
        && RATES.contains(&format.rate)
        && (format.codec != Codec::Opus || format.rate == OPUS_RATE);
    if sane { Ok(format) } else { Err(Reject::Value) }
}

fn parse_companion(value: &[u8]) -> Result<Companion, Reject> {
    let mut reader = Reader(value);
    let companion = Companion { payload_type: reader.u8()?, ssrc: reader.u32()? };
    if companion.payload_type < 128 { Ok(companion) } else { Err(Reject::Value) }
}

fn parse_pace(value: &[u8]) -> Result<Pace, Reject> {
    let mut reader = Reader(value);
    let pace = Pace { report_ms: reader.u16()?, question_ms: reader.u16()? };
    if pace.report_ms > 0 && pace.question_ms > 0 { Ok(pace) } else { Err(Reject::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMAT_3CH: Format =
        Format { payload_type: 96, codec: Codec::L16, channels: 3, rate: 48_000, frames: 128 };

    /// Laid out by hand from the table above.
    const GOLDEN: [u8; 44] = [
        1, 10, 96, 1, 0, 3, 0, 0, 0xbb, 0x80, 0, 128, // format
        2, 2, b'h', b'i', // name
        3, 5, b'0', b',', b'1', b'+', b'2', // map
        4, 5, 99, 0xca, 0xfe, 0xba, 0xbe, // retransmission
        5, 5, 100, 0xde, 0xad, 0xbe, 0xef, // parity
        6, 4, 0x1c, 0x20, 0x0f, 0xa0, 0, // pace, padding
    ];

    #[test]
    fn golden_bytes_both_ways() {
        let announcement = Announcement {
            format: FORMAT_3CH,
            name: "hi",
            map: "0,1+2",
            retransmission: Some(Companion { payload_type: 99, ssrc: 0xcafe_babe }),
            parity: Some(Companion { payload_type: 100, ssrc: 0xdead_beef }),
            pace: Some(Pace { report_ms: 7200, question_ms: 4000 }),
        };
        let mut out = [0xff; 64];
        let length = announcement.write(&mut out).unwrap();
        assert_eq!(out[..length], GOLDEN);
        assert_eq!(Announcement::parse(&GOLDEN), Ok(announcement));
        assert_eq!(announcement.write(&mut out[..20]), None);
    }

    #[test]
    fn skips_unknown_items_and_refuses_nonsense() {
        let mut with_unknown = std::vec![200u8, 3, 1, 2, 3];
        with_unknown.extend(GOLDEN);
        assert_eq!(Announcement::parse(&with_unknown).unwrap().name, "hi");
        assert_eq!(Announcement::parse(&GOLDEN[12..]), Err(Reject::Value));
        assert_eq!(Announcement::parse(&GOLDEN[..7]), Err(Reject::Truncated));
        for (at, value) in
            [(2, 128), (3, 9), (4, 1), (5, 0), (6, 1), (14, 0xff), (14, 0x1b), (25, 128), (32, 200)]
        {
            let mut broken = GOLDEN;
            broken[at] = value;
            assert_eq!(Announcement::parse(&broken), Err(Reject::Value), "octet {at}");
        }
        let mut short = GOLDEN;
        short[24] = 4;
        assert_eq!(Announcement::parse(&short), Err(Reject::Truncated));
    }

    #[test]
    fn opus_runs_at_its_own_rate_only() {
        let mut opus = GOLDEN;
        opus[3] = 3;
        assert_eq!(Announcement::parse(&opus).unwrap().format.codec, Codec::Opus);
        opus[8..10].copy_from_slice(&44_100u16.to_be_bytes());
        assert_eq!(Announcement::parse(&opus), Err(Reject::Value));
    }

    fn companion() -> impl Strategy<Value = Option<Companion>> {
        prop::option::of(
            (0u8..128, any::<u32>()).prop_map(|(payload_type, ssrc)| Companion { payload_type, ssrc }),
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payload_type in 0u8..128, channels in 1u16..=255, rate in RATES, frames: u16,
                                   codec in prop::sample::select(&[Codec::L16, Codec::L24, Codec::Opus][..]),
                                   name in "\\PC{0,16}", map in "[0-9,+]{0,200}",
                                   retransmission in companion(), parity in companion(),
                                   pace in prop::option::of((1u16.., 1u16..))) {
            let rate = if codec == Codec::Opus { OPUS_RATE } else { rate };
            let format = Format { payload_type, codec, channels, rate, frames };
            let pace = pace.map(|(report_ms, question_ms)| Pace { report_ms, question_ms });
            let announcement = Announcement { format, name: &name, map: &map, retransmission, parity, pace };
            let mut out = [0; 512];
            let length = announcement.write(&mut out).unwrap();
            prop_assert_eq!(length % 4, 0);
            prop_assert_eq!(Announcement::parse(&out[..length]), Ok(announcement));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            let _ = Announcement::parse(&bytes);
        }
    }
}
