//! A sender, a network and a receiver in virtual time: the pipelines that the programs run, between simulated cards and
//! links. The same seed gives the same run.
//!
//! The sound is a ramp: the sample at frame n has the value n, so that every sample that is heard says when it was captured;
//! or a tone, of which what is played is kept.
//!
//! What the programs do on their real-time threads runs in a real-time section, so that a counting allocator can watch it.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::sync::Arc;

use audio::counters::{ClientCounters, ReceiveCounters};
use audio::receive::{Adapt, CHUNK, Config, Event, Incoming, Output, Pace, PlaybackStamp, ReceivePipeline};
use audio::send::{
    Client, Codec, Encoding, EncodingId, EncodingSpec, Recipients, Repair, Routing, SendPipeline, Wire,
};
use proto::units::{Mono, Position, RtpTime, Sequence, frames_to_nanos};
use sim::agenda::Agenda;
use sim::card::{Card, CardSpec, Direction, Period};
use sim::link::{Jitter, Link, LinkSpec};
use sim::random::Random;

/// Frames a second of every scenario.
pub const RATE: u32 = 44_100;
/// Amplitude of a tone: 1 dB below full scale.
pub const AMPLITUDE: f64 = 0.891_250_938;
const IP_UDP: u64 = 28;

/// What is captured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sound {
    /// At frame n the value n, wrapping, in 16 bits.
    Ramp,
    /// A sine of so many hertz by the sender's card.
    Tone(f64),
}

impl Sound {
    fn sample(self, frame: u64) -> f32 {
        match self {
            Self::Ramp => proto::pcm::sample(frame as i16),
            Self::Tone(hertz) => (AMPLITUDE * (TAU * hertz * frame as f64 / f64::from(RATE)).sin()) as f32,
        }
    }
}

/// What plays the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ear {
    /// A card of its own clock, in periods of so many frames.
    Card(CardSpec, u32),
    /// A file that follows the stream.
    File,
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Length of the run in seconds.
    pub seconds: f64,
    /// What is captured.
    pub sound: Sound,
    /// How the sound is coded.
    pub codec: Codec,
    /// Frames in a packet.
    pub frames: u16,
    /// The sender's card, and the frames in its period.
    pub capture: (CardSpec, u32),
    /// What plays.
    pub ear: Ear,
    /// Frames a second that a card which plays claims. A ramp can be judged at [`RATE`] only.
    pub card_rate: u32,
    /// From sender to receiver, and from when on (in seconds).
    pub forward: Vec<(f64, LinkSpec)>,
    /// From receiver to sender.
    pub back: LinkSpec,
    /// Times (from, until, in seconds) at which nothing comes through, either way.
    pub blackouts: Vec<(f64, f64)>,
    /// In nanoseconds.
    pub latency: i64,
    /// How the latency adapts.
    pub adapt: Option<Adapt>,
    /// How losses are repaired.
    pub repair: Repair,
    /// Changes of the routing: from when on (in seconds) which repair.
    pub routings: Vec<(f64, Repair)>,
    /// Frees former routings where the send thread runs, as the programs must not.
    pub careless: bool,
    /// What is heard before this many seconds is not judged.
    pub settle: f64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seconds: 60.0,
            sound: Sound::Ramp,
            codec: Codec::Pcm16,
            frames: 128,
            capture: (CardSpec::default(), 128),
            ear: Ear::File,
            card_rate: RATE,
            forward: vec![(0.0, LinkSpec::default())],
            back: LinkSpec::default(),
            blackouts: Vec::new(),
            latency: 30_000_000,
            adapt: None,
            repair: Repair::default(),
            routings: Vec::new(),
            careless: false,
            settle: 0.0,
        }
    }
}

/// One moment at the ear.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When, in seconds.
    pub at: f64,
    /// From the ADC to the DAC, in nanoseconds.
    pub latency: f64,
}

/// What came of a run.
pub struct Outcome {
    /// The receiver's own counts.
    pub counters: Arc<ReceiveCounters>,
    /// The sender's counts of the client.
    pub client: Arc<ClientCounters>,
    /// Media packets that the sender made.
    pub sent: u64,
    /// Latencies at a card, one for each period that was heard whole, after settling.
    pub heard: Vec<Heard>,
    /// Frames after settling that were not the sender's own.
    pub wrong: u64,
    /// Frames judged.
    pub judged: u64,
    /// What a card played of a tone after settling.
    pub played: Vec<f32>,
    /// What went over the wire.
    pub octets: Traffic,
    /// Changes of the latency that was aimed for, each with its time in seconds.
    pub changes: Vec<(f64, audio::receive::Latency)>,
    /// Deepest the buffer was, in frames.
    pub deepest: u64,
    /// Longest time before the DAC at which samples were taken from the buffer, in nanoseconds.
    pub lead: i64,
}

/// Octets on the wire, headers of IP and UDP included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Media as it is sent first.
    pub media: u64,
    /// Everything else from the sender.
    pub forward: u64,
    /// Everything from the receiver.
    pub back: u64,
}

impl Traffic {
    /// Octets beside the media, as a share of it.
    pub fn extra(&self) -> f64 {
        (self.forward + self.back) as f64 / self.media as f64
    }
}

enum Happening {
    Captured(Period),
    ToReceiver(Vec<u8>),
    ToSender(Vec<u8>),
    Playback(Period),
    Wake,
    Conditions(LinkSpec),
    Routing(Repair),
}

struct World {
    agenda: Agenda<Happening>,
    sound: Sound,
    send: SendPipeline,
    routing: Box<dyn Fn(Repair) -> Box<Routing>>,
    careless: bool,
    receive: ReceivePipeline,
    forward: Link,
    back: Link,
    capture: Card,
    capture_period: u32,
    /// True time of the capture of frame 0, and how long a frame lasts for the sender's card, in nanoseconds.
    frame: u64,
    frame_ns: f64,
    ear: Option<EarState>,
    file: Judge,
    woken: Mono,
    outcome: Outcome,
    settle: Mono,
}

struct EarState {
    card: Card,
    pace: Pace,
    ring: std::collections::VecDeque<f32>,
    taken: u64,
    period: usize,
    frame_ns: f64,
    last: f32,
}

/// Judges a file: the ramp without a gap.
#[derive(Default)]
struct Judge {
    next: Option<i16>,
}

fn sender_at() -> SocketAddr {
    ([192, 0, 2, 1], 4000).into()
}

fn receiver_at() -> SocketAddr {
    ([192, 0, 2, 2], 5000).into()
}

/// Does what the programs do on a real-time thread.
fn live<T>(work: impl FnOnce() -> T) -> T {
    let _section = os::realtime::section();
    work()
}

/// A card that is off by so many parts per million, and whose callbacks come up to 0.1 ms late.
pub fn card(ppm: f64) -> CardSpec {
    CardSpec { ppm, jitter: 100_000, seed: 5, ..CardSpec::default() }
}

/// A cable and a switch: 0.1 ms and a little jitter.
pub fn wired() -> LinkSpec {
    let jitter = Jitter::Normal { sigma: 50_000 };
    LinkSpec { delay: 100_000, jitter, in_order: true, ..LinkSpec::default() }
}

/// Runs a scenario.
pub fn run(scenario: &Scenario, seed: u64) -> Outcome {
    let mut world = World::new(scenario, seed);
    let end = Mono((scenario.seconds * 1e9) as i64);
    while let Some((at, happening)) = world.agenda.pop() {
        if at > end {
            break;
        }
        world.happen(at, happening);
    }
    world.outcome
}

impl World {
    fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let spec = EncodingSpec {
            wire: Wire::Rtp,
            codec: scenario.codec,
            map: "0".parse().expect("a map"),
            factor: 1.0,
            frames: scenario.frames,
            mtu: 1200,
        };
        let format = spec.format(RATE);
        let client_counters = Arc::<ClientCounters>::default();
        let (known, first, ssrc) = (client_counters.clone(), random.bits() as u16, random.bits() as u32);
        let routing = Box::new(move |repair| {
            let client = Client::new("ear".into(), receiver_at(), known.clone()).repaired(repair);
            let id = EncodingId(1);
            let encoding = Encoding::new(id, spec.clone(), RATE, ssrc, Sequence(first), vec![client]);
            Box::new(Routing::new(vec![encoding], Vec::new()))
        });
        let mut send = SendPipeline::new(RATE, 1, RtpTime(random.bits() as u32), "sim@sender".into());
        send.replace(routing(scenario.repair));

        let counters = Arc::new(ReceiveCounters::default());
        let config = Config {
            trim: None,
            wire: Some(Wire::Rtp),
            latency: scenario.latency,
            adapt: scenario.adapt,
            format: None,
            plain_rate: RATE,
            plain_channels: 1,
            cname: "sim@receiver".into(),
            ssrc: random.bits() as u32,
        };
        let mut receive = ReceivePipeline::new(config, counters.clone());
        let output = match scenario.ear {
            Ear::Card(..) => Output::device(1, scenario.card_rate, true),
            Ear::File => Output::stream_clocked(1, format.rate),
        };
        let incoming = Incoming { rate: format.rate, channels: 1, codec: format.codec };
        let output = output.playing(incoming).expect("an output for the stream");
        receive.replace_output(Box::new(output));

        let mut agenda = Agenda::default();
        let (card, period) = scenario.capture;
        // The two cards start at a phase of their own.
        let phase = |random: &mut Random| Mono((random.unit() * 10e6) as i64);
        let frame_ns = 1e9 / (f64::from(RATE) * (1.0 + card.ppm * 1e-6));
        let mut capture = Card::new(card, Direction::Capture, RATE, period, Mono(0));
        let first_period = capture.next_period();
        agenda.push(first_period.callback, Happening::Captured(first_period));
        let ear = match scenario.ear {
            Ear::File => None,
            Ear::Card(card, period) => {
                let rate = scenario.card_rate;
                let frame_ns = 1e9 / (f64::from(rate) * (1.0 + card.ppm * 1e-6));
                let mut card = Card::new(card, Direction::Playback, rate, period, phase(&mut random));
                let first = card.next_period();
                agenda.push(first.callback, Happening::Playback(first));
                let period = period as usize;
                let ring = std::collections::VecDeque::new();
                Some(EarState { card, pace: Pace::new(rate), ring, taken: 0, period, frame_ns, last: 0.0 })
            }
        };
        let mut conditions = scenario.forward.iter();
        let (_, first_conditions) = *conditions.next().expect("a link");
        for (from, spec) in conditions {
            agenda.push(Mono((from * 1e9) as i64), Happening::Conditions(*spec));
        }
        for (from, repair) in &scenario.routings {
            agenda.push(Mono((from * 1e9) as i64), Happening::Routing(*repair));
        }
        let mut forward = Link::new(first_conditions, random.bits());
        let mut back = Link::new(scenario.back, random.bits());
        for (from, until) in &scenario.blackouts {
            let (from, until) = (Mono((from * 1e9) as i64), Mono((until * 1e9) as i64));
            forward.black_out(from, until);
            back.black_out(from, until);
        }
        let outcome = Outcome {
            counters,
            client: client_counters,
            sent: 0,
            heard: Vec::new(),
            wrong: 0,
            judged: 0,
            played: Vec::new(),
            octets: Traffic::default(),
            changes: Vec::new(),
            deepest: 0,
            lead: 0,
        };
        Self {
            agenda,
            sound: scenario.sound,
            send,
            routing,
            careless: scenario.careless,
            receive,
            forward,
            back,
            capture,
            capture_period: period,
            frame: 0,
            frame_ns,
            ear,
            file: Judge::default(),
            woken: Mono(i64::MAX),
            outcome,
            settle: Mono((scenario.settle * 1e9) as i64),
        }
    }

    fn happen(&mut self, at: Mono, happening: Happening) {
        match happening {
            Happening::Captured(period) => {
                self.capture(at, period);
                let next = self.capture.next_period();
                self.agenda.push(next.callback, Happening::Captured(next));
            }
            Happening::ToSender(datagram) => {
                live(|| self.send.handle_datagram(at, receiver_at(), &datagram));
                live(|| self.send.handle_timeout(at));
                self.transmit(at);
            }
            Happening::ToReceiver(datagram) => {
                live(|| self.receive.handle_datagram(at, sender_at(), &datagram));
                self.attend(at);
            }
            Happening::Playback(period) => {
                self.playback(period);
                self.attend(at);
                if let Some(ear) = &mut self.ear {
                    let next = ear.card.next_period();
                    self.agenda.push(next.callback, Happening::Playback(next));
                }
            }
            Happening::Wake => {
                self.woken = Mono(i64::MAX);
                self.attend(at);
            }
            Happening::Conditions(spec) => self.forward.set(spec),
            Happening::Routing(repair) => {
                let routing = (self.routing)(repair);
                let former = live(|| Some(self.send.replace(routing)).filter(|_| !self.careless));
                drop(former);
                self.transmit(at);
            }
        }
    }

    fn capture(&mut self, now: Mono, period: Period) {
        let mut done = 0;
        while done < self.capture_period as usize {
            let frames = (self.capture_period as usize - done).min(self.send.max_block());
            let block: Vec<f32> = (0..frames as u64).map(|n| self.sound.sample(self.frame + n)).collect();
            let at = period.converter.plus(frames_to_nanos(done as i64, RATE));
            live(|| self.send.handle_block(Position(self.frame), at, &block));
            self.frame += frames as u64;
            done += frames;
            live(|| self.send.handle_timeout(now));
            self.transmit(now);
        }
    }

    fn transmit(&mut self, now: Mono) {
        while let Some(transmit) = live(|| self.send.poll_transmit()) {
            let octets = transmit.bytes.len() as u64 + IP_UDP;
            match transmit.to {
                Recipients::All(_) => {
                    self.outcome.sent += 1;
                    self.outcome.octets.media += octets;
                }
                Recipients::One(_) => self.outcome.octets.forward += octets,
            }
            for arrival in self.forward.send(now, transmit.bytes.len()).into_iter().flatten() {
                self.agenda.push(arrival, Happening::ToReceiver(transmit.bytes.to_vec()));
            }
        }
    }

    /// What the receive thread does each time it wakes.
    fn attend(&mut self, now: Mono) {
        live(|| self.receive.handle_timeout(now));
        match &mut self.ear {
            Some(ear) => {
                let mut chunk = [0.0; CHUNK];
                while let Some(due) = live(|| ear.pace.next_chunk(ear.ring.len(), self.receive.latency())) {
                    self.outcome.lead = self.outcome.lead.max(due.at.since(now) + frames_to_nanos(96, RATE));
                    live(|| self.receive.pull_device(now, due, &mut chunk));
                    ear.ring.extend(chunk);
                    ear.pace.pushed(CHUNK);
                }
            }
            None => {
                let mut block = [0.0; 1024];
                loop {
                    let frames = live(|| self.receive.pull_stream(&mut block));
                    if frames == 0 {
                        break;
                    }
                    let judged = now >= self.settle;
                    if self.sound == Sound::Ramp {
                        self.file.judge(&block[..frames], judged, &mut self.outcome);
                    }
                }
            }
        }
        while let Some(event) = live(|| self.receive.poll_event()) {
            if let Event::Latency(latency) = event {
                self.outcome.changes.push((now.0 as f64 / 1e9, latency));
            }
        }
        self.outcome.deepest = self.outcome.deepest.max(self.outcome.counters.depth.get());
        while let Some(transmit) = live(|| self.receive.poll_transmit(now)) {
            self.outcome.octets.back += transmit.bytes.len() as u64 + IP_UDP;
            for arrival in self.back.send(now, transmit.bytes.len()).into_iter().flatten() {
                self.agenda.push(arrival, Happening::ToSender(transmit.bytes.to_vec()));
            }
        }
        if let Some(due) = live(|| self.receive.poll_timeout())
            && due < self.woken
        {
            self.woken = due.max(now.plus(1));
            self.agenda.push(self.woken, Happening::Wake);
        }
    }

    fn playback(&mut self, period: Period) {
        let Some(ear) = &mut self.ear else { return };
        let given = ear.ring.len().min(ear.period);
        let stamp = PlaybackStamp {
            taken: ear.taken,
            asked: ear.period as u32,
            missing: (ear.period - given) as u32,
            at: period.converter,
        };
        ear.taken += given as u64;
        let played: Vec<f32> =
            ear.ring.drain(..given).chain(std::iter::repeat_n(0.0, ear.period - given)).collect();
        live(|| {
            if ear.pace.note(stamp) {
                self.receive.realign();
            }
        });
        if period.converter < self.settle {
            ear.last = *played.last().unwrap_or(&0.0);
            return;
        }
        if self.sound != Sound::Ramp {
            self.outcome.played.extend(played);
            return;
        }
        // One step of the ramp each frame, but where it wraps: there the resampler rings.
        let mut before = ear.last;
        let mut whole = true;
        for &sample in &played {
            let step = (sample - before) * 32_768.0;
            let wrapping = sample.abs() > 0.8 || before.abs() > 0.8;
            let right = (step - 1.0).abs() < 0.02 || wrapping;
            self.outcome.wrong += u64::from(!right);
            whole &= right && !wrapping;
            before = sample;
        }
        self.outcome.judged += played.len() as u64;
        ear.last = before;
        if whole {
            let middle = ear.period / 2;
            let heard_at = period.converter.0 as f64 + middle as f64 * ear.frame_ns;
            // Which of the frames with this value is the one that was captured last before it was heard?
            let value = f64::from(played[middle]) * 32_768.0;
            let newest = heard_at / self.frame_ns;
            let frame = value + ((newest - value) / 65_536.0).floor() * 65_536.0;
            let heard = Heard { at: heard_at / 1e9, latency: heard_at - frame * self.frame_ns };
            self.outcome.heard.push(heard);
        }
    }
}

impl Judge {
    fn judge(&mut self, block: &[f32], judged: bool, outcome: &mut Outcome) {
        for &sample in block {
            let value = (sample * 32_768.0) as i16;
            let expected = self.next.unwrap_or(value);
            self.next = Some(expected.wrapping_add(1));
            if judged {
                outcome.judged += 1;
                outcome.wrong += u64::from(value != expected);
            }
        }
    }
}

impl Outcome {
    /// Latencies in milliseconds, ascending.
    pub fn latencies(&self) -> Vec<f64> {
        let mut sorted: Vec<f64> = self.heard.iter().map(|heard| heard.latency / 1e6).collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}
