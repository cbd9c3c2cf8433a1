//! Repair in advance: parity over packets that lie apart in time, in an RTP stream of its own. Programs that do
//! not know it ignore its payload type. The ideas are those of RFC 6865 and RFC 8627, the layout is ours, in
//! network order:
//!
//! | bits | field |
//! | --- | --- |
//! | 16 | the first sequence number that the block protects |
//! | 8 | k: packets in the block, 1 to 32 |
//! | 8 | m: rows of parity for the block, 1 to 16 |
//! | 8 | spread: the distance of two packets of the block, 1 to 64 |
//! | 8 | index of this row, below m |
//! | 16 | zero, ignored when read |
//! | … | the row's octets |
//!
//! A block protects the packets first, first + spread, …, first + (k − 1) · spread. What is protected of each
//! is its *image*: the octets of [`Prefix`], then the payload, then zeros up to the longest image of the block.

use core::ops::RangeInclusive;

use crate::Reject;
use crate::cursor::Reader;
use crate::units::{RtpTime, Sequence};

/// Packets that a block may have.
pub const PACKETS: RangeInclusive<u8> = 1..=32;
/// Rows of parity that a block may have.
pub const ROWS: RangeInclusive<u8> = 1..=16;
/// Distances that packets of a block may have.
pub const SPREADS: RangeInclusive<u8> = 1..=64;

/// What stands before the octets of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The first packet of the block.
    pub first: Sequence,
    /// Packets in the block, 1 to 32.
    pub k: u8,
    /// Rows of the block, 1 to 16.
    pub m: u8,
    /// The distance of two packets of the block, 1 to 64.
    pub spread: u8,
    /// Which row this is, below `m`.
    pub index: u8,
}

impl Header {
    /// Octets of the header.
    pub const LENGTH: usize = 8;

    /// Splits a payload into the header and the row's octets.
    ///
    /// # Errors
    /// [`Reject::Truncated`] where the header is not whole, [`Reject::Value`] where a field is out of its
    /// range.
    pub fn parse(payload: &[u8]) -> Result<(Self, &[u8]), Reject> {
        let mut reader = Reader(payload);
        let header = Self {
            first: Sequence(reader.u16()?),
            k: reader.u8()?,
            m: reader.u8()?,
            spread: reader.u8()?,
            index: reader.u8()?,
        };
        let _reserved = reader.u16()?;
        if header.is_sane() { Ok((header, reader.0)) } else { Err(Reject::Value) }
    }

    /// Whether every field is within its range.
    pub fn is_sane(&self) -> bool {
        PACKETS.contains(&self.k)
            && ROWS.contains(&self.m)
            && SPREADS.contains(&self.spread)
            && self.index < self.m
    }

    /// Packets of the stream from the first of the block to the last, 1 to 1985 where the header is sane.
    pub fn span(&self) -> u64 {
        (u64::from(self.k).max(1) - 1) * u64::from(self.spread) + 1
    }

    /// The header's octets.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let [high, low] = self.first.0.to_be_bytes();
        [high, low, self.k, self.m, self.spread, self.index, 0, 0]
    }
}

/// The first octets of an image: what has to be known of a packet besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Octets of the payload.
    pub length: u16,
    /// The RTP header's marker.
    pub marker: bool,
    /// 7 bits.
    pub payload_type: u8,
    /// The RTP header's time stamp.
    pub timestamp: RtpTime,
}

impl Prefix {
    /// Octets of the prefix.
    pub const LENGTH: usize = 8;

    /// Reads the octets of a rebuilt image.
    ///
    /// # Errors
    /// [`Reject::Truncated`] where it is not whole, [`Reject::Value`] where the octet that is always zero is
    /// not: the image was rebuilt from what does not belong together.
    pub fn parse(image: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader(image);
        let length = reader.u16()?;
        let kind = reader.u8()?;
        let zero = reader.u8()?;
        let timestamp = RtpTime(reader.u32()?);
        let prefix = Self { length, marker: kind & 0x80 != 0, payload_type: kind & 0x7f, timestamp };
        if zero == 0 { Ok(prefix) } else { Err(Reject::Value) }
    }

    /// The prefix's octets: length (16 bits), marker (1), payload type (7), zero (8), time stamp (32).
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let [high, low] = self.length.to_be_bytes();
        let kind = (u8::from(self.marker) << 7) | (self.payload_type & 0x7f);
        let [a, b, c, d] = self.timestamp.0.to_be_bytes();
        [high, low, kind, 0, a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Laid out by hand from the table above.
    const GOLDEN: [u8; 10] = [0x12, 0x34, 8, 3, 2, 1, 0, 0, 0xaa, 0xbb];

    #[test]
    fn golden_bytes_both_ways() {
        let header = Header { first: Sequence(0x1234), k: 8, m: 3, spread: 2, index: 1 };
        assert_eq!(header.to_bytes(), GOLDEN[..8]);
        assert_eq!(Header::parse(&GOLDEN), Ok((header, &[0xaa, 0xbb][..])));
        let prefix = Prefix { length: 256, marker: true, payload_type: 11, timestamp: RtpTime(0xdead_beef) };
        let bytes = [1, 0, 0x8b, 0, 0xde, 0xad, 0xbe, 0xef];
        assert_eq!(prefix.to_bytes(), bytes);
        assert_eq!(Prefix::parse(&bytes), Ok(prefix));
    }

    #[test]
    fn refuses_by_reason() {
        assert_eq!(Header::parse(&GOLDEN[..7]), Err(Reject::Truncated));
        for (at, value) in [(2, 0), (2, 33), (3, 0), (3, 17), (4, 0), (4, 65), (5, 3)] {
            let mut broken = GOLDEN;
            broken[at] = value;
            assert_eq!(Header::parse(&broken), Err(Reject::Value), "octet {at}");
        }
        assert_eq!(Prefix::parse(&[0; 7]), Err(Reject::Truncated));
        assert_eq!(Prefix::parse(&[0, 0, 0, 1, 0, 0, 0, 0]), Err(Reject::Value));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(first: u16, k in PACKETS, m in ROWS, spread in SPREADS, index in 0u8..16,
                                   length: u16, marker: bool, payload_type in 0u8..128, timestamp: u32) {
            let header = Header { first: Sequence(first), k, m, spread, index: index % m };
            let bytes = header.to_bytes();
            prop_assert_eq!(Header::parse(&bytes), Ok((header, &[][..])));
            let prefix = Prefix { length, marker, payload_type, timestamp: RtpTime(timestamp) };
            prop_assert_eq!(Prefix::parse(&prefix.to_bytes()), Ok(prefix));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            let _ = Header::parse(&bytes);
            let _ = Prefix::parse(&bytes);
        }
    }
}
