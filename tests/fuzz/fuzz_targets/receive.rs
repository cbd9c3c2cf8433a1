//! The receive pipeline, driven by a script: whatever comes in whatever order, sound goes out and no memory is taken.

#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arbitrary::Arbitrary;
use audio::counters::ReceiveCounters;
use audio::depth::Preset;
use audio::receive::{Adapt, CHUNK, Config, Output, ReceivePipeline};
use audio::send::Wire;
use fuzz::{Few, Part, Rate, check_compound, compound, without_heap};
use libfuzzer_sys::fuzz_target;
use proto::rtp;
use proto::units::{self, Mono, RtpTime, Sequence};

#[derive(Arbitrary, Debug)]
struct Script<'a> {
    rtp: Option<bool>,
    latency_ms: u8,
    adaptive: Option<u8>,
    plain_rate: Rate,
    plain_channels: u8,
    output: OutputChoice,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct OutputChoice {
    device: bool,
    steered: u8,
    channels: u8,
    rate: Rate,
}

impl OutputChoice {
    /// Seldom: resampling takes most of the time.
    fn steered(self) -> bool {
        self.device && self.steered % 8 == 7
    }
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Octets {
        from: Few,
        octets: &'a [u8],
    },
    Rtp(Run),
    Rtcp {
        from: Few,
        parts: Vec<Part<'a>>,
    },
    Plain {
        from: Few,
        length: u16,
        count: u8,
        play: bool,
    },
    Wait {
        ms: u8,
    },
    Pause {
        seconds: u8,
    },
    Play {
        chunks: u8,
        lost_us: u16,
    },
    /// Asks for a count that is no whole number of frames, or as another kind of output would.
    PullStream {
        samples: u16,
    },
    PullDevice,
    Output(OutputChoice),
    Latency {
        ms: u16,
    },
    Realign,
    Events,
    Tick,
}

/// RTP packets, one after the other.
#[derive(Arbitrary, Debug)]
struct Run {
    from: Few,
    ssrc: Few,
    payload_type: PayloadType,
    jump: Jump,
    frames: u16,
    channels: u8,
    late_us: i16,
    count: u8,
    /// Play as much after each packet as it brought.
    play: bool,
}

/// What lies between the last packet's end and this one's start: packets and ticks.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Jump {
    None,
    Near(i8, i16),
    Far(i16, i32),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum PayloadType {
    Stereo,
    Mono,
    Announced,
    Other(u8),
}

impl PayloadType {
    fn number(self) -> u8 {
        match self {
            Self::Stereo => 10,
            Self::Mono => 11,
            Self::Announced => 96,
            Self::Other(number) => number & 0x7f,
        }
    }
}

const MAX_STEPS: usize = 64;
const MAX_OUTPUTS: u8 = 4;
/// Chunks pulled, where one that is resampled counts as many.
const MAX_CHUNKS: usize = 1024;
const RESAMPLED: usize = 16;
const MAX_EVENTS: usize = 8;
/// No filter of ours gains more than this.
const LOUDEST: f32 = 8.0;

fuzz_target!(|script: Script| {
    let mut bench = Bench::new(&script);
    for step in script.steps.iter().take(MAX_STEPS) {
        bench.take(step);
    }
});

struct Bench {
    pipeline: ReceivePipeline,
    counters: Arc<ReceiveCounters>,
    now: Mono,
    /// When what is asked for next leaves the DAC.
    dac: Mono,
    output: OutputChoice,
    outputs: u8,
    chunks: usize,
    /// The next number and time stamp of each sender.
    next: [(u16, u32); 4],
    octets: Vec<u8>,
    samples: Vec<f32>,
}

impl Bench {
    fn new(script: &Script) -> Self {
        let counters = Arc::new(ReceiveCounters::default());
        let config = Config {
            wire: script.rtp.map(|rtp| if rtp { Wire::Rtp } else { Wire::Plain }),
            latency: i64::from(script.latency_ms) * 1_000_000,
            adapt: script.adaptive.map(|most| Adapt {
                preset: [Preset::Live, Preset::Normal, Preset::Safe][usize::from(most) % 3],
                least: i64::from(script.latency_ms) * 1_000_000,
                most: i64::from(script.latency_ms.max(most)) * 1_000_000,
            }),
            format: None,
            plain_rate: script.plain_rate.get(),
            plain_channels: channels(script.plain_channels),
            cname: "0123456789abcdef@receiver".into(),
            ssrc: 7,
        };
        let mut bench = Self {
            pipeline: ReceivePipeline::new(config, counters.clone()),
            counters,
            now: Mono(1_000_000_000_000),
            dac: Mono(0),
            output: script.output,
            outputs: 0,
            chunks: 0,
            // Near the wraps.
            next: [(0xfff0, 0xffff_f000); 4],
            octets: (0..1u32 << 16).map(|n| (n * 151 >> 3) as u8).collect(),
            samples: vec![0.0; 1 << 16],
        };
        bench.replace(script.output);
        bench
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Octets { from, octets } => self.datagram(from, octets),
            Step::Rtp(ref run) => self.run(run),
            Step::Rtcp { from, ref parts } => self.datagram(from, &compound(parts)),
            Step::Plain { from, length, count, play } => self.plain(from, length.into(), count, play),
            Step::Wait { ms } => self.now = self.now.plus(i64::from(ms) * 1_000_000),
            Step::Pause { seconds } => self.now = self.now.plus(i64::from(seconds) * 1_000_000_000),
            Step::Play { chunks, lost_us } => {
                self.dac = self.dac.plus(i64::from(lost_us) * 1000);
                self.play(usize::from(chunks) * CHUNK);
            }
            Step::PullStream { samples } => self.pull_stream(samples.into()),
            Step::PullDevice => self.pull_device(),
            Step::Output(output) => self.replace(output),
            Step::Latency { ms } => without_heap(|| self.pipeline.set_latency(i64::from(ms) * 1_000_000)),
            Step::Realign => self.pipeline.realign(),
            Step::Events => self.events(),
            Step::Tick => self.tick(),
        }
    }

    fn datagram(&mut self, from: Few, octets: &[u8]) {
        let before = self.refused();
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000 + from.get() as u16 % 3));
        without_heap(|| self.pipeline.handle_datagram(self.now, from, octets));
        let after = self.refused();
        // The packet that a stream begins with is new and in time.
        assert!(before.0 == after.0 || before.1 == after.1, "{before:?} {after:?}");
    }

    /// Streams, and packets that were late or there already.
    fn refused(&self) -> (u64, u64) {
        (self.counters.streams.get(), self.counters.late.get() + self.counters.duplicates.get())
    }

    fn run(&mut self, run: &Run) {
        let sender = run.from.get() as usize;
        let (skipped, ticks) = match run.jump {
            Jump::None => (0, 0),
            Jump::Near(packets, ticks) => (packets.into(), ticks.into()),
            Jump::Far(packets, ticks) => (packets, ticks),
        };
        let next = &mut self.next[sender];
        *next = (next.0.wrapping_add_signed(skipped), next.1.wrapping_add_signed(ticks));
        let frames = usize::from(run.frames % 2048);
        let length = rtp::HEADER_LENGTH + frames * usize::from(channels(run.channels)) * 2;
        let apart = units::frames_to_nanos(frames as i64, 44_100) + i64::from(run.late_us) * 1000;
        let mut octets = std::mem::take(&mut self.octets);
        for _ in 0..=run.count % 64 {
            let (sequence, timestamp) = self.next[sender];
            let header = rtp::Header {
                marker: false,
                payload_type: run.payload_type.number(),
                sequence: Sequence(sequence),
                timestamp: RtpTime(timestamp),
                ssrc: run.ssrc.get(),
            };
            octets[..rtp::HEADER_LENGTH].copy_from_slice(&header.to_bytes());
            self.datagram(run.from, &octets[..length]);
            self.next[sender] = (sequence.wrapping_add(1), timestamp.wrapping_add(frames as u32));
            self.now = self.now.plus(apart.max(0));
            if run.play {
                self.play(frames);
            }
        }
        self.octets = octets;
    }

    fn plain(&mut self, from: Few, length: usize, count: u8, play: bool) {
        let octets = std::mem::take(&mut self.octets);
        for _ in 0..=count % 16 {
            self.datagram(from, &octets[..length]);
            if play {
                self.play(length / 2);
            }
        }
        self.octets = octets;
    }

    /// Pulls as the output's kind does.
    fn play(&mut self, frames: usize) {
        if self.output.device {
            (0..frames.div_ceil(CHUNK)).for_each(|_| self.pull_device());
        } else {
            self.pull_stream((frames * usize::from(channels(self.output.channels))).min(self.samples.len()));
        }
    }

    fn pull_stream(&mut self, samples: usize) {
        let out = &mut self.samples[..samples];
        out.fill(f32::NAN);
        let frames = without_heap(|| self.pipeline.pull_stream(out));
        let written = frames * usize::from(channels(self.output.channels));
        assert!(written <= out.len());
        check_sound(&out[..written]);
        assert!(out[written..].iter().all(|sample| sample.is_nan()), "more was written than was told");
    }

    fn pull_device(&mut self) {
        if self.chunks >= MAX_CHUNKS {
            return;
        }
        self.chunks += if self.output.steered() { RESAMPLED } else { 1 };
        self.dac = self.dac.max(self.now);
        let out = &mut self.samples[..CHUNK * usize::from(channels(self.output.channels))];
        out.fill(f32::NAN);
        without_heap(|| self.pipeline.pull_device(self.now, self.dac.into(), out));
        check_sound(out);
        self.dac = self.dac.plus(units::frames_to_nanos(CHUNK as i64, self.output.rate.get()));
    }

    fn replace(&mut self, choice: OutputChoice) {
        if self.outputs == MAX_OUTPUTS {
            return;
        }
        self.outputs += 1;
        self.output = choice;
        let (channels, rate) = (channels(choice.channels), choice.rate.get());
        let output = Box::new(if choice.device {
            Output::device(channels, rate, choice.steered())
        } else {
            Output::stream_clocked(channels, rate)
        });
        drop(without_heap(|| self.pipeline.replace_output(output)));
    }

    fn events(&mut self) {
        let told = without_heap(|| std::iter::from_fn(|| self.pipeline.poll_event()).count());
        assert!(told <= MAX_EVENTS, "{told} events");
    }

    fn tick(&mut self) {
        without_heap(|| self.pipeline.handle_timeout(self.now));
        let pipeline = &mut self.pipeline;
        if let Some(transmit) = without_heap(|| pipeline.poll_transmit(self.now)) {
            check_compound(transmit.bytes);
        }
        assert!(pipeline.poll_transmit(self.now).is_none(), "two reports at one time");
    }
}

fn channels(octet: u8) -> u16 {
    u16::from(octet % 8) + 1
}

fn check_sound(samples: &[f32]) {
    assert!(samples.iter().all(|sample| sample.abs() <= LOUDEST), "{samples:?}");
}
