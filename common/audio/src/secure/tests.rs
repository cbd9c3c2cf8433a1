//! A sender and receivers with keys, in virtual time, with somebody on the network who records and forges.

mod groups;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use proto::srtp::{Control, FileKey, Id};
use proto::units::{Mono, Position, RtpTime, Sequence, frames_to_nanos};
use proto::{payload_type, rtp};

use super::*;
use crate::counters::{ClientCounters, ReceiveCounters};
use crate::receive::{Config, Event, Output, ReceivePipeline};
use crate::repair::advance::Spec;
use crate::send::{
    Advance, Client, Codec, Encoding, EncodingId, EncodingSpec, Recipients, Repair, Reports, Routing,
    SendPipeline, Wire,
};

const RATE: u32 = 44_100;
const FRAMES: u16 = 128;
const MS: i64 = 1_000_000;

fn client_at(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 57001).into()
}

fn secret(key: u8, run: u8) -> Secret {
    Secret { key: FileKey([key; 32]), id: Id([run; 16]) }
}

type Datagram = (SocketAddr, Vec<u8>);

struct Sender {
    address: SocketAddr,
    pipeline: SendPipeline,
    rate: u32,
    frames: usize,
    frame: u64,
    counters: Vec<Arc<ClientCounters>>,
    started: Mono,
    reports: Reports,
}

impl Sender {
    /// One that has so many clients, of which each second one hears another channel.
    fn new(secret: Option<Secret>, started: Mono, clients: u8, (rate, frames): (u32, u16)) -> Self {
        let run = secret.as_ref().map_or(0, |secret| secret.id.0[0]);
        let cname = format!("{run}@sender");
        let pipeline = SendPipeline::new(rate, 2, RtpTime(7), cname);
        let pipeline = match secret {
            Some(secret) => pipeline.secured(secret),
            None => pipeline,
        };
        let counters = (0..clients).map(|_| Arc::default()).collect();
        let address = ([192, 0, 2, 100], 4000 + u16::from(run)).into();
        let frames_each = usize::from(frames);
        let reports = Reports::Auto;
        let mut sender =
            Self { address, pipeline, rate, frames: frames_each, frame: 0, counters, started, reports };
        sender.route(&[(1, "0"), (2, "1")], Repair::default());
        sender
    }

    /// Has the clients hear these encodings in turn.
    fn route(&mut self, encodings: &[(u64, &str)], repair: Repair) {
        let build = |(place, (id, map)): (usize, &(u64, &str))| {
            let numbered = self.counters.iter().enumerate().filter(|(n, _)| n % encodings.len() == place);
            let clients = numbered.map(|(n, counters)| {
                let client = Client::new(format!("{n}"), client_at(n as u8), counters.clone());
                client.repaired(repair).reporting(self.reports)
            });
            let spec = EncodingSpec {
                wire: Wire::Rtp,
                codec: Codec::Pcm16,
                map: map.parse().unwrap(),
                factor: 1.0,
                test: None,
                frames: self.frames as u16,
                mtu: 1200,
            };
            let ssrc = 0x1000 + *id as u32;
            Encoding::new(EncodingId(*id), spec, self.rate, ssrc, Sequence(65_000), clients.collect())
        };
        let encodings = encodings.iter().enumerate().map(build).collect();
        self.pipeline.replace(Box::new(Routing::new(encodings, Vec::new())));
    }

    fn now(&self) -> Mono {
        self.started.plus(frames_to_nanos(self.frame as i64, self.rate))
    }

    /// What goes out with the next packet.
    fn step(&mut self) -> Vec<Datagram> {
        let samples: Vec<f32> = (0..self.frames as u64)
            .flat_map(|n| [(self.frame + n) as i16, -(n as i16)].map(proto::pcm::sample))
            .collect();
        self.pipeline.handle_timeout(self.now());
        self.pipeline.handle_block(Position(self.frame), self.now(), &samples);
        self.frame += self.frames as u64;
        let mut out = Vec::new();
        while let Some(transmit) = self.pipeline.poll_transmit() {
            let bytes = transmit.bytes.to_vec();
            out.extend(transmit.to.addresses().map(|address| (address, bytes.clone())));
        }
        out
    }
}

struct Receiver {
    address: SocketAddr,
    pipeline: ReceivePipeline,
    counters: Arc<ReceiveCounters>,
    heard: Vec<i16>,
    secrecy: Vec<Secrecy>,
}

impl Receiver {
    fn new(number: u8, secret: Option<Secret>) -> Self {
        let counters = Arc::new(ReceiveCounters::default());
        let run = secret.as_ref().map_or(0, |secret| secret.id.0[0]);
        let config =
            Config { secret, ..Config::new(10 * MS, format!("{run}@receiver"), 0x9000 + u32::from(run)) };
        let mut pipeline = ReceivePipeline::new(config, counters.clone());
        pipeline.replace_output(Box::new(Output::stream_clocked(1, RATE)));
        Self { address: client_at(number), pipeline, counters, heard: Vec::new(), secrecy: Vec::new() }
    }

    fn take(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        self.pipeline.handle_datagram(at, from, datagram);
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(event) = self.pipeline.poll_event() {
            if let Event::Secrecy(_, secrecy) = event {
                self.secrecy.push(secrecy);
            }
        }
    }

    /// What goes out at this time.
    fn step(&mut self, now: Mono) -> Vec<Datagram> {
        self.pipeline.handle_timeout(now);
        let mut block = [0.0; 4096];
        let frames = self.pipeline.pull_stream(&mut block);
        self.heard.extend(block[..frames].iter().map(|sample| (sample * 32768.0) as i16));
        let mut out = Vec::new();
        while let Some(transmit) = self.pipeline.poll_transmit(now) {
            if let Recipients::One(address) = transmit.to {
                out.push((address, transmit.bytes.to_vec()));
            }
        }
        out
    }

    fn packets(&self) -> u64 {
        self.counters.packets.get()
    }

    fn rejected(&self, reason: &str) -> u64 {
        self.counters.rejects().find(|(name, _)| *name == reason).unwrap().1
    }
}

/// Carries everything both ways for so many packets, except what `lose` says. Returns what the sender sent.
fn run(
    sender: &mut Sender,
    receivers: &mut [Receiver],
    packets: usize,
    mut lose: impl FnMut(&[u8]) -> bool,
) -> Vec<Datagram> {
    let mut all = Vec::new();
    for _ in 0..packets {
        let sent = sender.step();
        let now = sender.now();
        for receiver in &mut *receivers {
            let address = receiver.address;
            for (_, datagram) in sent.iter().filter(|(to, _)| *to == address) {
                if !lose(datagram) {
                    receiver.take(now.plus(MS), sender.address, datagram);
                }
            }
            for (to, datagram) in receiver.step(now.plus(MS)) {
                if to == sender.address {
                    sender.pipeline.handle_datagram(now.plus(2 * MS), receiver.address, &datagram);
                }
            }
        }
        all.extend(sent);
    }
    all
}

/// As [`run`], for a receiver that takes and sends reports at the port after the media's.
fn run_apart(sender: &mut Sender, receiver: &mut Receiver, packets: usize) {
    let reports = SocketAddr::new(receiver.address.ip(), receiver.address.port() + 1);
    for _ in 0..packets {
        let sent = sender.step();
        let now = sender.now();
        for (to, datagram) in &sent {
            if *to == reports {
                receiver.pipeline.handle_report(now.plus(MS), sender.address, datagram);
                receiver.listen();
            } else {
                assert!(!rtp::is_rtcp(datagram), "a report at the media's port");
                receiver.take(now.plus(MS), sender.address, datagram);
            }
        }
        for (_, datagram) in receiver.step(now.plus(MS)) {
            sender.pipeline.handle_datagram(now.plus(2 * MS), reports, &datagram);
        }
    }
}

fn pair(ours: Option<Secret>, theirs: Option<Secret>) -> (Sender, Receiver) {
    (Sender::new(ours, Mono(0), 1, (RATE, FRAMES)), Receiver::new(0, theirs))
}

fn all(_: &[u8]) -> bool {
    false
}

#[test]
fn what_is_encrypted_arrives_as_it_was_captured() {
    let (mut sender, receiver) = pair(Some(secret(1, 1)), Some(secret(1, 2)));
    let mut receivers = [receiver];
    let sent = run(&mut sender, &mut receivers, 1000, all);
    let [receiver] = receivers;
    assert!(receiver.heard.len() > 990 * usize::from(FRAMES), "{} frames", receiver.heard.len());
    assert!(receiver.heard.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    assert_eq!(receiver.counters.concealed_frames.get(), 0);
    assert_eq!(receiver.secrecy, [Secrecy::Encrypted]);
    assert_eq!(sender.counters[0].secrecy(), Secrecy::Encrypted);
    assert!(sender.counters[0].reports.get() > 1, "no report was understood");
    for (_, datagram) in &sent {
        let kind = datagram[1] & 0x7f;
        assert!(rtp::is_rtcp(datagram) || payload_type::decrypted(kind).is_some(), "payload type {kind}");
        assert!(!crate::detect::is_report(datagram));
    }
}

#[test]
fn reports_are_encrypted_at_the_next_port_too() {
    for (theirs, packets, secrecy) in [
        (Some(secret(1, 2)), 900, Secrecy::Encrypted),
        (Some(secret(2, 2)), 0, Secrecy::WrongKey),
        (None, 0, Secrecy::OnlyThere),
    ] {
        let (mut sender, mut receiver) = pair(Some(secret(1, 1)), theirs);
        sender.reports = Reports::Next;
        sender.route(&[(1, "0")], Repair::default());
        run_apart(&mut sender, &mut receiver, 1000);
        assert!(receiver.packets() >= packets, "{} packets", receiver.packets());
        assert_eq!(receiver.secrecy, [secrecy]);
        assert_eq!(sender.counters[0].reports.get() > 1, secrecy == Secrecy::Encrypted);
    }
}

#[test]
fn losses_are_repaired_and_clients_share_what_is_sealed() {
    let mut sender = Sender::new(Some(secret(1, 1)), Mono(0), 4, (RATE, FRAMES));
    sender.route(
        &[(1, "0"), (2, "1")],
        Repair { requests: true, advance: Advance::Fixed(Spec::new(4, 2, 1).unwrap()) },
    );
    let mut receivers: Vec<_> = (0..4).map(|n| Receiver::new(n, Some(secret(1, 10 + n)))).collect();
    let mut count = 0;
    let lose = |datagram: &[u8]| {
        count += usize::from(!rtp::is_rtcp(datagram));
        count % 23 == 0
    };
    let sent = run(&mut sender, &mut receivers, 1000, lose);
    for receiver in &receivers {
        let counters = &receiver.counters;
        assert_eq!(counters.lost.get(), 0);
        assert!(counters.rebuilt.get() + counters.retransmitted.get() > 20);
    }
    let media = |to| sent.iter().filter(move |(address, d)| *address == client_at(to) && d[8..10] == [0, 0]);
    let same = media(0).zip(media(2)).all(|(one, other)| rtp::is_rtcp(&one.1) || one.1 == other.1);
    assert!(same && media(0).count() > 900);
}

#[test]
fn ends_that_are_not_encrypted_are_named_on_both_ends() {
    let (mut sender, receiver) = pair(None, Some(secret(1, 2)));
    let mut receivers = [receiver];
    run(&mut sender, &mut receivers, 1000, all);
    assert_eq!((receivers[0].packets(), receivers[0].heard.len()), (0, 0));
    assert_eq!(receivers[0].secrecy, [Secrecy::OnlyHere]);
    assert!(receivers[0].rejected("unencrypted") > 900);
    assert_eq!(sender.counters[0].secrecy(), Secrecy::OnlyThere);

    let (mut sender, receiver) = pair(Some(secret(1, 1)), None);
    let mut receivers = [receiver];
    run(&mut sender, &mut receivers, 1000, all);
    assert_eq!((receivers[0].packets(), receivers[0].heard.len()), (0, 0), "noise was played");
    assert_eq!(receivers[0].secrecy, [Secrecy::OnlyThere]);
    // It is silent as long as it plays nothing; a report of one that heard the stream before counts.
    let mut plain = [0; 64];
    let mut builder = Builder::new(&mut plain);
    builder.receiver_report(3, None);
    let length = builder.finish().unwrap();
    sender.pipeline.handle_datagram(sender.now(), client_at(0), &plain[..length]);
    assert_eq!(sender.counters[0].secrecy(), Secrecy::OnlyHere);
    assert_eq!(sender.counters[0].reports.get(), 0);
}

#[test]
fn a_wrong_key_is_named_on_both_ends() {
    let (mut sender, receiver) = pair(Some(secret(1, 1)), Some(secret(2, 2)));
    let mut receivers = [receiver];
    run(&mut sender, &mut receivers, 1000, all);
    assert_eq!(receivers[0].packets(), 0);
    assert_eq!(receivers[0].secrecy, [Secrecy::WrongKey]);
    assert_eq!(sender.counters[0].secrecy(), Secrecy::WrongKey);
    assert!(sender.counters[0].refused_reports.get() > 1);
}

#[test]
fn one_who_comes_late_knows_the_roll_over_counter() {
    let (mut sender, receiver) = pair(Some(secret(1, 1)), Some(secret(1, 2)));
    let mut receivers = [receiver];
    for _ in 0..140_000 {
        sender.step();
    }
    run(&mut sender, &mut receivers, 1000, all);
    assert!(receivers[0].packets() > 600, "{} packets", receivers[0].packets());
    // An outage in which the numbers go round.
    for _ in 0..70_000 {
        sender.step();
    }
    let before = receivers[0].packets();
    run(&mut sender, &mut receivers, 1000, all);
    assert!(receivers[0].packets() - before > 600, "{} packets", receivers[0].packets() - before);
}

#[test]
fn a_recorded_session_finds_no_ear() {
    let (mut sender, receiver) = pair(Some(secret(1, 1)), Some(secret(1, 2)));
    let mut receivers = [receiver];
    let recorded = run(&mut sender, &mut receivers, 2000, all);
    let [mut heard_it] = receivers;
    let before = heard_it.packets();

    // To one that was started since, whatever it says.
    let mut fresh = Receiver::new(0, Some(secret(1, 3)));
    let mut now = Mono(0);
    for (_, datagram) in &recorded {
        now = now.plus(2 * MS);
        fresh.take(now, sender.address, datagram);
        fresh.step(now);
    }
    assert_eq!((fresh.packets(), fresh.heard.len()), (0, 0));

    // To one that heard it, at once and after another session.
    let mut now = sender.now();
    for (_, datagram) in &recorded {
        heard_it.take(now, sender.address, datagram);
    }
    assert_eq!(heard_it.packets(), before);
    now = now.plus(5_000 * MS);
    let mut second = Sender::new(Some(secret(1, 5)), now, 1, (RATE, FRAMES));
    let mut receivers = [heard_it];
    run(&mut second, &mut receivers, 1000, all);
    let [mut heard_both] = receivers;
    let before = heard_both.packets();
    assert!(before > 2500, "{before}");
    now = second.now().plus(5_000 * MS);
    for (_, datagram) in &recorded {
        now = now.plus(2 * MS);
        heard_both.take(now, sender.address, datagram);
        heard_both.step(now);
    }
    assert_eq!(heard_both.packets(), before);
}

#[test]
fn a_receiver_that_was_started_anew_is_not_taken_for_its_former_self() {
    let (mut sender, mut receiver) = pair(Some(secret(1, 1)), Some(secret(1, 2)));
    // What the first one says, each second.
    let mut said = Vec::new();
    for _ in 0..1000 {
        let sent = sender.step();
        let now = sender.now();
        sent.iter().for_each(|(_, datagram)| receiver.take(now, sender.address, datagram));
        for (_, datagram) in receiver.step(now) {
            sender.pipeline.handle_datagram(now, client_at(0), &datagram);
            said.push(datagram);
        }
    }
    let mut receivers = [Receiver::new(0, Some(secret(1, 3)))];
    run(&mut sender, &mut receivers, 1000, all);
    let (reports, refused) = (sender.counters[0].reports.get(), sender.counters[0].refused_reports.get());
    for datagram in &said {
        sender.pipeline.handle_datagram(sender.now(), client_at(0), datagram);
    }
    assert_eq!(sender.counters[0].reports.get(), reports);
    assert_eq!(sender.counters[0].refused_reports.get() - refused, said.len() as u64);
    run(&mut sender, &mut receivers, 1000, all);
    assert!(sender.counters[0].reports.get() > reports + 1, "the new one is not understood any more");
}

#[test]
fn forged_datagrams_are_counted_and_change_nothing() {
    let (mut sender, receiver) = pair(Some(secret(1, 1)), Some(secret(1, 2)));
    let mut receivers = [receiver];
    run(&mut sender, &mut receivers, 400, all);
    let mut random = 1u64;
    let mut draw = move |below: usize| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 33) as usize % below
    };
    let mut tries = 0;
    while tries < 10_000 {
        for (_, datagram) in sender.step() {
            let now = sender.now();
            let [receiver] = &mut receivers;
            let before = (receiver.packets(), receiver.heard.len());
            for _ in 0..8 {
                let mut forged = datagram.clone();
                if draw(4) == 0 {
                    forged.truncate(draw(datagram.len()));
                } else {
                    forged[draw(datagram.len())] ^= 1 << draw(8);
                }
                receiver.take(now, sender.address, &forged);
                tries += 1;
            }
            assert_eq!((receiver.packets(), receiver.heard.len()), before);
            receiver.take(now, sender.address, &datagram);
            for (_, report) in receiver.step(now) {
                sender.pipeline.handle_datagram(now, client_at(0), &report);
            }
        }
    }
    assert!(receivers[0].heard.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    assert_eq!(receivers[0].secrecy, [Secrecy::Encrypted]);
}

/// What was sealed under each key: packets by SSRC and index, where the roll-over counter follows from the order.
#[derive(Default)]
struct Nonces {
    highest: HashMap<(u8, u32), u64>,
    seen: HashSet<(u8, bool, u32, u64)>,
}

impl Nonces {
    /// Takes note of what one participant sent, each datagram once.
    fn note(&mut self, key: u8, datagram: &[u8]) {
        let word = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
        let (control, ssrc, index) = if rtp::is_rtcp(datagram) {
            (true, word(4), u64::from(Control::of(datagram).unwrap().index))
        } else {
            let highest = self.highest.entry((key, word(8))).or_insert(0);
            let number = (word(0) & 0xffff) as u16;
            *highest += u64::from(number.wrapping_sub(*highest as u16));
            (false, word(8), *highest)
        };
        assert!(self.seen.insert((key, control, ssrc, index)), "{key}: SSRC {ssrc:x}, index {index:x}");
    }
}

#[test]
fn no_nonce_repeats_whatever_happens() {
    let mut nonces = Nonces::default();
    let mut now = Mono(0);
    let repairs = ["auto", "4+2x1", "duplicate", "request", "6+2x2"].map(|text| text.parse().unwrap());
    let mut receiver_run = 100;
    for sender_run in 1..4 {
        let mut sender = Sender::new(Some(secret(1, sender_run)), now, 3, (RATE, FRAMES));
        let mut next_id = 10;
        for round in 0..12 {
            receiver_run += 3;
            let fresh = |n| Receiver::new(n, Some(secret(1, receiver_run + n)));
            let mut receivers: Vec<_> = (0..3).map(fresh).collect();
            // Encodings that stay, come and go; a client that changes its channel.
            next_id += u64::from(round % 3 == 0);
            sender.route(&[(1, "0"), (next_id, "1")], repairs[round % repairs.len()]);
            let mut count = round;
            for _ in 0..400 {
                let sent = sender.step();
                let now = sender.now();
                // In the order of sending, since that is what tells the roll-over counter.
                let mut noted = HashSet::new();
                for (_, datagram) in sent.iter().filter(|(_, datagram)| noted.insert(datagram)) {
                    nonces.note(sender_run, datagram);
                }
                for receiver in &mut receivers {
                    let address = receiver.address;
                    for (_, datagram) in sent.iter().filter(|(to, _)| *to == address) {
                        count += 1;
                        if count % 7 != 0 {
                            receiver.take(now, sender.address, datagram);
                        }
                    }
                    for (_, datagram) in receiver.step(now) {
                        sender.pipeline.handle_datagram(now, receiver.address, &datagram);
                    }
                }
            }
        }
        now = sender.now().plus(2_000 * MS);
    }
    assert!(nonces.seen.len() > 30_000, "{}", nonces.seen.len());
}

#[test]
fn two_streams_of_one_ssrc_are_never_both_sealed() {
    let mut sender = Sender::new(Some(secret(1, 1)), Mono(0), 2, (RATE, FRAMES));
    let spec = |factor| EncodingSpec {
        wire: Wire::Rtp,
        codec: Codec::Pcm16,
        map: "0".parse().unwrap(),
        factor,
        test: None,
        frames: FRAMES,
        mtu: 1200,
    };
    let client = |n: u8| vec![Client::new(format!("{n}"), client_at(n), Arc::default())];
    let both = [client(0), client(1)].into_iter().flatten().collect();
    let encoding = |id, ssrc, clients| {
        Encoding::new(EncodingId(id), spec(id as f32 / 10.0), RATE, ssrc, Sequence(9), clients)
    };
    sender.pipeline.replace(Box::new(Routing::new(vec![encoding(1, 5, both)], Vec::new())));
    let mut nonces = Nonces::default();
    let mut step = |sender: &mut Sender| {
        let mut noted = HashSet::new();
        let sent = sender.step();
        sent.iter().filter(|(_, d)| noted.insert(d.clone())).for_each(|(_, d)| nonces.note(1, d));
        sent.iter().filter(|(to, d)| *to == client_at(1) && !rtp::is_rtcp(d)).count()
    };
    assert_eq!((0..50).map(|_| step(&mut sender)).sum::<usize>(), 50);
    // Half a packet waits when one client branches off, first as nobody should who encrypts, then with an SSRC of its own.
    for (id, ssrc, sent) in [(2, 5, 0), (3, 6, 50)] {
        let branch = encoding(id, ssrc, client(1)).after(EncodingId(id - 1), &spec(0.1));
        let routing = Routing::new(vec![encoding(1, 5, client(0)), branch], Vec::new());
        sender.pipeline.handle_block(Position(sender.frame), sender.now(), &[0.1; 2 * 60]);
        sender.frame += 60;
        sender.pipeline.replace(Box::new(routing));
        assert_eq!((0..50).map(|_| step(&mut sender)).sum::<usize>(), sent);
    }
}

#[test]
fn no_nonce_repeats_in_ten_days() {
    // A packet a second, so that ten days are not too many.
    const SECONDS: usize = 10 * 24 * 3600;
    let mut sender = Sender::new(Some(secret(1, 1)), Mono(0), 1, (100, 100));
    let (mut media, mut control) = (64_999, None);
    for _ in 0..SECONDS {
        for (_, datagram) in sender.step() {
            if let Some(index) = Control::of(&datagram).map(|c| c.index).filter(|_| rtp::is_rtcp(&datagram)) {
                assert!(control < Some(index));
                control = Some(index);
            } else {
                media += 1;
                assert_eq!(datagram[2..4], (media as u16).to_be_bytes());
            }
        }
    }
    assert_eq!(media - 64_999, SECONDS as u64);
    // What was sent last has the roll-over counter that follows from the count.
    let session = Session::new(&secret(1, 1).key.master(
        Suite::default(),
        Id([1; 16]),
        Direction::FromSender,
        b"1@sender",
    ));
    let sent = sender.step();
    let (_, last) = sent.iter().find(|(_, datagram)| !rtp::is_rtcp(datagram)).unwrap();
    assert!(session.open(&mut last.clone(), media + 1).is_ok());
}

#[test]
fn an_id_that_is_used_up_gives_way_to_another() {
    let mut me = Identity::new(secret(1, 1), Direction::FromSender, "me".into());
    let mut buffer = [0x80; 64];
    assert!(!me.is_used_up());
    me.next = MAX_CONTROL_INDEX - 1;
    assert!(me.is_used_up() && me.seal_control(&mut buffer, 40).is_some());
    assert_eq!(me.seal_control(&mut buffer, 40), None);
    let before = me.id();
    me.renew();
    assert!(me.id() != before && me.seal_control(&mut buffer, 40).is_some());
}
