//! Packets that are sent again, in an RTP stream of their own (RFC 4588, section 4): the number that the packet had
//! (OSN, 16 bits), then its payload.

use crate::Reject;
use crate::cursor::{Reader, Writer};
use crate::rtp;
use crate::units::Sequence;

/// Octets that a packet grows by.
pub const OVERHEAD: usize = 2;

/// Splits a payload into the original's number and its payload.
///
/// # Errors
/// [`Reject::Truncated`] where the number is not whole.
pub fn parse(payload: &[u8]) -> Result<(Sequence, &[u8]), Reject> {
    let mut reader = Reader(payload);
    Ok((Sequence(reader.u16()?), reader.0))
}

/// Writes `original`, a whole RTP packet, as the packet `sequence` of the retransmission stream. Marker and time stamp stay.
/// `None` where `original` is not an RTP packet or `out` is too small.
pub fn write(
    original: &[u8],
    payload_type: u8,
    ssrc: u32,
    sequence: Sequence,
    out: &mut [u8],
) -> Option<usize> {
    let packet = rtp::Packet::parse(original).ok()?;
    let header = rtp::Header { payload_type, ssrc, sequence, ..packet.header };
    let mut writer = Writer::new(out);
    writer.put(&header.to_bytes());
    writer.put(&packet.header.sequence.0.to_be_bytes());
    writer.put(packet.payload);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGINAL: [u8; 16] =
        [0x80, 0x8b, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe, 0xba, 0xbe, 0x00, 0x01, 0xff, 0xfe];

    /// Laid out by hand from the figure in RFC 4588, section 4.
    const GOLDEN: [u8; 18] =
        [0x80, 0xe3, 0, 7, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 9, 0x12, 0x34, 0x00, 0x01, 0xff, 0xfe];

    #[test]
    fn golden_bytes_both_ways() {
        let mut out = [0; 18];
        assert_eq!(write(&ORIGINAL, 99, 9, Sequence(7), &mut out), Some(18));
        assert_eq!(out, GOLDEN);
        assert_eq!(parse(&GOLDEN[12..]), Ok((Sequence(0x1234), &ORIGINAL[12..])));
        assert_eq!(write(&ORIGINAL, 99, 9, Sequence(7), &mut out[..17]), None);
        assert_eq!(write(&ORIGINAL[..11], 99, 9, Sequence(7), &mut out), None);
        assert_eq!(parse(&[1]), Err(Reject::Truncated));
    }

    proptest! {
        #[test]
        fn what_is_sent_again_is_read(original in prop::collection::vec(any::<u8>(), 12..80), number: u16) {
            let original = [&[0x80][..], &original[1..]].concat();
            let mut out = [0; 96];
            let length = write(&original, 99, 1, Sequence(number), &mut out).unwrap();
            prop_assert_eq!(length, original.len() + OVERHEAD);
            let (before, again) = (rtp::Packet::parse(&original).unwrap(), rtp::Packet::parse(&out[..length]).unwrap());
            prop_assert_eq!(again.header.sequence, Sequence(number));
            prop_assert_eq!(
                (again.header.marker, again.header.timestamp),
                (before.header.marker, before.header.timestamp)
            );
            prop_assert_eq!(parse(again.payload), Ok((before.header.sequence, before.payload)));
        }
    }
}
