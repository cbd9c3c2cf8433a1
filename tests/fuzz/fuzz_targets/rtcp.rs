//! RTCP compounds, and the bodies of our own APP packets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::announce::{Announcement, MAX_NAME};
use proto::exchange::{Reply, Request};
use proto::playout::Playout;
use proto::rtcp::{Blocks, Builder, Lost, Packet, packets};
use proto::srtp::Greeting;
use proto::timing::Timing;
use proto::units::Sequence;

fuzz_target!(|datagram: &[u8]| {
    check_body(datagram);
    let mut count = 0;
    for packet in packets(datagram) {
        count += 1;
        if let Ok(packet) = packet {
            check_packet(&packet);
        }
    }
    assert!(count <= 1 + datagram.len() / 4);
});

fn check_packet(packet: &Packet<'_>) {
    match *packet {
        Packet::Sender { ssrc, info, blocks } => {
            check_blocks(blocks);
            let mut octets = [0; 64];
            let mut builder = Builder::new(&mut octets);
            builder.sender_report(ssrc, &info);
            let length = builder.finish().unwrap();
            let mut read = packets(&octets[..length]);
            assert!(
                matches!(read.next(), Some(Ok(Packet::Sender { ssrc: s, info: i, .. })) if (s, i) == (ssrc, info))
            );
        }
        Packet::Receiver { blocks, .. } => check_blocks(blocks),
        Packet::Application { ssrc, name, subtype, body } => {
            check_body(body);
            let mut octets = vec![0; body.len() + 16];
            let mut builder = Builder::new(&mut octets);
            builder.application(ssrc, name, subtype, body);
            let length = builder.finish().unwrap();
            let Some(Ok(Packet::Application { body: read, .. })) = packets(&octets[..length]).next() else {
                panic!("what was an APP packet is none when it is written again")
            };
            // Only padding may be added.
            assert_eq!(&read[..body.len()], body);
        }
        Packet::Nack { lost, .. } => check_lost(lost),
        Packet::Description { cname, .. } => assert!(cname.len() <= 255),
        Packet::Bye { .. } | Packet::Other { .. } => {}
    }
}

fn check_blocks(blocks: Blocks<'_>) {
    assert!(blocks.count() <= 31);
    for block in blocks {
        let mut octets = [0; 64];
        let mut builder = Builder::new(&mut octets);
        builder.receiver_report(0, Some(&block));
        let length = builder.finish().unwrap();
        let Some(Ok(Packet::Receiver { mut blocks, .. })) = packets(&octets[..length]).next() else {
            panic!("what was a report is none when it is written again")
        };
        assert_eq!(blocks.next(), Some(block));
    }
}

/// A packet that came may name a number twice and in any order; the same numbers have to come back.
fn check_lost(lost: Lost<'_>) {
    let mut numbers: Vec<u16> = lost.sequences().map(|sequence| sequence.0).collect();
    let mut octets = vec![0; 12 + 4 * numbers.len()];
    let mut builder = Builder::new(&mut octets);
    builder.nack(1, 2, numbers.iter().copied().map(Sequence));
    let length = builder.finish().unwrap();
    let Some(Ok(Packet::Nack { sender: 1, media: 2, lost })) = packets(&octets[..length]).next() else {
        panic!("what was a NACK is none when it is written again")
    };
    let mut again: Vec<u16> = lost.sequences().map(|sequence| sequence.0).collect();
    for numbers in [&mut numbers, &mut again] {
        numbers.sort_unstable();
        numbers.dedup();
    }
    assert_eq!(numbers, again);
}

fn check_body(body: &[u8]) {
    if let Ok(playout) = Playout::parse(body) {
        assert_eq!(Playout::parse(&playout.to_bytes()), Ok(playout));
    }
    if let Ok(request) = Request::parse(body) {
        // The source may be left out.
        assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
    }
    if let Ok(reply) = Reply::parse(body) {
        assert_eq!(reply.to_bytes(), body[..Reply::LENGTH]);
    }
    if let Ok(timing) = Timing::parse(body) {
        assert_eq!(timing.to_bytes(), body[..Timing::LENGTH]);
    }
    if let Ok(greeting) = Greeting::parse(body) {
        let (octets, length) = greeting.to_bytes();
        assert_eq!(octets[..length], body[..length]);
    }
    if let Ok(read) = Announcement::parse(body) {
        let mut octets = [0; 600];
        let length = read.write(&mut octets).unwrap();
        // A name that is too long for us is left out.
        let name = if read.name.len() <= MAX_NAME { read.name } else { "" };
        assert_eq!(Announcement::parse(&octets[..length]), Ok(Announcement { name, ..read }));
    }
}
