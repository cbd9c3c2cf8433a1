//! RTP packets: whatever parses is written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::pcm::{self, ByteOrder, Sample};
use proto::rtp::{HEADER_LENGTH, Packet, is_rtcp};

fuzz_target!(|datagram: &[u8]| {
    let rtcp = is_rtcp(datagram);
    let Ok(packet) = Packet::parse(datagram) else { return };
    assert!(packet.payload.len() + HEADER_LENGTH <= datagram.len());
    // A payload type from 64 to 95 with the marker looks like RTCP (RFC 5761, section 4).
    assert!(!rtcp || packet.header.marker && (64..96).contains(&packet.header.payload_type));
    let written = [&packet.header.to_bytes(), packet.payload].concat();
    assert_eq!(Packet::parse(&written), Ok(packet));
    check_payload(packet.payload, datagram[0] & 0x0f);
});

fn check_payload(payload: &[u8], channels: u8) {
    let sample = Sample::Bits16(ByteOrder::Big);
    let Ok(frames) = sample.frames(payload, channels.into()) else { return };
    let mut samples = vec![9.0; frames * usize::from(channels)];
    sample.decode(payload, &mut samples);
    let mut octets = vec![[0; 2]; samples.len()];
    octets.iter_mut().zip(&samples).for_each(|(o, sample)| pcm::write_sample(*sample, ByteOrder::Big, o));
    assert_eq!(octets.as_flattened(), payload);
}
