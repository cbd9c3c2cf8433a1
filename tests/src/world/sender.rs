//! The sending machine: a card, a clock, and the pipeline while the program runs.

use std::net::SocketAddr;
use std::sync::Arc;

use audio::counters::ClientCounters;
use audio::send::{Client, Codec, Encoding, EncodingId, EncodingSpec, Repair, Routing, SendPipeline, Wire};
use proto::units::{Mono, Position, RtpTime, Sequence, frames_to_nanos};
use sim::card::{Card, Direction, Period};
use sim::clock::Clock;
use sim::random::Random;

use super::scenario::{Scenario, Sound};
use super::{RATE, live, local_stamp};

/// A client: where it is, how the sound is coded for it, and what the sender counts of it.
#[derive(Clone)]
pub(super) struct Listed {
    pub(super) address: SocketAddr,
    pub(super) codec: Codec,
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
    /// The frame at which the program began to capture.
    first: u64,
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
            first: 0,
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
        self.first = self.frame;
        let origin = RtpTime(random.bits() as u32);
        let mut pipeline = SendPipeline::new(RATE, 1, origin, "sim@sender".into());
        pipeline.replace(self.routing());
        self.pipeline = Some(pipeline);
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
        let from = local_stamp(&mut self.clock, period);
        let now = self.clock.local(now);
        self.frame += u64::from(period.lost);
        let mut done = 0;
        while done < self.period {
            let Some(pipeline) = &mut self.pipeline else {
                self.frame += (self.period - done) as u64;
                return;
            };
            let frames = (self.period - done).min(pipeline.max_block());
            let block: Vec<f32> = (0..frames as u64).map(|n| self.sound.sample(self.frame + n)).collect();
            let at = from.plus(frames_to_nanos(done as i64, RATE));
            let position = Position(self.frame - self.first);
            live(|| pipeline.handle_block(position, at, &block));
            self.frame += frames as u64;
            done += frames;
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
                frames: self.frames,
                mtu: 1200,
            };
            let listed = self.clients.iter().filter(|client| client.codec == codec);
            let clients = listed.map(|client| {
                Client::new("ear".into(), client.address, client.counters.clone()).repaired(self.repair)
            });
            Encoding::new(EncodingId(id), spec, RATE, *ssrc, *first, clients.collect())
        });
        Box::new(Routing::new(encodings.collect(), Vec::new()))
    }
}
