//! Tells RTP, VBAN and headerless PCM apart, datagram by datagram.
//!
//! A whole RTCP compound is taken at its word, and a packet of VBAN that is as long as it says; so are two RTP packets of a
//! known type that follow each other closely. Headerless PCM has nothing that could be recognised, so three datagrams in a
//! row that are not RTP and have the same even length must vouch for it. What came before is not played.

use proto::units::Sequence;
use proto::{payload_type, rtcp, rtp, vban};

use crate::send::Wire;

/// Datagrams that vouch for headerless PCM.
const VOUCHERS: u8 = 3;
/// Shortest datagram that is taken for headerless PCM, in octets: less than a millisecond is no audio stream.
const SHORTEST: usize = 64;
/// Furthest that two packets may be apart to vouch for each other.
const NEAR: u16 = 16;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Detector {
    /// A payload type that is known beside those of our own.
    extra: Option<u8>,
    /// Source and number of the last packet that may be RTP.
    packet: Option<(u32, Sequence)>,
    length: usize,
    count: u8,
}

impl Detector {
    /// One that knows this payload type beside those of our own.
    pub(crate) fn knowing(extra: Option<u8>) -> Self {
        Self { extra, ..Self::default() }
    }

    /// The wire format, once it is clear.
    pub(crate) fn note(&mut self, datagram: &[u8]) -> Option<Wire> {
        if is_report(datagram) {
            return Some(Wire::Rtp);
        }
        if vban::Packet::parse(datagram).is_ok() {
            return Some(Wire::Vban);
        }
        if let Some((ssrc, sequence)) = self.known_rtp(datagram) {
            let last = self.packet.replace((ssrc, sequence));
            let follows = |(other, number): (u32, Sequence)| {
                other == ssrc && (1..=NEAR).contains(&sequence.since(number).unsigned_abs())
            };
            if last.is_some_and(follows) {
                return Some(Wire::Rtp);
            }
        }
        let plausible = datagram.len() >= SHORTEST && datagram.len().is_multiple_of(2);
        if !plausible || datagram.len() != self.length {
            self.length = if plausible { datagram.len() } else { 0 };
            self.count = 0;
        }
        self.count += u8::from(plausible);
        (self.count >= VOUCHERS).then_some(Wire::Plain)
    }

    fn known_rtp(&self, datagram: &[u8]) -> Option<(u32, Sequence)> {
        let packet = rtp::Packet::parse(datagram).ok()?;
        let kind = packet.header.payload_type;
        let known = payload_type::static_format(kind).is_some()
            || (payload_type::L16_ANNOUNCED..=payload_type::PARITY).contains(&kind)
            || self.extra == Some(kind);
        (known && !packet.payload.is_empty()).then_some((packet.header.ssrc, packet.header.sequence))
    }
}

/// Whether a datagram is an RTCP compound from end to end, beginning with a report as RFC 3550, 6.1, asks.
pub(crate) fn is_report(datagram: &[u8]) -> bool {
    let mut packets = rtcp::packets(datagram);
    let first = packets.next();
    matches!(first, Some(Ok(rtcp::Packet::Sender { .. } | rtcp::Packet::Receiver { .. })))
        && packets.all(|packet| packet.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_headerless_pcm_after_three() {
        let mut detector = Detector::default();
        assert_eq!(detector.note(&[0; 2048]), None);
        assert_eq!(detector.note(&[0; 2048]), None);
        assert_eq!(detector.note(&[0; 2048]), Some(Wire::Plain));
    }

    #[test]
    fn odd_or_changing_lengths_do_not_vouch() {
        let mut detector = Detector::default();
        for length in [100, 102, 101, 100, 100, 30, 100] {
            assert_eq!(detector.note(&vec![0; length]), None);
        }
    }

    #[test]
    fn two_packets_or_a_whole_report_are_rtp() {
        let rtp = |number| [0x80, 11, 0, number, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        let mut detector = Detector::default();
        assert_eq!(detector.note(&rtp(5)), None);
        assert_eq!(detector.note(&rtp(4)), Some(Wire::Rtp));
        assert_eq!(Detector::default().note(&[0x80, 201, 0, 1, 0, 0, 0, 9]), Some(Wire::Rtp));
        assert_eq!(Detector::default().note(&[0x80, 201, 0, 1, 0, 0, 0, 9, 1]), None);
        let unknown_type = [0x80, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        let mut detector = Detector::default();
        assert_eq!((detector.note(&unknown_type), detector.note(&unknown_type)), (None, None));
    }

    #[test]
    fn one_whole_packet_of_vban_is_enough() {
        let mut packet = [0; 128];
        packet[..8].copy_from_slice(b"VBAN\x03\x18\x01\x01");
        assert_eq!(Detector::default().note(&packet), Some(Wire::Vban));
        packet[5] += 1;
        assert_eq!(Detector::default().note(&packet), None);
    }

    #[test]
    fn loud_pcm_that_begins_like_rtp_is_still_pcm() {
        let mut loud = [0x80; 2048];
        let mut detector = Detector::default();
        for (number, second) in [11, 200, 10].into_iter().enumerate() {
            loud[1] = second;
            loud[2] = 40 * number as u8;
            let expected = (number == 2).then_some(Wire::Plain);
            assert_eq!(detector.note(&loud), expected, "datagram {number}");
        }
    }
}
