//! Tells RTP from headerless PCM, datagram by datagram.
//!
//! An RTCP compound or one RTP packet of a known type is taken at its word. Headerless PCM has nothing that could
//! be recognised, so three datagrams in a row that are not RTP and have the same even length must vouch for it;
//! what came before is not played.

use proto::{payload_type, rtp};

use crate::send::Wire;

/// Datagrams that vouch for headerless PCM.
const VOUCHERS: u8 = 3;
/// Shortest datagram that is taken for headerless PCM, in octets: less than a millisecond is no audio stream.
const SHORTEST: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Detector {
    length: usize,
    count: u8,
}

impl Detector {
    /// The wire format, once it is clear.
    pub(crate) fn note(&mut self, datagram: &[u8]) -> Option<Wire> {
        if rtp::is_rtcp(datagram) || is_known_rtp(datagram) {
            return Some(Wire::Rtp);
        }
        let plausible = datagram.len() >= SHORTEST && datagram.len().is_multiple_of(2);
        if !plausible {
            *self = Self::default();
            return None;
        }
        if datagram.len() != self.length {
            *self = Self { length: datagram.len(), count: 0 };
        }
        self.count += 1;
        (self.count >= VOUCHERS).then_some(Wire::Plain)
    }
}

fn is_known_rtp(datagram: &[u8]) -> bool {
    rtp::Packet::parse(datagram).is_ok_and(|packet| {
        let known = payload_type::static_format(packet.header.payload_type).is_some()
            || packet.header.payload_type == payload_type::L16_ANNOUNCED;
        known && !packet.payload.is_empty()
    })
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
    fn rtp_and_rtcp_are_known_at_once() {
        let rtp = [0x80, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(Detector::default().note(&rtp), Some(Wire::Rtp));
        assert_eq!(Detector::default().note(&[0x80, 200, 0, 6]), Some(Wire::Rtp));
        let unknown_type = [0x80, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(Detector::default().note(&unknown_type), None);
    }
}
