//! VBAN packets: whatever parses is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::vban::{HEADER_LENGTH, Packet};

fuzz_target!(|datagram: &[u8]| {
    let Ok(packet) = Packet::parse(datagram) else { return };
    assert_eq!(packet.payload.len() + HEADER_LENGTH, datagram.len());
    assert_eq!(packet.payload.len(), packet.header.payload_length());
    let header = packet.header.to_bytes().expect("what was read can be written");
    let written = [&header, packet.payload].concat();
    assert_eq!(Packet::parse(&written), Ok(packet));
});
