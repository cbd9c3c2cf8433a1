//! What a client hears while that is changed, and what its neighbours hear meanwhile.

use std::net::SocketAddr;

use super::*;

const FADE: usize = 220;
const BLOCK: usize = 50;

fn address(client: u16) -> SocketAddr {
    ([192, 0, 2, 2], 7 + client).into()
}

fn encoding(id: u64, spec: &EncodingSpec, clients: &[u16]) -> Encoding {
    let client = |n: &u16| Client::new(n.to_string(), address(*n), Arc::default());
    let clients = clients.iter().map(client).collect();
    Encoding::new(EncodingId(id), spec.clone(), 44_100, 5, Sequence(65_530), clients)
}

fn routed(encodings: Vec<Encoding>) -> Box<Routing> {
    Box::new(Routing::new(encodings, Vec::new()))
}

fn louder(spec: &EncodingSpec, factor: f32) -> EncodingSpec {
    EncodingSpec { factor, ..spec.clone() }
}

/// A run: blocks of `source`, and other routings before some of them. Returns each client's datagrams.
fn run(
    source: impl Fn(usize) -> [f32; 2],
    blocks: usize,
    mut routings: Vec<(usize, Box<Routing>)>,
) -> Vec<Vec<Vec<u8>>> {
    let mut send = SendPipeline::new(44_100, 2, ORIGIN, "test".into());
    let mut heard = vec![Vec::new(); 3];
    let mut poll = |send: &mut SendPipeline| {
        while let Some(transmit) = send.poll_transmit() {
            let Recipients::All(clients) = transmit.to else { continue };
            for client in clients {
                heard[usize::from(client.address.port() - 7)].push(transmit.bytes.to_vec());
            }
        }
    };
    for n in 0..blocks {
        while let Some(next) = routings.iter().position(|(at, _)| *at == n) {
            drop(send.replace(routings.remove(next).1));
            poll(&mut send);
        }
        let frames: Vec<_> = (n * BLOCK..(n + 1) * BLOCK).flat_map(&source).collect();
        send.handle_block(Position((n * BLOCK) as u64), Mono(0), &frames);
        poll(&mut send);
    }
    heard
}

fn constant(_: usize) -> [f32; 2] {
    [0.5, -0.25]
}

/// Samples of a stream of RTP packets without a gap in numbers or time, all of one source.
fn samples(packets: &[Vec<u8>], octets: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for (n, packet) in packets.iter().enumerate() {
        let packet = rtp::Packet::parse(packet).unwrap();
        assert_eq!((packet.header.ssrc, packet.header.marker), (5, n == 0));
        assert_eq!(packet.header.sequence, Sequence(65_530u16.wrapping_add(n as u16)));
        assert_eq!(packet.header.timestamp.since(ORIGIN), all.len() as i32);
        let start = all.len();
        all.resize(start + packet.payload.len() / octets, 0.0);
        match octets {
            2 => pcm::decode(packet.payload, pcm::ByteOrder::Big, &mut all[start..]),
            _ => pcm::decode_24(packet.payload, &mut all[start..]),
        }
    }
    all
}

fn smooth(frame: usize) -> f64 {
    let time = frame as f64 / (FADE + 1) as f64;
    time * time * (3.0 - 2.0 * time)
}

fn assert_fades(heard: &[f32], at: usize, (old, new): (f64, f64), step: f64) {
    for (n, heard) in heard.iter().enumerate() {
        let share = if n < at { 0.0 } else { smooth((n - at + 1).min(FADE + 1)) };
        let expected = old + share * (new - old);
        assert!((f64::from(*heard) - expected).abs() <= step, "frame {n}: {heard}, not {expected}");
    }
}

#[test]
fn a_change_takes_five_milliseconds_and_no_number_shows_it() {
    for (codec, octets, step) in [(Codec::Pcm16, 2, 2f64.powi(-16)), (Codec::Pcm24, 3, 2f64.powi(-22))] {
        let before = spec(codec, "0");
        for (map, factor, level) in
            [("1", 1.0, -0.25), ("0", 0.25, 0.125), ("0", 0.0, 0.0), ("0", -1.0, -0.5), ("0+1", 2.0, 0.5)]
        {
            let after = louder(&spec(codec, map), factor);
            let routings = vec![
                (0, routed(vec![encoding(1, &before, &[0])])),
                (7, routed(vec![encoding(1, &after, &[0])])),
            ];
            let heard = samples(&run(constant, 40, routings)[0], octets);
            assert_eq!(heard.len(), 40 * BLOCK / 128 * 128);
            assert_fades(&heard, 7 * BLOCK, (0.5, level), step);
            assert_eq!(
                (heard[7 * BLOCK - 1], heard[7 * BLOCK + FADE]),
                (0.5, level as f32),
                "{map} x {factor}"
            );
        }
    }
}

#[test]
fn who_branches_off_leaves_the_others_as_they_were() {
    let (old, new) = (spec(Codec::Pcm16, "0"), spec(Codec::Pcm16, "1"));
    let shared = || routed(vec![encoding(1, &old, &[0, 1])]);
    let branch = encoding(2, &new, &[1]).after(EncodingId(1), &old);
    let alone = run(constant, 40, vec![(0, shared())]);
    let heard = run(constant, 40, vec![(0, shared()), (7, routed(vec![encoding(1, &old, &[0]), branch]))]);
    assert_eq!(heard[0], alone[0]);
    assert_fades(&samples(&heard[1], 2), 7 * BLOCK, (0.5, -0.25), 2f64.powi(-16));
}

#[test]
fn a_change_within_a_crossfade_goes_on_from_where_that_is() {
    let at = |factor| routed(vec![encoding(1, &louder(&spec(Codec::Pcm24, "0"), factor), &[0])]);
    for between in [1, 2, 3, 4] {
        let changes = [0.25, -1.0, 0.0, 1.5, -0.5, 0.75, -0.25, 1.0];
        let changes = changes.iter().enumerate().map(|(n, factor)| (10 + 2 * (n / between), at(*factor)));
        let heard = run(constant, 60, [(0, at(1.0))].into_iter().chain(changes).collect());
        let heard = samples(&heard[0], 3);
        // As steep as the way between two of the levels at most.
        let steepest = heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest <= 1.5 * 1.25 / FADE as f32, "{between} at a time: {steepest}");
        let last = (10 + 2 * (7 / between)) * BLOCK + FADE;
        assert!(heard[last..].iter().all(|sample| *sample == 0.5), "{between} at a time");
    }
}

/// The same tone on both channels: nothing may be heard of a change from one to the other.
#[test]
fn a_pilot_tone_goes_on_through_changes_of_the_map() {
    let sound = tone(997.0, 44_100, 100 * BLOCK);
    for codec in [Codec::Pcm16, Codec::Pcm24, Codec::Opus(opus::Spec::default())] {
        let to = |map: &str| routed(vec![encoding(1, &spec(codec, map), &[0])]);
        let source = |n| [sound[n]; 2];
        let changes = [(0, "0"), (11, "1"), (17, "0"), (40, "1"), (60, "0"), (60, "1")];
        let changed = run(source, 100, changes.map(|(at, map)| (at, to(map))).into());
        assert!(changed[0] == run(source, 100, vec![(0, to("0"))])[0], "{codec:?}");
    }
}

#[test]
fn another_codec_begins_at_the_frame_where_the_last_one_ends() {
    let times = |packets: &[Vec<u8>], octets: &dyn Fn(u32) -> usize| {
        let mut end = 0;
        for packet in packets {
            let packet = rtp::Packet::parse(packet).unwrap();
            assert_eq!(packet.header.timestamp.since(ORIGIN), end);
            end += (packet.payload.len() / octets(packet.header.ssrc)) as i32;
        }
        end
    };
    let old = spec(Codec::Pcm16, "0");
    for (codec, map, octets) in [(Codec::Pcm24, "0", 3), (Codec::Pcm16, "0,1", 4), (Codec::Pcm24, "1,0", 6)] {
        let new = spec(codec, map);
        for shared in [true, false] {
            let client = Client::new("1".into(), address(1), Arc::default());
            let next = Encoding::new(EncodingId(2), new.clone(), 44_100, 6, Sequence(9), vec![client]);
            let mut after = vec![next.after(EncodingId(1), &old)];
            after.extend(shared.then(|| encoding(1, &old, &[0])));
            let heard =
                run(constant, 40, vec![(0, routed(vec![encoding(1, &old, &[0, 1])])), (7, routed(after))]);
            let ssrc_octets = |ssrc| if ssrc == 5 { 2 } else { octets };
            assert!(times(&heard[1], &ssrc_octets) > 40 * BLOCK as i32 - 128, "{codec:?} {map} {shared}");
        }
    }
}

/// The largest difference, in decibels below a tone of half of full scale, within 2.5 ms of what is decoded of a stream with
/// a change and of one without.
fn difference(changed: &[Vec<u8>], same: &[Vec<u8>], frames: usize) -> f64 {
    let decode = |packets: &[Vec<u8>]| {
        let (mut decoder, mut all) = (Decoder::new(1).unwrap(), Vec::new());
        for (n, packet) in packets.iter().enumerate() {
            let packet = rtp::Packet::parse(packet).unwrap();
            assert_eq!(packet.header.sequence, Sequence(65_530u16.wrapping_add(n as u16)));
            let start = all.len();
            all.resize(start + frames, 0.0);
            assert_eq!(decoder.decode(packet.payload, &mut all[start..]), Some(frames));
        }
        all
    };
    let (changed, same) = (decode(changed), decode(same));
    assert_eq!(changed.len(), same.len());
    let power = |(a, b): (&[f32], &[f32])| {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64
    };
    let largest = changed.chunks(120).zip(same.chunks(120)).map(power).fold(0.0, f64::max);
    10.0 * (largest / 0.125).log10()
}

/// An encoder that takes the place of another cannot know all that it knew: what is decoded then differs a little, where the
/// same tone goes on, as the work of two encoders does.
#[test]
fn an_opus_stream_that_branches_off_sounds_on() {
    for (frame, application) in [
        (FrameTime::Ms2_5, Application::LowDelay),
        (FrameTime::Ms2_5, Application::Audio),
        (FrameTime::Ms5, Application::LowDelay),
        (FrameTime::Ms10, Application::Audio),
        (FrameTime::Ms20, Application::Audio),
        (FrameTime::Ms20, Application::Voip),
    ] {
        let settings = opus_settings(frame, application);
        let sound = tone(440.0, 44_100, 200 * BLOCK);
        let (old, new) = (spec(Codec::Opus(settings), "0"), spec(Codec::Opus(settings), "1"));
        let shared = || (0, routed(vec![encoding(1, &old, &[0, 1])]));
        let source = |n| [sound[n]; 2];
        let alone = run(source, 200, vec![shared()]);
        let mut worst = f64::NEG_INFINITY;
        for at in (1..20).chain(100..110) {
            let branch = encoding(2, &new, &[1]).after(EncodingId(1), &old);
            let heard = run(source, 200, vec![shared(), (at, routed(vec![encoding(1, &old, &[0]), branch]))]);
            assert_eq!(heard[0], alone[0]);
            worst = worst.max(difference(&heard[1], &alone[1], settings.frame.frames().into()));
        }
        println!("{settings:?}: {worst:.1} dB");
        assert!(worst < -30.0, "{settings:?}: {worst} dB");
    }
}
