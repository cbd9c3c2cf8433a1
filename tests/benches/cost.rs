//! What a packet costs: from captured samples to the socket, and from the socket to samples that are played.
//!
//! `cargo bench` reports times. With `COST=SCENARIO:ROUNDS` the program runs so many rounds of one scenario and ends, for
//! `tests/bench` to count instructions. With `COST=encryption` it says what encryption adds to sending.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::counters::{ClientCounters, ReceiveCounters};
use audio::map::ChannelMap;
use audio::opus;
use audio::receive::{CHUNK, Config, Output, ReceivePipeline};
use audio::secure::Secret;
use audio::send::{Client, Codec, Encoding, EncodingId, EncodingSpec, Routing, SendPipeline, Wire};
use criterion::{Criterion, Throughput};
use os::udp::{Inbox, Outbox, Socket};
use proto::rtp;
use proto::srtp::{FileKey, Id};
use proto::units::{Mono, Position, RtpTime, Sequence, frames_to_nanos};
use tests::figures::sorted;

const RATE: u32 = 44_100;
const FRAMES: u16 = 128;
/// What becomes a packet of 5 ms of Opus, all but once in 441 rounds.
const OPUS_FRAMES: u16 = 220;
const CHANNELS: u16 = 16;
/// Clients of a sending round, packets of a receiving one.
const PER_ROUND: u64 = 16;

trait Round {
    /// Does what is not to be measured.
    fn prepare(&mut self) {}
    /// Handles [`PER_ROUND`] packets.
    fn run(&mut self);
}

fn bound() -> Socket {
    Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// A block of sixteen channels becomes a packet for each of sixteen clients.
struct Send {
    pipeline: SendPipeline,
    outbox: Outbox,
    socket: Socket,
    _listeners: Vec<Socket>,
    frames: u16,
    block: Vec<f32>,
    position: Position,
}

impl Send {
    fn new(shared: bool, codec: Codec, encrypted: bool) -> Self {
        let frames = if codec == Codec::Pcm16 { FRAMES } else { OPUS_FRAMES };
        let listeners: Vec<_> = (0..PER_ROUND).map(|_| bound()).collect();
        let client =
            |address: SocketAddr| Client::new("bench".into(), address, Arc::<ClientCounters>::default());
        let addresses = listeners.iter().map(|socket| socket.local_addr().unwrap());
        let spec = |channel: u64| EncodingSpec {
            wire: Wire::Rtp,
            codec,
            map: ChannelMap::new(vec![vec![channel as u16]]).unwrap(),
            factor: 1.0,
            test: None,
            frames: FRAMES,
            mtu: 1200,
        };
        let encoding =
            |n: u64, clients| Encoding::new(EncodingId(n), spec(n), RATE, n as u32, Sequence(0), clients);
        let encodings = if shared {
            vec![encoding(0, addresses.map(client).collect())]
        } else {
            addresses.enumerate().map(|(n, address)| encoding(n as u64, vec![client(address)])).collect()
        };
        let mut pipeline = SendPipeline::new(RATE, CHANNELS, RtpTime(0), "bench".into());
        if encrypted {
            pipeline = pipeline.secured(Secret { key: FileKey([1; 32]), id: Id([2; 16]) });
        }
        pipeline.replace(Box::new(Routing::new(encodings, Vec::new())));
        Self {
            pipeline,
            outbox: Outbox::default(),
            socket: bound(),
            _listeners: listeners,
            frames,
            block: (0..frames * CHANNELS).map(|n| f32::from(n) / 32_768.0).collect(),
            position: Position(0),
        }
    }
}

impl Round for Send {
    fn run(&mut self) {
        self.pipeline.handle_block(self.position, Mono(0), &self.block);
        self.position = self.position.advanced(self.frames.into());
        while let Some(transmit) = self.pipeline.poll_transmit() {
            self.outbox.push(&self.socket, transmit.bytes, transmit.to.addresses(), |_| {});
        }
        self.outbox.flush(&self.socket, |_| {});
    }
}

/// Packets of two channels wait in the socket, and come out as samples.
struct Receive {
    pipeline: ReceivePipeline,
    inbox: Inbox,
    from: Socket,
    socket: Socket,
    header: rtp::Header,
    packet: Vec<u8>,
    device: bool,
    heard: i64,
    out: Vec<f32>,
}

impl Receive {
    fn new(device: bool) -> Self {
        let config = Config::new(10_000_000, "bench".into(), 1);
        let mut pipeline = ReceivePipeline::new(config, Arc::new(ReceiveCounters::default()));
        let output = if device { Output::device(2, RATE, true) } else { Output::stream_clocked(2, RATE) };
        pipeline.replace_output(Box::new(output));
        let header = rtp::Header {
            marker: false,
            payload_type: proto::payload_type::L16_STEREO,
            sequence: Sequence(0),
            timestamp: RtpTime(0),
            ssrc: 7,
        };
        Self {
            pipeline,
            inbox: Inbox::default(),
            from: bound(),
            socket: bound(),
            header,
            packet: vec![1; rtp::HEADER_LENGTH + usize::from(FRAMES) * 4],
            device,
            heard: 0,
            out: vec![0.0; usize::from(FRAMES) * 2],
        }
    }
}

impl Round for Receive {
    fn prepare(&mut self) {
        for _ in 0..PER_ROUND {
            self.packet[..rtp::HEADER_LENGTH].copy_from_slice(&self.header.to_bytes());
            assert!(self.from.send(&self.packet, self.socket.local_addr().unwrap()));
            self.header.sequence = self.header.sequence.next();
            self.header.timestamp = RtpTime(self.header.timestamp.0.wrapping_add(FRAMES.into()));
        }
    }

    fn run(&mut self) {
        let (pipeline, heard) = (&mut self.pipeline, &mut self.heard);
        let (device, out) = (self.device, &mut self.out);
        self.inbox.receive(&self.socket, |_, from, datagram| {
            // Arrivals as even as a perfect network's, whatever this machine does.
            let at = Mono(frames_to_nanos(*heard, RATE));
            pipeline.handle_datagram(at, from, datagram);
            *heard += i64::from(FRAMES);
            if device {
                for half in 0..2 {
                    let now = at.plus(frames_to_nanos(half * CHUNK as i64, RATE));
                    pipeline.pull_device(now, now.plus(3_000_000).into(), &mut out[..CHUNK * 2]);
                }
            } else {
                pipeline.pull_stream(out);
            }
        });
    }
}

fn scenario(name: &str) -> Box<dyn Round> {
    match name {
        "send" => Box::new(Send::new(false, Codec::Pcm16, false)),
        "send-shared" => Box::new(Send::new(true, Codec::Pcm16, false)),
        "send-opus" => Box::new(Send::new(false, Codec::Opus(opus::Spec::default()), false)),
        "send-encrypted" => Box::new(Send::new(false, Codec::Pcm16, true)),
        "send-shared-encrypted" => Box::new(Send::new(true, Codec::Pcm16, true)),
        "receive-file" => Box::new(Receive::new(false)),
        "receive-device" => Box::new(Receive::new(true)),
        other => panic!("no scenario `{other}`"),
    }
}

const SCENARIOS: [&str; 7] = [
    "send",
    "send-shared",
    "send-opus",
    "send-encrypted",
    "send-shared-encrypted",
    "receive-file",
    "receive-device",
];

/// Prints what encryption adds to sending, sockets and all: both ways in turn, so that whatever else the machine does
/// slows both.
fn compare_encryption() {
    const TURNS: usize = 200;
    const ROUNDS: u64 = 200;
    for name in ["send", "send-shared"] {
        let (mut plain, mut encrypted) = (scenario(name), scenario(&format!("{name}-encrypted")));
        let (mut ratios, mut least) = (Vec::new(), [Duration::MAX; 2]);
        for _ in 0..TURNS {
            let times = [measure(&mut *plain, ROUNDS), measure(&mut *encrypted, ROUNDS)];
            ratios.push(times[1].as_secs_f64() / times[0].as_secs_f64());
            least = [least[0].min(times[0]), least[1].min(times[1])];
        }
        let ratios = sorted(ratios);
        let nanos = least.map(|time| time.as_nanos() as u64 / (ROUNDS * PER_ROUND));
        println!(
            "{name}: encryption takes {:+.1} % (median), {} instead of {} ns a packet (least)",
            (ratios[TURNS / 2] - 1.0) * 100.0,
            nanos[1],
            nanos[0],
        );
    }
}

fn measure(round: &mut dyn Round, rounds: u64) -> Duration {
    let mut time = Duration::ZERO;
    for _ in 0..rounds {
        round.prepare();
        let start = Instant::now();
        round.run();
        time += start.elapsed();
    }
    time
}

fn main() {
    if let Ok(run) = std::env::var("COST") {
        if run == "encryption" {
            return compare_encryption();
        }
        let (name, rounds) = run.split_once(':').expect("COST is SCENARIO:ROUNDS");
        measure(&mut *scenario(name), rounds.parse().expect("ROUNDS is a number"));
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("packet");
    group.throughput(Throughput::Elements(PER_ROUND));
    for name in SCENARIOS {
        let mut round = scenario(name);
        group.bench_function(name, |bencher| bencher.iter_custom(|rounds| measure(&mut *round, rounds)));
    }
    group.finish();
    criterion.final_summary();
}
