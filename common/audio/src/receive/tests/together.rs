//! In time with others: a sender by script, a receiver with a device, and a clock of its own for each machine.

use proto::announce::Codec;
use proto::exchange::{self, Reply, Request};
use proto::playout::{self, Playout};
use proto::timing::{self, Anchor, Delay, Timing};
use proto::units::{RtpTime, Sequence};
use sim::agenda::Agenda;
use sim::clock::{Clock, ClockSpec};
use sim::link::{Jitter, Link, LinkSpec, Loss};

use super::*;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
const RATE: u32 = 48_000;
const FRAMES: u64 = 96;
const PACKET: i64 = 2 * MS;
/// When the device takes a chunk, before it is heard.
const LEAD: i64 = 6 * MS;

enum Happening {
    Packet(u64),
    Report,
    ToSender(Vec<u8>),
    ToReceiver(Vec<u8>),
    Chunk(u64),
    Step,
}

/// A chunk at the DAC, in true time: when it was heard, how long after its capture, and how long after its time, in
/// nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: i64,
    latency: i64,
    error: i64,
}

struct World {
    agenda: Agenda<Happening>,
    remote: Clock,
    local: Clock,
    there: Link,
    back: Link,
    receive: ReceivePipeline,
    /// The sender's source, and the position at which its RTP times begin.
    ssrc: u32,
    origin: u32,
    /// What the sender tells of the delay; `None` tells no timing.
    delay: Option<Delay>,
    trim_ns: i32,
    answers: bool,
    wanted: Vec<(i64, u32)>,
    reports: Vec<Playout>,
    events: Vec<Sync>,
    /// Frames of the device so far.
    ppm: f64,
    heard: Vec<Heard>,
}

fn fixed(us: u32) -> Option<Delay> {
    Some(Delay { from_us: us, to_us: us, begin: RtpTime(0) })
}

fn clock(ppm: f64) -> ClockSpec {
    ClockSpec { ppm, steps: vec![(0, 3600 * SECOND)], ..ClockSpec::default() }
}

fn wired() -> LinkSpec {
    let jitter = Jitter::Normal { sigma: 50_000 };
    LinkSpec { delay: 100_000, jitter, in_order: true, ..LinkSpec::default() }
}

fn config() -> Config {
    Config { wire: Some(Wire::Rtp), trim: Some(0), ..Config::new(20 * MS, "test".into(), 77) }
}

impl World {
    fn new(config: Config, delay: Option<Delay>) -> Self {
        let mut agenda = Agenda::default();
        // A packet can be sent once its last frame is captured.
        agenda.push(Mono(PACKET), Happening::Packet(0));
        agenda.push(Mono(1), Happening::Report);
        agenda.push(Mono(300_000), Happening::Chunk(0));
        agenda.push(Mono(0), Happening::Step);
        let mut receive = ReceivePipeline::new(config, Arc::default());
        receive.replace_output(Box::new(Output::device(1, RATE, true)));
        Self {
            agenda,
            remote: Clock::new(clock(-40.0), 1),
            local: Clock::new(clock(60.0), 2),
            there: Link::new(wired(), 3),
            back: Link::new(wired(), 4),
            receive,
            ssrc: 7,
            origin: u32::MAX - 100_000,
            delay,
            trim_ns: 0,
            answers: true,
            wanted: Vec::new(),
            reports: Vec::new(),
            events: Vec::new(),
            ppm: 100.0,
            heard: Vec::new(),
        }
    }

    /// Runs until true time `end` in seconds; returns what was heard meanwhile.
    fn run(&mut self, end: f64) -> Vec<Heard> {
        while let Some((now, happening)) = self.agenda.pop() {
            if now.0 as f64 > end * 1e9 {
                self.agenda.push(now, happening);
                break;
            }
            self.happen(now, happening);
        }
        std::mem::take(&mut self.heard)
    }

    fn happen(&mut self, now: Mono, happening: Happening) {
        let (remote, local) = (self.remote.local(now), self.local.local(now));
        match happening {
            Happening::Packet(number) => {
                let header = rtp::Header {
                    marker: false,
                    payload_type: 98,
                    sequence: Sequence(number as u16),
                    timestamp: RtpTime(self.origin.wrapping_add((number * FRAMES) as u32)),
                    ssrc: self.ssrc,
                };
                let samples = (0..FRAMES).flat_map(|n| ((number * FRAMES + n) as i16).to_be_bytes());
                let packet: Vec<u8> = header.to_bytes().into_iter().chain(samples).collect();
                self.send(now, packet);
                self.agenda.push(now.plus(PACKET), Happening::Packet(number + 1));
            }
            Happening::Report => {
                let report = self.report(now);
                self.send(now, report);
                self.agenda.push(now.plus(SECOND), Happening::Report);
            }
            Happening::ToSender(datagram) => self.handle_at_sender(now, remote, &datagram),
            Happening::ToReceiver(datagram) => {
                self.receive.handle_datagram(local, "192.0.2.1:5".parse().unwrap(), &datagram);
            }
            Happening::Chunk(number) => {
                let mut out = [0.0; CHUNK];
                let heard = now.plus(LEAD);
                let slow = (60.0 - self.ppm) * 1e-6;
                let due = Due { slow, ..self.local.local(heard).into() };
                self.receive.pull_device(local, due, &mut out);
                self.judge(heard, &out);
                let frame = 1e9 / (f64::from(RATE) * (1.0 + self.ppm * 1e-6));
                let next = 300_000 + ((number + 1) as f64 * CHUNK as f64 * frame) as i64;
                self.agenda.push(Mono(next), Happening::Chunk(number + 1));
            }
            Happening::Step => {
                self.receive.handle_timeout(local);
                while let Some(event) = self.receive.poll_event() {
                    if let Event::Sync(sync) = event {
                        self.events.push(sync);
                    }
                }
                while let Some(transmit) = self.receive.poll_transmit(local) {
                    let octets = transmit.bytes.to_vec();
                    for arrival in self.back.send(now, octets.len()).into_iter().flatten() {
                        self.agenda.push(arrival, Happening::ToSender(octets.clone()));
                    }
                }
                self.agenda.push(now.plus(MS), Happening::Step);
            }
        }
    }

    fn send(&mut self, at: Mono, octets: Vec<u8>) {
        for arrival in self.there.send(at, octets.len()).into_iter().flatten() {
            self.agenda.push(arrival, Happening::ToReceiver(octets.clone()));
        }
    }

    /// The frame that is captured at `now`, which begins a packet or nearly.
    fn report(&mut self, now: Mono) -> Vec<u8> {
        let frame = now.0 as u64 / 1000 * 48 / 1000;
        let captured = Mono((u128::from(frame) * 1_000_000_000 / u128::from(RATE)) as i64);
        let mut out = [0; 256];
        let mut builder = rtcp::Builder::new(&mut out);
        let info = rtcp::SenderInfo { ntp: Ntp(1), rtp_time: RtpTime(0), packets: 0, octets: 0 };
        builder.sender_report(self.ssrc, &info);
        let format = Format { payload_type: 98, codec: Codec::L16, channels: 1, rate: RATE, frames: 96 };
        let announcement =
            Announcement { format, name: "", map: "", retransmission: None, parity: None, pace: None };
        let mut body = [0; 64];
        let length = announcement.write(&mut body).unwrap();
        builder.application(self.ssrc, announce::APP_NAME, 0, &body[..length]);
        if let Some(delay) = self.delay {
            let anchor = Anchor {
                rtp_time: RtpTime(self.origin.wrapping_add(frame as u32)),
                captured: self.remote.local(captured),
                // In a second of the sender's clock.
                slow_ppb: -40_000,
            };
            let timing = Timing { anchor, delay, trim_ns: self.trim_ns };
            builder.application(self.ssrc, timing::APP_NAME, 0, &timing.to_bytes());
        }
        let length = builder.finish().unwrap();
        out[..length].to_vec()
    }

    fn handle_at_sender(&mut self, now: Mono, remote: Mono, datagram: &[u8]) {
        for packet in rtcp::packets(datagram).map(Result::unwrap) {
            match packet {
                rtcp::Packet::Application { name: exchange::APP_NAME, subtype: 0, body, .. } => {
                    let request = Request::parse(body).unwrap();
                    let told = self.wanted.last().map(|(_, wanted)| *wanted);
                    if told != Some(request.wanted_us) {
                        self.wanted.push((now.0, request.wanted_us));
                        let report = self.report(now);
                        self.send(now, report);
                    }
                    if self.answers {
                        let reply = Reply { asked: request.written, received: remote, answered: remote };
                        let mut out = [0; 64];
                        let mut builder = rtcp::Builder::new(&mut out);
                        builder.receiver_report(self.ssrc, None);
                        builder.application(
                            self.ssrc,
                            exchange::APP_NAME,
                            exchange::REPLY,
                            &reply.to_bytes(),
                        );
                        let length = builder.finish().unwrap();
                        self.send(now, out[..length].to_vec());
                    }
                }
                rtcp::Packet::Application { name: playout::APP_NAME, body, .. } => {
                    self.reports.push(Playout::parse(body).unwrap());
                }
                _ => {}
            }
        }
    }

    /// The ramp's value says which frame is heard: the last one captured that has it.
    fn judge(&mut self, heard: Mono, out: &[f32]) {
        let (first, last) = (out[0] * 32_768.0, out[CHUNK - 1] * 32_768.0);
        // Neither silence, nor a crossfade, nor where the ramp wraps.
        if (last - first - (CHUNK - 1) as f32).abs() > 0.2 || first.abs() > 30_000.0 {
            return;
        }
        let newest = heard.0 as f64 * f64::from(RATE) / 1e9;
        let value = f64::from(first);
        let frame = value + ((newest - value) / 65_536.0).floor() * 65_536.0;
        let latency = heard.0 - (frame * 1e9 / f64::from(RATE)) as i64;
        let given = self.delay.map_or(0, |delay| {
            let begin = i64::from(delay.begin.0.wrapping_sub(self.origin) as i32);
            delay.at(frame as i64 - begin, RATE) + i64::from(self.trim_ns)
        });
        self.heard.push(Heard { at: heard.0, latency, error: latency - given });
    }
}

/// The largest error from `from` (in seconds) on, in microseconds.
fn worst(heard: &[Heard], from: f64) -> f64 {
    let after = heard.iter().filter(|heard| heard.at as f64 >= from * 1e9);
    after.map(|heard| heard.error.abs() as f64 / 1e3).fold(0.0, f64::max)
}

fn realigned(world: &World) -> u64 {
    world.receive.counters.realigned.get()
}

#[test]
fn playback_begins_in_time_and_stays_so() {
    let mut world = World::new(config(), fixed(25_000));
    let heard = world.run(30.0);
    assert!((50 * MS..200 * MS).contains(&heard[0].at), "{:?}", heard[0]);
    let [first, later] = [0.0, 10.0].map(|from| worst(&heard, from));
    assert!(first <= 80.0 && later <= 20.0, "{first} µs, later {later} µs");
    assert_eq!(world.events, [Sync::Together { group_delay: 25 * MS }]);
    assert_eq!(realigned(&world), 1);
    // 2.1 ms on the way, and the latency that was asked for.
    let (_, wanted) = world.wanted.last().unwrap();
    assert!((22_100..22_400).contains(wanted), "{wanted}");
    let last = world.reports.last().unwrap();
    assert!(last.synced && !last.late && (200..300).contains(&last.round_trip_us), "{last:?}");
    assert!(last.latency_us.abs_diff(25_000) < 50 && last.worst_error_ns.abs() < 20_000, "{last:?}");
}

#[test]
fn timing_is_waited_for_as_long_as_it_may_come() {
    let first_heard = |trim, delay, answers| {
        let mut world = World::new(Config { trim, ..config() }, delay);
        world.answers = answers;
        let heard = world.run(2.0);
        assert_eq!(world.events, []);
        heard[0]
    };
    for (first, from, until) in [
        (first_heard(Some(0), None, true), 400, 450),
        // Timing alone is of no use.
        (first_heard(Some(0), fixed(25_000), false), 400, 450),
        (first_heard(None, fixed(25_000), true), 20, 50),
    ] {
        assert!((from * MS..until * MS).contains(&first.at), "{first:?}");
        assert!((21 * MS..23 * MS).contains(&first.latency), "{first:?}");
    }
}

#[test]
fn timing_that_comes_later_is_moved_to() {
    // The latency by arrivals is 22.1 ms.
    for (delay, jumps) in [(23_500, 0), (20_500, 0), (28_000, 1)] {
        let mut world = World::new(config(), None);
        world.run(3.5);
        let before = realigned(&world);
        world.delay = fixed(delay);
        let error = worst(&world.run(8.0), 5.8);
        assert!(error <= 100.0, "{error} µs");
        assert_eq!(realigned(&world) - before, jumps, "to {delay} µs");
        assert_eq!(world.events.len(), 1);
    }
}

#[test]
fn a_delay_that_slews_is_followed_to_the_frame() {
    for (from_us, to_us) in [(25_000, 40_000), (40_000, 25_000)] {
        let mut world = World::new(config(), fixed(from_us));
        world.run(10.0);
        let begin = RtpTime(world.origin.wrapping_add(11 * RATE + 12_345));
        world.delay = Some(Delay { from_us, to_us, begin });
        let heard = world.run(25.0);
        assert!(worst(&heard, 0.0) <= 40.0, "{} µs", worst(&heard, 0.0));
        assert!((heard.last().unwrap().latency - i64::from(to_us) * 1000).abs() < 40_000);
        assert_eq!(realigned(&world), 1);
    }
}

#[test]
fn a_delay_that_is_too_short_is_exceeded_until_it_is_long_enough() {
    let mut world = World::new(config(), fixed(4_000));
    let heard = world.run(5.0);
    let latency = heard.last().unwrap().latency;
    assert!((21_900_000..22_300_000).contains(&latency), "{latency}");
    let report = *world.reports.last().unwrap();
    assert!(report.late && report.synced && (report.error_ns - 18_100_000).abs() < 200_000, "{report:?}");
    let begin = RtpTime(world.origin.wrapping_add(7 * RATE));
    world.delay = Some(Delay { from_us: 4_000, to_us: 22_500, begin });
    let heard = world.run(20.0);
    assert!(heard.iter().all(|heard| heard.latency >= 21_900_000));
    assert!(worst(&heard, 17.5) <= 40.0, "{} µs", worst(&heard, 17.5));
    let told = [4_000, 22_500].map(|us| i64::from(us) * 1000);
    let late = told.map(|group_delay| Sync::Late { group_delay });
    assert_eq!(world.events, [late[0], late[1], Sync::Together { group_delay: told[1] }]);
    assert_eq!(realigned(&world), 1);
}

#[test]
fn trims_add_to_the_delay_and_count_in_what_is_needed() {
    let mut world = World::new(Config { trim: Some(-1_500_000), ..config() }, fixed(30_000));
    world.trim_ns = -3_000_000;
    let heard = world.run(5.0);
    assert!((heard.last().unwrap().latency - 25_500_000).abs() < 40_000, "{:?}", heard.last());
    let (_, wanted) = world.wanted.last().unwrap();
    assert!((26_600..26_900).contains(wanted), "{wanted}");
}

#[test]
fn an_adaptive_buffer_says_what_it_needs_and_stays_in_time() {
    let adapt = Adapt { preset: crate::depth::Preset::Live, least: 0, most: 200 * MS };
    let mut world = World::new(Config { adapt: Some(adapt), ..config() }, fixed(60_000));
    world.run(10.0);
    let calm = world.wanted.last().unwrap().1;
    world.there.set(LinkSpec { jitter: Jitter::Uniform { most: 30 * MS }, in_order: false, ..wired() });
    let heard = world.run(20.0);
    let jittery = world.wanted.last().unwrap().1;
    assert!(calm < 15_000 && (35_000..50_000).contains(&jittery), "{calm} µs, {jittery} µs");
    assert!(heard.iter().all(|heard| (heard.latency - 60 * MS).abs() < 3 * MS));
    assert_eq!(realigned(&world), 1);
}

#[test]
fn an_outage_changes_nothing() {
    let mut world = World::new(config(), fixed(25_000));
    world.run(20.0);
    let (from, until) = (Mono(20 * SECOND), Mono(20_500 * MS));
    world.there.black_out(from, until);
    world.back.black_out(from, until);
    let heard = world.run(25.0);
    assert!(worst(&heard, 20.53) <= 30.0, "{} µs", worst(&heard, 20.53));
    assert_eq!(realigned(&world), 1);
}

#[test]
fn a_sender_that_starts_anew_is_in_time_within_a_second() {
    let mut world = World::new(config(), fixed(25_000));
    world.run(10.0);
    // Another source, other times, another origin of the clock.
    (world.ssrc, world.origin) = (9, 5_000);
    world.remote = Clock::new(ClockSpec { steps: vec![(0, 7 * SECOND)], ..clock(-40.0) }, 5);
    let heard = world.run(14.0);
    assert!(worst(&heard, 11.0) <= 100.0, "{} µs", worst(&heard, 11.0));
    assert!(heard.iter().any(|heard| heard.at < 11 * SECOND));
}

#[test]
fn a_clock_that_steps_is_over_within_two_seconds() {
    for by in [3 * SECOND, 30 * MS, -30 * MS] {
        for of_sender in [false, true] {
            let stepped =
                |ppm, origin| ClockSpec { steps: vec![(0, origin), (10 * SECOND, by)], ..clock(ppm) };
            let mut world = World::new(config(), fixed(25_000));
            if of_sender {
                world.remote = Clock::new(stepped(-40.0, 3600 * SECOND), 1);
            } else {
                world.local = Clock::new(stepped(60.0, 3600 * SECOND), 2);
            }
            world.run(10.0);
            let heard = world.run(15.0);
            assert!(worst(&heard, 12.0) <= 100.0, "{} µs after {by} ns", worst(&heard, 12.0));
            assert!(heard.iter().any(|heard| heard.at > 14 * SECOND));
        }
    }
}

#[test]
fn a_sender_that_stops_telling_is_followed_by_its_arrivals() {
    let mut world = World::new(config(), fixed(25_000));
    world.run(10.0);
    world.delay = None;
    let heard = world.run(20.0);
    assert_eq!(world.events, [Sync::Together { group_delay: 25 * MS }, Sync::Alone]);
    assert!((heard.last().unwrap().latency - 22_100_000).abs() < 300_000, "{:?}", heard.last());
    assert!(!world.reports.last().unwrap().synced);
}

#[test]
fn one_of_other_make_is_asked_a_few_times_only() {
    let mut world = World::new(config(), None);
    world.receive.config.format =
        Some(Format { payload_type: 98, codec: Codec::L16, channels: 1, rate: RATE, frames: 0 });
    world.agenda = Agenda::default();
    world.agenda.push(Mono(PACKET), Happening::Packet(0));
    world.agenda.push(Mono(0), Happening::Chunk(0));
    world.agenda.push(Mono(0), Happening::Step);
    world.back.set(LinkSpec { loss: Loss::Random(1.0), ..LinkSpec::default() });
    let heard = world.run(10.0);
    assert!((120 * MS..170 * MS).contains(&heard[0].at), "{:?}", heard[0]);
    assert!((4..20).contains(&world.back.counters().sent), "{:?}", world.back.counters());
}
