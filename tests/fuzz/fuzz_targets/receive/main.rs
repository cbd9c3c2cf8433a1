//! The receive pipeline, driven by a script: whatever comes in whatever order, sound goes out and no memory is taken.

#![no_main]

mod script;

use std::net::SocketAddr;
use std::sync::Arc;

use audio::counters::ReceiveCounters;
use audio::depth::Preset;
use audio::opus;
use audio::receive::{Adapt, CHUNK, Config, Due, Event, Incoming, Output, ReceivePipeline};
use audio::send::Wire;
use fuzz::mend::Mend;
use fuzz::{FIRST, Few, PARITY, Part, RETRANSMISSION, Rate, check_compound, compound, without_heap};
use libfuzzer_sys::fuzz_target;
use proto::announce::{Codec, Companion};
use proto::exchange::{self, Request};
use proto::rtcp::{Packet, packets};
use proto::units::{self, Mono, RtpTime, Sequence};
use proto::{parity, rtp};

use script::{Jump, OutputChoice, Playing, Run, Script, Step, channels};

/// Octets of no meaning.
static PATTERN: [u8; 1 << 16] = {
    let mut octets = [0; 1 << 16];
    let mut n = 0;
    while n < octets.len() {
        octets[n] = ((n * 151) >> 3) as u8;
        n += 1;
    }
    octets
};

const MAX_STEPS: usize = 32;
const MAX_OUTPUTS: u8 = 4;
/// What takes longest: outputs that resample.
const MAX_RESAMPLERS: u8 = 1;
/// Datagrams that steps of many send.
const MAX_DATAGRAMS: usize = 256;
/// Chunks pulled, where one that is resampled counts as many.
const MAX_CHUNKS: usize = 96;
const RESAMPLED: usize = 16;
const MAX_EVENTS: usize = 8;
/// For all that can be missing, some of it found out just then.
const MAX_REQUESTS: usize = 512 / 64 + 1;
const MAX_SAMPLES: usize = 1 << 12;
/// No filter of ours gains more than this; decoders of Opus may, given nonsense.
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
    output: Plan,
    outputs: u8,
    resamplers: u8,
    told: Option<Incoming>,
    datagrams: usize,
    chunks: usize,
    /// The next number and time stamp of each sender.
    next: [(u16, u32); 4],
    /// Repairs what the senders sent as if it were one of them: the last that sent.
    mend: Mend,
    from: Few,
    /// When the questions about the clock were asked that are not answered.
    asked: Vec<i64>,
    octets: Vec<u8>,
    samples: Vec<f32>,
    /// Of eight datagrams, those that the first path loses, those that a second one brings, and the last of them.
    lost: u8,
    copied: u8,
    brought: u8,
}

/// The output in force.
#[derive(Clone, Copy, Default)]
struct Plan {
    device: bool,
    resampled: bool,
    opus: bool,
    channels: u16,
    rate: u32,
}

impl Bench {
    fn new(script: &Script) -> Self {
        let counters = Arc::new(ReceiveCounters::default());
        // With no more than that, the buffer is as small as it gets.
        let milliseconds = |ms: u8| i64::from(ms % 128) * 1_000_000;
        let config = Config {
            wire: script.wire.map(|wire| [Wire::Rtp, Wire::Plain, Wire::Vban][usize::from(wire) % 3]),
            latency: milliseconds(script.latency_ms),
            trim: script.trim_ms.map(|ms| i64::from(ms) * 1_000_000),
            adapt: script.adaptive.map(|most| Adapt {
                preset: [Preset::Live, Preset::Normal, Preset::Safe][usize::from(most) % 3],
                least: milliseconds(script.latency_ms),
                most: milliseconds(script.latency_ms).max(milliseconds(most)),
            }),
            format: None,
            plain_rate: script.plain_rate.get(),
            plain_channels: channels(script.plain_channels),
            secret: None,
            from: Vec::new(),
            cname: "0123456789abcdef@receiver".into(),
            ssrc: 7,
        };
        let (k, m, spread) = script.parity;
        let mut bench = Self {
            pipeline: ReceivePipeline::new(config, counters.clone()),
            counters,
            now: Mono(1_000_000_000_000),
            dac: Mono(0),
            output: Plan::default(),
            outputs: 0,
            resamplers: 0,
            told: None,
            datagrams: 0,
            chunks: 0,
            // Near the wraps.
            next: [(FIRST.0, 0xffff_f000); 4],
            mend: Mend::new(k, m, spread),
            from: Few::default(),
            asked: Vec::new(),
            octets: PATTERN.to_vec(),
            samples: vec![0.0; MAX_SAMPLES],
            lost: script.paths.0,
            copied: script.paths.1,
            brought: 1,
        };
        bench.replace(script.output);
        bench
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Octets { from, octets } => self.datagram(from, octets),
            Step::Rtp(ref run) => self.run(run),
            Step::Announce { from, sends, ssrc, kind, channels, rate, companions } => {
                let announcement = Part::Announcement {
                    payload_type: kind.payload_type(),
                    kind,
                    channels: script::channels(channels) as u8,
                    rate,
                    frames: 128,
                    name: "a",
                    map: "0",
                    companions,
                };
                let empty = Part::Receiver { ssrc, about: 0, lost: 0, last_sr: 0, delay: 0 };
                let report = if sends { Part::Sender { ssrc, ntp: 1 << 40 } } else { empty };
                self.datagram(from, &compound(&[report, announcement]));
            }
            Step::Rtcp { from, ref parts } => self.datagram(from, &compound(parts)),
            Step::Time {
                ssrc,
                rounds,
                ahead_ms,
                way_us,
                spent_us,
                captured,
                begin,
                slow_ppb,
                delays: (from, to),
                trim_us,
            } => {
                let ahead = i64::from(ahead_ms) * 1_000_000;
                let timing = Part::Timing {
                    ssrc,
                    time: self.next[self.from.get() as usize].1,
                    captured: self.now.0 + ahead + i64::from(captured) * 20_000,
                    begin,
                    slow_ppb: slow_ppb % 11_000_000,
                    from_us: u32::from(from) * 16,
                    to_us: u32::from(to) * 16,
                    trim_ns: i32::from(trim_us) * 1000,
                };
                let report = || Part::Sender { ssrc, ntp: 1 << 40 };
                self.datagram(self.from, &compound(&[report(), timing]));
                let (received, spent) = (i32::from(way_us) * 1000, u32::from(spent_us) * 1000);
                for _ in 0..rounds % 8 {
                    self.now = self.now.plus(40_000_000);
                    self.tick(false);
                    self.now = self.now.plus(1_000_000);
                    while let Some(asked) = self.asked.pop() {
                        let answer = Part::Answer { asked, ahead, received, spent };
                        self.datagram(self.from, &compound(&[report(), answer]));
                    }
                }
            }
            Step::Again { from, number, ticks, length } => {
                let octets = number.get().0.to_be_bytes();
                self.companion(from, RETRANSMISSION, ticks, &octets, length.into());
            }
            Step::Parity { from, first, shape: [k, m, spread, index], length } => {
                let header = parity::Header { first: first.get(), k, m, spread, index };
                self.companion(from, PARITY, 0, &header.to_bytes(), length.into());
            }
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
            Step::Tick { answered } => self.tick(answered),
        }
    }

    /// A packet beside the media: what its payload begins with, and octets of any kind.
    fn companion(&mut self, from: Few, companion: Companion, ticks: i16, head: &[u8], length: usize) {
        let header = rtp::Header {
            marker: false,
            payload_type: companion.payload_type,
            sequence: Sequence(0),
            timestamp: RtpTime(self.next[from.get() as usize].1.wrapping_add_signed(ticks.into())),
            ssrc: companion.ssrc,
        };
        let packet = [&header.to_bytes(), head, &PATTERN[..length % 2048]].concat();
        self.datagram(from, &packet);
    }

    fn datagram(&mut self, from: Few, octets: &[u8]) {
        let port = 5000 + from.get() as u16 % 3;
        self.brought = self.brought.rotate_left(1);
        for (network, brings) in [(1, !self.lost), (2, self.copied)] {
            if brings & self.brought > 0 {
                self.bring(([10, 0, network, 1], port).into(), octets);
            }
        }
    }

    fn bring(&mut self, from: SocketAddr, octets: &[u8]) {
        let before = self.refused();
        without_heap(|| self.pipeline.handle_datagram(self.now, from, octets));
        let after = self.refused();
        // The packet that a stream begins with is new and in time.
        assert!(before.0 == after.0 || before.1 == after.1, "{before:?} {after:?}");
        let ReceiveCounters { datagrams, accepted, copies, unproven, conflicts, unwelcome, .. } =
            &*self.counters;
        let told = [accepted, copies, unproven, conflicts, unwelcome].map(|counter| counter.get());
        let rejected: u64 = self.counters.rejects().map(|(_, count)| count).sum();
        assert_eq!(
            datagrams.get(),
            told.iter().sum::<u64>() + rejected,
            "what became of a datagram is not told"
        );
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
        self.from = run.from;
        let mut octets = std::mem::take(&mut self.octets);
        let (length, frames) = run.fill(&mut octets[rtp::HEADER_LENGTH..]);
        let packet = &mut octets[..rtp::HEADER_LENGTH + length];
        let apart = units::frames_to_nanos(frames as i64, 44_100) + i64::from(run.late_us) * 1000;
        for n in 0..=run.count % 64 {
            if self.datagrams == MAX_DATAGRAMS {
                break;
            }
            self.datagrams += 1;
            let (sequence, timestamp) = self.next[sender];
            let header = rtp::Header {
                marker: false,
                payload_type: run.payload_type.number(),
                sequence: Sequence(sequence),
                timestamp: RtpTime(timestamp),
                ssrc: run.ssrc.get(),
            };
            packet[..rtp::HEADER_LENGTH].copy_from_slice(&header.to_bytes());
            if run.lost >> (n % 8) & 1 == 0 {
                self.datagram(run.from, packet);
            }
            self.mend(run, packet);
            self.next[sender] = (sequence.wrapping_add(1), timestamp.wrapping_add(frames as u32));
            self.now = self.now.plus(apart.max(0));
            if run.play {
                self.play(frames);
            }
        }
        self.octets = octets;
    }

    fn mend(&mut self, run: &Run, packet: &[u8]) {
        self.mend.note(packet);
        while let Some(parity) = self.mend.parity() {
            if run.parity {
                let parity = parity.to_vec();
                self.datagram(run.from, &parity);
            }
        }
    }

    fn plain(&mut self, from: Few, length: usize, count: u8, play: bool) {
        let octets = std::mem::take(&mut self.octets);
        for _ in 0..=count % 16 {
            self.datagram(from, &octets[..length]);
            if play {
                self.play(length / 16);
            }
        }
        self.octets = octets;
    }

    /// Pulls as the output's kind does.
    fn play(&mut self, frames: usize) {
        if self.output.device {
            (0..frames.div_ceil(CHUNK)).for_each(|_| self.pull_device());
        } else {
            self.pull_stream((frames * usize::from(self.output.channels)).min(MAX_SAMPLES));
        }
    }

    fn pull_stream(&mut self, samples: usize) {
        let out = &mut self.samples[..samples.min(MAX_SAMPLES)];
        out.fill(f32::NAN);
        let frames = without_heap(|| self.pipeline.pull_stream(out));
        let written = frames * usize::from(self.output.channels);
        assert!(written <= out.len());
        check_sound(&out[..written], self.output);
        let untouched = out[written..].iter().filter(|sample| sample.is_nan()).count();
        assert_eq!(written + untouched, out.len(), "more was written than was told");
    }

    fn pull_device(&mut self) {
        if self.chunks >= MAX_CHUNKS {
            return;
        }
        self.chunks += if self.output.resampled { RESAMPLED } else { 1 };
        self.dac = self.dac.max(self.now);
        let out = &mut self.samples[..CHUNK * usize::from(self.output.channels)];
        out.fill(f32::NAN);
        let mut due = Due::from(self.dac);
        // Some are asked for by a device that goes ahead.
        if self.chunks % 4 == 3 {
            (due.by, due.soon) = (self.dac.plus(-2_000_000), Some(self.dac.plus(-4_000_000)));
        }
        if !without_heap(|| self.pipeline.pull_device(self.now, due, out)) {
            return assert!(out.iter().all(|sample| sample.is_nan()), "it was written and not given");
        }
        check_sound(out, self.output);
        self.dac = self.dac.plus(units::frames_to_nanos(CHUNK as i64, self.output.rate));
    }

    fn replace(&mut self, choice: OutputChoice) {
        if self.outputs == MAX_OUTPUTS {
            return;
        }
        self.outputs += 1;
        self.events();
        let incoming = match choice.playing {
            Playing::Told => self.told,
            Playing::Other { kind, channels, rate } => {
                let codec = kind.codec();
                let rate = if codec == Codec::Opus { opus::RATE } else { rate.get() };
                Some(Incoming { rate, channels: script::channels(channels), codec })
            }
        };
        let stream_rate = incoming.map_or(44_100, |incoming| incoming.rate);
        let resampled = choice.resampled() && self.told.is_some() && self.resamplers < MAX_RESAMPLERS;
        let mut plan = Plan {
            device: choice.device,
            resampled,
            opus: incoming.is_some_and(|incoming| incoming.codec == Codec::Opus),
            channels: channels(choice.channels),
            rate: stream_rate,
        };
        if resampled {
            self.resamplers += 1;
            // Filters grow with the ratio.
            plan.rate = choice.rate.map_or(stream_rate, Rate::get).max(stream_rate / 4);
        }
        let output = if choice.device {
            Output::device(plan.channels, plan.rate, resampled)
        } else {
            Output::stream_clocked(plan.channels, plan.rate)
        };
        let output = match incoming {
            Some(incoming) => output.playing(incoming).expect("a file is not resampled"),
            None => output,
        };
        let output = Box::new(output);
        self.output = plan;
        drop(without_heap(|| self.pipeline.replace_output(output)));
    }

    fn events(&mut self) {
        let mut count = 0;
        while let Some(event) = without_heap(|| self.pipeline.poll_event()) {
            count += 1;
            if let Event::Stream(info) = event {
                let (rate, channels, codec) = (info.rate, info.channels, info.codec);
                // Decoders of many channels take long to build.
                self.told = (channels <= 8).then_some(Incoming { rate, channels, codec });
            }
        }
        assert!(count <= MAX_EVENTS, "{count} events");
    }

    fn tick(&mut self, answered: bool) {
        without_heap(|| self.pipeline.handle_timeout(self.now));
        let (mut requests, mut reports, mut questions) = (0, 0, 0);
        let pipeline = &mut self.pipeline;
        while let Some(transmit) = without_heap(|| pipeline.poll_transmit(self.now)) {
            check_compound(transmit.bytes);
            self.mend.hear(self.now, transmit.bytes);
            match packets(transmit.bytes).last() {
                Some(Ok(Packet::Nack { .. })) => requests += 1,
                Some(Ok(Packet::Application { name: exchange::APP_NAME, body, .. })) => {
                    questions += 1;
                    self.asked.push(Request::parse(body).unwrap().written.0);
                }
                _ => reports += 1,
            }
            assert!(requests <= MAX_REQUESTS && reports <= 1, "{requests} requests, {reports} reports");
            assert!(questions <= 1, "{questions} questions");
        }
        let due = self.pipeline.poll_timeout();
        assert!(due.is_none_or(|due| due > self.now), "waits for nothing");
        while let Some(again) = answered.then(|| self.mend.answer(self.now)).flatten() {
            let again = again.to_vec();
            self.datagram(self.from, &again);
        }
    }
}

fn check_sound(samples: &[f32], output: Plan) {
    let loudest = if output.opus { f32::MAX } else { LOUDEST };
    // Counted rather than searched for: a comparison that is traced sample by sample takes much time.
    let tame = samples.iter().filter(|sample| sample.abs() <= loudest).count();
    assert_eq!(tame, samples.len(), "{samples:?}");
}
