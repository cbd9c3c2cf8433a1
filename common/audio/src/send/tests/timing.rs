//! What members of a group are told: answers to their questions, and when to play.

use proto::exchange::{self, Reply, Request};
use proto::playout::{self, Playout};
use proto::timing::{Anchor, Timing};

use super::*;
use crate::counters::GroupCounters;

const MS: i64 = 1_000_000;
const RATE: u32 = 44_100;
const START: i64 = 50_000 * MS;

fn at(n: u16) -> SocketAddr {
    ([192, 0, 2, 7], 100 + n).into()
}

/// A pipeline with one encoding for each of these, and a member for each.
struct Desk {
    send: SendPipeline,
    specs: Vec<EncodingSpec>,
    group: Arc<GroupCounters>,
}

/// What came out for a client.
#[derive(Debug, PartialEq)]
enum Said {
    Answer(Reply),
    Report(Option<Timing>),
}

impl Desk {
    fn new(specs: Vec<EncodingSpec>) -> Self {
        let send = SendPipeline::new(RATE, 1, ORIGIN, "test".into());
        let mut desk = Self { send, specs, group: Arc::default() };
        desk.route(Policy::Auto(200_000));
        desk
    }

    fn route(&mut self, policy: Policy) {
        let encoding = |(n, spec): (usize, &EncodingSpec)| {
            let n = n as u16;
            let client =
                Client::new("c".into(), at(n), Arc::default()).grouped(GroupId(3), 1000 * i32::from(n));
            let client = client.reporting(Reports::Mux);
            Encoding::new(EncodingId(n.into()), spec.clone(), RATE, n.into(), Sequence(0), vec![client])
        };
        let encodings = self.specs.iter().enumerate().map(encoding).collect();
        let group = Group::new(GroupId(3), policy, self.group.clone());
        self.send.replace(Box::new(Routing::new(encodings, Vec::new()).grouped(vec![group])));
    }

    /// Frames captured up to `now` (in milliseconds from the start), in blocks of 1 ms or so, and what was said meanwhile.
    fn capture(&mut self, now: i64) -> Vec<(SocketAddr, Said)> {
        let end = units::nanos_to_frames(now * MS, RATE).unsigned_abs();
        let mut all = Vec::new();
        while self.send.position().0 + 44 <= end {
            let position = self.send.position();
            let captured = Mono(START + units::frames_to_nanos(position.0 as i64, RATE));
            self.send.handle_timeout(captured.plus(MS));
            self.send.handle_block(position, captured, &[0.0; 44]);
            all.extend(self.said());
        }
        all
    }

    fn ask(&mut self, at_ms: i64, from: SocketAddr, written: i64, wanted_us: u32) {
        let mut octets = [0; 64];
        let mut builder = rtcp::Builder::new(&mut octets);
        builder.receiver_report(9, None);
        let request = Request { written: Mono(written), wanted_us, media: 0 };
        builder.application(9, exchange::APP_NAME, exchange::REQUEST, &request.to_bytes());
        let length = builder.finish().unwrap();
        self.send.handle_datagram(Mono(START + at_ms * MS), from, &octets[..length]);
    }

    fn at(&mut self, now: i64) -> Vec<(SocketAddr, Said)> {
        self.send.handle_timeout(Mono(START + now * MS));
        self.said()
    }

    fn said(&mut self) -> Vec<(SocketAddr, Said)> {
        let mut all = Vec::new();
        while let Some(transmit) = self.send.poll_transmit() {
            let Recipients::One(to) = transmit.to else { continue };
            let (mut reply, mut timing) = (None, None);
            for packet in rtcp::packets(transmit.bytes).map(Result::unwrap) {
                match packet {
                    rtcp::Packet::Application { name: exchange::APP_NAME, subtype, body, .. } => {
                        assert_eq!(subtype, exchange::REPLY);
                        reply = Some(Reply::parse(body).unwrap());
                    }
                    rtcp::Packet::Application { name: proto::timing::APP_NAME, body, .. } => {
                        timing = Some(Timing::parse(body).unwrap());
                    }
                    _ => {}
                }
            }
            all.push((to, reply.map_or(Said::Report(timing), Said::Answer)));
        }
        all
    }
}

fn timing((_, said): &(SocketAddr, Said)) -> Timing {
    match said {
        Said::Report(Some(timing)) => *timing,
        other => panic!("no timing: {other:?}"),
    }
}

#[test]
fn questions_are_answered_first_with_the_times_at_which_they_came_and_the_answer_leaves() {
    let mut desk = Desk::new(vec![spec(Codec::Pcm16, "0"); 2]);
    desk.capture(2500);
    desk.ask(2600, at(1), 77, 0);
    let said = desk.at(2601);
    let reply =
        Reply { asked: Mono(77), received: Mono(START + 2600 * MS), answered: Mono(START + 2601 * MS) };
    assert_eq!(said[0], (at(1), Said::Answer(reply)));
    assert_eq!(said.iter().filter(|(_, said)| matches!(said, Said::Answer(_))).count(), 1);
}

#[test]
fn only_members_are_answered_and_each_no_more_than_it_needs() {
    let mut desk = Desk::new(vec![spec(Codec::Pcm16, "0")]);
    desk.capture(2500);
    let mut answers = 0;
    for tenth in 0..1000 {
        for client in [0, 1] {
            desk.ask(2600 + tenth / 10, at(client), tenth, 30_000);
        }
        let said = desk.at(2600 + tenth / 10);
        answers += said.iter().filter(|(to, said)| *to == at(0) && matches!(said, Said::Answer(_))).count();
        assert!(said.iter().all(|(to, _)| *to == at(0)), "a stranger is answered");
    }
    assert_eq!(answers, 10, "in a tenth of a second");
    let mut alone = pipeline(&spec(Codec::Pcm16, "0"), RATE, 1);
    std::mem::swap(&mut desk.send, &mut alone);
    desk.capture(2500);
    desk.ask(2600, "192.0.2.2:7".parse().unwrap(), 5, 30_000);
    assert!(desk.at(2601).iter().all(|(_, said)| *said == Said::Report(None)), "no group, no timing");
}

#[test]
fn what_a_client_reports_can_be_read() {
    let mut desk = Desk::new(vec![spec(Codec::Pcm16, "0")]);
    desk.capture(2500);
    desk.ask(2510, at(0), 1, 30_000);
    let playout = Playout {
        error_ns: -12_000,
        worst_error_ns: 40_000,
        round_trip_us: 800,
        drift_ppb: -3,
        concealed: 128,
        synced: true,
        ..Playout::default()
    };
    let mut octets = [0; 64];
    let mut builder = rtcp::Builder::new(&mut octets);
    builder.application(9, playout::APP_NAME, 0, &playout.to_bytes());
    let length = builder.finish().unwrap();
    desk.send.handle_datagram(Mono(START), at(0), &octets[..length]);
    let counters = &desk.send.routing.encodings[0].clients[0].counters;
    assert_eq!((counters.error_ns.get(), counters.worst_error_ns.get()), (-12_000, 40_000));
    assert_eq!(
        (counters.round_trip_us.get(), counters.drift_ppb.get(), counters.concealed.get()),
        (800, -3, 128)
    );
    assert_eq!((counters.synced.get(), counters.late.get(), counters.wanted_us.get()), (1, 0, 30_000));
}

#[test]
fn one_that_is_new_or_needs_something_else_is_told_everything_at_once() {
    let mut desk = Desk::new(vec![spec(Codec::Pcm16, "0")]);
    desk.capture(2500);
    let delay = |said: &[(SocketAddr, Said)]| said.get(1).map(|said| timing(said).delay.to_us);
    desk.ask(2510, at(0), 1, 0);
    assert_eq!(delay(&desk.at(2511)), Some(0), "the anchor at least");
    desk.ask(2550, at(0), 2, 30_000);
    assert_eq!(delay(&desk.at(2551)), Some(30_000));
    desk.ask(2600, at(0), 3, 30_000);
    assert_eq!(delay(&desk.at(2601)), None);
    desk.ask(2650, at(0), 4, 40_000);
    assert_eq!(delay(&desk.at(2651)), Some(40_000));
    assert_eq!((desk.group.delay_us.get(), desk.group.members.get()), (40_000, 1));
}

#[test]
fn all_members_are_told_the_same_line_once_a_second_at_the_same_time() {
    let mut desk = Desk::new(vec![spec(Codec::Pcm16, "0"); 3]);
    desk.send.set_capture_clock(-50e-6);
    let said = desk.capture(5000);
    let told: Vec<_> = said.iter().map(timing).collect();
    assert_eq!(told.len(), 15);
    for (second, all) in told.chunks(3).enumerate() {
        assert!(all.iter().all(|timing| timing.anchor == all[0].anchor), "{all:?}");
        assert_eq!(all.iter().map(|timing| timing.trim_ns).collect::<Vec<_>>(), [0, 1000, 2000]);
        assert_eq!(all[0].anchor.slow_ppb, -50_000);
        let age = START + second as i64 * 1000 * MS - all[0].anchor.captured.0;
        assert!((-10 * MS..10 * MS).contains(&age), "{age} ns");
    }
}

#[test]
fn a_change_of_the_routing_keeps_the_delay_and_what_members_said() {
    let mut desk = Desk::new(vec![spec(Codec::Pcm16, "0"); 2]);
    desk.capture(2500);
    for n in [0, 1] {
        desk.ask(2510, at(n), 1, 30_000 + 10_000 * u32::from(n));
    }
    desk.at(2511);
    desk.specs.pop();
    desk.route(Policy::Auto(200_000));
    let said = desk.at(2520);
    assert_eq!(timing(&said[0]).delay.to_us, 40_000);
    assert_eq!(desk.group.members.get(), 1);
}

#[test]
fn the_pipeline_asks_to_be_called_again_when_the_others_are_not_waited_for_any_more() {
    let mut desk = Desk::new(vec![spec(Codec::Pcm16, "0"); 2]);
    desk.capture(2500);
    desk.ask(2510, at(0), 1, 30_000);
    assert_eq!(timing(&desk.at(2511)[1]).delay.to_us, 0);
    let due = desk.send.poll_timeout().since(Mono(START));
    assert!((2600 * MS..2670 * MS).contains(&due), "{due} ns");
    assert_eq!(
        desk.at(2670).iter().map(|said| timing(said).delay.to_us).collect::<Vec<_>>(),
        [30_000, 30_000]
    );
    assert!(desk.send.poll_timeout() > Mono(START + 2700 * MS), "no call without a reason");
}

/// When the sound of an RTP time was captured, from the start, in seconds.
fn captured(anchor: &Anchor, time: RtpTime, clock: u32) -> f64 {
    anchor.captured_at(time.since(anchor.rtp_time).into(), clock).since(Mono(START)) as f64 / 1e9
}

/// What a receiver makes of a tone that is captured from frame `first` on, and when its first sample was captured by the
/// encoding's own anchor, in seconds.
fn heard(codec: Codec, first: u64, hertz: f64) -> (Vec<f32>, f64) {
    let spec = spec(codec, "0");
    let mut send = pipeline(&spec, RATE, 1);
    let (mut decoder, mut heard, mut begin) = (Decoder::new(1).unwrap(), Vec::new(), None);
    let sound = |n: u64| (TAU * hertz * n as f64 / f64::from(RATE)).sin() as f32 / 2.0;
    let mut position = Position(first);
    while position.0 < first + u64::from(RATE) {
        let block: Vec<_> = (0..send.max_block() as u64).map(|n| sound(position.0 + n)).collect();
        let at = Mono(START + units::frames_to_nanos(position.0 as i64, RATE));
        send.handle_block(position, at, &block);
        send.line = Some(Line { position, at, slow: 0.0 });
        position = position.advanced(block.len() as u64);
        while let Some(transmit) = send.poll_transmit() {
            let Recipients::All(_) = transmit.to else { continue };
            let packet = rtp::Packet::parse(transmit.bytes).unwrap();
            begin = begin.or(Some(packet.header.timestamp));
            let start = heard.len();
            heard.resize(start + usize::from(spec.packet_frames()), 0.0);
            match codec {
                Codec::Opus(_) => drop(decoder.decode(packet.payload, &mut heard[start..]).unwrap()),
                _ => pcm::decode_24(packet.payload, pcm::ByteOrder::Big, &mut heard[start..]),
            }
        }
    }
    let anchor = send.line.unwrap().anchor(&send.routing.encodings[0], &send.shape);
    (heard, captured(&anchor, begin.unwrap(), spec.format(RATE).rate))
}

#[test]
fn every_encoding_says_within_a_microsecond_when_its_sound_was_captured() {
    let opus = |frame| Codec::Opus(opus_settings(frame, Application::Audio));
    let (short, long) = (opus(FrameTime::Ms5), opus(FrameTime::Ms20));
    for (codec, first) in [(Codec::Pcm24, 7), (short, 0), (short, 12_345), (long, 1)] {
        // The low one knows no other period; Opus leaves out what is below 3 Hz, which bends its phase a little.
        for (hertz, within) in [(997.0, 1e3), (130.0, 50e3)] {
            let (heard, since_start) = heard(codec, first, hertz);
            let clock = f64::from(codec.clock_rate(RATE));
            let off =
                Fit::of(&heard, hertz, codec.clock_rate(RATE)).later_than(-since_start * clock) / clock * 1e9;
            assert!(off.abs() < within, "{codec:?} from {first}, {hertz} Hz: {off} ns");
        }
    }
}

#[test]
fn a_client_that_branches_off_keeps_its_line_and_what_it_said() {
    let spec = spec(Codec::Opus(opus_settings(FrameTime::Ms5, Application::LowDelay)), "0");
    let other = EncodingSpec { map: "0+0".parse().unwrap(), ..spec.clone() };
    let client = |n| Client::new("c".into(), at(n), Arc::default()).grouped(GroupId(3), 0);
    let route = |send: &mut SendPipeline, encodings| {
        let group = Group::new(GroupId(3), Policy::Auto(200_000), Arc::default());
        send.replace(Box::new(Routing::new(encodings, Vec::new()).grouped(vec![group])));
    };
    let build = |id, spec: &EncodingSpec, clients| {
        Encoding::new(EncodingId(id), spec.clone(), RATE, 5, Sequence(0), clients)
    };
    let mut desk = Desk::new(Vec::new());
    route(&mut desk.send, vec![build(1, &spec, vec![client(0), client(1)])]);
    desk.capture(1003);
    for n in [0, 1] {
        desk.ask(1003, at(n), 1, 30_000);
    }
    desk.at(1004);
    let branch = build(2, &other, vec![client(1)]).after(EncodingId(1), &spec);
    route(&mut desk.send, vec![build(1, &spec, vec![client(0)]), branch]);
    let said = desk.at(1005);
    let (stays, branches) = (timing(&said[0]), timing(&said[1]));
    assert_eq!(stays, branches);
    assert_eq!(stays.delay.to_us, 30_000);
    let [stays, branches] = &desk.send.routing.encodings[..] else { panic!("two encodings") };
    assert!(stays.shift() != 0 && stays.shift() == branches.shift());
    assert_eq!(branches.clients[0].member.wanted(Mono(START + 1005 * MS)), Some(30_000));
}
