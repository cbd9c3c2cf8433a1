use std::time::Duration;

use proptest::prelude::*;
use proto::rtp::Packet;

use super::*;
use crate::encode::Codec;

fn track(format: Format) -> Track {
    Track::new(format, [0x1234_ffff_cafe_babe, 0xffff_ff00])
}

fn access(data: &[u8]) -> Access<'_> {
    Access { data, key: true, at: Duration::from_millis(40), frames: 0 }
}

fn payloads(unit: &Unit) -> Vec<Vec<u8>> {
    unit.packets().map(|packet| Packet::parse(packet).unwrap().payload.to_vec()).collect()
}

/// Annex B of NAL units, with start codes of both lengths.
fn annex_b(nals: &[Vec<u8>]) -> Vec<u8> {
    let code = |place: usize| if place.is_multiple_of(2) { &[0, 0, 0, 1][..] } else { &[0, 0, 1] };
    nals.iter().enumerate().flat_map(|(place, nal)| [code(place), nal].concat()).collect()
}

/// A NAL unit of one kind whose octets make no start code.
fn nal(header: &[u8], length: usize) -> Vec<u8> {
    header.iter().copied().chain((0..length).map(|place| 3 + (place % 251) as u8)).collect()
}

/// What a receiver makes of payloads, by the figures of RFC 6184 and RFC 7798.
fn reassembled(payloads: &[Vec<u8>], codec: Codec) -> Vec<Vec<u8>> {
    let (header, aggregate, fragment) = if codec == Codec::H264 { (1, 24, 28) } else { (2, 48, 49) };
    let kind = |octet: u8| if codec == Codec::H264 { octet & 0x1f } else { (octet >> 1) & 0x3f };
    let mut nals: Vec<Vec<u8>> = Vec::new();
    for payload in payloads {
        if kind(payload[0]) == aggregate {
            let mut rest = &payload[header..];
            while let [high, low, after @ ..] = rest {
                let (nal, others) = after.split_at(usize::from(*high) << 8 | usize::from(*low));
                nals.push(nal.to_vec());
                rest = others;
            }
        } else if kind(payload[0]) == fragment {
            let marks = payload[header];
            if marks & 0x80 != 0 {
                let first = match codec {
                    Codec::H264 => vec![(payload[0] & 0xe0) | (marks & 0x1f)],
                    _ => vec![(payload[0] & 0x81) | ((marks & 0x3f) << 1), payload[1]],
                };
                nals.push(first);
            }
            nals.last_mut().unwrap().extend_from_slice(&payload[header + 1..]);
        } else {
            nals.push(payload.clone());
        }
    }
    nals
}

#[test]
fn a_key_picture_of_h264_has_its_parameters_together_and_its_slice_in_equal_fragments() {
    let (sps, pps, idr) = (nal(&[0x67, 0x42, 0xc0, 0x1f], 8), nal(&[0x68], 3), nal(&[0x65], 20_000));
    let delimiter = vec![0x09, 0xf0];
    let mut track = track(Format::Video(Codec::H264));
    let unit = track.pack(&access(&annex_b(&[delimiter, sps.clone(), pps.clone(), idr.clone()])));
    assert_eq!(reassembled(&payloads(&unit), Codec::H264), [sps, pps, idr]);
    let runs: Vec<_> = unit.runs().map(|run| (run.octets.len().div_ceil(run.length), run.length)).collect();
    // 20 000 octets need 15 packets; the parameters have one of their own.
    assert_eq!(runs, [(1, 12 + 1 + 2 + 12 + 2 + 4), (15, 12 + 2 + 1334)]);
    let marked: Vec<_> = unit.packets().map(|packet| packet[1] & 0x80 != 0).collect();
    assert_eq!(marked.iter().position(|marked| *marked), Some(15));
    assert_eq!(unit.time.0, 0xffff_ff00u32.wrapping_add(3600));
    let details = track.format().details(unit.parameters.as_ref().unwrap()).unwrap();
    assert!(
        details.starts_with("packetization-mode=1;profile-level-id=42C01F;sprop-parameter-sets=Z0LAHwME"),
        "{details}"
    );
}

#[test]
fn parameters_are_told_when_they_change() {
    let mut track = track(Format::Video(Codec::H265));
    let set =
        |last: u8| annex_b(&[vec![0x40, 1, 9], vec![0x42, 1, last], vec![0x44, 1, 7], nal(&[0x26, 1], 9)]);
    let first = track.pack(&access(&set(5))).parameters.unwrap();
    assert_eq!(track.format().details(&first).unwrap(), "sprop-vps=QAEJ;sprop-sps=QgEF;sprop-pps=RAEH");
    assert_eq!(track.pack(&access(&set(5))).parameters, None);
    assert!(track.pack(&access(&set(6))).parameters.is_some());
}

#[test]
fn a_temporal_unit_of_av1_loses_its_delimiter_and_its_sizes() {
    let stream = [&[0x12, 0, 0x0a, 3, 1, 2, 3, 0x36, 0xc0, 4, 9, 8, 7, 6][..]].concat();
    let unit = track(Format::Video(Codec::Av1)).pack(&access(&stream));
    // Header with N, a sequence header of 4 octets, a frame with an extension of 6.
    assert_eq!(payloads(&unit), [[0x08, 4, 0x08, 1, 2, 3, 6, 0x34, 0xc0, 9, 8, 7, 6]]);
}

#[test]
fn sound_is_framed_as_its_formats_say() {
    let aac = Format::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] };
    assert!(aac.details(&Parameters::default()).unwrap().ends_with("config=1190"));
    assert_eq!(payloads(&track(aac).pack(&access(&[7; 10]))), [[&[0, 16, 0, 80][..], &[7; 10]].concat()]);
    let mp3 = track(Format::Mp3 { rate: 44_100 }).pack(&access(&[1; 1400]));
    assert_eq!(payloads(&mp3)[1][..5], [0, 0, 0x05, 0x38, 1]);
    assert_eq!(payloads(&track(Format::Opus { channels: 2 }).pack(&access(&[3; 9]))), [[3; 9]]);
    let l16 = track(Format::L16 { rate: 48_000, channels: 2 }).pack(&access(&[0; 4 * 480]));
    let times: Vec<_> =
        l16.packets().map(|p| Packet::parse(p).unwrap().header.timestamp.since(l16.time)).collect();
    assert_eq!((times, l16.payload()), (vec![0, 240], 1920));
}

#[test]
fn sound_is_timed_by_its_frames_until_it_is_far_off() {
    let mut track = track(Format::Mp3 { rate: 44_100 });
    let mut time = |millis: u64| {
        track.pack(&Access { data: &[1], key: true, at: Duration::from_millis(millis), frames: 1152 }).time.0
    };
    let first = time(1000);
    assert_eq!(time(1030).wrapping_sub(first), 2351);
    assert_eq!(time(1049).wrapping_sub(first), 4702);
    assert_eq!(time(2000).wrapping_sub(first), 90_000);
}

#[test]
fn packets_count_on_over_the_wrap() {
    let mut track = track(Format::Opus { channels: 1 });
    let mut next = || Packet::parse(track.pack(&access(&[0; 3])).packets().next().unwrap()).unwrap().header;
    assert_eq!((next().sequence.0, next().sequence.0), (0xffff, 0));
    assert_eq!(next().ssrc, 0xcafe_babe);
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1usize..60, 1300usize..1400, 1400usize..9000], 1..8)
}

/// An AV1 receiver: elements from payloads.
fn elements(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut whole: Vec<Vec<u8>> = Vec::new();
    for payload in payloads {
        let mut continues = payload[0] & 0x80 != 0;
        let mut rest = &payload[1..];
        while !rest.is_empty() {
            let (length, octets) = leb128::read(rest).unwrap();
            let (element, others) = rest[octets..].split_at(length);
            if !std::mem::take(&mut continues) {
                whole.push(Vec::new());
            }
            whole.last_mut().unwrap().extend_from_slice(element);
            rest = others;
        }
    }
    whole
}

proptest! {
    #[test]
    fn nal_units_survive_and_packets_are_within_bounds(lengths in lengths(), h265: bool) {
        let codec = if h265 { Codec::H265 } else { Codec::H264 };
        let header = if h265 { &[0x02, 0x01][..] } else { &[0x41] };
        let nals: Vec<_> = lengths.iter().map(|length| nal(header, *length)).collect();
        let unit = track(Format::Video(codec)).pack(&access(&annex_b(&nals)));
        prop_assert_eq!(reassembled(&payloads(&unit), codec), nals);
        prop_assert!(unit.packets().all(|packet| packet.len() <= MAX_PACKET));
        let runs: Vec<u8> = unit.runs().flat_map(|run| run.octets.to_vec()).collect();
        let packets: Vec<u8> = unit.packets().flatten().copied().collect();
        prop_assert_eq!(runs, packets);
        let cut: Vec<_> = unit.runs().flat_map(|run| run.octets.chunks(run.length).map(<[u8]>::len)).collect();
        prop_assert_eq!(cut, unit.packets().map(<[u8]>::len).collect::<Vec<_>>());
    }

    #[test]
    fn units_of_av1_survive(lengths in lengths()) {
        let units: Vec<_> = lengths.iter().map(|length| nal(&[0x30], *length)).collect();
        let sized = |unit: &Vec<u8>| [&[unit[0] | 2], &leb128::write(unit.len() - 1)[..], &unit[1..]].concat();
        let stream: Vec<u8> = units.iter().flat_map(sized).collect();
        let unit = track(Format::Video(Codec::Av1)).pack(&access(&stream));
        prop_assert_eq!(elements(&payloads(&unit)), units);
        prop_assert!(unit.packets().all(|packet| packet.len() <= MAX_PACKET));
        prop_assert_eq!(payloads(&unit).iter().filter(|payload| payload[0] & 8 != 0).count(), 1);
    }

    #[test]
    fn any_octets_are_answered(data in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..4000),
                               channels in 0u16..9, frames: u32, millis in 0u64..1 << 40) {
        let formats = [Format::Video(Codec::H264), Format::Video(Codec::H265), Format::Video(Codec::Av1),
            Format::Mp3 { rate: 0 }, Format::Aac { rate: 0, channels, config: Vec::new() },
            Format::Opus { channels }, Format::L16 { rate: 1, channels }];
        for format in formats {
            let mut track = track(format);
            let unit = track.pack(&Access { data: &data, key: true, at: Duration::from_millis(millis), frames });
            prop_assert!(unit.packets().all(|packet| packet.len() <= MAX_PACKET));
            prop_assert_eq!(unit.runs().map(|run| run.octets.len()).sum::<usize>(), unit.payload() + 12 * unit.count());
        }
    }
}
