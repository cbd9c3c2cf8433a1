mod listeners;
mod timing;

use std::f64::consts::TAU;
use std::sync::Arc;

use proto::units::Sequence;
use proto::{announce, payload_type, pcm, vban};

use super::*;
use crate::opus::{self, Application, Decoder, FrameTime};
use crate::signal::{Signal, Test};
use crate::tone::{Fit, tone};

const ORIGIN: RtpTime = RtpTime(u32::MAX - 1000);

fn spec(codec: Codec, map: &str) -> EncodingSpec {
    EncodingSpec {
        wire: Wire::Rtp,
        codec,
        map: map.parse().unwrap(),
        factor: 1.0,
        test: None,
        frames: 128,
        mtu: 1200,
    }
}

fn routing(spec: &EncodingSpec, rate: u32) -> Box<Routing> {
    let client = Client::new("c".into(), "192.0.2.2:7".parse().unwrap(), Arc::default());
    let encoding = Encoding::new(EncodingId(1), spec.clone(), rate, 5, Sequence(65_530), vec![client]);
    Box::new(Routing::new(vec![encoding], Vec::new()))
}

fn pipeline(spec: &EncodingSpec, rate: u32, channels: u16) -> SendPipeline {
    let mut send = SendPipeline::new(rate, channels, ORIGIN, "test".into());
    send.replace(routing(spec, rate));
    send
}

/// The media of a block that begins at `position`: RTP time from the origin on, sequence number, payload.
fn media(send: &mut SendPipeline, position: u64, block: &[f32]) -> Vec<(i32, u16, Vec<u8>)> {
    send.handle_block(Position(position), Mono(0), block);
    drain(send)
}

fn drain(send: &mut SendPipeline) -> Vec<(i32, u16, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(transmit) = send.poll_transmit() {
        if let (Recipients::All(_), Ok(packet)) = (transmit.to, rtp::Packet::parse(transmit.bytes)) {
            let time = packet.header.timestamp.since(ORIGIN);
            all.push((time, packet.header.sequence.0, packet.payload.to_vec()));
        }
    }
    all
}

/// All of `samples` from position 0 on, in blocks as long as may be, each of at most one packet.
fn stream(send: &mut SendPipeline, samples: &[f32]) -> Vec<(i32, u16, Vec<u8>)> {
    let (mut all, mut position) = (Vec::new(), 0);
    for block in samples.chunks(send.max_block()) {
        let sent = media(send, position, block);
        assert!(sent.len() <= 1, "{} packets of one block", sent.len());
        all.extend(sent);
        position += block.len() as u64;
    }
    all
}

mod changes;

fn opus_settings(frame: FrameTime, application: Application) -> opus::Spec {
    opus::Spec { frame, application, ..opus::Spec::default() }
}

#[test]
fn samples_of_24_bits_are_in_network_order() {
    let mut spec = spec(Codec::Pcm24, "1,0");
    spec.frames = 2;
    let captured = [0x12_3456, -2, 8_388_607, -8_388_608].map(|value| value as f32 / 8_388_608.0);
    let mut send = pipeline(&spec, 96_000, 2);
    let sent = media(&mut send, 0, &captured);
    let payload = vec![0xff, 0xff, 0xfe, 0x12, 0x34, 0x56, 0x80, 0, 0, 0x7f, 0xff, 0xff];
    assert_eq!(sent, [(0, 65_530, payload)]);
    assert_eq!(spec.packet_length(), rtp::HEADER_LENGTH + 12);
    let format = send.routing.encodings[0].format(96_000);
    assert_eq!(
        (format.payload_type, format.codec, format.rate),
        (payload_type::L24, announce::Codec::L24, 96_000)
    );
    send.handle_block(Position(2), Mono(0), &captured[..2]);
    send.flush();
    assert_eq!(drain(&mut send)[0].2.len(), 6, "a shorter last packet");
}

#[test]
fn headerless_streams_have_16_bits_whatever_was_asked_for() {
    for codec in [Codec::Pcm24, Codec::Opus(opus::Spec::default())] {
        let plain = EncodingSpec { wire: Wire::Plain, frames: 2, ..spec(codec, "0") };
        assert_eq!((plain.packet_length(), plain.packet_frames()), (4, 2));
        let mut send = pipeline(&plain, 44_100, 1);
        send.handle_block(Position(0), Mono(0), &[pcm::sample(258), pcm::sample(-2)]);
        assert_eq!(send.poll_transmit().unwrap().bytes, [2, 1, 0xfe, 0xff]);
    }
}

/// To which port the reports of each second go, and whether they say what only ours understand.
fn reports(send: &mut SendPipeline, seconds: std::ops::Range<i64>) -> Vec<(u16, bool)> {
    let mut all = Vec::new();
    for second in seconds {
        send.handle_timeout(Mono(second * REPORT_INTERVAL));
        while let Some(transmit) = send.poll_transmit() {
            if let Recipients::One(address) = transmit.to {
                let mut packets = rtcp::packets(transmit.bytes).map_while(Result::ok);
                let ours = packets.any(|packet| matches!(packet, rtcp::Packet::Application { .. }));
                all.push((address.port(), ours));
            }
        }
    }
    all
}

#[test]
fn reports_go_to_the_next_port_where_that_is_asked_for_and_in_turn_while_nobody_answers() {
    let pipeline = |reports| {
        let client = Client::new("c".into(), "192.0.2.2:7".parse().unwrap(), Arc::default());
        let clients = vec![client.reporting(reports)];
        let encoding = Encoding::new(EncodingId(1), spec(Codec::Pcm16, "0"), 44_100, 5, Sequence(0), clients);
        let mut send = SendPipeline::new(44_100, 1, ORIGIN, "test".into());
        send.replace(Box::new(Routing::new(vec![encoding], Vec::new())));
        send
    };
    let (ours, theirs) = ((7, true), (8, false));
    assert_eq!(reports(&mut pipeline(Reports::Mux), 1..6), [ours; 5]);
    assert_eq!(reports(&mut pipeline(Reports::Next), 1..6), [theirs; 5]);
    let mut send = pipeline(Reports::Auto);
    assert_eq!(reports(&mut send, 1..8), [ours, ours, ours, theirs, ours, theirs, ours]);
    let mut answer = [0; 64];
    let mut builder = rtcp::Builder::new(&mut answer);
    builder.receiver_report(9, None);
    let length = builder.finish().unwrap();
    for (port, expected) in [(8, [theirs, ours, theirs]), (7, [ours; 3])] {
        let from = ([192, 0, 2, 2], port).into();
        send.handle_datagram(Mono(8 * REPORT_INTERVAL), from, &answer[..length]);
        let start = if port == 8 { 8 } else { 11 };
        assert_eq!(reports(&mut send, start..start + 3), expected, "answered from port {port}");
    }
}

#[test]
fn vban_counts_packets_and_names_the_client() {
    for (codec, octets) in
        [(Codec::Pcm16, vec![2, 1, 0xfe, 0xff]), (Codec::Pcm24, vec![0, 2, 1, 0, 0xfe, 0xff])]
    {
        let vban = EncodingSpec { wire: Wire::Vban, frames: 2, ..spec(codec, "0") };
        let mut send = pipeline(&vban, 44_100, 1);
        for counter in 0..2 {
            send.handle_block(Position(2 * counter), Mono(0), &[pcm::sample(258), pcm::sample(-2)]);
            let transmit = send.poll_transmit().unwrap();
            let packet = vban::Packet::parse(transmit.bytes).unwrap();
            assert_eq!((packet.header.counter, packet.header.name.as_str()), (counter as u32, "c"));
            assert_eq!((packet.header.rate, packet.header.channels, packet.header.frames), (44_100, 1, 2));
            assert_eq!(packet.payload, octets);
            assert!(send.poll_transmit().is_none(), "nothing but the packet");
        }
        send.handle_block(Position(4), Mono(0), &[0.0]);
        send.finish();
        let packet = vban::Packet::parse(send.poll_transmit().unwrap().bytes).unwrap().header;
        assert_eq!((packet.counter, packet.frames), (2, 1), "a shorter last packet");
        assert!(send.poll_transmit().is_none(), "and no goodbye");
    }
}

#[test]
fn opus_is_heard_when_its_time_stamps_say() {
    for (rate, frame, application) in [
        (48_000, FrameTime::Ms5, Application::LowDelay),
        (44_100, FrameTime::Ms5, Application::LowDelay),
        (44_100, FrameTime::Ms2_5, Application::Audio),
        (44_100, FrameTime::Ms20, Application::Audio),
        (96_000, FrameTime::Ms10, Application::LowDelay),
    ] {
        let settings = opus_settings(frame, application);
        let mut send = pipeline(&spec(Codec::Opus(settings), "0"), rate, 1);
        let sent = stream(&mut send, &tone(997.0, rate, rate as usize));
        let frames = usize::from(frame.frames());
        assert!((48_000 / frames).abs_diff(sent.len()) <= 1, "{} packets", sent.len());
        let (mut decoder, mut out, mut heard) = (Decoder::new(1).unwrap(), vec![0.0; frames], Vec::new());
        for (n, (time, sequence, payload)) in sent.iter().enumerate() {
            assert_eq!(*time, sent[0].0 + (n * frames) as i32);
            assert_eq!(*sequence, 65_530u16.wrapping_add(n as u16));
            assert_eq!(decoder.decode(payload, &mut out), Some(frames));
            heard.extend_from_slice(&out);
        }
        assert!((-400..0).contains(&sent[0].0), "before the first frame: {}", sent[0].0);
        // Frame n of what is heard was captured at its time.
        let off = Fit::of(&heard, 997.0, opus::RATE).later_than(-f64::from(sent[0].0));
        assert!(off.abs() < 0.6, "{rate} Hz, {settings:?}: {off} frames off");
    }
}

#[test]
fn after_a_jump_the_time_stamps_are_true_again() {
    let codec = Codec::Opus(opus_settings(FrameTime::Ms5, Application::LowDelay));
    let mut send = pipeline(&spec(codec, "0"), 44_100, 1);
    let sound = tone(440.0, 44_100, 220 * 10);
    let before = stream(&mut send, &sound);
    send.flush();
    assert_eq!(drain(&mut send), [], "there is no short packet of Opus");
    let skipped = 441_000;
    let (mut after, mut position) = (Vec::new(), skipped);
    for block in sound.chunks(220) {
        after.extend(media(&mut send, position, block));
        position += block.len() as u64;
    }
    assert_eq!(after[0].0 - before[0].0, 480_000);
    assert_eq!(after[0].1, before.last().unwrap().1.wrapping_add(1));
}

#[test]
fn a_change_of_the_routing_goes_unheard() {
    let spec = spec(Codec::Opus(opus::Spec::default()), "0");
    let sound = tone(440.0, 44_100, 100 * 60);
    let run = |replaced: bool| {
        let (mut send, mut all) = (pipeline(&spec, 44_100, 1), Vec::new());
        for (n, block) in sound.chunks(100).enumerate() {
            all.extend(media(&mut send, n as u64 * 100, block));
            if replaced {
                drop(send.replace(routing(&spec, 44_100)));
            }
        }
        all
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn no_packet_of_opus_is_longer_than_the_mtu() {
    let settings = opus::Spec { bitrate: Some(300_000), frame: FrameTime::Ms20, ..opus::Spec::default() };
    let noise: Vec<f32> =
        (0..48_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e8 - 0.08).collect();
    let spec = EncodingSpec { mtu: 760, ..spec(Codec::Opus(settings), "0") };
    assert_eq!(spec.packet_length(), rtp::HEADER_LENGTH + 750);
    let sent = stream(&mut pipeline(&spec, 48_000, 1), &noise);
    let longest = sent.iter().map(|packet| packet.2.len()).max().unwrap();
    assert!(longest > 700 && longest <= 760 - rtp::HEADER_LENGTH, "{longest}");
}

#[test]
fn reports_tell_the_time_of_the_encodings_own_clock() {
    for (codec, expected) in
        [(Codec::Pcm24, 44_100 + 441), (Codec::Opus(opus::Spec::default()), 48_000 + 480)]
    {
        let mut send = pipeline(&spec(codec, "0"), 44_100, 1);
        send.handle_block(Position(44_100), Mono(1_000_000_000), &[0.0; 64]);
        send.handle_timeout(Mono(1_010_000_000));
        let transmit = send.poll_transmit().unwrap();
        let Some(Ok(rtcp::Packet::Sender { info, .. })) = rtcp::packets(transmit.bytes).next() else {
            panic!("no sender report")
        };
        assert_eq!(info.rtp_time.since(ORIGIN), expected, "{codec:?}");
    }
}

#[test]
fn a_test_takes_the_place_of_what_was_captured_and_fades_in_and_out() {
    let rate = 48_000;
    let captured = EncodingSpec { factor: 0.5, frames: 120, ..spec(Codec::Pcm24, "0,1") };
    let tested = EncodingSpec { test: Some(Test::Tone), ..captured.clone() };
    let signal = Signal::new(Test::Tone, rate);
    let mut send = pipeline(&captured, rate, 2);
    let block = [0.25; 240];
    let mut heard = Vec::new();
    for n in 0..60 {
        if let 20 | 40 = n {
            drop(send.replace(routing(if n == 20 { &tested } else { &captured }, rate)));
        }
        let sent = media(&mut send, n * 120, &block);
        let [(time, sequence, payload)] = &sent[..] else { panic!("{} packets", sent.len()) };
        assert_eq!((*time, *sequence), (n as i32 * 120, 65_530u16.wrapping_add(n as u16)));
        let mut samples = [0.0; 240];
        pcm::decode_24(payload, pcm::ByteOrder::Big, &mut samples);
        heard.extend(samples);
    }
    let tone: Vec<f32> = signal.samples(Position(0)).take(60 * 120).collect();
    for (n, frame) in heard.chunks(2).enumerate() {
        assert_eq!(frame[0], frame[1], "frame {n}");
        let expected = match n / 120 {
            0..20 | 42.. => 0.125,
            22..40 => tone[n] * 0.5,
            _ => continue,
        };
        assert!((frame[0] - expected).abs() < 1e-6, "frame {n}: {} for {expected}", frame[0]);
    }
    let steepest = heard.windows(3).fold(0.0f32, |most, three| most.max((three[2] - three[0]).abs()));
    // The tone itself rises by 0.0065 in a frame, the crossfade by 0.0011 at its steepest.
    assert!(steepest < 0.008, "{steepest}");
}
