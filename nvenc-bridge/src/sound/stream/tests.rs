use std::f64::consts::TAU;
use std::net::SocketAddr;

use audio::send::{
    Client, Codec, Encoding, EncodingId, EncodingSpec, Group, GroupId, Policy, Reports, Routing,
    SendPipeline, Wire,
};
use proto::units::{Position, RtpTime, Sequence};

use super::*;

const MS: i64 = 1_000_000;
const START: i64 = 3_600_000 * MS;
/// Of the stream, and of the track.
const STREAM: u32 = 44_100;
const TRACK: u32 = 48_000;
/// Frames in a packet, and how long it travels.
const FRAMES: usize = 128;
const TRANSIT: i64 = MS;
/// By how much the sender's clock is ahead.
const AHEAD: i64 = 123_456 * MS;
/// The sound: a tone that crosses zero upwards at every hundredth of a second of the capture, without the sender's offset.
const PITCH: f64 = 100.0;

/// A sender and what takes its packets, on clocks that differ.
struct World {
    send: SendPipeline,
    player: Player,
    /// What is on its way to the player, and when it arrives.
    travelling: Vec<(Mono, Vec<u8>)>,
    heard: Vec<(Mono, Vec<f32>)>,
}

fn from() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

fn to() -> SocketAddr {
    "192.0.2.2:7".parse().unwrap()
}

impl World {
    fn new(grouped: bool) -> Self {
        let spec = EncodingSpec {
            wire: Wire::Rtp,
            codec: Codec::Pcm16,
            map: "0".parse().unwrap(),
            factor: 1.0,
            test: None,
            frames: FRAMES as u16,
            mtu: 1200,
        };
        let group = GroupId(3);
        let client = Client::new("c".into(), to(), Arc::default()).reporting(Reports::Mux);
        let client = if grouped { client.grouped(group, 0) } else { client };
        let encoding = Encoding::new(EncodingId(1), spec, STREAM, 5, Sequence(1), vec![client]);
        let mut send = SendPipeline::new(STREAM, 1, RtpTime(77), "test".into());
        let groups =
            if grouped { vec![Group::new(group, Policy::Auto(200_000), Arc::default())] } else { Vec::new() };
        send.replace(Box::new(Routing::new(vec![encoding], Vec::new()).grouped(groups)));
        let config = Config {
            wire: None,
            latency: 50 * MS,
            trim: Some(0),
            adapt: None,
            format: None,
            plain_rate: STREAM,
            plain_channels: 1,
            cname: "test".into(),
            ssrc: 9,
            secret: None,
            from: Vec::new(),
        };
        let player = Player::new(config, TRACK, 2);
        Self { send, player, travelling: Vec::new(), heard: Vec::new() }
    }

    /// Streams from one packet to another.
    fn run(&mut self, packets: std::ops::Range<u64>) {
        for packet in packets {
            let position = packet * FRAMES as u64;
            let captured = Mono(START + units::frames_to_nanos(position as i64, STREAM));
            let sound = |n: usize| {
                let seconds = (position + n as u64) as f64 / f64::from(STREAM);
                0.5 * (TAU * PITCH * seconds).sin() as f32
            };
            let block: Vec<f32> = (0..FRAMES).map(sound).collect();
            let sent = captured.plus(units::frames_to_nanos(FRAMES as i64, STREAM));
            self.send.handle_block(Position(position), captured.plus(AHEAD), &block);
            self.send.handle_timeout(sent.plus(AHEAD));
            self.exchange(sent);
        }
    }

    /// Has everything travel that is on its way at a time, and takes what is due.
    fn exchange(&mut self, now: Mono) {
        self.collect(now);
        let due = self.travelling.iter().filter(|(at, _)| *at <= now).count();
        for (at, datagram) in self.travelling.drain(..due).collect::<Vec<_>>() {
            self.player.pipeline.handle_datagram(at, from(), &datagram);
        }
        let heard = &mut self.heard;
        self.player.advance(now, &mut |block, at| heard.push((at, block.to_vec())));
        while let Some(transmit) = self.player.pipeline.poll_transmit(now) {
            self.send.handle_datagram(now.plus(AHEAD + TRANSIT), to(), transmit.bytes);
        }
        self.collect(now.plus(TRANSIT));
    }

    fn collect(&mut self, now: Mono) {
        while let Some(transmit) = self.send.poll_transmit() {
            self.travelling.push((now.plus(TRANSIT), transmit.bytes.to_vec()));
        }
        self.travelling.sort_by_key(|(at, _)| *at);
    }

    /// By how much the times of what was heard differ from when it was captured, in microseconds, at worst and at best, and
    /// whether each block follows on the one before it.
    fn offsets(&self) -> (i64, i64) {
        let (mut least, mut most) = (i64::MAX, i64::MIN);
        for (at, block) in &self.heard {
            let left: Vec<f32> = block.iter().step_by(2).copied().collect();
            assert_eq!(left, block.iter().skip(1).step_by(2).copied().collect::<Vec<_>>());
            let Some(up) = left.windows(2).position(|pair| pair[0] < 0.0 && pair[1] >= 0.0) else { continue };
            let part = f64::from(-left[up]) / f64::from(left[up + 1] - left[up]);
            let crossing = at.since(Mono(START)) as f64 + (up as f64 + part) * 1e9 / f64::from(TRACK);
            let offset = ((crossing + 5e6).rem_euclid(1e7) - 5e6) as i64 / 1000;
            (least, most) = (least.min(offset), most.max(offset));
        }
        (least, most)
    }
}

#[test]
fn without_the_senders_word_sound_has_the_time_of_its_arrival() {
    let mut world = World::new(false);
    world.run(0..1000);
    world.heard.clear();
    world.run(1000..2000);
    // A packet takes 2.9 ms to fill and 1 ms to travel.
    let (least, most) = world.offsets();
    assert!((3800..4000).contains(&least) && (3800..4000).contains(&most), "{least} to {most} µs");
    for pair in world.heard.windows(2) {
        let step = pair[1].0.since(pair[0].0) - units::frames_to_nanos(CHUNK as i64, TRACK);
        assert!(step.abs() < 50_000, "{step} ns");
    }
}

#[test]
fn with_the_senders_word_sound_has_the_time_of_its_capture() {
    let mut world = World::new(true);
    world.run(0..4000);
    world.heard.clear();
    world.run(4000..6000);
    let (least, most) = world.offsets();
    assert!(least > -200 && most < 200, "{least} to {most} µs");
}

#[test]
fn nothing_is_handed_out_before_a_stream_and_after_its_end() {
    let mut world = World::new(false);
    for tick in 0..100 {
        world.exchange(Mono(START - 500 * MS + tick * 5 * MS));
    }
    assert!(world.heard.is_empty());
    world.run(0..1000);
    let played = world.heard.len();
    // It begins once the sender has had the time to tell its own.
    assert!(played > 1800, "{played} chunks of 2.9 s");
    let end = START + units::frames_to_nanos(1000 * FRAMES as i64, STREAM);
    for tick in 0..1000 {
        world.exchange(Mono(end + tick * 5 * MS));
    }
    let after = (world.heard.len() - played) as i64 * CHUNK as i64 * 1000 / i64::from(TRACK);
    assert!((1900..2300).contains(&after), "{after} ms of silence until it counts as ended");
    assert!(world.player.news.iter().any(|news| news.contains("nothing came for two seconds")));
}
