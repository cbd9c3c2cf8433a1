//! Bitstreams as encoders give them, whole or broken, into packets of every format.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvenc_bridge::encode::Codec;
use nvenc_bridge::rtp::{Access, Format, MAX_PACKET, Track};
use proto::rtp::Packet;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    format: u8,
    rate: u32,
    channels: u16,
    random: [u64; 2],
    units: Vec<(&'a [u8], u16, bool, u32, u32)>,
}

fuzz_target!(|input: Input<'_>| {
    let Input { rate, channels, .. } = input;
    let format = match input.format % 7 {
        0 => Format::Video(Codec::H264),
        1 => Format::Video(Codec::H265),
        2 => Format::Video(Codec::Av1),
        3 => Format::Mp3 { rate },
        4 => Format::Aac { rate, channels, config: vec![0x11, 0x90] },
        5 => Format::Opus { channels },
        _ => Format::L16 { rate, channels },
    };
    let mut track = Track::new(format, input.random);
    let mut next = None;
    for (data, times, key, millis, frames) in input.units {
        // Long units are the rare and interesting ones.
        let data = data.repeat(usize::from(times % 64));
        let at = Duration::from_millis(millis.into());
        let unit = track.pack(&Access { data: &data, key, at, frames });
        let mut packets = 0;
        for packet in unit.packets() {
            assert!(packet.len() <= MAX_PACKET);
            let packet = Packet::parse(packet).unwrap();
            let number = packet.header.sequence;
            assert!(next.is_none_or(|expected| expected == number));
            next = Some(number.next());
            packets += 1;
        }
        assert_eq!(packets, unit.count());
        let runs: usize = unit.runs().map(|run| run.octets.len().div_ceil(run.length)).sum();
        assert_eq!(runs, unit.count());
        assert!(unit.payload() <= 2 * data.len() + 16 * unit.count());
        if let Some(parameters) = &unit.parameters {
            assert!(track.format().details(parameters).is_none_or(|text| text.is_ascii()));
        }
    }
});
