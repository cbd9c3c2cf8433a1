//! RTP data packets (RFC 3550, section 5.1).

use crate::Reject;
use crate::cursor::Reader;
use crate::units::{RtpTime, Sequence};

/// Octets of an RTP header without CSRC list and extension.
pub const HEADER_LENGTH: usize = 12;

/// The fields that we write. CSRC lists and header extensions are read and skipped, never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First packet after a silence; we set it on the first packet of a stream.
    pub marker: bool,
    /// 7 bits.
    pub payload_type: u8,
    /// Counts packets.
    pub sequence: Sequence,
    /// Counts frames (RTP clock ticks).
    pub timestamp: RtpTime,
    /// The synchronisation source: one for each encoding.
    pub ssrc: u32,
}

impl Header {
    /// The header's octets: version 2, no padding, no extension, no CSRC.
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[0] = 2 << 6;
        bytes[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7f);
        bytes[2..4].copy_from_slice(&self.sequence.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

/// A checked view of one RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed fields.
    pub header: Header,
    /// Codec octets, padding removed.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram. Refuses any version but 2, length fields that reach past the end, and impossible padding.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader(datagram);
        let (header, has_padding) = parse_header(&mut reader)?;
        let payload = if has_padding { strip_padding(reader.0)? } else { reader.0 };
        Ok(Self { header, payload })
    }
}

/// Octets before the payload: the fixed fields, the CSRC list and the header extension.
///
/// # Errors
/// Those of [`Packet::parse`], as far as they are about these.
pub fn header_length(datagram: &[u8]) -> Result<usize, Reject> {
    let mut reader = Reader(datagram);
    parse_header(&mut reader)?;
    Ok(datagram.len() - reader.0.len())
}

/// The fixed fields, and whether there is padding. Leaves the reader at the payload.
fn parse_header(reader: &mut Reader<'_>) -> Result<(Header, bool), Reject> {
    let first = reader.u8()?;
    if first >> 6 != 2 {
        return Err(Reject::Version);
    }
    let second = reader.u8()?;
    let header = Header {
        marker: second & 0x80 != 0,
        payload_type: second & 0x7f,
        sequence: Sequence(reader.u16()?),
        timestamp: RtpTime(reader.u32()?),
        ssrc: reader.u32()?,
    };
    let contributors = usize::from(first & 0x0f);
    reader.take(4 * contributors)?;
    let has_extension = first & 0x10 != 0;
    if has_extension {
        let _profile = reader.u16()?;
        let words = reader.u16()?;
        reader.take(4 * usize::from(words))?;
    }
    Ok((header, first & 0x20 != 0))
}

fn strip_padding(payload: &[u8]) -> Result<&[u8], Reject> {
    let count = usize::from(*payload.last().ok_or(Reject::Padding)?);
    match payload.len().checked_sub(count) {
        Some(length) if count > 0 => Ok(&payload[..length]),
        _ => Err(Reject::Padding),
    }
}

/// Whether a datagram on a port shared by RTP and RTCP is RTCP, by its second octet (RFC 5761, section 4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.len() >= 4 && datagram[0] >> 6 == 2 && (192..=223).contains(&datagram[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Laid out by hand from the figure in RFC 3550, section 5.1.
    const GOLDEN: [u8; 16] =
        [0x80, 0x8b, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe, 0x00, 0x01, 0xff, 0xfe];

    const HEADER: Header = Header {
        marker: true,
        payload_type: 11,
        sequence: Sequence(0x1234),
        timestamp: RtpTime(0xdead_beef),
        ssrc: 0xcafe_babe,
    };

    #[test]
    fn golden_bytes_both_ways() {
        assert_eq!(HEADER.to_bytes(), GOLDEN[..12]);
        let packet = Packet::parse(&GOLDEN).unwrap();
        assert_eq!(packet.header, HEADER);
        assert_eq!(packet.payload, [0x00, 0x01, 0xff, 0xfe]);
    }

    #[test]
    fn skips_contributors_and_extension_and_removes_padding() {
        let bytes = [
            0xb1, 0x0b, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, // P, X, one CSRC
            9, 9, 9, 9, // CSRC
            0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0, // one word of extension
            7, 8, 0, 2, // payload, padding of 2
        ];
        assert_eq!(Packet::parse(&bytes).unwrap().payload, [7, 8]);
    }

    #[test]
    fn refuses_by_reason() {
        assert_eq!(Packet::parse(&[]), Err(Reject::Truncated));
        assert_eq!(Packet::parse(&GOLDEN[..11]), Err(Reject::Truncated));
        assert_eq!(Packet::parse(&[0x40; 16]), Err(Reject::Version));
        let mut padded = GOLDEN;
        padded[0] |= 0x20;
        padded[15] = 0;
        assert_eq!(Packet::parse(&padded), Err(Reject::Padding));
        padded[15] = 5;
        assert_eq!(Packet::parse(&padded), Err(Reject::Padding));
        let mut contributors = GOLDEN;
        contributors[0] |= 2;
        assert_eq!(Packet::parse(&contributors), Err(Reject::Truncated));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
                                   payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let header = Header {
                marker, payload_type, sequence: Sequence(sequence), timestamp: RtpTime(timestamp), ssrc,
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(&payload);
            prop_assert_eq!(Packet::parse(&bytes), Ok(Packet { header, payload: &payload }));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_LENGTH <= bytes.len());
            }
            let _ = is_rtcp(&bytes);
        }
    }
}
