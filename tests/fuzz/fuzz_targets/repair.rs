//! Payloads of repair: whatever parses is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::parity::{Header, Prefix};
use proto::units::Sequence;
use proto::{retransmission, rtp};

fuzz_target!(|payload: &[u8]| {
    check_retransmission(payload);
    check_parity(payload);
});

/// The octets as a retransmission, and as a packet to be sent again.
fn check_retransmission(payload: &[u8]) {
    if let Ok((sequence, original)) = retransmission::parse(payload) {
        assert_eq!([&sequence.0.to_be_bytes(), original].concat(), payload);
    }
    let mut out = vec![0; payload.len() + retransmission::OVERHEAD];
    let written = retransmission::write(payload, 99, 7, Sequence(3), &mut out);
    let Ok(packet) = rtp::Packet::parse(payload) else { return assert_eq!(written, None) };
    let again = rtp::Packet::parse(&out[..written.unwrap()]).unwrap();
    let header = rtp::Header { payload_type: 99, ssrc: 7, sequence: Sequence(3), ..packet.header };
    assert_eq!(again.header, header);
    assert_eq!(retransmission::parse(again.payload), Ok((packet.header.sequence, packet.payload)));
}

fn check_parity(payload: &[u8]) {
    if let Ok(prefix) = Prefix::parse(payload) {
        assert_eq!(prefix.to_bytes(), payload[..Prefix::LENGTH]);
    }
    let Ok((header, row)) = Header::parse(payload) else { return };
    assert_eq!(Header::parse(&[&header.to_bytes(), row].concat()), Ok((header, row)));
}
