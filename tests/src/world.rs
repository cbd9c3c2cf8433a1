//! A sender, a network and receivers in virtual time: the pipelines that the programs run, between simulated cards, clocks
//! and links. The same seed gives the same run.
//!
//! Cards and links run in true time. Each machine has a monotonic clock of its own, and its pipeline sees no other.
//!
//! The sound says when it was captured: a ramp, the sample at frame n of which has the value n, or a pilot tone, by its phase.
//! Of other tones what is played is kept.
//!
//! What the programs do on their real-time threads runs in a real-time section, so that a counting allocator can watch it.

mod ear;
mod judge;
mod outcome;
mod receiver;
mod scenario;
mod sender;
pub mod sync;

use std::net::SocketAddr;

use audio::send::{Recipients, Repair, Transmit};
use proto::units::Mono;
use sim::agenda::Agenda;
use sim::card::Period;
use sim::clock::Clock;
use sim::link::LinkSpec;
use sim::random::Random;

pub use outcome::{Heard, Outcome, Shown, Traffic};
pub use scenario::{AMPLITUDE, Ear, Receiver, Scenario, SecondPath, Sound, card, wired};

use sender::{Listed, Sender};

/// Frames a second of every scenario.
pub const RATE: u32 = 44_100;

enum Happening {
    Captured(Period),
    ToReceiver {
        index: usize,
        from: SocketAddr,
        datagram: Vec<u8>,
    },
    ToSender {
        from: SocketAddr,
        to: SocketAddr,
        datagram: Vec<u8>,
    },
    /// A receiver's card calls, in one of the receiver's lives.
    Playback {
        index: usize,
        life: u32,
        period: Period,
    },
    Wake(usize),
    Conditions(usize, LinkSpec),
    Routing(Repair),
    SenderStops,
    SenderStarts,
    Stops(usize),
    Starts(usize),
}

struct World<'a> {
    scenario: &'a Scenario,
    agenda: Agenda<Happening>,
    random: Random,
    sender: Sender,
    receivers: Vec<receiver::Receiver>,
}

/// Does what the programs do on a real-time thread.
fn live<T>(work: impl FnOnce() -> T) -> T {
    let _section = os::realtime::section();
    work()
}

fn instant(seconds: f64) -> Mono {
    Mono((seconds * 1e9) as i64)
}

/// When a period passes the converter, as the machine is told at its callback.
fn local_stamp(clock: &mut Clock, period: Period) -> Mono {
    clock.local(period.callback).plus(period.told.since(period.callback))
}

/// Runs a scenario of one receiver.
pub fn run(scenario: &Scenario, seed: u64) -> Outcome {
    run_all(scenario, seed).swap_remove(0)
}

/// Runs a scenario. Returns what came of it for each receiver.
pub fn run_all(scenario: &Scenario, seed: u64) -> Vec<Outcome> {
    let mut world = World::new(scenario, seed);
    let end = instant(scenario.seconds);
    while let Some((at, happening)) = world.agenda.pop() {
        if at > end {
            break;
        }
        world.happen(at, happening);
    }
    world.receivers.into_iter().map(|receiver| receiver.outcome).collect()
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut agenda = Agenda::default();
        let listed = scenario.receivers.iter().enumerate().map(|(index, spec)| Listed {
            address: ([192, 0, 2, 2 + index as u8], 5000).into(),
            second: spec.second.as_ref().map(|_| ([198, 51, 100, 2 + index as u8], 5000).into()),
            codec: spec.codec,
            trim_ns: spec.trim_ns,
            counters: Default::default(),
        });
        let listed: Vec<Listed> = listed.collect();
        let mut sender = Sender::new(scenario, listed.clone(), &mut random);
        let first = sender.card.next_period();
        agenda.push(first.callback, Happening::Captured(first));
        let mut receivers = Vec::new();
        for (index, (spec, listed)) in scenario.receivers.iter().zip(listed).enumerate() {
            let mut receiver = receiver::Receiver::new(spec, index, listed, &mut random);
            if !is_away(&spec.away) {
                receiver.start(Mono(0), scenario, &mut agenda);
            }
            receiver.outcome.group = sender.group.clone();
            receivers.push(receiver);
        }
        let mut world = Self { scenario, agenda, random, sender, receivers };
        world.plan();
        world
    }

    /// Puts what is to befall them on the agenda.
    fn plan(&mut self) {
        let mut push = |at: f64, happening| self.agenda.push(instant(at), happening);
        for (index, receiver) in self.scenario.receivers.iter().enumerate() {
            for (from, path) in &receiver.forward[1..] {
                push(*from, Happening::Conditions(index, *path));
            }
            for (from, until) in &receiver.away {
                push(*from, Happening::Stops(index));
                push(*until, Happening::Starts(index));
            }
        }
        for (from, repair) in &self.scenario.routings {
            push(*from, Happening::Routing(*repair));
        }
        for (from, until) in &self.scenario.away {
            push(*from, Happening::SenderStops);
            push(*until, Happening::SenderStarts);
        }
    }

    fn happen(&mut self, at: Mono, happening: Happening) {
        let Self { scenario, agenda, random, sender, receivers } = self;
        match happening {
            Happening::Captured(period) => {
                sender.capture(at, period, |sender| transmit(sender, at, receivers, agenda));
                let next = sender.card.next_period();
                agenda.push(next.callback, Happening::Captured(next));
            }
            Happening::ToSender { from, to, datagram } => {
                if [sender.address, sender.second()].contains(&to) {
                    sender.handle_datagram(at, from, &datagram);
                    transmit(sender, at, receivers, agenda);
                }
            }
            Happening::ToReceiver { index, from, datagram } => {
                receivers[index].handle_datagram(at, from, &datagram, agenda);
            }
            Happening::Playback { index, life, period } => {
                receivers[index].handle_period(at, life, period, agenda);
            }
            Happening::Wake(index) => receivers[index].handle_wake(at, agenda),
            Happening::Conditions(index, path) => receivers[index].forward.set(path),
            Happening::Routing(repair) => {
                sender.repair(repair);
                transmit(sender, at, receivers, agenda);
            }
            Happening::SenderStops => sender.stop(),
            Happening::SenderStarts => sender.start(random),
            Happening::Stops(index) => receivers[index].stop(),
            Happening::Starts(index) => receivers[index].start(at, scenario, agenda),
        }
    }
}

/// Whether the first absence is from the beginning on.
fn is_away(away: &[(f64, f64)]) -> bool {
    away.first().is_some_and(|(from, _)| *from <= 0.0)
}

/// Puts what the sender has to send on its way.
fn transmit(
    sender: &mut Sender,
    now: Mono,
    receivers: &mut [receiver::Receiver],
    agenda: &mut Agenda<Happening>,
) {
    let (from, second) = (sender.address, sender.second());
    let Some(pipeline) = &mut sender.pipeline else { return };
    while let Some(Transmit { bytes, to }) = live(|| pipeline.poll_transmit()) {
        let media = matches!(to, Recipients::All(_));
        for address in to.addresses() {
            for receiver in &mut *receivers {
                if receiver.address == address {
                    receiver.send(now, from, bytes, media, agenda);
                } else if receiver.second_address() == Some(address) {
                    receiver.send_by_second(now, second, bytes, agenda);
                }
            }
        }
    }
}
