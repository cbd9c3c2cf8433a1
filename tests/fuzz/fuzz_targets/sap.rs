//! Announcements of sessions: whatever parses is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::sap::{MAX_HEADER, Packet};

fuzz_target!(|datagram: &[u8]| {
    let Ok(packet) = Packet::parse(datagram) else { return };
    let mut out = vec![0; MAX_HEADER + packet.payload_type.len() + packet.payload.len()];
    let length = packet.write(&mut out).expect("there is room");
    assert_eq!(Packet::parse(&out[..length]), Ok(packet));
});
