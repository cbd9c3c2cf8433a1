//! A receiving machine: a clock, the paths from and to the sender, and pipeline and player while the program runs.

use std::net::SocketAddr;

use audio::receive::{Config, Event, ReceivePipeline};
use audio::send::{Recipients, Wire};
use proto::units::Mono;
use sim::agenda::Agenda;
use sim::card::Period;
use sim::clock::Clock;
use sim::link::Link;
use sim::random::Random;

use super::ear::Player;
use super::outcome::{Outcome, Shown};
use super::scenario::{Ear, Receiver as Spec, Scenario};
use super::sender::Listed;
use super::{Happening, instant, live};

const IP_UDP: u64 = 28;

pub(super) struct Receiver {
    /// Which of the scenario's.
    index: usize,
    pub(super) address: SocketAddr,
    clock: Clock,
    pub(super) forward: Link,
    back: Link,
    /// Where it is by another path, and that path, from and to the sender.
    second: Option<(SocketAddr, [Link; 2])>,
    /// What the next start draws from.
    random: Random,
    /// `None` while the program does not run.
    running: Option<Running>,
    /// How often it was started.
    lives: u32,
    pub(super) outcome: Outcome,
}

/// The network that an address is in.
fn network(address: SocketAddr) -> Option<[u8; 3]> {
    let SocketAddr::V4(address) = address else { return None };
    address.ip().octets().first_chunk().copied()
}

struct Running {
    pipeline: ReceivePipeline,
    player: Player,
    /// When the next wake-up is on the agenda, in true time.
    woken: Mono,
}

impl Receiver {
    /// The machine and its paths. The program does not run yet.
    pub(super) fn new(spec: &Spec, index: usize, listed: Listed, random: &mut Random) -> Self {
        let start = random.clone();
        // What a start draws: its SSRC, and the phase of its card.
        random.bits();
        if spec.ear != Ear::File {
            random.bits();
        }
        let mut forward = Link::new(spec.forward[0].1, random.bits());
        let mut back = Link::new(spec.back, random.bits());
        for (from, until) in &spec.blackouts {
            forward.black_out(instant(*from), instant(*until));
            back.black_out(instant(*from), instant(*until));
        }
        let second = spec.second.as_ref().zip(listed.second).map(|(path, address)| {
            let links = [7, 8].map(|label| {
                let mut link = Link::new(path.link, random.fork(label).bits());
                for (from, until) in &path.blackouts {
                    link.black_out(instant(*from), instant(*until));
                }
                link
            });
            (address, links)
        });
        Self {
            index,
            second,
            address: listed.address,
            clock: Clock::new(spec.clock.clone(), random.fork(0).bits()),
            forward,
            back,
            random: start,
            running: None,
            lives: 0,
            outcome: Outcome { client: listed.counters, ..Outcome::default() },
        }
    }

    /// The program starts, and so does its card.
    pub(super) fn start(&mut self, now: Mono, scenario: &Scenario, agenda: &mut Agenda<Happening>) {
        let spec = &scenario.receivers[self.index];
        let config = Config {
            wire: Some(Wire::Rtp),
            trim: spec.trim,
            adapt: spec.adapt,
            ..Config::new(spec.latency, "sim@receiver".into(), self.random.bits() as u32)
        };
        let mut pipeline = ReceivePipeline::new(config, self.outcome.counters.clone());
        let phase = if spec.ear == Ear::File { 0 } else { (self.random.unit() * 10e6) as i64 };
        let (player, output) = Player::new(scenario, spec, now.plus(phase));
        pipeline.replace_output(output);
        self.lives += 1;
        self.running = Some(Running { pipeline, player, woken: Mono(i64::MAX) });
        self.push_period(agenda);
    }

    /// The program ends without a word.
    pub(super) fn stop(&mut self) {
        self.running = None;
    }

    /// The sender puts a datagram on the way to it.
    pub(super) fn send(
        &mut self,
        now: Mono,
        from: SocketAddr,
        datagram: &[u8],
        media: bool,
        agenda: &mut Agenda<Happening>,
    ) {
        let octets = datagram.len() as u64 + IP_UDP;
        let traffic = &mut self.outcome.octets;
        *(if media { &mut traffic.media } else { &mut traffic.forward }) += octets;
        self.outcome.sent += u64::from(media);
        for arrival in self.forward.send(now, datagram.len()).into_iter().flatten() {
            let datagram = datagram.to_vec();
            agenda.push(arrival, Happening::ToReceiver { index: self.index, from, datagram });
        }
    }

    /// Where it is by another path.
    pub(super) fn second_address(&self) -> Option<SocketAddr> {
        self.second.as_ref().map(|(address, _)| *address)
    }

    /// The same by its other path.
    pub(super) fn send_by_second(
        &mut self,
        now: Mono,
        from: SocketAddr,
        datagram: &[u8],
        agenda: &mut Agenda<Happening>,
    ) {
        let Some((_, [forward, _])) = &mut self.second else { return };
        self.outcome.octets.forward += datagram.len() as u64 + IP_UDP;
        for arrival in forward.send(now, datagram.len()).into_iter().flatten() {
            let datagram = datagram.to_vec();
            agenda.push(arrival, Happening::ToReceiver { index: self.index, from, datagram });
        }
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Mono,
        from: SocketAddr,
        datagram: &[u8],
        agenda: &mut Agenda<Happening>,
    ) {
        let at = self.clock.local(now);
        let Some(running) = &mut self.running else { return };
        live(|| running.pipeline.handle_datagram(at, from, datagram));
        self.attend(now, agenda);
    }

    /// The card calls, in the life in which this was put on the agenda.
    pub(super) fn handle_period(
        &mut self,
        now: Mono,
        life: u32,
        period: Period,
        agenda: &mut Agenda<Happening>,
    ) {
        let Some(running) = self.running.as_mut().filter(|_| self.lives == life) else { return };
        if let Player::Card(player) = &mut running.player {
            player.play(&mut self.clock, period, &mut running.pipeline, &mut self.outcome);
        }
        self.attend(now, agenda);
        self.push_period(agenda);
    }

    pub(super) fn handle_wake(&mut self, now: Mono, agenda: &mut Agenda<Happening>) {
        // One that an earlier one has taken the place of would bring another of its kind, for ever.
        let Some(running) = self.running.as_mut().filter(|running| running.woken == now) else { return };
        running.woken = Mono(i64::MAX);
        self.attend(now, agenda);
    }

    fn push_period(&mut self, agenda: &mut Agenda<Happening>) {
        if let Some(Running { player: Player::Card(player), .. }) = &mut self.running {
            let next = player.card.next_period();
            agenda.push(
                next.callback,
                Happening::Playback { index: self.index, life: self.lives, period: next },
            );
        }
    }

    /// What the receive thread does each time it wakes.
    fn attend(&mut self, now: Mono, agenda: &mut Agenda<Happening>) {
        let local = self.clock.local(now);
        let Some(Running { pipeline, player, woken }) = &mut self.running else { return };
        let outcome = &mut self.outcome;
        live(|| pipeline.handle_timeout(local));
        player.feed((now, local), pipeline, outcome);
        while let Some(event) = live(|| pipeline.poll_event()) {
            if let Event::Latency(latency) = event {
                outcome.changes.push((now.0 as f64 / 1e9, latency));
            }
        }
        outcome.deepest = outcome.deepest.max(outcome.counters.depth.get());
        while let Some(transmit) = live(|| pipeline.poll_transmit(local)) {
            let Recipients::One(to) = transmit.to else { continue };
            outcome.octets.back += transmit.bytes.len() as u64 + IP_UDP;
            // By its network, as a machine with an interface on each of two has it.
            let other = self.second.as_mut().filter(|(address, _)| network(to) == network(*address));
            let (from, link) = match other {
                Some((address, [_, back])) => (*address, back),
                None => (self.address, &mut self.back),
            };
            for arrival in link.send(now, transmit.bytes.len()).into_iter().flatten() {
                let datagram = transmit.bytes.to_vec();
                agenda.push(arrival, Happening::ToSender { from, to, datagram });
            }
        }
        let error = outcome.counters.playout_error.get() as f64;
        if outcome.shown.last().map_or(0.0, |shown| shown.error) != error {
            let latency = pipeline.latency_us() as f64 * 1e3;
            outcome.shown.push(Shown { at: now.0 as f64 / 1e9, latency, error });
        }
        if let Some(due) = live(|| pipeline.poll_timeout()) {
            let due = self.clock.true_time(due);
            if due < *woken {
                *woken = due.max(now.plus(1));
                agenda.push(*woken, Happening::Wake(self.index));
            }
        }
    }
}
