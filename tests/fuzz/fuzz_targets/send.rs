//! The send pipeline: reports from clients and strangers between blocks, polls and changes of the routing.

#![no_main]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arbitrary::Arbitrary;
use audio::counters::ClientCounters;
use audio::map::ChannelMap;
use audio::opus::{self, Application, FrameTime, RateControl};
use audio::repair::advance;
use audio::send::{
    Advance, Client, Codec, Departure, Encoding, EncodingId, EncodingSpec, Group, GroupId, Policy,
    Recipients, Repair, Routing, SendPipeline, Wire,
};
use audio::signal::Test;
use fuzz::{FIRST, Part, Rate, check_compound, compound, without_heap};
use libfuzzer_sys::fuzz_target;
use proto::pcm::{self, ByteOrder};
use proto::timing::{Delay, Timing};
use proto::units::{Mono, RtpTime, Sequence};
use proto::{parity, payload_type, retransmission, rtp, vban};

const MAX_STEPS: usize = 64;
const ENCODINGS: usize = 4;
const CLIENTS: u16 = 8;
const GROUPS: usize = 2;
const MTU: u16 = 1200;
/// Building a resampler's filters takes longer than all the rest.
const MAX_RESAMPLERS: u8 = 2;
/// Packets that are remembered of an encoding: more than it keeps for requests.
const REMEMBERED: usize = 512;

#[derive(Arbitrary, Debug)]
struct Script<'a> {
    rate: Rate,
    seldom: u8,
    channels: u8,
    origin: u32,
    value: f32,
    specs: [Spec; ENCODINGS],
    repairs: [RepairChoice; CLIENTS as usize],
    /// Two groups, where there are any; the trim of the first client.
    policies: [PolicyChoice; GROUPS],
    trim_ns: i32,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Spec {
    wire: u8,
    outputs: Vec<(u8, Option<u8>)>,
    factor: f32,
    frames: u16,
    codec: CodecChoice,
}

#[derive(Arbitrary, Debug)]
enum CodecChoice {
    Pcm16,
    Pcm24,
    Opus { frame: u8, bitrate: Option<u32>, complexity: u8, application: u8, constant: bool, loss: u8 },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum RepairChoice {
    Off,
    Request,
    Auto,
    Parity { requests: bool, k: u8, m: u8, spread: u8 },
}

impl RepairChoice {
    fn get(self) -> Repair {
        match self {
            Self::Off => Repair::OFF,
            Self::Request => Repair::REQUEST,
            Self::Auto => Repair::default(),
            Self::Parity { requests, k, m, spread } => {
                // Each shape takes as much memory as its product.
                let spec = advance::Spec::new(k % 32 + 1, m % 16 + 1, spread % 8 + 1).unwrap();
                Repair { requests, advance: Advance::Fixed(spec) }
            }
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum PolicyChoice {
    Off,
    Fixed(u32),
    Auto(u32),
}

impl PolicyChoice {
    fn get(self) -> Option<Policy> {
        match self {
            Self::Off => None,
            Self::Fixed(us) => Some(Policy::Fixed(us % (Delay::MAX_US + 1))),
            Self::Auto(us) => Some(Policy::Auto(us % (Delay::MAX_US + 1))),
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Octets {
        from: u8,
        octets: &'a [u8],
    },
    Rtcp {
        from: u8,
        parts: Vec<Part<'a>>,
    },
    Block {
        skipped: u8,
        frames: u16,
    },
    Routing {
        clients: [u8; ENCODINGS],
        departures: u8,
    },
    /// From the next routing on, an encoding's clients hear something else.
    Change {
        encoding: u8,
        outputs: Vec<(u8, Option<u8>)>,
        factor: f32,
    },
    /// From the next routing on, an encoding goes on where another is.
    Branch {
        encoding: u8,
        from: u8,
    },
    Wait {
        micros: u32,
    },
    WallClock {
        unix_nanos: i64,
    },
    CaptureClock {
        slow: f64,
    },
    Flush,
    Unsent {
        address: u8,
    },
}

fuzz_target!(|script: Script| {
    let mut bench = Bench::new(&script);
    for step in script.steps.iter().take(MAX_STEPS) {
        bench.take(step);
    }
    without_heap(|| bench.pipeline.finish());
    bench.transmit();
});

struct Bench {
    pipeline: SendPipeline,
    rate: u32,
    expected: Vec<Expected>,
    counters: Vec<Arc<ClientCounters>>,
    repairs: [RepairChoice; CLIENTS as usize],
    policies: [PolicyChoice; GROUPS],
    trim_ns: i32,
    resamplers: u8,
    /// The frame that is captured again and again: each channel has a value of its own.
    captured: Vec<f32>,
    now: Mono,
}

impl Bench {
    fn new(script: &Script) -> Self {
        let channels = u16::from(script.channels % 8) + 1;
        let captured: Vec<_> = (1..=channels).map(|channel| script.value * f32::from(channel)).collect();
        let cname = "0123456789abcdef@sender".into();
        let opus = script.rate.get() == opus::RATE || script.seldom % 16 == 15;
        let specs = script.specs.iter().enumerate();
        let expected = specs.map(|(index, spec)| Expected::new(index, spec.build(opus), &captured));
        Self {
            pipeline: SendPipeline::new(script.rate.get(), channels, RtpTime(script.origin), cname),
            rate: script.rate.get(),
            expected: expected.collect(),
            counters: (0..CLIENTS).map(|_| Arc::default()).collect(),
            repairs: script.repairs,
            policies: script.policies,
            trim_ns: script.trim_ns % Timing::MAX_TRIM,
            resamplers: 0,
            captured,
            now: Mono(1_000_000_000_000),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Octets { from, octets } => self.datagram(from, octets),
            Step::Rtcp { from, ref parts } => self.datagram(from, &compound(parts)),
            Step::Block { skipped, frames } => self.block(skipped, frames),
            Step::Routing { clients, departures } => self.replace(clients, departures),
            Step::Change { encoding, ref outputs, factor } => {
                let expected = &mut self.expected[usize::from(encoding) % ENCODINGS];
                let spec = expected.spec.clone();
                let map = Some(map(outputs)).filter(|map| map.channels() == spec.map.channels());
                let map = map.unwrap_or_else(|| spec.map.clone());
                expected.pending = Some(EncodingSpec { map, factor, ..spec });
            }
            Step::Branch { encoding, from } => {
                self.expected[usize::from(encoding) % ENCODINGS].from = Some(usize::from(from) % ENCODINGS);
            }
            Step::Wait { micros } => {
                self.now = self.now.plus(i64::from(micros) * 1000);
                without_heap(|| self.pipeline.handle_timeout(self.now));
            }
            Step::WallClock { unix_nanos } => self.pipeline.set_wall_clock(self.now, unix_nanos),
            Step::CaptureClock { slow } => self.pipeline.set_capture_clock(slow),
            Step::Flush => without_heap(|| self.pipeline.flush()),
            Step::Unsent { address: client } => {
                without_heap(|| self.pipeline.note_unsent(address(client.into())))
            }
        }
        self.transmit();
    }

    fn datagram(&mut self, from: u8, octets: &[u8]) {
        // One more than there are: a stranger.
        let client = u16::from(from) % (CLIENTS + 1);
        let from = second(client).filter(|_| from > 127).unwrap_or(address(client));
        without_heap(|| self.pipeline.handle_datagram(self.now, from, octets));
    }

    fn block(&mut self, skipped: u8, frames: u16) {
        if skipped > 0 {
            self.pipeline.flush();
            self.transmit();
        }
        let position = self.pipeline.position().advanced(skipped.into());
        let frames = usize::from(frames % 2048).min(self.pipeline.max_block());
        let block = self.captured.repeat(frames);
        without_heap(|| self.pipeline.handle_block(position, self.now, &block));
    }

    /// Puts a routing in force; bit n of an encoding's octet says whether client n hears it.
    fn replace(&mut self, mut clients: [u8; ENCODINGS], departures: u8) {
        for (expected, heard_by) in self.expected.iter().zip(&mut clients) {
            let resampled = expected.spec.codec().clock_rate(self.rate) != self.rate;
            if resampled && *heard_by != 0 {
                self.resamplers = self.resamplers.saturating_add(1);
                if self.resamplers > MAX_RESAMPLERS {
                    *heard_by = 0;
                }
            }
        }
        let gone = (0..u16::from(departures % 4)).map(|n| Departure {
            address: address(n),
            second: second(n),
            ssrc: 99,
        });
        (0..ENCODINGS).filter(|index| clients[*index] != 0).for_each(|index| self.prepare(index));
        let encodings = clients.iter().enumerate().filter(|(_, heard_by)| **heard_by != 0);
        let encodings = encodings.map(|(index, heard_by)| self.encoding(index, *heard_by)).collect();
        let groups = self.policies.iter().enumerate().filter_map(|(index, policy)| {
            Some(Group::new(GroupId(index as u64), policy.get()?, Arc::default()))
        });
        let routing = Box::new(Routing::new(encodings, gone.collect()).grouped(groups.collect()));
        drop(without_heap(|| self.pipeline.replace(routing)));
        for (expected, heard_by) in self.expected.iter_mut().zip(clients) {
            expected.active = heard_by != 0;
            expected.from = None;
            if heard_by == 0 {
                expected.next = None;
            }
        }
    }

    /// What a routing changes for an encoding.
    fn prepare(&mut self, index: usize) {
        let from = self.expected[index].from.filter(|from| self.expected[*from].active);
        let expected = &mut self.expected[index];
        // Five milliseconds, the packet at hand, and another's last one.
        let fade = self.rate as usize / 200 + 3 * 1024;
        if let Some(spec) = expected.pending.take() {
            expected.frame = frame(&spec, &self.captured);
            (expected.spec, expected.loose) = (spec, fade);
        }
        if expected.active {
            // What goes on as it was branches off from nothing.
            return expected.from = None;
        }
        expected.ssrc = index as u32;
        let Some(from) = from else { return };
        expected.loose = fade;
        if self.expected[from].spec.continues_as(&self.expected[index].spec) {
            let (ssrc, next) = (self.expected[from].ssrc, self.expected[from].next);
            let sent = self.expected[from].sent.clone();
            let expected = &mut self.expected[index];
            (expected.ssrc, expected.next, expected.sent) = (ssrc, next, sent);
        }
    }

    fn encoding(&self, index: usize, heard_by: u8) -> Encoding {
        let clients = (0..CLIENTS).filter(|client| heard_by >> client & 1 == 1).map(|client| {
            let counters = self.counters[usize::from(client)].clone();
            let repair = self.repairs[usize::from(client)].get();
            let group = GroupId(u64::from(client) % (GROUPS as u64 + 1));
            let trim_ns = if client == 0 { self.trim_ns } else { 0 };
            let at = Client::new(index.to_string(), address(client), counters).also_at(second(client));
            at.repaired(repair).grouped(group, trim_ns)
        });
        let (id, spec) = (EncodingId(index as u64), self.expected[index].spec.clone());
        let ssrc = self.expected[index].ssrc;
        let encoding = Encoding::new(id, spec, self.rate, ssrc, FIRST, clients.collect());
        match self.expected[index].from {
            Some(from) => encoding.after(EncodingId(from as u64), &self.expected[from].spec),
            None => encoding,
        }
    }

    fn transmit(&mut self) {
        // An answer, a report and a goodbye for each client of each encoding, what it may ask for at once, all rows of a block;
        // the departures, the media.
        let most = ENCODINGS * usize::from(CLIENTS) * (3 + 64 + 16) + 4 + ENCODINGS;
        let mut count = 0;
        while let Some(transmit) = without_heap(|| self.pipeline.poll_transmit()) {
            count += 1;
            assert!(count <= most, "no end of datagrams");
            match transmit.to {
                Recipients::One(_) | Recipients::Both(..) if rtp::is_rtcp(transmit.bytes) => {
                    check_compound(transmit.bytes)
                }
                Recipients::One(_) | Recipients::Both(..) => check_repair(&self.expected, transmit.bytes),
                Recipients::All(clients) => {
                    let encoding: usize = clients[0].name.parse().unwrap();
                    self.expected[encoding].check(transmit.bytes);
                }
            }
        }
    }
}

impl Spec {
    /// Without `opus` it is PCM, whatever stands here.
    fn build(&self, opus: bool) -> EncodingSpec {
        EncodingSpec {
            codec: match self.codec() {
                Codec::Opus(_) if !opus || self.wire() == Wire::Vban => Codec::Pcm24,
                codec => codec,
            },
            wire: self.wire(),
            map: map(&self.outputs),
            factor: self.factor,
            // A bit that the frames have no use for, and the signal that is built soonest.
            test: (self.frames >= 1 << 15).then_some(Test::Click),
            frames: self.frames % if self.wire() == Wire::Vban { vban::MAX_FRAMES } else { 1024 } + 1,
            mtu: MTU,
        }
    }

    fn wire(&self) -> Wire {
        match self.wire % 4 {
            1 => Wire::Plain,
            3 => Wire::Vban,
            _ => Wire::Rtp,
        }
    }

    fn codec(&self) -> Codec {
        match self.codec {
            CodecChoice::Pcm16 => Codec::Pcm16,
            CodecChoice::Pcm24 => Codec::Pcm24,
            CodecChoice::Opus { frame, bitrate, complexity, application, constant, loss } => {
                Codec::Opus(opus::Spec {
                    frame: FrameTime::ALL[usize::from(frame) % FrameTime::ALL.len()],
                    bitrate,
                    complexity,
                    application: [Application::LowDelay, Application::Audio, Application::Voip]
                        [usize::from(application) % 3],
                    rate_control: if constant { RateControl::Cbr } else { RateControl::ConstrainedVbr },
                    expected_loss: loss,
                })
            }
        }
    }
}

fn map(outputs: &[(u8, Option<u8>)]) -> ChannelMap {
    let sources = |&(first, second): &(u8, Option<u8>)| {
        [Some(first), second].into_iter().flatten().map(u16::from).collect()
    };
    let outputs: Vec<_> = outputs.iter().take(8).map(sources).collect();
    ChannelMap::new(outputs).unwrap_or_else(|_| "0".parse().unwrap())
}

/// What a frame becomes, in PCM.
fn frame(spec: &EncodingSpec, captured: &[f32]) -> Vec<u8> {
    let order = if spec.wire == Wire::Rtp { ByteOrder::Big } else { ByteOrder::Little };
    let wide = spec.codec() == Codec::Pcm24;
    let octets = |sources: &Vec<u16>| {
        let sum: f32 = sources.iter().filter_map(|&source| captured.get(usize::from(source))).sum();
        let (mut two, mut three) = ([0; 2], [0; 3]);
        pcm::write_sample(sum * spec.factor, order, &mut two);
        pcm::write_sample_24(sum * spec.factor, order, &mut three);
        if wide { three.to_vec() } else { two.to_vec() }
    };
    spec.map.outputs().iter().flat_map(octets).collect()
}

/// What an encoding is to send.
struct Expected {
    spec: EncodingSpec,
    /// From the next routing on.
    pending: Option<EncodingSpec>,
    from: Option<usize>,
    active: bool,
    ssrc: u32,
    /// Frames that may be of a crossfade.
    loose: usize,
    /// One frame; every block holds the same one.
    frame: Vec<u8>,
    /// The sequence number of the next packet, once there was one.
    next: Option<Sequence>,
    /// The last packets, whole.
    sent: VecDeque<Vec<u8>>,
}

impl Expected {
    fn new(index: usize, spec: EncodingSpec, captured: &[f32]) -> Self {
        let frame = frame(&spec, captured);
        let (ssrc, sent) = (index as u32, VecDeque::new());
        Self { spec, pending: None, from: None, active: false, ssrc, loose: 0, frame, next: None, sent }
    }

    fn check(&mut self, octets: &[u8]) {
        if self.loose > 0 && rtp::Packet::parse(octets).is_ok_and(|last| last.header.ssrc != self.ssrc) {
            // The last packet of the stream before.
            return;
        }
        let payload = match self.spec.wire {
            Wire::Rtp => self.check_header(octets),
            Wire::Plain => octets,
            Wire::Vban => &octets[vban::HEADER_LENGTH..],
        };
        if self.loose > 0 {
            self.loose = self.loose.saturating_sub(payload.len() / self.frame.len());
            return;
        }
        if let Codec::Opus(_) = self.spec.codec() {
            assert!(octets.len() <= usize::from(MTU));
            return assert_eq!(opus::frames(payload), Some(self.spec.packet_frames().into()));
        }
        assert!(!payload.is_empty() && payload.len() <= usize::from(self.spec.frames) * self.frame.len());
        if self.spec.test.is_some() {
            return;
        }
        let frames = payload.chunks(self.frame.len());
        frames.for_each(|frame| assert_eq!(frame, self.frame, "{:?}", self.spec));
    }

    fn check_header<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let packet = rtp::Packet::parse(octets).unwrap();
        let sequence = packet.header.sequence;
        assert_eq!(packet.header.marker, self.next.is_none());
        assert!(self.next.is_none_or(|next| next == sequence), "{:?} {sequence:?}", self.next);
        self.next = Some(sequence.next());
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(octets.to_vec());
        packet.payload
    }
}

/// A packet that comes again is one that was sent; parity can be read.
fn check_repair(encodings: &[Expected], octets: &[u8]) {
    let packet = rtp::Packet::parse(octets).unwrap();
    if packet.header.payload_type == payload_type::PARITY {
        let (_, row) = parity::Header::parse(packet.payload).unwrap();
        return assert!(row.len() >= parity::Prefix::LENGTH);
    }
    assert_eq!(packet.header.payload_type, payload_type::RETRANSMISSION);
    let (number, payload) = retransmission::parse(packet.payload).unwrap();
    let ssrc = packet.header.ssrc ^ 1 << 31;
    let known = encodings.iter().flat_map(|encoding| &encoding.sent).any(|sent| {
        let original = rtp::Packet::parse(sent).unwrap();
        original.header.ssrc == ssrc && original.header.sequence == number && original.payload == payload
    });
    assert!(known, "{number:?} of {ssrc} was never sent");
}

fn address(client: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 6000 + client).into()
}

/// Where a client is by another path; every other one has none.
fn second(client: u16) -> Option<SocketAddr> {
    (client % 2 == 1).then(|| (Ipv4Addr::LOCALHOST, 7000 + client).into())
}
