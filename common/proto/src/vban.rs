//! VBAN audio packets, as VB-Audio's protocol specification (revision 11) has them: a header of 28 octets, and interleaved
//! linear PCM. Everything that is longer than an octet is little-endian.
//!
//! | octets | hold |
//! | --- | --- |
//! | 0 to 3 | `VBAN` |
//! | 4 | index of the rate in [`RATES`] (5 bits); sub-protocol (3 bits), 0 for audio |
//! | 5 | frames less one |
//! | 6 | channels less one |
//! | 7 | data type (3 bits); reserved (1 bit); codec (4 bits), 0 for PCM |
//! | 8 to 23 | name of the stream, zeros behind it |
//! | 24 to 27 | counts packets |

use crate::Reject;
use crate::pcm::{self, ByteOrder};

/// The port where VBAN is listened for, unless something else is agreed on.
pub const PORT: u16 = 6980;
/// Octets of a header.
pub const HEADER_LENGTH: usize = 28;
/// Most octets of samples in a packet.
pub const MAX_PAYLOAD: usize = 1436;
/// Most frames in a packet.
pub const MAX_FRAMES: u16 = 256;
/// Octets of the name of a stream.
pub const MAX_NAME: usize = 16;

/// Rates in Hz, by their index.
pub const RATES: [u32; 21] = [
    6_000, 12_000, 24_000, 48_000, 96_000, 192_000, 384_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000,
    512_000, 11_025, 22_050, 44_100, 88_200, 176_400, 352_800, 705_600,
];

const MAGIC: [u8; 4] = *b"VBAN";
const RATE_MASK: u8 = 0x1f;
const DATA_TYPE_MASK: u8 = 0x07;

/// The data types that are read and written here, with their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sample {
    /// Signed, 16 bits: type 1.
    Bits16,
    /// Signed, 24 bits: type 2.
    Bits24,
}

impl Sample {
    /// How it is written.
    pub fn written(self) -> pcm::Sample {
        match self {
            Self::Bits16 => pcm::Sample::Bits16(ByteOrder::Little),
            Self::Bits24 => pcm::Sample::Bits24(ByteOrder::Little),
        }
    }

    /// Octets of one sample.
    pub fn octets(self) -> usize {
        self.written().octets()
    }
}

/// The name of a stream: at most [`MAX_NAME`] octets, not always text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Name([u8; MAX_NAME]);

impl Name {
    /// As much of a text as fits, cut between characters.
    pub fn new(text: &str) -> Self {
        let length = text.floor_char_boundary(MAX_NAME);
        let mut octets = [0; MAX_NAME];
        octets[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self(octets)
    }

    /// The text before the first zero; empty where it is none.
    pub fn as_str(&self) -> &str {
        let text = self.0.split(|octet| *octet == 0).next().unwrap_or_default();
        str::from_utf8(text).unwrap_or("")
    }
}

/// What a header says of a packet of PCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Frames a second, one of [`RATES`].
    pub rate: u32,
    /// Frames in the packet, 1 to 256.
    pub frames: u16,
    /// Channels, 1 to 256.
    pub channels: u16,
    /// How a sample is written.
    pub sample: Sample,
    /// Which stream it belongs to.
    pub name: Name,
    /// Counts the stream's packets, and wraps.
    pub counter: u32,
}

impl Header {
    /// The header's octets. `None` where the rate is not in the table, or frames or channels are out of range.
    pub fn to_bytes(&self) -> Option<[u8; HEADER_LENGTH]> {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = rate_index(self.rate)?;
        bytes[5] = u8::try_from(self.frames.checked_sub(1)?).ok()?;
        bytes[6] = u8::try_from(self.channels.checked_sub(1)?).ok()?;
        bytes[7] = match self.sample {
            Sample::Bits16 => 1,
            Sample::Bits24 => 2,
        };
        bytes[8..24].copy_from_slice(&self.name.0);
        bytes[24..].copy_from_slice(&self.counter.to_le_bytes());
        Some(bytes)
    }

    /// Octets of the samples.
    pub fn payload_length(&self) -> usize {
        usize::from(self.frames) * usize::from(self.channels) * self.sample.octets()
    }
}

/// A rate's index; `None` where VBAN has no such rate.
pub fn rate_index(rate: u32) -> Option<u8> {
    RATES.iter().position(|known| *known == rate).and_then(|index| u8::try_from(index).ok())
}

/// A checked view of one packet of PCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What the header says.
    pub header: Header,
    /// Whole frames.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`Reject::Truncated`] where it is shorter than a header, [`Reject::Version`] where it is not VBAN,
    /// [`Reject::PayloadType`] for other sub-protocols, codecs and data types, [`Reject::Value`] for a rate beyond the table,
    /// [`Reject::Length`] where the samples are not as many as the header says.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Reject> {
        let (header, payload) = datagram.split_first_chunk::<HEADER_LENGTH>().ok_or(Reject::Truncated)?;
        if header[..4] != MAGIC {
            return Err(Reject::Version);
        }
        let [rate, frames, channels, format] = [header[4], header[5], header[6], header[7]];
        if rate & !RATE_MASK != 0 {
            return Err(Reject::PayloadType);
        }
        // The reserved bit may come to mean something.
        let sample = match (format & 0xf0, format & DATA_TYPE_MASK) {
            (0, 1) => Sample::Bits16,
            (0, 2) => Sample::Bits24,
            _ => return Err(Reject::PayloadType),
        };
        let (mut name, mut counter) = ([0; MAX_NAME], [0; 4]);
        name.copy_from_slice(&header[8..24]);
        counter.copy_from_slice(&header[24..]);
        let header = Header {
            rate: *RATES.get(usize::from(rate)).ok_or(Reject::Value)?,
            frames: u16::from(frames) + 1,
            channels: u16::from(channels) + 1,
            sample,
            name: Name(name),
            counter: u32::from_le_bytes(counter),
        };
        if payload.len() != header.payload_length() {
            return Err(Reject::Length);
        }
        Ok(Self { header, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Laid out by hand from the tables of the specification: 2 frames of 2 channels at 44.1 kHz in 16 bits.
    const GOLDEN: [u8; 36] = [
        b'V', b'B', b'A', b'N', 16, 1, 1, 1, // rate, frames, channels, type
        b'S', b't', b'r', b'e', b'a', b'm', b'1', 0, 0, 0, 0, 0, 0, 0, 0, 0, // name
        0x78, 0x56, 0x34, 0x12, // counter
        0x34, 0x12, 0xff, 0xff, 0x00, 0x80, 0x00, 0x00,
    ];

    fn header() -> Header {
        Header {
            rate: 44_100,
            frames: 2,
            channels: 2,
            sample: Sample::Bits16,
            name: Name::new("Stream1"),
            counter: 0x1234_5678,
        }
    }

    #[test]
    fn golden_bytes_both_ways() {
        assert_eq!(header().to_bytes().unwrap(), GOLDEN[..28]);
        let packet = Packet::parse(&GOLDEN).unwrap();
        assert_eq!(packet, Packet { header: header(), payload: &GOLDEN[28..] });
        assert_eq!(packet.header.name.as_str(), "Stream1");
    }

    #[test]
    fn twenty_four_bits_have_a_type_of_their_own() {
        let header = Header { sample: Sample::Bits24, rate: 48_000, ..header() };
        let bytes = header.to_bytes().unwrap();
        assert_eq!((bytes[4], bytes[7]), (3, 2));
        let datagram = [&bytes[..], &[0; 12]].concat();
        assert_eq!(Packet::parse(&datagram).unwrap().header, header);
    }

    #[test]
    fn refuses_by_reason() {
        let with = |at: usize, value: u8| {
            let mut bytes = GOLDEN;
            bytes[at] = value;
            Packet::parse(&bytes).map(|_| ()).unwrap_err()
        };
        assert_eq!(Packet::parse(&GOLDEN[..27]), Err(Reject::Truncated));
        assert_eq!(with(0, b'v'), Reject::Version);
        assert_eq!(with(4, 0x30), Reject::PayloadType);
        assert_eq!(with(4, 21), Reject::Value);
        assert_eq!(with(7, 4), Reject::PayloadType);
        assert_eq!(with(7, 0x11), Reject::PayloadType);
        assert_eq!(with(5, 2), Reject::Length);
        assert_eq!(Packet::parse(&GOLDEN[..35]), Err(Reject::Length));
    }

    #[test]
    fn what_a_header_cannot_say_is_not_written() {
        for header in [
            Header { rate: 44_000, ..header() },
            Header { frames: 0, ..header() },
            Header { frames: 257, ..header() },
            Header { channels: 0, ..header() },
            Header { channels: 257, ..header() },
        ] {
            assert_eq!(header.to_bytes(), None, "{header:?}");
        }
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(Name::new("fifteen octets ö").as_str(), "fifteen octets ");
        assert_eq!(Name([0xff; MAX_NAME]).as_str(), "");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rate in 0usize..21, frames in 1u16..=256, channels in 1u16..=4, wide: bool,
                                   name in "\\PC{0,20}", counter: u32) {
            let sample = if wide { Sample::Bits24 } else { Sample::Bits16 };
            let header = Header { rate: RATES[rate], frames, channels, sample, name: Name::new(&name), counter };
            let mut datagram = header.to_bytes().unwrap().to_vec();
            datagram.resize(HEADER_LENGTH + header.payload_length(), 0);
            prop_assert_eq!(Packet::parse(&datagram).map(|packet| packet.header), Ok(header));
        }

        #[test]
        fn any_bytes_are_answered(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Packet::parse(&bytes);
            if let Some(magic) = bytes.get_mut(..4) {
                magic.copy_from_slice(&MAGIC);
            }
            let _ = Packet::parse(&bytes);
        }
    }
}
