//! Both sides, with a network between them that loses packets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proto::parity::Header;
use proto::rtp;
use proto::units::{RtpTime, Sequence};
use sim::random::Random;

use super::*;

/// What the receiver has, by number; older packets are forgotten.
#[derive(Default)]
struct Kept {
    packets: BTreeMap<u64, Vec<u8>>,
    head: u64,
}

/// Packets that a receiver plays and keeps.
const WINDOW: u64 = 600;

impl Kept {
    fn insert(&mut self, sequence: u64, packet: Vec<u8>) {
        self.packets.insert(sequence, packet);
        self.head = self.head.max(sequence.saturating_sub(WINDOW));
        self.packets = self.packets.split_off(&self.head.saturating_sub(WINDOW));
    }
}

impl Packets for Kept {
    fn get(&self, sequence: u64) -> Option<Media<'_>> {
        let packet = rtp::Packet::parse(self.packets.get(&sequence)?).unwrap();
        let rtp::Header { marker, payload_type, timestamp, .. } = packet.header;
        Some(Media { marker, payload_type, timestamp, payload: packet.payload })
    }

    fn head(&self) -> u64 {
        self.head
    }
}

/// Of any length up to the longest, and with any marker.
fn packet(random: &mut Random, number: u64) -> Vec<u8> {
    let header = rtp::Header {
        marker: random.bits().is_multiple_of(16),
        payload_type: 96,
        sequence: Sequence(number as u16),
        timestamp: RtpTime((number * 128) as u32),
        ssrc: 1,
    };
    let length = random.bits() % 200;
    let payload: Vec<u8> = (0..length).map(|_| random.bits() as u8).collect();
    [&header.to_bytes()[..], &payload].concat()
}

/// Loses packets alone and in bursts.
struct Loss {
    random: Random,
    burst: u64,
}

impl Loss {
    fn hits(&mut self) -> bool {
        self.burst = match self.random.bits() % 100 {
            0 => 1 + self.random.bits() % 12,
            1..6 => self.burst.max(1),
            _ => self.burst.saturating_sub(1),
        };
        self.burst > 0
    }
}

/// What was lost and what came back of `count` packets, and what of it could have come back at best.
fn transmit(spec: Spec, seed: u64, count: u64) -> (usize, usize) {
    let mut random = Random::new(seed);
    let mut loss = Loss { random: Random::new(!seed), burst: 0 };
    let start = (1 << 32) + 65_000;
    let mut guard = Guard::new(spec, 2, 100, Sequence(9), 212);
    let (mut collector, mut kept, mut out) = (Collector::default(), Kept::default(), Box::new([0; ROW]));
    let mut sent = BTreeMap::new();
    let (mut lost, mut recovered) = (BTreeSet::new(), BTreeSet::new());
    let mut rows: BTreeMap<u64, usize> = BTreeMap::new();
    for number in start..start + count {
        let packet = packet(&mut random, number);
        guard.note(&packet);
        sent.insert(number, packet.clone());
        if loss.hits() {
            lost.insert(number);
        } else {
            kept.insert(number, packet);
        }
        let mut arrived = vec![];
        while let Some(parity) = guard.poll() {
            if !loss.hits() {
                arrived.push(rtp::Packet::parse(parity).unwrap().payload.to_vec());
            }
        }
        for parity in arrived {
            let (header, octets) = Header::parse(&parity).unwrap();
            let first = number.strict_add_signed(header.first.since(Sequence(number as u16)).into());
            assert_eq!(collector.note(&header, octets, first), Ok(()));
            *rows.entry(first).or_default() += 1;
        }
        while let Some(found) = collector.recover(&kept, &mut out) {
            let packet = rtp::Packet::parse(&sent[&found.sequence]).unwrap();
            let rtp::Header { marker, payload_type, timestamp, .. } = packet.header;
            let media = Media { marker, payload_type, timestamp, payload: packet.payload };
            assert_eq!(found, Recovered { sequence: found.sequence, media });
            assert!(lost.contains(&found.sequence) && recovered.insert(found.sequence));
            kept.insert(found.sequence, sent[&found.sequence].clone());
        }
    }
    let columns =
        |first| (0..u64::from(spec.k())).map(move |column| first + column * u64::from(spec.spread()));
    let mut possible = BTreeSet::new();
    for (first, rows) in rows {
        let missing = columns(first).filter(|number| lost.contains(number));
        if missing.clone().count() <= rows {
            possible.extend(missing);
        }
    }
    assert_eq!(recovered, possible, "{spec}, seed {seed}");
    (lost.len(), recovered.len())
}

#[test]
fn whatever_can_come_back_does() {
    for text in ["4+1", "1+1x2", "8+3x2", "5+2x7", "1+3", "20+5x4", "32+16"] {
        for seed in 0..4 {
            let (lost, recovered) = transmit(text.parse().unwrap(), seed, 3000);
            assert!(lost > 200 && recovered > lost / 10, "{text}: {recovered} of {lost}");
        }
    }
}

#[test]
fn a_burst_as_long_as_all_rows_is_repaired_whole() {
    let spec: Spec = "8+3x4".parse().unwrap();
    let burst = 100..100 + 12;
    let mut random = Random::new(1);
    let mut guard = Guard::new(spec, 2, 100, Sequence(9), 212);
    let (mut collector, mut kept, mut out) = (Collector::default(), Kept::default(), Box::new([0; ROW]));
    let mut recovered = vec![];
    for number in 0..200 {
        let packet = packet(&mut random, number);
        guard.note(&packet);
        let parity = guard.poll().map(<[u8]>::to_vec);
        if burst.contains(&number) {
            continue;
        }
        kept.insert(number, packet);
        if let Some(parity) = parity {
            let (header, octets) = Header::parse(&parity[rtp::HEADER_LENGTH..]).unwrap();
            collector.note(&header, octets, header.first.0.into()).unwrap();
        }
        while let Some(found) = collector.recover(&kept, &mut out) {
            recovered.push(found.sequence);
            kept.insert(found.sequence, [&[0x80; rtp::HEADER_LENGTH], found.media.payload].concat());
        }
    }
    recovered.sort_unstable();
    assert_eq!(recovered, burst.collect::<Vec<_>>());
}

#[test]
fn refuses_by_reason() {
    use proto::Reject;
    let header = Header { first: Sequence(0), k: 2, m: 2, spread: 1, index: 0 };
    let mut collector = Collector::default();
    assert_eq!(collector.note(&header, &[0; 7], 5), Err(Reject::Length));
    assert_eq!(collector.note(&header, &[0; ROW + 1], 5), Err(Reject::Length));
    assert_eq!(collector.note(&Header { k: 33, ..header }, &[0; 8], 5), Err(Reject::Value));
    assert_eq!(collector.note(&header, &[0; 8], 5), Ok(()));
    assert_eq!(collector.note(&header, &[0; 8], 5), Ok(()));
    assert_eq!(collector.note(&Header { index: 1, ..header }, &[0; 9], 5), Err(Reject::Length));
    assert_eq!(collector.note(&Header { index: 1, k: 3, ..header }, &[0; 8], 5), Err(Reject::Value));
}

/// Rows of zeros over packets of zeros rebuild packets of zeros.
fn zeros(number: u64, payload: &[u8]) -> Vec<u8> {
    let header = rtp::Header {
        marker: false,
        payload_type: 0,
        sequence: Sequence(number as u16),
        timestamp: RtpTime(0),
        ssrc: 1,
    };
    [&header.to_bytes()[..], payload].concat()
}

#[test]
fn what_comes_while_others_are_rebuilt_is_passed_over() {
    let (mut collector, mut kept, mut out) = (Collector::default(), Kept::default(), Box::new([0; ROW]));
    for index in 0..3 {
        let header = Header { first: Sequence(5), k: 4, m: 3, spread: 1, index };
        collector.note(&header, &[0; 8], 5).unwrap();
    }
    kept.insert(5, zeros(5, &[]));
    assert_eq!(collector.recover(&kept, &mut out).unwrap().sequence, 6);
    kept.insert(6, zeros(6, &[]));
    kept.insert(7, zeros(7, &[]));
    assert_eq!(collector.recover(&kept, &mut out).unwrap().sequence, 8);
    assert_eq!(collector.recover(&kept, &mut out), None);
}

#[test]
fn rows_that_are_shorter_than_a_packet_are_given_up() {
    for (length, found) in [(2, true), (3, false)] {
        let (mut collector, mut kept, mut out) = (Collector::default(), Kept::default(), Box::new([0; ROW]));
        let header = Header { first: Sequence(5), k: 2, m: 1, spread: 1, index: 0 };
        collector.note(&header, &[0, length, 0, 0, 0, 0, 0, 0, 0, 0], 5).unwrap();
        kept.insert(5, zeros(5, &vec![0; length.into()]));
        assert_eq!(collector.recover(&kept, &mut out).is_some(), found, "{length}");
    }
}

fn header() -> impl Strategy<Value = Header> {
    (any::<u16>(), 1u8..=33, 1u8..=17, 1u8..=65, 0u8..17).prop_map(|(first, k, m, spread, index)| Header {
        first: Sequence(first),
        k,
        m,
        spread,
        index,
    })
}

/// Zeros often rebuild what looks like a packet, others seldom.
fn fill() -> impl Strategy<Value = u8> {
    prop_oneof![2 => Just(0), 1 => any::<u8>()]
}

proptest! {
    /// Whatever comes, each packet is handed out as missing only, and in bounded work.
    #[test]
    fn hostile_parity_is_answered(rows in prop::collection::vec((header(), 0usize..1600, 0u64..40, fill()), 0..400),
                                  far in prop::bool::weighted(0.1)) {
        let (mut collector, mut kept, mut out) = (Collector::default(), Kept::default(), Box::new([0; ROW]));
        let mut random = Random::new(rows.len() as u64);
        for (header, length, first, fill) in rows {
            let first = if far { u64::MAX - first } else { first };
            let _ = collector.note(&header, &vec![fill; length], first);
            let number = random.bits() % 80;
            kept.insert(number, packet(&mut random, number));
            let mut found = 0;
            while let Some(recovered) = collector.recover(&kept, &mut out) {
                prop_assert!(kept.get(recovered.sequence).is_none());
                found += 1;
                prop_assert!(found <= 128);
            }
        }
    }
}
