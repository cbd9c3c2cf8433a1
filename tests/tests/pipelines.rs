//! Both pipelines in virtual time: what becomes of packets that are late, lost, doubled, out of order, or from a sender
//! that starts again. Sound is a ramp, so that every sample names itself.

use std::net::SocketAddr;
use std::sync::Arc;

use audio::counters::{ClientCounters, ReceiveCounters};
use audio::receive::{CHUNK, Config, End, Event, Output, ReceivePipeline};
use audio::send::{Client, Codec, Encoding, EncodingId, EncodingSpec, Routing, SendPipeline, Wire};
use proto::units::{Mono, Position, RtpTime, Sequence, frames_to_nanos};
use sim::card::{Card, CardSpec, Direction};
use tests::sound::assert_same;

const RATE: u32 = 44_100;
const FRAMES: u16 = 128;
const MS: i64 = 1_000_000;

fn sender_at() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

fn client_at(port: u16) -> SocketAddr {
    ([192, 0, 2, 2], port).into()
}

fn spec(wire: Wire, map: &str, frames: u16) -> EncodingSpec {
    EncodingSpec {
        wire,
        codec: Codec::Pcm16,
        map: map.parse().unwrap(),
        factor: 1.0,
        test: None,
        frames,
        mtu: 1200,
    }
}

fn encoding(id: u64, spec: EncodingSpec, ports: &[u16]) -> Encoding {
    let client = |port: &u16| {
        Client::new(format!("client {port}"), client_at(*port), Arc::<ClientCounters>::default())
    };
    Encoding::new(
        EncodingId(id),
        spec,
        RATE,
        0x5000 + id as u32,
        Sequence(65_500),
        ports.iter().map(client).collect(),
    )
}

/// A sender whose sample at frame n is n in channel 0 and −n in channel 1.
struct World {
    send: SendPipeline,
    frame: u64,
}

/// A datagram, where it goes, and the end of what it holds on the sender's clock.
type Datagram = (Vec<u8>, SocketAddr, Mono);

impl World {
    fn new(encodings: Vec<Encoding>) -> Self {
        // The RTP time wraps during the test.
        let mut send = SendPipeline::new(RATE, 2, RtpTime(u32::MAX - 10_000), "test@world".into());
        send.replace(Box::new(Routing::new(encodings, Vec::new())));
        Self { send, frame: 0 }
    }

    fn now(&self) -> Mono {
        Mono(frames_to_nanos(self.frame as i64, RATE))
    }

    fn block(&mut self, frames: usize) -> Vec<Datagram> {
        let samples: Vec<f32> = (0..frames as u64)
            .flat_map(|n| {
                let value = (self.frame + n) as i16;
                [proto::pcm::sample(value), proto::pcm::sample(value.wrapping_neg())]
            })
            .collect();
        let at = self.now();
        self.send.handle_block(Position(self.frame), at, &samples);
        self.frame += frames as u64;
        self.send.handle_timeout(self.now());
        self.drain()
    }

    fn drain(&mut self) -> Vec<Datagram> {
        let mut out = Vec::new();
        let now = self.now();
        while let Some(transmit) = self.send.poll_transmit() {
            out.extend(transmit.to.addresses().map(|address| (transmit.bytes.to_vec(), address, now)));
        }
        out
    }

    /// Media and reports of `count` full packets.
    fn packets(&mut self, count: usize) -> Vec<Datagram> {
        (0..count).flat_map(|_| self.block(FRAMES.into())).collect()
    }
}

fn stereo() -> World {
    World::new(vec![encoding(1, spec(Wire::Rtp, "0,1", FRAMES), &[7])])
}

struct Listener {
    receive: ReceivePipeline,
    counters: Arc<ReceiveCounters>,
    heard: Vec<i16>,
}

impl Listener {
    fn new(output: Output, latency: i64) -> Self {
        let counters = Arc::new(ReceiveCounters::default());
        let config = Config::new(latency, "test@listener".into(), 9);
        let mut receive = ReceivePipeline::new(config, counters.clone());
        receive.replace_output(Box::new(output));
        Self { receive, counters, heard: Vec::new() }
    }

    fn file() -> Self {
        Self::new(Output::stream_clocked(2, RATE), 10 * MS)
    }

    fn take(&mut self, (bytes, _, at): &Datagram) {
        self.receive.handle_datagram(*at, sender_at(), bytes);
        let mut out = [0.0; 512];
        loop {
            let frames = self.receive.pull_stream(&mut out);
            self.heard.extend(out[..frames * 2].iter().map(|sample| proto::pcm::quantise(*sample)));
            if frames == 0 {
                return;
            }
        }
    }

    /// Takes the first report, and leaves only media behind.
    fn introduce(&mut self, sent: &mut Vec<Datagram>) {
        let report = sent.iter().position(|datagram| !is_media(datagram)).expect("a report comes first");
        self.take(&sent[report].clone());
        sent.retain(is_media);
    }

    fn frames(&self) -> Vec<i16> {
        self.heard.chunks_exact(2).map(|frame| frame[0]).collect()
    }
}

fn is_media(datagram: &Datagram) -> bool {
    !proto::rtp::is_rtcp(&datagram.0)
}

fn ramp(range: std::ops::Range<i64>) -> Vec<i16> {
    range.map(|n| n as i16).collect()
}

#[test]
fn everything_arrives_through_the_wraps_of_both_counters() {
    let (mut world, mut listener) = (stereo(), Listener::file());
    world.packets(200).iter().for_each(|datagram| listener.take(datagram));
    world.send.finish();
    world.drain().iter().for_each(|datagram| listener.take(datagram));
    assert_same(&listener.frames(), &ramp(0..200 * 128), "heard");
    assert!(listener.heard.chunks_exact(2).all(|frame| frame[1] == frame[0].wrapping_neg()));
    let events: Vec<_> = std::iter::from_fn(|| listener.receive.poll_event()).collect();
    let Event::Stream(info) = events[0] else { panic!("{events:?}") };
    assert_eq!((info.name.as_str(), info.map.as_str(), info.channels), ("client 7", "0,1", 2));
    assert_eq!(events[1..], [Event::Ended(End::Bye)]);
}

#[test]
fn a_last_short_packet_is_sent_whole() {
    let (mut world, mut listener) = (stereo(), Listener::file());
    let mut sent = world.packets(3);
    sent.extend(world.block(50));
    world.send.finish();
    sent.extend(world.drain());
    sent.iter().for_each(|datagram| listener.take(datagram));
    assert_same(&listener.frames(), &ramp(0..3 * 128 + 50), "heard");
}

#[test]
fn order_does_not_matter_within_the_latency_and_doubles_are_dropped() {
    let (mut world, mut listener) = (stereo(), Listener::file());
    let mut sent = world.packets(60);
    listener.introduce(&mut sent);
    // Each group of three arrives backwards, the first group too; every fifth packet twice.
    sent.chunks_mut(3).for_each(<[_]>::reverse);
    let doubled = sent
        .iter()
        .enumerate()
        .flat_map(|(n, d)| std::iter::repeat_n(d.clone(), 1 + usize::from(n % 5 == 0)));
    let doubled: Vec<_> = doubled.collect();
    doubled.iter().for_each(|datagram| listener.take(datagram));
    let heard = listener.frames();
    assert!(heard.len() > 55 * 128, "{}", heard.len());
    assert_same(&heard, &ramp(0..heard.len() as i64), "heard");
    assert_eq!(
        (listener.counters.duplicates.get() + listener.counters.late.get(), listener.counters.lost.get()),
        (12, 0)
    );
}

#[test]
fn what_is_lost_is_silence_of_its_own_length_in_a_file() {
    let (mut world, mut listener) = (stereo(), Listener::file());
    let mut sent = world.packets(60);
    listener.introduce(&mut sent);
    let lost = [10usize, 11, 30];
    sent.iter()
        .enumerate()
        .filter(|(n, _)| !lost.contains(n))
        .for_each(|(_, datagram)| listener.take(datagram));
    let heard = listener.frames();
    let expected = |n: usize| if lost.contains(&(n / 128)) { 0 } else { n as i16 };
    assert!(heard.len() > 55 * 128);
    assert_same(&heard, &(0..heard.len()).map(expected).collect::<Vec<_>>(), "heard");
    assert_eq!((listener.counters.lost.get(), listener.counters.concealed_frames.get()), (3, 3 * 128));
}

#[test]
fn a_late_packet_is_counted_and_not_played() {
    let (mut world, mut listener) = (stereo(), Listener::file());
    let mut sent = world.packets(40);
    listener.introduce(&mut sent);
    let straggler = sent.remove(20);
    sent.iter().for_each(|datagram| listener.take(datagram));
    listener.take(&straggler);
    assert_eq!((listener.counters.late.get(), listener.counters.lost.get()), (1, 1));
}

#[test]
fn a_sender_that_starts_again_is_followed_without_a_gap_in_the_file() {
    let mut listener = Listener::file();
    let mut first = stereo();
    first.packets(20).iter().for_each(|datagram| listener.take(datagram));
    // No goodbye: another process, another port, and a second of silence before it is believed.
    let mut second = stereo();
    let later = |datagram: &Datagram, seconds: i64| {
        (datagram.0.clone(), datagram.1, datagram.2.plus(seconds * 1000 * MS))
    };
    for datagram in second.packets(20) {
        let (bytes, _, at) = later(&datagram, 3);
        listener.receive.handle_datagram(at, "192.0.2.1:4001".parse().unwrap(), &bytes);
    }
    listener.take(&later(&(vec![], client_at(7), Mono(0)), 3));
    let heard = listener.frames();
    assert_same(&heard[..20 * 128], &ramp(0..20 * 128), "the first sender");
    assert_same(&heard[20 * 128..], &ramp(0..heard.len() as i64 - 20 * 128), "the second one");
    assert!(heard.len() > 35 * 128);
    assert_eq!((listener.counters.streams.get(), listener.counters.lost.get()), (2, 0));
}

#[test]
fn a_client_that_changes_its_map_keeps_its_timeline() {
    let mut listener = Listener::file();
    let mut world = stereo();
    let mut sent = world.packets(20);
    let old = world
        .send
        .replace(Box::new(Routing::new(vec![encoding(2, spec(Wire::Rtp, "1,0", FRAMES), &[7])], vec![])));
    assert_eq!(format!("{old:?}").matches("EncodingId(1)").count(), 1);
    sent.extend(world.packets(20));
    sent.iter().for_each(|datagram| listener.take(datagram));
    let expected = |n: i64| if n < 20 * 128 { n as i16 } else { (n as i16).wrapping_neg() };
    let heard = listener.frames();
    assert_same(&heard, &(0..heard.len() as i64).map(expected).collect::<Vec<_>>(), "heard");
    assert_eq!((listener.counters.streams.get(), listener.counters.lost.get()), (1, 0));
}

#[test]
fn clients_come_and_go_without_touching_the_others() {
    let shared = || spec(Wire::Rtp, "0", FRAMES);
    let mut world = World::new(vec![encoding(1, shared(), &[7, 8])]);
    let mut sent = world.block(100);
    let departures = vec![audio::send::Departure { address: client_at(8), second: None, ssrc: 0x5001 }];
    let routing = Routing::new(
        vec![encoding(1, shared(), &[7]), encoding(2, spec(Wire::Plain, "1", 50), &[9])],
        departures,
    );
    world.send.replace(Box::new(routing));
    for _ in 0..40 {
        sent.extend(world.block(50));
    }
    let mut listener = Listener::new(Output::stream_clocked(2, RATE), 10 * MS);
    sent.iter().filter(|datagram| datagram.1 == client_at(7)).for_each(|datagram| listener.take(datagram));
    assert_same(&listener.frames(), &ramp(0..listener.frames().len() as i64), "heard");
    assert!(listener.frames().len() > 1000);
    let goodbye = sent.iter().rfind(|datagram| datagram.1 == client_at(8)).unwrap();
    let is_bye =
        |packet: &proto::rtcp::Packet<'_>| *packet == proto::rtcp::Packet::Bye { ssrc: Some(0x5001) };
    assert!(proto::rtcp::packets(&goodbye.0).map_while(Result::ok).any(|packet| is_bye(&packet)));
    let plain: Vec<_> = sent.iter().filter(|datagram| datagram.1 == client_at(9)).collect();
    // Headerless PCM of 50 frames, and never a report.
    assert!(plain.len() == 40 && plain.iter().all(|datagram| datagram.0.len() == 100));
    assert_eq!(plain[0].0[..4], [(-100i16).to_le_bytes(), (-101i16).to_le_bytes()].concat());
}

#[test]
fn a_capture_that_lost_frames_moves_the_time_stamps_on() {
    let (mut world, mut listener) = (stereo(), Listener::file());
    let mut sent = world.packets(10);
    sent.extend(world.block(60));
    world.frame += 500;
    world.send.flush();
    sent.extend(world.drain());
    sent.extend(world.packets(20));
    sent.iter().for_each(|datagram| listener.take(datagram));
    let end = 10 * 128 + 60;
    let expected = |n: i64| if (end..end + 500).contains(&n) { 0 } else { n as i16 };
    let heard = listener.frames();
    assert_same(&heard, &(0..heard.len() as i64).map(expected).collect::<Vec<_>>(), "heard");
    assert_eq!(listener.counters.concealed_frames.get(), 500);
}

#[test]
fn a_stray_packet_from_another_time_does_not_move_the_stream() {
    let (mut world, mut listener) = (stereo(), Listener::file());
    let mut sent = world.packets(40);
    listener.introduce(&mut sent);
    let mut stray = sent[20].clone();
    stray.0[4] ^= 0x40;
    sent.insert(20, stray);
    sent.iter().for_each(|datagram| listener.take(datagram));
    let heard = listener.frames();
    assert_same(&heard, &ramp(0..heard.len() as i64), "heard");
    assert_eq!(listener.counters.rejects().find(|(reason, _)| *reason == "value").unwrap().1, 1);
}

#[test]
fn a_client_that_changes_from_headerless_pcm_to_rtp_is_understood() {
    let mut world = World::new(vec![encoding(1, spec(Wire::Plain, "0", FRAMES), &[7])]);
    let mut listener = Listener::file();
    world.packets(20).iter().for_each(|datagram| listener.take(datagram));
    let routing = Routing::new(vec![encoding(2, spec(Wire::Rtp, "0", FRAMES), &[7])], vec![]);
    world.send.replace(Box::new(routing));
    world.packets(20).iter().for_each(|datagram| listener.take(datagram));
    let heard = listener.frames();
    // The first two datagrams only vouch for the third.
    assert_same(&heard[..18 * 128], &ramp(2 * 128..20 * 128), "headerless PCM");
    assert_same(&heard[18 * 128..], &ramp(20 * 128..heard.len() as i64 + 2 * 128), "RTP");
    assert!(heard.len() > 34 * 128);
}

#[test]
fn a_stray_datagram_does_not_end_a_stream_that_pauses() {
    let (mut world, mut listener) = (stereo(), Listener::file());
    world.packets(20).iter().for_each(|datagram| listener.take(datagram));
    let later = world.now().plus(1500 * MS);
    listener.receive.handle_datagram(later, "192.0.2.9:1".parse().unwrap(), b"stray");
    listener.receive.handle_timeout(later);
    for (bytes, _, at) in world.packets(20) {
        listener.receive.handle_datagram(at.plus(1500 * MS), sender_at(), &bytes);
    }
    assert_eq!((listener.counters.streams.get(), listener.counters.lost.get()), (1, 0));
}

#[test]
fn numbers_before_the_first_one_kept_are_no_panic() {
    let mut listener = Listener::file();
    let packet = |ssrc: u32, number: u16, octets: usize| {
        let header = proto::rtp::Header {
            marker: false,
            payload_type: 11,
            sequence: Sequence(number),
            timestamp: RtpTime(0),
            ssrc,
        };
        [&header.to_bytes()[..], &vec![0; octets]].concat()
    };
    for (ssrc, number, octets) in [(1, 0, 9000), (1, 1, 9000), (2, 0, 9000), (2, u16::MAX, 256), (2, 1, 256)]
    {
        listener.receive.handle_datagram(Mono(0), sender_at(), &packet(ssrc, number, octets));
    }
    assert_eq!(listener.counters.packets.get(), 2);
}

/// Plays to a card with a clock of its own for some seconds; returns what left the DAC, with its times.
fn play(card: CardSpec, steered: bool, seconds: i64, jitter: i64) -> (Listener, Vec<(Mono, f32)>) {
    let mut world = stereo();
    let mut listener = Listener::new(Output::device(2, RATE, steered), 30 * MS);
    let mut card = Card::new(card, Direction::Playback, RATE, CHUNK as u32, Mono(5 * MS));
    let mut random = sim::random::Random::new(3);
    let mut left = Vec::new();
    let mut pending: Vec<Datagram> = Vec::new();
    let mut out = [0.0; CHUNK * 2];
    loop {
        let period = card.next_period();
        while world.now() <= period.callback {
            let late = (random.unit() * jitter as f64) as i64;
            pending.extend(world.packets(1).into_iter().map(|(bytes, to, at)| (bytes, to, at.plus(late))));
        }
        pending.sort_by_key(|datagram| datagram.2);
        let due = pending.partition_point(|datagram| datagram.2 <= period.callback);
        for (bytes, _, at) in pending.drain(..due) {
            listener.receive.handle_datagram(at, sender_at(), &bytes);
        }
        listener.receive.pull_device(period.callback, period.converter.into(), &mut out);
        left.extend(
            out.chunks_exact(2)
                .enumerate()
                .map(|(n, frame)| (period.converter.plus(frames_to_nanos(n as i64, RATE)), frame[0])),
        );
        if period.callback.0 > seconds * 1_000_000_000 {
            return (listener, left);
        }
    }
}

/// How late the ramp leaves the DAC beyond the latency and a packet's own length, in seconds, away from its ends.
fn lateness(left: &[(Mono, f32)]) -> Vec<f64> {
    const STEP: f32 = 1.0 / 32_768.0;
    let packet = frames_to_nanos(i64::from(FRAMES), RATE) as f64 / 1e9;
    let rising = |pair: &&[(Mono, f32)]| ((pair[1].1 - pair[0].1) / STEP - 1.0).abs() < 0.2;
    left.windows(2)
        .filter(rising)
        .map(|pair| {
            let (at, sample) = pair[0];
            let frames = f64::from(sample) * 32_768.0;
            let lag = at.0 as f64 / 1e9 - frames / f64::from(RATE) - packet - 0.030;
            // The ramp starts anew every 65 536 frames.
            let wrap = 65_536.0 / f64::from(RATE);
            lag - (lag / wrap).round() * wrap
        })
        .collect()
}

#[test]
fn a_card_of_the_same_rate_plays_at_the_latency_and_stays() {
    let (listener, left) = play(CardSpec::default(), true, 10, 0);
    let late = lateness(&left);
    let (least, most) = late.iter().skip(1000).fold((9.0f64, -9.0f64), |(a, b), x| (a.min(*x), b.max(*x)));
    assert!(least > -100e-6 && most < 100e-6, "{least} to {most}");
    assert_eq!((listener.counters.concealed_frames.get(), listener.counters.realigned.get()), (0, 1));
}

#[test]
fn cards_that_run_wrong_are_held_to_the_streams_time() {
    for ppm in [-500.0, 100.0, 500.0] {
        let card = CardSpec { ppm, jitter: 300_000, seed: 5, ..CardSpec::default() };
        let (listener, left) = play(card, true, 40, 500_000);
        let late = lateness(&left);
        let settled = &late[late.len() / 2..];
        let worst = settled.iter().fold(0.0f64, |worst, late| worst.max(late.abs()));
        assert!(worst < 1.0e-3, "{ppm} ppm: {worst} s");
        assert!(
            (listener.counters.drift_ppm() + ppm).abs() < 60.0,
            "{ppm}: {}",
            listener.counters.drift_ppm()
        );
        assert_eq!(
            (listener.counters.concealed_frames.get(), listener.counters.realigned.get()),
            (0, 1),
            "{ppm} ppm"
        );
    }
}

#[test]
fn without_steering_every_sample_leaves_as_it_was() {
    let (_, left) = play(CardSpec::default(), false, 3, 0);
    let start = left.iter().position(|(_, sample)| *sample != 0.0).unwrap();
    // Behind the fade-in of 4 ms.
    let samples: Vec<i16> =
        left[start + RATE as usize / 250..].iter().map(|(_, sample)| proto::pcm::quantise(*sample)).collect();
    let first = i64::from(samples[0]);
    assert_same(&samples, &ramp(first..first + samples.len() as i64), "unsteered");
}

#[test]
fn a_short_loss_of_the_cards_time_is_steered_away() {
    // An xrun of one period, 1.5 ms, every three seconds.
    let card = CardSpec { xrun_every: 3_000_000_000, ..CardSpec::default() };
    let (listener, left) = play(card, true, 10, 0);
    assert!(lateness(&left).iter().all(|late| late.abs() < 2.0e-3));
    assert_eq!((listener.counters.concealed_frames.get(), listener.counters.realigned.get()), (0, 1));
}

#[test]
fn a_sender_that_pauses_is_played_again_at_once() {
    let mut world = stereo();
    let mut listener = Listener::new(Output::device(2, RATE, true), 30 * MS);
    let pause = |at: Mono| if at > Mono(1000 * MS) { at.plus(500 * MS) } else { at };
    let mut queue = world.packets(1000).into_iter().peekable();
    let mut out = [0.0; CHUNK * 2];
    let mut silent = 0;
    for chunk in 0..1700 {
        let now = Mono(frames_to_nanos(chunk * CHUNK as i64, RATE));
        while let Some((bytes, _, at)) = queue.next_if(|datagram| pause(datagram.2) <= now) {
            listener.receive.handle_datagram(pause(at), sender_at(), &bytes);
        }
        listener.receive.pull_device(now, now.plus(3 * MS).into(), &mut out);
        silent += usize::from(now > Mono(500 * MS) && out.iter().all(|sample| *sample == 0.0));
    }
    let pause_chunks = 500 * RATE as usize / 1000 / CHUNK;
    // Beside the pause, only the packets that showed that it was no loss, and the latency; what was heard last is
    // carried on for 60 ms of it.
    let carried_on = 60 * RATE as usize / 1000 / CHUNK;
    assert!(
        (pause_chunks - carried_on - 25..pause_chunks + 60).contains(&silent),
        "{silent} silent, {pause_chunks} in the pause"
    );
    assert_eq!(listener.counters.realigned.get(), 2);
}

/// A sender may start its numbers anew and keep its clock; and one stray packet may bear any number.
#[test]
fn numbers_that_jump_while_times_go_on_are_followed() {
    for (stray_only, jump) in [(false, 45_000), (false, 20_000), (true, 20_000)] {
        let mut world = stereo();
        let mut listener = Listener::new(Output::stream_clocked(2, RATE), 30 * MS);
        let mut sent: Vec<_> = world.packets(400);
        let is_media = |bytes: &[u8]| bytes[1] & 0x7f == 10;
        let mut media = 0;
        for (bytes, ..) in sent.iter_mut().filter(|(bytes, ..)| is_media(bytes)) {
            media += 1;
            if media == 200 || (media > 200 && !stray_only) {
                let number = u16::from_be_bytes([bytes[2], bytes[3]]).wrapping_add(jump);
                bytes[2..4].copy_from_slice(&number.to_be_bytes());
            }
        }
        sent.iter().for_each(|datagram| listener.take(datagram));
        // The packet that first tells of the jump is held against the next one.
        assert_eq!(listener.counters.packets.get(), 399, "jump by {jump}, stray only: {stray_only}");
        let heard: Vec<_> = listener.heard.chunks_exact(2).map(|frame| frame[0]).collect();
        let end = heard.len() as u64;
        assert_eq!(heard[heard.len() - 1000..], (end - 1000..end).map(|n| n as i16).collect::<Vec<_>>()[..]);
    }
}

#[test]
fn headerless_pcm_plays_with_the_full_latency_again_after_it_ran_dry() {
    let mut world = World::new(vec![encoding(1, spec(Wire::Plain, "0", 1024), &[7])]);
    let mut listener = Listener::new(Output::device(1, RATE, false), 60 * MS);
    let mut now = Mono(0);
    let mut out = [0.0; CHUNK];
    let mut silent = 0;
    let mut sent: Vec<Datagram> = (0..200).flat_map(|_| world.block(1024)).collect();
    // Nothing comes for 300 ms, then everything goes on as if nothing had been.
    let pause = |at: Mono| if at > Mono(2000 * MS) { at.plus(300 * MS) } else { at };
    sent.iter_mut().for_each(|datagram| datagram.2 = pause(datagram.2));
    let mut queue = sent.into_iter().peekable();
    for _ in 0..2500 {
        while let Some((bytes, _, at)) = queue.next_if(|datagram| datagram.2 <= now) {
            listener.receive.handle_datagram(at, sender_at(), &bytes);
        }
        listener.receive.pull_device(now, now.plus(3 * MS).into(), &mut out);
        silent += usize::from(now > Mono(500 * MS) && out.iter().all(|sample| *sample == 0.0));
        now = now.plus(frames_to_nanos(CHUNK as i64, RATE));
    }
    // What was heard last is carried on for 60 ms.
    let pause_chunks = (300 - 60) * RATE as usize / 1000 / CHUNK;
    assert!(silent.abs_diff(pause_chunks) < 25, "{silent} silent chunks, {pause_chunks} expected");
    assert_eq!(listener.counters.realigned.get(), 2);
}

#[test]
fn what_vban_loses_is_known_and_concealed_in_its_place() {
    let mut world = World::new(vec![encoding(1, spec(Wire::Vban, "0,1", FRAMES), &[7])]);
    let mut listener = Listener::file();
    let mut sent = world.packets(60);
    // Out of order within the latency, and two that never come.
    sent.swap(20, 21);
    let lost = sent.remove(41);
    assert!(proto::vban::Packet::parse(&lost.0).is_ok());
    sent.remove(40);
    world.send.finish();
    sent.extend(world.drain());
    sent.iter().for_each(|datagram| listener.take(datagram));
    listener.receive.handle_timeout(world.now().plus(5000 * MS));
    listener.take(&(Vec::new(), sender_at(), world.now().plus(5000 * MS)));
    let heard = listener.frames();
    assert_eq!((listener.counters.lost.get(), listener.counters.late.get()), (2, 0));
    assert_eq!(heard.len(), 60 * 128);
    assert_same(&heard[..40 * 128], &ramp(0..40 * 128), "before the loss");
    assert_same(&heard[42 * 128..], &ramp(42 * 128..60 * 128), "after the loss");
}
