//! The send pipeline: reports from clients and strangers between blocks, polls and changes of the routing.

#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arbitrary::Arbitrary;
use audio::counters::ClientCounters;
use audio::map::ChannelMap;
use audio::opus::{self, FrameTime};
use audio::send::{
    Client, Codec, Departure, Encoding, EncodingId, EncodingSpec, Recipients, Routing, SendPipeline, Wire,
};
use fuzz::{Part, Rate, check_compound, compound, without_heap};
use libfuzzer_sys::fuzz_target;
use proto::pcm::{self, ByteOrder};
use proto::rtp;
use proto::units::{Mono, RtpTime, Sequence};

const MAX_STEPS: usize = 64;
const ENCODINGS: usize = 4;
const CLIENTS: u16 = 8;
const MTU: u16 = 1200;

#[derive(Arbitrary, Debug)]
struct Script<'a> {
    rate: Rate,
    channels: u8,
    origin: u32,
    value: f32,
    specs: [Spec; ENCODINGS],
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Spec {
    plain: bool,
    outputs: Vec<(u8, Option<u8>)>,
    factor: f32,
    /// Ten bits of frames, six of codec.
    frames: u16,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Octets { from: u8, octets: &'a [u8] },
    Rtcp { from: u8, parts: Vec<Part<'a>> },
    Block { skipped: u8, frames: u16 },
    Routing { clients: [u8; ENCODINGS], departures: u8 },
    Wait { micros: u32 },
    WallClock { unix_nanos: i64 },
    Flush,
    Unsent { address: u8 },
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
    /// The frame that is captured again and again: each channel has a value of its own.
    captured: Vec<f32>,
    now: Mono,
}

impl Bench {
    fn new(script: &Script) -> Self {
        let channels = u16::from(script.channels % 8) + 1;
        let captured: Vec<_> = (1..=channels).map(|channel| script.value * f32::from(channel)).collect();
        let cname = "0123456789abcdef@sender".into();
        Self {
            pipeline: SendPipeline::new(script.rate.get(), channels, RtpTime(script.origin), cname),
            rate: script.rate.get(),
            expected: script.specs.iter().map(|spec| Expected::new(spec.build(), &captured)).collect(),
            counters: (0..CLIENTS).map(|_| Arc::default()).collect(),
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
            Step::Wait { micros } => {
                self.now = self.now.plus(i64::from(micros) * 1000);
                without_heap(|| self.pipeline.handle_timeout(self.now));
            }
            Step::WallClock { unix_nanos } => self.pipeline.set_wall_clock(self.now, unix_nanos),
            Step::Flush => without_heap(|| self.pipeline.flush()),
            Step::Unsent { address: client } => {
                without_heap(|| self.pipeline.note_unsent(address(client.into())))
            }
        }
        self.transmit();
    }

    fn datagram(&mut self, from: u8, octets: &[u8]) {
        // One more than there are: a stranger.
        let from = address(u16::from(from) % (CLIENTS + 1));
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
    fn replace(&mut self, clients: [u8; ENCODINGS], departures: u8) {
        let gone = (0..u16::from(departures % 4)).map(|n| Departure { address: address(n), ssrc: 99 });
        let encodings = clients.iter().enumerate().filter(|(_, heard_by)| **heard_by != 0);
        let encodings = encodings.map(|(index, heard_by)| self.encoding(index, *heard_by)).collect();
        let routing = Box::new(Routing::new(encodings, gone.collect()));
        drop(without_heap(|| self.pipeline.replace(routing)));
        for (expected, heard_by) in self.expected.iter_mut().zip(clients) {
            if heard_by == 0 {
                expected.next = None;
            }
        }
    }

    fn encoding(&self, index: usize, heard_by: u8) -> Encoding {
        let clients = (0..CLIENTS).filter(|client| heard_by >> client & 1 == 1).map(|client| {
            let counters = self.counters[usize::from(client)].clone();
            Client::new(index.to_string(), address(client), counters)
        });
        let (id, spec) = (EncodingId(index as u64), self.expected[index].spec.clone());
        Encoding::new(id, spec, self.rate, index as u32, Sequence(0xfff0), clients.collect())
    }

    fn transmit(&mut self) {
        // A report and a goodbye for each client of each encoding, the departures, the media.
        let most = 2 * ENCODINGS * usize::from(CLIENTS) + 4 + ENCODINGS;
        let mut count = 0;
        while let Some(transmit) = without_heap(|| self.pipeline.poll_transmit()) {
            count += 1;
            assert!(count <= most, "no end of datagrams");
            match transmit.to {
                Recipients::One(_) => check_compound(transmit.bytes),
                Recipients::All(clients) => {
                    let encoding: usize = clients[0].name.parse().unwrap();
                    self.expected[encoding].check(transmit.bytes);
                }
            }
        }
    }
}

impl Spec {
    fn build(&self) -> EncodingSpec {
        let sources = |&(first, second): &(u8, Option<u8>)| {
            [Some(first), second].into_iter().flatten().map(u16::from).collect()
        };
        let outputs: Vec<_> = self.outputs.iter().take(8).map(sources).collect();
        EncodingSpec {
            codec: self.codec(),
            wire: if self.plain { Wire::Plain } else { Wire::Rtp },
            map: ChannelMap::new(outputs).unwrap_or_else(|_| "0".parse().unwrap()),
            factor: self.factor,
            frames: self.frames % 1024 + 1,
            mtu: MTU,
        }
    }

    fn codec(&self) -> Codec {
        let bits = usize::from(self.frames >> 10);
        match bits % 4 {
            0 | 1 => Codec::Pcm16,
            2 => Codec::Pcm24,
            _ => Codec::Opus(opus::Spec { frame: FrameTime::ALL[bits >> 4], ..opus::Spec::default() }),
        }
    }
}

/// What an encoding is to send.
struct Expected {
    spec: EncodingSpec,
    /// One frame; every block holds the same one.
    frame: Vec<u8>,
    /// The sequence number of the next packet, once there was one.
    next: Option<Sequence>,
}

impl Expected {
    fn new(spec: EncodingSpec, captured: &[f32]) -> Self {
        let order = if spec.wire == Wire::Rtp { ByteOrder::Big } else { ByteOrder::Little };
        let wide = spec.codec() == Codec::Pcm24;
        let octets = |sources: &Vec<u16>| {
            let sum: f32 = sources.iter().filter_map(|&source| captured.get(usize::from(source))).sum();
            let (mut two, mut three) = ([0; 2], [0; 3]);
            pcm::write_sample(sum * spec.factor, order, &mut two);
            pcm::write_sample_24(sum * spec.factor, &mut three);
            if wide { three.to_vec() } else { two.to_vec() }
        };
        let frame = spec.map.outputs().iter().flat_map(octets).collect();
        Self { spec, frame, next: None }
    }

    fn check(&mut self, octets: &[u8]) {
        let payload = if self.spec.wire == Wire::Rtp { self.check_header(octets) } else { octets };
        if let Codec::Opus(_) = self.spec.codec() {
            assert!(octets.len() <= usize::from(MTU));
            return assert_eq!(opus::frames(payload), Some(self.spec.packet_frames().into()));
        }
        assert!(!payload.is_empty() && payload.len() <= usize::from(self.spec.frames) * self.frame.len());
        let frames = payload.chunks(self.frame.len());
        frames.for_each(|frame| assert_eq!(frame, self.frame, "{:?}", self.spec));
    }

    fn check_header<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let packet = rtp::Packet::parse(octets).unwrap();
        let sequence = packet.header.sequence;
        assert_eq!(packet.header.marker, self.next.is_none());
        assert!(self.next.is_none_or(|next| next == sequence), "{:?} {sequence:?}", self.next);
        self.next = Some(sequence.next());
        packet.payload
    }
}

fn address(client: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 6000 + client).into()
}
