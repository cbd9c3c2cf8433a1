//! Repair on request, the sender's side: a [`History`] of what was sent, and the [`Requests`] of each client.
//!
//! What a client asks for is bounded: by a bucket of tokens, and by a short memory of what it just got. It can
//! make its sender send no more than that, whatever it asks.

use std::collections::VecDeque;

use proto::retransmission;
use proto::rtp;
use proto::units::{Mono, Sequence};

/// The last packets of one RTP stream. Memory is taken at construction.
#[derive(Debug)]
pub struct History {
    /// Octets of the packet in each slot.
    lengths: Vec<usize>,
    octets: Vec<u8>,
    max_packet: usize,
    newest: Sequence,
    /// Packets without a gap up to the newest.
    count: usize,
}

impl History {
    /// Most packets that are kept: half of all sequence numbers, so that none is taken for another.
    pub const MAX: usize = 1 << 15;

    /// Room for the last `packets` (rounded up to a power of two, at most [`MAX`](Self::MAX)) of at most
    /// `max_packet` octets.
    pub fn new(packets: usize, max_packet: usize) -> Self {
        let slots = packets.clamp(1, Self::MAX).next_power_of_two();
        Self {
            lengths: vec![0; slots],
            octets: vec![0; slots * max_packet],
            max_packet,
            newest: Sequence(0),
            count: 0,
        }
    }

    /// Takes a packet as it is sent. Where its number does not follow the last one's, the others are forgotten;
    /// so they are for what is no RTP packet or too long.
    pub fn note(&mut self, packet: &[u8]) {
        let fitting = rtp::Packet::parse(packet).ok().filter(|_| packet.len() <= self.max_packet);
        let Some(media) = fitting else {
            self.count = 0;
            return;
        };
        let number = media.header.sequence;
        let follows = self.newest.next() == number;
        self.count = if follows { self.lengths.len().min(self.count + 1) } else { 1 };
        self.newest = number;
        let slot = self.slot(number);
        self.lengths[slot] = packet.len();
        self.octets[slot * self.max_packet..][..packet.len()].copy_from_slice(packet);
    }

    /// Takes over what another of the same size holds, which keeps it.
    pub fn copy(&mut self, other: &Self) {
        if (self.lengths.len(), self.max_packet) != (other.lengths.len(), other.max_packet) {
            return;
        }
        (self.newest, self.count) = (other.newest, other.count);
        self.lengths.copy_from_slice(&other.lengths);
        let slots = self.octets.chunks_exact_mut(self.max_packet.max(1));
        let others = other.octets.chunks_exact(self.max_packet.max(1));
        for ((to, from), length) in slots.zip(others).zip(&self.lengths) {
            to[..*length].copy_from_slice(&from[..*length]);
        }
    }

    fn get(&self, sequence: Sequence) -> Option<&[u8]> {
        let age = usize::try_from(self.newest.since(sequence)).ok()?;
        let slot = self.slot(sequence);
        (age < self.count).then(|| &self.octets[slot * self.max_packet..][..self.lengths[slot]])
    }

    fn slot(&self, sequence: Sequence) -> usize {
        usize::from(sequence.0) % self.lengths.len()
    }
}

/// What one client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets a second in the long run, at least 1.
    pub rate: u32,
    /// Packets at once.
    pub burst: u32,
    /// For this long, in nanoseconds, a packet that was sent again is not sent once more.
    pub pause: i64,
}

/// What became of a client's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Numbers asked for.
    pub asked: u64,
    /// Packets sent again.
    pub sent: u64,
    /// Numbers beyond the limits.
    pub refused: u64,
    /// Numbers whose packets were no longer there.
    pub gone: u64,
}

/// Numbers that may wait, and packets that are remembered as sent.
const QUEUE: usize = 64;

/// The requests of one client, and its retransmission stream.
#[derive(Debug)]
pub struct Requests {
    limits: Limits,
    payload_type: u8,
    ssrc: u32,
    /// Of the next packet.
    sequence: Sequence,
    queue: VecDeque<Sequence>,
    /// The last packets sent, the newest last.
    sent: VecDeque<(Sequence, Mono)>,
    /// When the bucket is full again.
    full: Mono,
    counts: Counts,
}

impl Requests {
    /// Nothing asked for yet. `payload_type`, `ssrc` and `sequence` (the first number) are those of the
    /// retransmission stream.
    pub fn new(limits: Limits, payload_type: u8, ssrc: u32, sequence: Sequence) -> Self {
        Self {
            limits,
            payload_type,
            ssrc,
            sequence,
            queue: VecDeque::with_capacity(QUEUE),
            sent: VecDeque::with_capacity(QUEUE),
            full: Mono(i64::MIN),
            counts: Counts::default(),
        }
    }

    /// Takes a number that the client asked for. One that waits already or was just sent is passed over.
    pub fn ask(&mut self, now: Mono, sequence: Sequence) {
        self.counts.asked += 1;
        let just_sent = |(number, at): &(_, Mono)| *number == sequence && now.since(*at) < self.limits.pause;
        if self.queue.contains(&sequence) || self.sent.iter().any(just_sent) {
            return;
        }
        if self.queue.len() < QUEUE && self.take_token(now) {
            self.queue.push_back(sequence);
        } else {
            self.counts.refused += 1;
        }
    }

    /// Writes the next packet to be sent again into `out`, which has room for the longest packet and
    /// [`retransmission::OVERHEAD`], and returns its length.
    pub fn poll(&mut self, now: Mono, history: &History, out: &mut [u8]) -> Option<usize> {
        while let Some(number) = self.queue.pop_front() {
            let length = history.get(number).and_then(|original| {
                retransmission::write(original, self.payload_type, self.ssrc, self.sequence, out)
            });
            if length.is_some() {
                self.counts.sent += 1;
                self.sequence = self.sequence.next();
                if self.sent.len() == QUEUE {
                    self.sent.pop_front();
                }
                self.sent.push_back((number, now));
                return length;
            }
            self.counts.gone += 1;
        }
        None
    }

    /// What became of the requests so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A bucket of `burst` tokens, by the time that it takes to fill.
    fn take_token(&mut self, now: Mono) -> bool {
        let interval = 1_000_000_000 / i64::from(self.limits.rate.max(1));
        let full = self.full.max(now).plus(interval);
        let granted = full.since(now) <= interval.saturating_mul(self.limits.burst.into());
        if granted {
            self.full = full;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::units::RtpTime;

    const MILLISECOND: i64 = 1_000_000;
    const LIMITS: Limits = Limits { rate: 100, burst: 3, pause: MILLISECOND };

    fn packet(number: u16) -> Vec<u8> {
        let header = rtp::Header {
            marker: number == 1,
            payload_type: 11,
            sequence: Sequence(number),
            timestamp: RtpTime(u32::from(number) * 128),
            ssrc: 7,
        };
        [&header.to_bytes()[..], &number.to_be_bytes()[u8::from(number.is_multiple_of(2)).into()..]].concat()
    }

    fn history(packets: usize, numbers: impl Iterator<Item = u16>) -> History {
        let mut history = History::new(packets, 14);
        numbers.for_each(|number| history.note(&packet(number)));
        history
    }

    fn requests() -> Requests {
        Requests::new(LIMITS, 99, 8, Sequence(65535))
    }

    fn ask(requests: &mut Requests, now: i64, numbers: &[u16]) {
        numbers.iter().for_each(|number| requests.ask(Mono(now), Sequence(*number)));
    }

    /// The numbers that are sent again; each packet is checked octet for octet.
    fn sent(requests: &mut Requests, now: i64, history: &History) -> Vec<u16> {
        let mut numbers = vec![];
        let mut out = [0; 16];
        while let Some(length) = requests.poll(Mono(now), history, &mut out) {
            let again = rtp::Packet::parse(&out[..length]).unwrap();
            let (number, payload) = retransmission::parse(again.payload).unwrap();
            let header =
                rtp::Header { payload_type: 11, ssrc: 7, sequence: number, ..again.header }.to_bytes();
            assert_eq!([&header, payload].concat(), packet(number.0));
            numbers.push(number.0);
        }
        numbers
    }

    #[test]
    fn what_is_asked_for_comes_in_a_stream_of_its_own() {
        let history = history(8, 65_530..=65_535);
        let mut requests = requests();
        ask(&mut requests, 0, &[65_531, 65_534]);
        let mut out = [0; 16];
        for sequence in [65_535, 0] {
            let length = requests.poll(Mono(0), &history, &mut out).unwrap();
            let header = rtp::Packet::parse(&out[..length]).unwrap().header;
            assert_eq!((header.payload_type, header.ssrc, header.sequence), (99, 8, Sequence(sequence)));
        }
        assert_eq!(requests.poll(Mono(0), &history, &mut out), None);
    }

    #[test]
    fn the_bucket_fills_with_time() {
        let history = history(16, 1..=16);
        let mut requests = requests();
        ask(&mut requests, 0, &[1, 2, 3, 4]);
        assert_eq!(sent(&mut requests, 0, &history), [1, 2, 3]);
        ask(&mut requests, 10 * MILLISECOND - 1, &[4]);
        ask(&mut requests, 10 * MILLISECOND, &[5, 6]);
        assert_eq!(sent(&mut requests, 10 * MILLISECOND, &history), [5]);
        ask(&mut requests, 1000 * MILLISECOND, &[7, 8, 9, 10]);
        assert_eq!(sent(&mut requests, 1000 * MILLISECOND, &history), [7, 8, 9]);
        assert_eq!(requests.counts(), Counts { asked: 11, sent: 7, refused: 4, gone: 0 });
    }

    #[test]
    fn the_same_number_is_sent_once_within_the_pause() {
        let history = history(8, 1..=8);
        let mut requests = requests();
        ask(&mut requests, 0, &[5, 5]);
        assert_eq!(sent(&mut requests, 0, &history), [5]);
        ask(&mut requests, MILLISECOND - 1, &[5]);
        assert_eq!(sent(&mut requests, MILLISECOND - 1, &history), []);
        ask(&mut requests, MILLISECOND, &[5]);
        assert_eq!(sent(&mut requests, MILLISECOND, &history), [5]);
        assert_eq!(requests.counts(), Counts { asked: 4, sent: 2, refused: 0, gone: 0 });
    }

    #[test]
    fn what_was_never_sent_or_is_too_old_is_gone() {
        let with_gap = history(4, (1..=3).chain(5..=6));
        let full = history(4, 1..=6);
        for (history, numbers) in [(&with_gap, [3, 4, 7]), (&full, [2, 7, 40_000])] {
            let mut requests = requests();
            ask(&mut requests, 0, &numbers);
            assert_eq!(sent(&mut requests, 0, history), []);
            assert_eq!(requests.counts(), Counts { asked: 3, sent: 0, refused: 0, gone: 3 });
        }
        let mut requests = requests();
        ask(&mut requests, 0, &[3, 6]);
        assert_eq!(sent(&mut requests, 0, &full), [3, 6]);
        let mut too_long = full;
        too_long.note(&[0x80; 15]);
        ask(&mut requests, MILLISECOND, &[6]);
        assert_eq!(sent(&mut requests, MILLISECOND, &too_long), []);
    }

    proptest! {
        /// However a client asks, it gets no more than its share, and nothing twice within the pause.
        #[test]
        fn a_client_stays_within_its_limits(rate in 1u32..2000, burst in 0u32..50,
                                            steps in prop::collection::vec((0i64..5_000_000, 0u16..40), 1..300)) {
            let history = history(64, 0..40);
            let mut requests = Requests::new(Limits { rate, burst, pause: MILLISECOND }, 99, 8, Sequence(0));
            let mut now = 0;
            let mut last = [i64::MIN / 2; 40];
            let mut total = 0;
            for (step, number) in steps {
                now += step;
                ask(&mut requests, now, &[number]);
                for number in sent(&mut requests, now, &history) {
                    prop_assert!(now - last[usize::from(number)] >= MILLISECOND);
                    last[usize::from(number)] = now;
                    total += 1;
                }
                // Intervals are whole nanoseconds, rounded down.
                let filled = now / (1_000_000_000 / i64::from(rate));
                prop_assert!(total <= i64::from(burst) + filled, "{total} after {now} ns");
            }
            let counts = requests.counts();
            prop_assert_eq!((counts.sent, counts.gone), (total as u64, 0));
        }
    }
}
