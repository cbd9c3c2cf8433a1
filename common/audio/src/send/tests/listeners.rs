//! A multicast group and those who listen to it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proto::exchange::{self, Request};
use proto::rtcp::ReportBlock;

use super::*;
use crate::counters::ClientCounters;

const MS: i64 = 1_000_000;
const SSRC: u32 = 5;

fn group() -> SocketAddr {
    "239.1.2.3:5004".parse().unwrap()
}

fn listener(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 40_000).into()
}

/// A pipeline that sends one stream to a group and another to a client, and what is known of the group.
fn pipeline() -> (SendPipeline, Arc<ClientCounters>) {
    let counters = Arc::<ClientCounters>::default();
    let client = |address, counters| {
        Client::new("c".into(), address, counters).reporting(Reports::Mux).grouped(GroupId(1), 0)
    };
    let encoding = |id, address, counters| {
        let spec = spec(Codec::Pcm16, "0");
        Encoding::new(
            EncodingId(id),
            spec,
            44_100,
            id as u32 * 5,
            Sequence(0),
            vec![client(address, counters)],
        )
    };
    let encodings = vec![encoding(1, group(), counters.clone()), encoding(2, listener(99), Arc::default())];
    let together = Group::new(GroupId(1), Policy::Auto(200_000), Arc::default());
    let mut send = SendPipeline::new(44_100, 1, ORIGIN, "test".into());
    send.replace(Box::new(Routing::new(encodings, Vec::new()).grouped(vec![together])));
    (send, counters)
}

fn say(send: &mut SendPipeline, at: i64, from: SocketAddr, write: impl Fn(&mut rtcp::Builder<'_>)) {
    let mut octets = [0; 256];
    let mut builder = rtcp::Builder::new(&mut octets);
    write(&mut builder);
    let length = builder.finish().unwrap();
    send.handle_datagram(Mono(at), from, &octets[..length]);
}

fn ask(send: &mut SendPipeline, at: i64, from: SocketAddr, wanted_us: u32, media: u32) {
    let request = Request { written: Mono(at), wanted_us, media };
    say(send, at, from, |builder| {
        builder.receiver_report(9, None);
        builder.application(9, exchange::APP_NAME, exchange::REQUEST, &request.to_bytes());
    });
}

fn report(send: &mut SendPipeline, at: i64, from: SocketAddr) {
    let block = ReportBlock { ssrc: SSRC, ..ReportBlock::default() };
    say(send, at, from, |builder| builder.receiver_report(9, Some(&block)));
}

/// How many datagrams went where at this time.
fn sent(send: &mut SendPipeline, now: i64) -> BTreeMap<SocketAddr, usize> {
    let mut counts = BTreeMap::new();
    send.handle_timeout(Mono(now));
    while let Some(transmit) = send.poll_transmit() {
        transmit.to.addresses().for_each(|address| *counts.entry(address).or_default() += 1);
    }
    counts
}

#[test]
fn answers_go_to_each_listener_and_reports_to_the_group() {
    let (mut send, _) = pipeline();
    send.handle_block(Position(0), Mono(0), &[0.0; 128]);
    sent(&mut send, 0);
    ask(&mut send, MS, listener(1), 0, SSRC);
    ask(&mut send, MS, listener(2), 0, SSRC);
    ask(&mut send, MS, listener(3), 0, 77);
    assert_eq!(
        sent(&mut send, MS),
        [(listener(1), 1), (listener(2), 1)].into(),
        "and a stranger gets nothing"
    );
    // Those who start together are told together.
    assert_eq!(sent(&mut send, 51 * MS), [(group(), 1)].into());
}

#[test]
fn the_delay_meets_the_listener_that_needs_most() {
    let (mut send, counters) = pipeline();
    send.handle_block(Position(0), Mono(0), &[0.0; 128]);
    for n in 0..30 {
        let at = n * 20 * MS;
        ask(&mut send, at, listener(1), 30_000, SSRC);
        ask(&mut send, at, listener(2), 70_000, SSRC);
        ask(&mut send, at, listener(99), 20_000, 0);
        sent(&mut send, at);
    }
    assert_eq!(send.routing.groups[0].ramp().unwrap().to_us, 70_000);
    assert_eq!(counters.wanted_us.get(), 70_000);
}

#[test]
fn what_several_lost_is_sent_once_and_to_the_group() {
    let (mut send, counters) = pipeline();
    send.handle_block(Position(0), Mono(0), &[0.5; 128]);
    sent(&mut send, 0);
    for n in 1..=90 {
        say(&mut send, MS, listener(n), |builder| builder.nack(9, SSRC, [Sequence(0)].into_iter()));
    }
    assert_eq!(sent(&mut send, MS), [(group(), 1)].into());
    assert_eq!((counters.asked.get(), counters.resent.get()), (90, 1));
}

#[test]
fn the_number_of_listeners_changes_neither_reports_nor_media() {
    let count = |listeners: u8| {
        let (mut send, counters) = pipeline();
        let mut total = BTreeMap::<SocketAddr, usize>::new();
        for second in 0..20 {
            for n in 0..listeners {
                report(&mut send, second * 1000 * MS + i64::from(n) * MS, listener(n));
            }
            for block in 0..100 {
                let (position, at) = (second * 44_100 + block * 441, (second * 1000 + block * 10) * MS);
                send.flush();
                send.handle_block(Position(position as u64), Mono(at), &[0.0; 128]);
                sent(&mut send, at).into_iter().for_each(|(to, n)| *total.entry(to).or_default() += n);
            }
        }
        assert_eq!(counters.listeners.get(), u64::from(listeners));
        total
    };
    let one = count(1);
    assert_eq!(one.keys().collect::<Vec<_>>(), [&listener(99), &group()]);
    assert_eq!(count(90), one);
}

proptest! {
    #[test]
    fn any_datagrams_from_anybody_are_taken(
        datagrams in prop::collection::vec((any::<u8>(), 0u8..6, any::<u32>(), prop::collection::vec(any::<u8>(), 0..64)), 0..50)
    ) {
        let (mut send, _) = pipeline();
        for (n, (from, kind, number, bytes)) in datagrams.into_iter().enumerate() {
            let (at, from) = (n as i64 * 3 * MS, listener(from));
            match kind {
                0 => send.handle_datagram(Mono(at), from, &bytes),
                1 => ask(&mut send, at, from, number, SSRC),
                2 => ask(&mut send, at, from, number, number),
                3 => report(&mut send, at, from),
                4 => say(&mut send, at, from, |b| b.nack(9, SSRC, [Sequence(number as u16)].into_iter())),
                _ => say(&mut send, at, from, |b| { b.receiver_report(9, None); b.bye(9) }),
            }
            let counts = sent(&mut send, at);
            prop_assert!(counts.values().sum::<usize>() <= 6, "{counts:?}");
        }
    }
}
