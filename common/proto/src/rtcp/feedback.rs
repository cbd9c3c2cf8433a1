//! The generic NACK: the sequence numbers of packets that are asked for again (RFC 4585, section 6.2.1).

use super::{Builder, TRANSPORT_FEEDBACK};
use crate::Reject;
use crate::cursor::Reader;
use crate::units::Sequence;

/// The message type, in the place of the count.
pub(super) const GENERIC_NACK: u8 = 1;

/// Octets of an entry: a sequence number (PID, 16 bits) and a bit for each of the 16 that follow (BLP, 16
/// bits).
const ENTRY: usize = 4;

/// The numbers in a NACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost<'a>(&'a [u8]);

impl<'a> Lost<'a> {
    /// At least one entry has to be there.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Reject> {
        let whole = !body.is_empty() && body.len().is_multiple_of(ENTRY);
        if whole { Ok(Self(body)) } else { Err(Reject::Length) }
    }

    /// Each number asked for, at most 17 for each four octets of the packet. A number may come twice.
    pub fn sequences(self) -> impl Iterator<Item = Sequence> + 'a {
        self.0.as_chunks::<ENTRY>().0.iter().flat_map(|entry| {
            let mut reader = Reader(entry);
            let first = reader.u16().unwrap_or(0);
            let mask = reader.u16().unwrap_or(0);
            let following = (1..=16).filter(move |bit| mask & (1 << (bit - 1)) != 0);
            core::iter::once(0).chain(following).map(move |offset| Sequence(first.wrapping_add(offset)))
        })
    }
}

impl Builder<'_> {
    /// Adds a request by `sender` for lost packets of `media`, whose numbers ascend (and may wrap); nothing
    /// where there are none. Numbers that do not fit are left out.
    pub fn nack(&mut self, sender: u32, media: u32, sequences: impl Iterator<Item = Sequence>) {
        let mut sequences = sequences.peekable();
        let Some(mut first) = sequences.next() else { return };
        let start = self.begin(GENERIC_NACK, TRANSPORT_FEEDBACK, sender);
        self.writer.put(&media.to_be_bytes());
        loop {
            let mut mask = 0u16;
            while let Some(next) = sequences.next_if(|next| (1..=16).contains(&next.since(first))) {
                mask |= 1 << (next.since(first) - 1);
            }
            self.writer.put(&first.0.to_be_bytes());
            self.writer.put(&mask.to_be_bytes());
            match sequences.next().filter(|_| self.writer.room() >= ENTRY) {
                Some(next) => first = next,
                None => break,
            }
        }
        self.end(start);
    }
}

#[cfg(test)]
mod tests {
    use crate::Reject;
    use crate::rtcp::{Builder, Packet, packets};
    use crate::units::Sequence;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Laid out by hand from the figures in RFC 4585, sections 6.1 and 6.2.1.
    const GOLDEN: [u8; 20] = [
        0x81, 205, 0, 4, 0xca, 0xfe, 0xba, 0xbe, // who asks
        0xde, 0xad, 0xbe, 0xef, // whose packets
        0xff, 0xfe, 0x80, 0x05, // 65534 and 65535, 1, 14
        0, 15, 0, 0, // 15
    ];

    const LOST: [u16; 5] = [65534, 65535, 1, 14, 15];

    fn lost(datagram: &[u8]) -> Vec<u16> {
        match packets(datagram).next() {
            Some(Ok(Packet::Nack { lost, .. })) => lost.sequences().map(|sequence| sequence.0).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn golden_bytes_both_ways() {
        let mut out = [0; 32];
        let mut builder = Builder::new(&mut out);
        builder.nack(0xcafe_babe, 0xdead_beef, LOST.into_iter().map(Sequence));
        let length = builder.finish().unwrap();
        assert_eq!(out[..length], GOLDEN);
        let Some(Ok(Packet::Nack { sender, media, .. })) = packets(&GOLDEN).next() else {
            panic!("not a NACK");
        };
        assert_eq!((sender, media), (0xcafe_babe, 0xdead_beef));
        assert_eq!(lost(&GOLDEN), LOST);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut out = [0; 19];
        let mut builder = Builder::new(&mut out);
        builder.nack(1, 2, LOST.into_iter().map(Sequence));
        assert_eq!(builder.finish(), Some(16));
        assert_eq!(lost(&out[..16]), LOST[..4]);
        let mut builder = Builder::new(&mut out[..15]);
        builder.nack(1, 2, LOST.into_iter().map(Sequence));
        assert_eq!(builder.finish(), None);
        let mut builder = Builder::new(&mut out);
        builder.nack(1, 2, [].into_iter());
        assert_eq!(builder.finish(), Some(0));
    }

    #[test]
    fn refuses_what_asks_for_nothing_and_skips_other_feedback() {
        let mut empty = GOLDEN;
        empty[3] = 2;
        assert_eq!(packets(&empty[..12]).next(), Some(Err(Reject::Length)));
        let mut other = GOLDEN;
        other[0] = 0x8f;
        assert_eq!(packets(&other).next(), Some(Ok(Packet::Other { packet_type: 205, count: 15 })));
    }

    proptest! {
        #[test]
        fn what_is_asked_for_is_read(first: u16, steps in prop::collection::vec(1u16..40, 0..60)) {
            let mut number = first;
            let numbers: Vec<_> =
                steps.iter().map(|step| { number = number.wrapping_add(*step); number }).collect();
            let mut out = [0; 512];
            let mut builder = Builder::new(&mut out);
            builder.nack(1, 2, numbers.iter().copied().map(Sequence));
            let length = builder.finish().unwrap();
            prop_assert_eq!(lost(&out[..length]), numbers);
        }

        #[test]
        fn any_bytes_are_answered_in_bounded_work(body in prop::collection::vec(any::<u8>(), 0..128)) {
            let words = body.len() as u8 / 4;
            let datagram = [&[0x81, 205, 0, words][..], &body].concat();
            prop_assert!(lost(&datagram).len() <= 17 * usize::from(words));
        }
    }
}
