//! Repair: payloads that parse are written and read again as the same; parity of our own and of others' making meets
//! packets in any order, without the heap.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use audio::repair::advance::{Collector, Guard, Media, Packets, ROW, Spec};
use fuzz::without_heap;
use libfuzzer_sys::fuzz_target;
use proto::parity::{Header, Prefix};
use proto::units::{RtpTime, Sequence};
use proto::{retransmission, rtp};

fuzz_target!(|payload: &[u8]| {
    check_retransmission(payload);
    check_parity(payload);
    if let Ok(steps) = Vec::<Step>::arbitrary(&mut Unstructured::new(payload)) {
        check_pair(&steps);
    }
});

/// The octets as a retransmission, and as a packet to be sent again.
fn check_retransmission(payload: &[u8]) {
    if let Ok((sequence, original)) = retransmission::parse(payload) {
        assert_eq!([&sequence.0.to_be_bytes(), original].concat(), payload);
    }
    let mut out = vec![0; payload.len() + retransmission::OVERHEAD];
    let written = retransmission::write(payload, 99, 7, Sequence(3), &mut out);
    let Ok(packet) = rtp::Packet::parse(payload) else { return assert_eq!(written, None) };
    let again = rtp::Packet::parse(&out[..written.unwrap()]).unwrap();
    let header = rtp::Header { payload_type: 99, ssrc: 7, sequence: Sequence(3), ..packet.header };
    assert_eq!(again.header, header);
    assert_eq!(retransmission::parse(again.payload), Ok((packet.header.sequence, packet.payload)));
}

fn check_parity(payload: &[u8]) {
    if let Ok(prefix) = Prefix::parse(payload) {
        assert_eq!(prefix.to_bytes(), payload[..Prefix::LENGTH]);
    }
    let Ok((header, row)) = Header::parse(payload) else { return };
    assert_eq!(Header::parse(&[&header.to_bytes(), row].concat()), Ok((header, row)));
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Shape { k: u8, m: u8, spread: u8 },
    Packet { lost: bool, parity_lost: bool, payload: &'a [u8] },
    Row { ahead: i8, k: u8, m: u8, spread: u8, index: u8, octets: &'a [u8] },
}

/// The payloads that were sent, by number, and whether they came.
#[derive(Default)]
struct Sent<'a>(Vec<(bool, &'a [u8])>);

impl Packets for Sent<'_> {
    fn get(&self, sequence: u64) -> Option<Media<'_>> {
        let (there, payload) = self.0.get(usize::try_from(sequence).ok()?)?;
        there.then_some(Media {
            marker: false,
            payload_type: 96,
            timestamp: RtpTime(sequence as u32),
            payload,
        })
    }

    fn head(&self) -> u64 {
        self.0.len().saturating_sub(100) as u64
    }
}

/// Without rows of others' making, what comes back is what was sent.
fn check_pair(steps: &[Step<'_>]) {
    let guard = |spec| Guard::new(spec, 2, 100, Sequence(0), rtp::HEADER_LENGTH + ROW);
    let mut own = guard(Spec::DUPLICATE);
    let (mut collector, mut sent, mut out) = (Collector::default(), Sent::default(), Box::new([0; ROW]));
    let mut honest = true;
    for step in steps {
        match *step {
            Step::Shape { k, m, spread } => {
                let Ok(spec) = Spec::new(k % 33, m % 17, spread % 65) else { continue };
                own = guard(spec);
            }
            Step::Packet { lost, parity_lost, payload } => {
                let payload = &payload[..payload.len().min(ROW - Prefix::LENGTH)];
                let number = sent.0.len();
                let header = rtp::Header {
                    marker: false,
                    payload_type: 96,
                    sequence: Sequence(number as u16),
                    timestamp: RtpTime(number as u32),
                    ssrc: 1,
                };
                sent.0.push((!lost, payload));
                let packet = [&header.to_bytes(), payload].concat();
                without_heap(|| own.note(&packet));
                while let Some(parity) = without_heap(|| own.poll()) {
                    let (header, octets) = Header::parse(&parity[rtp::HEADER_LENGTH..]).unwrap();
                    if !parity_lost {
                        let _ = without_heap(|| collector.note(&header, octets, header.first.0.into()));
                    }
                }
            }
            Step::Row { ahead, k, m, spread, index, octets } => {
                honest = false;
                let first = (sent.0.len() as u64).wrapping_add_signed(ahead.into());
                let header = Header { first: Sequence(first as u16), k, m, spread, index };
                let _ = without_heap(|| collector.note(&header, octets, first));
            }
        }
        let mut count = 0;
        while let Some(found) = without_heap(|| collector.recover(&sent, &mut out)) {
            assert!(sent.get(found.sequence).is_none());
            if honest {
                let place = &mut sent.0[found.sequence as usize];
                assert_eq!(found.media.payload, place.1);
                place.0 = true;
                assert_eq!(sent.get(found.sequence), Some(found.media));
            }
            count += 1;
            assert!(count <= 128);
        }
    }
}
