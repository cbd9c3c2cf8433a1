//! The sending machine: a card, a clock, and the pipeline while the program runs.

use std::net::SocketAddr;
use std::sync::Arc;

use ::sender::course::Course;
use audio::counters::{ClientCounters, GroupCounters};
use audio::send::{
    Client, Codec, Encoding, EncodingId, EncodingSpec, Group, GroupId, Policy, Repair, Routing, SendPipeline,
    Wire,
};
use device::capture::CaptureStamp;
use proto::units::{Mono, Position, RtpTime, Sequence, frames_to_nanos};
use sim::card::{Card, Direction, Period};
use sim::clock::Clock;
use sim::random::Random;

use super::scenario::{Scenario, Sound};
use super::{RATE, live, local_stamp};

const GROUP: GroupId = GroupId(1);

/// A client: where it is, how the sound is coded for it, and what the sender counts of it.
#[derive(Clone)]
pub(super) struct Listed {
    pub(super) address: SocketAddr,
    pub(super) second: Option<SocketAddr>,
    pub(super) codec: Codec,
    pub(super) trim_ns: i32,
    pub(super) counters: Arc<ClientCounters>,
}

pub(super) struct Sender {
    pub(super) clock: Clock,
    /// `None` while the program does not run.
    pub(super) pipeline: Option<SendPipeline>,
    pub(super) address: SocketAddr,
    pub(super) card: Card,
    period: usize,
    sound: Sound,
    /// The card's next frame. Frame 0 was captured at true time 0.
    frame: u64,
    /// Frames that the card has brought since the program began.
    brought: u64,
    course: Course,
    delay: Option<Policy>,
    pub(super) group: Arc<GroupCounters>,
    repair: Repair,
    careless: bool,
    frames: u16,
    clients: Vec<Listed>,
    /// First number and SSRC of each encoding.
    numbers: Vec<(Sequence, u32)>,
    /// How often the program was started.
    lives: u64,
}

impl Sender {
    pub(super) fn new(scenario: &Scenario, clients: Vec<Listed>, random: &mut Random) -> Self {
        let (card, period) = scenario.capture;
        let mut sender = Self {
            clock: Clock::new(scenario.clock.clone(), random.fork(0).bits()),
            pipeline: None,
            address: ([192, 0, 2, 1], 0).into(),
            card: Card::new(card, Direction::Capture, RATE, period, Mono(0)),
            period: period as usize,
            sound: scenario.sound,
            frame: 0,
            brought: 0,
            course: Course::new(RATE),
            delay: scenario.delay,
            group: Arc::default(),
            repair: scenario.repair,
            careless: scenario.careless,
            frames: scenario.frames,
            clients,
            numbers: Vec::new(),
            lives: 0,
        };
        sender.start(random);
        sender
    }

    /// The program starts, at a port of its own.
    pub(super) fn start(&mut self, random: &mut Random) {
        let encodings = self.codecs().len() as u64;
        let number = |random: &mut Random| (Sequence(random.bits() as u16), random.bits() as u32);
        self.numbers = vec![number(random)];
        self.numbers.extend((1..encodings).map(|label| number(&mut random.fork(label))));
        self.lives += 1;
        self.address.set_port(3999 + self.lives as u16);
        (self.brought, self.course) = (0, Course::new(RATE));
        let origin = RtpTime(random.bits() as u32);
        let mut pipeline = SendPipeline::new(RATE, 1, origin, "sim@sender".into());
        pipeline.replace(self.routing());
        self.pipeline = Some(pipeline);
    }

    /// Where it is by other paths.
    pub(super) fn second(&self) -> SocketAddr {
        ([198, 51, 100, 1], self.address.port()).into()
    }

    /// The program ends without a word.
    pub(super) fn stop(&mut self) {
        self.pipeline = None;
    }

    /// Another kind of repair for all.
    pub(super) fn repair(&mut self, repair: Repair) {
        self.repair = repair;
        let routing = self.routing();
        let Some(pipeline) = &mut self.pipeline else { return };
        let careless = self.careless;
        let former = live(|| Some(pipeline.replace(routing)).filter(|_| !careless));
        drop(former);
    }

    pub(super) fn handle_datagram(&mut self, now: Mono, from: SocketAddr, datagram: &[u8]) {
        let at = self.clock.local(now);
        let Some(pipeline) = &mut self.pipeline else { return };
        live(|| pipeline.handle_datagram(at, from, datagram));
        live(|| pipeline.handle_timeout(at));
    }

    /// Hands over what was captured, in blocks that the pipeline takes; `sent` comes after each.
    pub(super) fn capture(&mut self, now: Mono, period: Period, mut sent: impl FnMut(&mut Self)) {
        let frames = self.period as u64;
        let at = local_stamp(&mut self.clock, period);
        let now = self.clock.local(now);
        let first = self.frame + u64::from(period.lost);
        self.frame = first + frames;
        let Some(pipeline) = &mut self.pipeline else { return };
        let stamp = CaptureStamp { position: Position(self.brought), frames: self.period as u32, at };
        self.brought += frames;
        let stamp = live(|| self.course.place(stamp));
        live(|| pipeline.set_capture_clock(self.course.slow()));
        if stamp.position != pipeline.position() {
            live(|| pipeline.flush());
            sent(self);
        }
        let mut done = 0;
        while let Some(pipeline) = self.pipeline.as_mut().filter(|_| done < frames) {
            let block = first + done..first + frames.min(done + pipeline.max_block() as u64);
            let block: Vec<f32> = block.map(|frame| self.sound.sample(frame)).collect();
            let at = stamp.at.plus(frames_to_nanos(done as i64, RATE));
            live(|| pipeline.handle_block(stamp.position.advanced(done), at, &block));
            done += block.len() as u64;
            live(|| pipeline.handle_timeout(now));
            sent(self);
        }
    }

    /// How the sound is coded, and for whom: clients of one codec share an encoding.
    fn codecs(&self) -> Vec<Codec> {
        let mut codecs = Vec::new();
        for client in &self.clients {
            if !codecs.contains(&client.codec) {
                codecs.push(client.codec);
            }
        }
        codecs
    }

    fn routing(&self) -> Box<Routing> {
        let encodings = self.codecs().into_iter().zip(&self.numbers).zip(1..);
        let encodings = encodings.map(|((codec, (first, ssrc)), id)| {
            let spec = EncodingSpec {
                wire: Wire::Rtp,
                codec,
                map: "0".parse().expect("a map"),
                factor: 1.0,
                test: None,
                frames: self.frames,
                mtu: 1200,
            };
            let listed = self.clients.iter().filter(|client| client.codec == codec);
            let clients = listed.map(|listed| {
                let client = Client::new("ear".into(), listed.address, listed.counters.clone());
                let client = client.also_at(listed.second).repaired(self.repair);
                if self.delay.is_some() { client.grouped(GROUP, listed.trim_ns) } else { client }
            });
            Encoding::new(EncodingId(id), spec, RATE, *ssrc, *first, clients.collect())
        });
        let group = self.delay.map(|policy| Group::new(GROUP, policy, self.group.clone()));
        Box::new(Routing::new(encodings.collect(), Vec::new()).grouped(group.into_iter().collect()))
    }
}
