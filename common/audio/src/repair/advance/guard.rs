//! The sender's side: packets go in as they are sent, packets of parity come out.
//!
//! Each lane has room for two blocks. While one fills, the rows of the one before leave in the rhythm of the
//! packets, so that all packets and rows of a block lie a spread apart.

use std::ops::Range;

use proto::parity::{Header, Prefix};
use proto::rtp::{self, HEADER_LENGTH};
use proto::units::{RtpTime, Sequence};

use super::Spec;
use crate::erasure;

/// Octets by which a packet of parity may be longer than the longest packet that it protects.
pub const OVERHEAD: usize = Header::LENGTH + Prefix::LENGTH;

/// Where the octets of a row begin in its packet.
const ROW_START: usize = HEADER_LENGTH + Header::LENGTH;

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    first: Sequence,
    /// Packets so far.
    count: u8,
    /// Time stamp of the last packet.
    newest: RtpTime,
    /// Octets of the longest image.
    length: usize,
}

/// Makes the parity of one RTP stream. See the [module](super) for the layout.
#[derive(Debug)]
pub struct Guard {
    spec: Spec,
    ssrc: u32,
    payload_type: u8,
    /// Of the next packet of parity.
    sequence: Sequence,
    /// Two for each lane: the one at `filling[lane]` fills, the other's rows leave.
    blocks: Vec<[Block; 2]>,
    filling: Vec<usize>,
    /// Every row as a whole packet, `room` octets each, by lane, block and index.
    rows: Vec<u8>,
    room: usize,
    /// Of the next media packet, where the blocks go on.
    expected: Option<Sequence>,
    /// The lane of the last media packet.
    lane: usize,
    /// Rows of that lane that are to leave now.
    due: Range<usize>,
}

impl Guard {
    /// A guard of packets of at most `max_packet` octets. `ssrc`, `payload_type` and `sequence` (the first
    /// number) are those of the parity's own RTP stream.
    pub fn new(spec: Spec, ssrc: u32, payload_type: u8, sequence: Sequence, max_packet: usize) -> Self {
        let lanes = usize::from(spec.spread());
        let room = max_packet.max(HEADER_LENGTH) + OVERHEAD;
        Self {
            spec,
            ssrc,
            payload_type,
            sequence,
            blocks: vec![[Block::default(); 2]; lanes],
            filling: vec![0; lanes],
            rows: vec![0; lanes * 2 * usize::from(spec.m()) * room],
            room,
            expected: None,
            lane: 0,
            due: 0..0,
        }
    }

    /// Takes a media packet as it is sent. One whose number does not follow the last one's begins new blocks,
    /// and so does what is no RTP packet or too long. Poll until empty before the next one.
    pub fn note(&mut self, packet: &[u8]) {
        let media = rtp::Packet::parse(packet).ok().filter(|_| packet.len() + OVERHEAD <= self.room);
        let Some(media) = media else { return self.begin_anew() };
        let number = media.header.sequence;
        if self.expected == Some(number) {
            self.lane = (self.lane + 1) % self.blocks.len();
        } else {
            self.begin_anew();
        }
        self.expected = Some(number.next());
        let (k, m) = (self.spec.k(), usize::from(self.spec.m()));
        if self.blocks[self.lane][self.filling[self.lane]].count == k {
            self.filling[self.lane] ^= 1;
            self.blocks[self.lane][self.filling[self.lane]].count = 0;
        }
        let filling = self.filling[self.lane];
        self.append(filling, &media);
        let share = usize::from(self.spec.share());
        let [block, leaving] = [filling, filling ^ 1].map(|index| self.blocks[self.lane][index]);
        let sent = (usize::from(block.count) - 1) * share;
        self.due = if leaving.count == k { sent.min(m)..(sent + share).min(m) } else { 0..0 };
    }

    /// The next packet of parity that is to be sent now, with the time stamp of the newest packet that it
    /// protects.
    pub fn poll(&mut self) -> Option<&[u8]> {
        let index = self.due.next()?;
        let leaving = self.filling[self.lane] ^ 1;
        let block = self.blocks[self.lane][leaving];
        let header = rtp::Header {
            marker: false,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp: block.newest,
            ssrc: self.ssrc,
        };
        self.sequence = self.sequence.next();
        let (k, m, spread) = (self.spec.k(), self.spec.m(), self.spec.spread());
        let parity = Header { first: block.first, k, m, spread, index: index as u8 };
        let start = self.row_start(leaving, index);
        let packet = &mut self.rows[start..start + ROW_START + block.length];
        packet[..HEADER_LENGTH].copy_from_slice(&header.to_bytes());
        packet[HEADER_LENGTH..ROW_START].copy_from_slice(&parity.to_bytes());
        Some(packet)
    }

    fn begin_anew(&mut self) {
        self.blocks.fill([Block::default(); 2]);
        self.expected = None;
        self.lane = 0;
        self.due = 0..0;
    }

    fn append(&mut self, filling: usize, media: &rtp::Packet<'_>) {
        let m = usize::from(self.spec.m());
        let start = self.row_start(filling, 0);
        let rows = &mut self.rows[start..start + m * self.room];
        let block = &mut self.blocks[self.lane][filling];
        if block.count == 0 {
            *block = Block { first: media.header.sequence, ..Block::default() };
            rows.fill(0);
        }
        let prefix = Prefix {
            length: media.payload.len() as u16,
            marker: media.header.marker,
            payload_type: media.header.payload_type,
            timestamp: media.header.timestamp,
        };
        for (index, row) in (0..).zip(rows.chunks_exact_mut(self.room)) {
            let factor = erasure::coefficient(index, block.count);
            let (head, tail) = row[ROW_START..].split_at_mut(Prefix::LENGTH);
            erasure::add(factor, &prefix.to_bytes(), head);
            erasure::add(factor, media.payload, tail);
        }
        block.count += 1;
        block.newest = media.header.timestamp;
        block.length = block.length.max(Prefix::LENGTH + media.payload.len());
    }

    fn row_start(&self, block: usize, index: usize) -> usize {
        ((self.lane * 2 + block) * usize::from(self.spec.m()) + index) * self.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(number: u16, payload: &[u8]) -> Vec<u8> {
        let header = rtp::Header {
            marker: false,
            payload_type: 96,
            sequence: Sequence(number),
            timestamp: RtpTime(u32::from(number) * 100),
            ssrc: 1,
        };
        [&header.to_bytes(), payload].concat()
    }

    fn noted(guard: &mut Guard, packet: &[u8]) -> Vec<Vec<u8>> {
        guard.note(packet);
        std::iter::from_fn(|| guard.poll().map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn one_row_is_the_exclusive_or() {
        let mut guard = Guard::new(Spec::new(2, 1, 1).unwrap(), 7, 100, Sequence(65535), 20);
        assert_eq!(noted(&mut guard, &packet(10, &[1, 2, 3])), Vec::<Vec<u8>>::new());
        assert_eq!(noted(&mut guard, &packet(11, &[0xf0])), Vec::<Vec<u8>>::new());
        let expected = [
            0x80,
            100,
            0xff,
            0xff,
            0,
            0,
            0x04,
            0x4c,
            0,
            0,
            0,
            7, // RTP, the time of packet 11
            0,
            10,
            2,
            1,
            1,
            0,
            0,
            0, // from packet 10, 2+1, row 0
            0,
            3 ^ 1,
            0,
            0,
            0,
            0,
            0x03 ^ 0x04,
            0xe8 ^ 0x4c, // lengths, type 96 twice, times
            0xf1,
            2,
            3,
        ];
        assert_eq!(noted(&mut guard, &packet(12, &[])), [expected]);
        assert_eq!(noted(&mut guard, &packet(13, &[])), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_gap_begins_new_blocks() {
        let mut guard = Guard::new(Spec::new(2, 1, 1).unwrap(), 7, 100, Sequence(0), 20);
        for number in [10, 11, 13] {
            assert_eq!(noted(&mut guard, &packet(number, &[])), Vec::<Vec<u8>>::new(), "{number}");
        }
        // What cannot be protected is a gap too.
        assert_eq!(noted(&mut guard, &packet(14, &[0; 9])), Vec::<Vec<u8>>::new());
        assert_eq!(noted(&mut guard, &packet(15, &[])), Vec::<Vec<u8>>::new());
        assert_eq!(noted(&mut guard, &packet(16, &[])), Vec::<Vec<u8>>::new());
        let parity = noted(&mut guard, &packet(17, &[]));
        assert_eq!(Header::parse(&parity[0][12..]).unwrap().0.first, Sequence(15));
    }

    proptest! {
        /// Row after row a spread apart, and never two of a block at once unless there are more rows than
        /// packets.
        #[test]
        fn rows_leave_in_the_rhythm_of_the_packets(k in 1u8..=8, m in 1u8..=8, spread in 1u8..=8) {
            let spec = Spec::new(k, m, spread).unwrap();
            let mut guard = Guard::new(spec, 7, 100, Sequence(0), 12);
            let blocks = 3u16;
            let count = u16::from(k) * u16::from(spread) * blocks;
            let mut rows = 0;
            for number in 0..count + u16::from(k) * u16::from(spread) {
                let parity = noted(&mut guard, &packet(number, &[]));
                prop_assert!(parity.len() <= usize::from(m.div_ceil(k)));
                for packet in parity {
                    let (header, _) = Header::parse(&packet[12..]).unwrap();
                    let last = header.first.0 + u16::from(k - 1) * u16::from(spread);
                    let step = 1 + u16::from(header.index / m.div_ceil(k));
                    prop_assert_eq!(number, last + step * u16::from(spread));
                    prop_assert_eq!(&packet[4..8], &(u32::from(last) * 100).to_be_bytes());
                    rows += 1;
                }
            }
            prop_assert_eq!(rows, u16::from(spread) * u16::from(m) * blocks);
        }
    }
}
