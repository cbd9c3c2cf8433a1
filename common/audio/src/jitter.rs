//! The jitter buffer: packets in the order of their sequence numbers, waiting for their time.
//!
//! Memory is taken once, at construction, and touched as far as it is needed: the system need not find any for the rest. A packet
//! costs a copy and constant work, on the average: now and then the slots are doubled.

use proto::pcm::{ByteOrder, Sample};
use proto::units::{Position, RtpTime};

/// How a payload is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Pcm(Sample),
    Opus,
}

impl Coding {
    pub(crate) const HEADERLESS: Self = Self::Pcm(Sample::Bits16(ByteOrder::Little));
    pub(crate) const L16: Self = Self::Pcm(Sample::Bits16(ByteOrder::Big));
    pub(crate) const L24: Self = Self::Pcm(Sample::Bits24(ByteOrder::Big));
}

/// Of a slot that is void.
impl Default for Coding {
    fn default() -> Self {
        Self::HEADERLESS
    }
}

/// What an RTP header says that has to be known to rebuild other packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) timestamp: RtpTime,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Use {
    #[default]
    Void,
    Waiting,
    /// Played or given up; its octets may still help to rebuild others.
    Done,
}

/// What is needed to decode a packet later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    sequence: u64,
    usage: Use,
    pub(crate) label: Label,
    pub(crate) position: Position,
    pub(crate) frames: u32,
    pub(crate) channels: u16,
    pub(crate) coding: Coding,
    length: u32,
}

impl Slot {
    fn end(&self) -> Position {
        self.position.advanced(u64::from(self.frames))
    }
}

/// A packet to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) sequence: u64,
    pub(crate) position: Position,
    pub(crate) frames: u32,
    pub(crate) channels: u16,
    pub(crate) coding: Coding,
    pub(crate) label: Label,
    pub(crate) payload: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    Kept,
    Late,
    Duplicate,
    /// Larger than a slot.
    TooLong,
}

/// What stands at the cursor.
#[derive(Debug, PartialEq)]
pub(crate) enum Span<'a> {
    /// A packet that covers the cursor: `skip` frames of it lie before.
    Audio { slot: Slot, payload: &'a [u8], skip: u32 },
    /// Nothing for this many frames, then this payload.
    Gap(u64, &'a [u8]),
    /// Nothing at all from here on.
    Empty,
}

/// Frames in the shortest packets that the buffer's length is meant for.
pub(crate) const SHORTEST: usize = 16;

/// Slots to begin with.
const FEW: usize = 64;

pub(crate) struct JitterBuffer {
    /// Those in use, a power of two.
    slots: Vec<Slot>,
    /// Packets that stay beside those that wait: once played, they may help to rebuild others.
    kept: u64,
    /// How many there may be, and how many for packets as long as the first of the stream.
    room: usize,
    limit: usize,
    octets: Vec<u8>,
    slot_size: usize,
    /// The lowest sequence number that may still be played.
    head: u64,
    /// One past the highest sequence number kept.
    tail: u64,
    /// One past the last frame kept.
    end: Position,
    lost: u64,
    overflowed: u64,
}

impl JitterBuffer {
    /// Room for `slots` packets (rounded up to a power of two) of [`SHORTEST`] frames and `slot_size` payload octets.
    pub(crate) fn new(slots: usize, slot_size: usize) -> Self {
        let room = slots.next_power_of_two();
        let mut slots = Vec::with_capacity(room);
        slots.resize(FEW.min(room), Slot::default());
        Self {
            slots,
            kept: 0,
            room,
            limit: room,
            octets: vec![0; room * slot_size],
            slot_size,
            head: 0,
            tail: 0,
            end: Position(0),
            lost: 0,
            overflowed: 0,
        }
    }

    /// Has so many packets stay beside those that wait, as far as there is room.
    pub(crate) fn keep(&mut self, packets: u64) {
        self.kept = self.kept.max(packets);
    }

    /// Forgets every packet. The next one inserted is the first.
    pub(crate) fn clear(&mut self) {
        self.slots.truncate(FEW);
        self.slots.fill(Slot::default());
        (self.head, self.tail, self.kept) = (0, 0, 0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// The lowest sequence number that may still be played.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// One past the highest sequence number kept.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// One past the last frame that was ever kept.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// The first frame that is there.
    pub(crate) fn start(&self) -> Option<Position> {
        (self.head..self.tail).find_map(|sequence| self.get(sequence)).map(|slot| slot.position)
    }

    /// Whether every frame of so many from `cursor` on is there.
    pub(crate) fn covers(&self, cursor: Position, frames: u64) -> bool {
        let end = cursor.advanced(frames);
        self.whole_until(cursor, end).0 >= end
    }

    /// Whether something is missing within `frames` from the cursor on that later audio follows.
    pub(crate) fn breaks(&self, cursor: Position, frames: u64) -> bool {
        self.whole_until(cursor, cursor.advanced(frames)).1
    }

    /// How far nothing is missing from the cursor on, at least to `end` or else as far as it goes, and whether later audio
    /// follows what is missing there.
    fn whole_until(&self, cursor: Position, end: Position) -> (Position, bool) {
        let mut reach = cursor;
        for slot in (self.head..self.tail).filter_map(|sequence| self.get(sequence)) {
            if reach >= end {
                break;
            }
            if slot.position > reach {
                return (reach, true);
            }
            reach = reach.max(slot.end());
        }
        (reach, false)
    }

    /// Packets that were due and not there, since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Packets pushed out by newer ones, since the last call.
    pub(crate) fn take_overflowed(&mut self) -> u64 {
        std::mem::take(&mut self.overflowed)
    }

    pub(crate) fn insert(&mut self, entry: &Entry<'_>) -> Inserted {
        if entry.payload.len() > self.slot_size {
            return Inserted::TooLong;
        }
        if self.is_empty() && self.head == 0 {
            (self.head, self.tail) = (entry.sequence, entry.sequence);
            self.limit = self.enough_for(entry.frames);
        }
        if entry.sequence < self.head {
            return Inserted::Late;
        }
        if self.get(entry.sequence).is_some() {
            return Inserted::Duplicate;
        }
        self.make_room(entry.sequence);
        let index = self.index(entry.sequence);
        self.slots[index] = Slot {
            sequence: entry.sequence,
            usage: Use::Waiting,
            label: entry.label,
            position: entry.position,
            frames: entry.frames,
            channels: entry.channels,
            coding: entry.coding,
            length: entry.payload.len() as u32,
        };
        self.octets[index * self.slot_size..][..entry.payload.len()].copy_from_slice(entry.payload);
        self.tail = self.tail.max(entry.sequence + 1);
        self.end = self.end.max(self.slots[index].end());
        Inserted::Kept
    }

    /// Before anything is played, an earlier packet than the first may still come; the buffer then begins with it.
    pub(crate) fn reach_back(&mut self, sequence: u64) {
        let too_far = self.tail.saturating_sub(sequence) > self.limit as u64;
        if sequence < self.head && !self.is_empty() && !too_far {
            self.head = sequence;
        }
    }

    /// What stands at `cursor`. Packets that lie wholly before it are given up.
    pub(crate) fn span(&mut self, cursor: Position) -> Span<'_> {
        let mut sequence = self.head;
        while sequence < self.tail {
            let Some(slot) = self.get(sequence).copied() else {
                sequence += 1;
                continue;
            };
            if slot.position > cursor {
                return Span::Gap(slot.position.since(cursor) as u64, self.payload(sequence, &slot));
            }
            // Everything before this packet had its time.
            self.lost += sequence - self.head;
            self.head = sequence;
            if slot.end() > cursor {
                let skip = cursor.since(slot.position) as u32;
                return Span::Audio { slot, payload: self.payload(sequence, &slot), skip };
            }
            self.free(sequence);
            self.head = sequence + 1;
            sequence += 1;
        }
        Span::Empty
    }

    /// Label and payload of a packet that has come, even if it was played already.
    pub(crate) fn packet(&self, sequence: u64) -> Option<(Label, &[u8])> {
        let slot = &self.slots[self.index(sequence)];
        let known = slot.usage != Use::Void && slot.sequence == sequence;
        known.then(|| (slot.label, self.payload(sequence, slot)))
    }

    fn payload(&self, sequence: u64, slot: &Slot) -> &[u8] {
        &self.octets[self.index(sequence) * self.slot_size..][..slot.length as usize]
    }

    fn make_room(&mut self, sequence: u64) {
        let waiting = self.tail.max(sequence + 1) - self.head;
        while waiting.saturating_add(self.kept) > self.slots.len() as u64 && self.slots.len() < self.limit {
            self.double();
        }
        let lowest = (sequence + 1).saturating_sub(self.slots.len() as u64);
        // After a jump, everything goes; no need to visit each number in between.
        let visit = lowest.min(self.tail);
        while self.head < visit {
            self.overflowed += u64::from(self.get(self.head).is_some());
            self.free(self.head);
            self.head += 1;
        }
        if self.head < lowest {
            self.head = lowest;
            self.tail = self.tail.max(lowest);
        }
    }

    /// Takes as many slots again, and moves half of the packets there. Nothing is allocated.
    fn double(&mut self) {
        let half = self.slots.len();
        self.slots.resize(2 * half, Slot::default());
        for index in 0..half {
            let slot = self.slots[index];
            if slot.sequence & half as u64 != 0 {
                self.slots.swap(index, index + half);
                let from = index * self.slot_size;
                self.octets.copy_within(from..from + slot.length as usize, from + half * self.slot_size);
            }
        }
    }

    /// Twice the slots that packets of so many frames take.
    fn enough_for(&self, frames: u32) -> usize {
        let enough = 2 * self.room * SHORTEST / (frames as usize).max(SHORTEST);
        enough.next_power_of_two().max(FEW).min(self.room)
    }

    fn free(&mut self, sequence: u64) {
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        if slot.sequence == sequence && slot.usage == Use::Waiting {
            slot.usage = Use::Done;
        }
    }

    fn get(&self, sequence: u64) -> Option<&Slot> {
        let slot = &self.slots[self.index(sequence)];
        (slot.usage == Use::Waiting && slot.sequence == sequence).then_some(slot)
    }

    fn index(&self, sequence: u64) -> usize {
        (sequence as usize) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(sequence: u64, payload: &[u8]) -> Entry<'_> {
        Entry {
            sequence,
            position: Position(sequence * 10),
            frames: 10,
            channels: 1,
            coding: Coding::L16,
            label: Label::default(),
            payload,
        }
    }

    fn audio_at(buffer: &mut JitterBuffer, cursor: u64) -> Option<(u64, u32)> {
        match buffer.span(Position(cursor)) {
            Span::Audio { slot, skip, .. } => Some((slot.sequence, skip)),
            _ => None,
        }
    }

    #[test]
    fn long_packets_leave_most_slots_alone() {
        let mut buffer = JitterBuffer::new(512, 4);
        for sequence in 0..2000 {
            buffer.insert(&Entry { frames: 128, ..entry(sequence, &[1; 4]) });
        }
        assert_eq!(buffer.take_overflowed(), 2000 - 128);
        assert!(buffer.octets[..128 * 4].iter().all(|octet| *octet == 1));
        assert!(buffer.octets[128 * 4..].iter().all(|octet| *octet == 0));
    }

    #[test]
    fn packets_that_are_played_in_time_leave_most_slots_alone() {
        let mut buffer = JitterBuffer::new(512, 4);
        for sequence in 0..2000 {
            buffer.insert(&entry(sequence, &[1; 4]));
            assert!(audio_at(&mut buffer, (sequence * 10).saturating_sub(300)).is_some());
        }
        assert_eq!(buffer.slots.len(), 64);
        assert!(buffer.packet(1999 - 63).is_some() && buffer.packet(1999 - 64).is_none());
        assert!(buffer.octets[64 * 4..].iter().all(|octet| *octet == 0));
    }

    #[test]
    fn packets_stay_while_slots_are_added() {
        let mut buffer = JitterBuffer::new(512, 4);
        buffer.keep(64);
        let payload = |sequence: u64| (sequence as u32).to_be_bytes();
        for sequence in 1000..1300 {
            buffer.insert(&entry(sequence, &payload(sequence)));
            buffer.span(Position((sequence - 180).max(1000) * 10));
        }
        assert_eq!((buffer.head, buffer.slots.len()), (1119, 256));
        for sequence in 1300 - 256..1300 {
            let (_, kept) = buffer.packet(sequence).unwrap();
            assert_eq!(kept, payload(sequence));
        }
        buffer.clear();
        assert_eq!(buffer.slots.len(), 64);
        assert!((1000..1300).all(|sequence| buffer.packet(sequence).is_none()));
    }

    #[test]
    fn what_is_whole_is_known() {
        let mut buffer = JitterBuffer::new(8, 16);
        for sequence in [1, 2, 4] {
            buffer.insert(&entry(sequence, &[0; 2]));
        }
        let covers = |cursor, frames| buffer.covers(Position(cursor), frames);
        assert!(covers(10, 20) && covers(15, 15) && covers(40, 10));
        assert!(!covers(9, 1) && !covers(10, 21) && !covers(25, 20) && !covers(45, 6));
        let breaks = |cursor, frames| buffer.breaks(Position(cursor), frames);
        assert!(breaks(10, 21) && breaks(25, 20) && breaks(9, 2));
        // What has not come yet is not missing.
        assert!(!breaks(10, 20) && !breaks(40, 20) && !breaks(45, 6));
    }

    #[test]
    fn plays_in_order_whatever_the_arrival() {
        let mut buffer = JitterBuffer::new(8, 4);
        for sequence in [5, 7, 6] {
            assert_eq!(buffer.insert(&entry(sequence, &[sequence as u8])), Inserted::Kept);
        }
        assert_eq!(buffer.insert(&entry(6, &[0])), Inserted::Duplicate);
        assert_eq!(audio_at(&mut buffer, 50), Some((5, 0)));
        assert_eq!(audio_at(&mut buffer, 63), Some((6, 3)));
        assert_eq!(audio_at(&mut buffer, 70), Some((7, 0)));
        assert_eq!(buffer.insert(&entry(6, &[0])), Inserted::Late);
        assert_eq!(buffer.span(Position(80)), Span::Empty);
        assert_eq!(buffer.take_lost(), 0);
    }

    #[test]
    fn a_missing_packet_is_a_gap_until_it_comes_or_its_time_is_over() {
        let mut buffer = JitterBuffer::new(8, 4);
        buffer.insert(&entry(5, &[]));
        buffer.insert(&entry(8, &[]));
        assert_eq!(buffer.span(Position(60)), Span::Gap(20, &[]));
        buffer.insert(&entry(7, &[]));
        assert_eq!(buffer.span(Position(62)), Span::Gap(8, &[]));
        assert_eq!(audio_at(&mut buffer, 72), Some((7, 2)));
        assert_eq!(buffer.take_lost(), 1);
        assert_eq!(audio_at(&mut buffer, 80), Some((8, 0)));
        assert_eq!(buffer.take_lost(), 0);
    }

    #[test]
    fn an_earlier_packet_may_come_before_play_begins() {
        let mut buffer = JitterBuffer::new(8, 4);
        buffer.insert(&entry(5, &[]));
        assert_eq!(buffer.insert(&entry(4, &[])), Inserted::Late);
        buffer.reach_back(4);
        assert_eq!(buffer.insert(&entry(4, &[])), Inserted::Kept);
        assert_eq!(buffer.start(), Some(Position(40)));
        buffer.reach_back(0);
        assert_eq!(buffer.insert(&entry(0, &[])), Inserted::Kept);
        assert_eq!(buffer.take_overflowed(), 0);
    }

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let mut buffer = JitterBuffer::new(4, 4);
        for sequence in 1..=6 {
            buffer.insert(&entry(sequence, &[]));
        }
        assert_eq!(buffer.take_overflowed(), 2);
        assert_eq!(buffer.start(), Some(Position(30)));
        buffer.insert(&entry(1 << 40, &[]));
        assert_eq!(buffer.take_overflowed(), 4);
        assert_eq!(buffer.start(), Some(Position(10 << 40)));
        assert_eq!(buffer.insert(&entry(9, &[0; 5])), Inserted::TooLong);
    }

    proptest! {
        /// Against a sorted map that knows no limits.
        #[test]
        fn agrees_with_a_model(order in prop::collection::vec(1u64..60, 1..80), step in 1u64..15) {
            let mut buffer = JitterBuffer::new(64, 4);
            let mut model = std::collections::BTreeMap::new();
            buffer.reach_back(0);
            let mut cursor = 0;
            let mut first = true;
            for sequence in order {
                if first { cursor = sequence * 10; first = false; }
                let kept = buffer.insert(&entry(sequence, &[])) == Inserted::Kept;
                let playable = sequence * 10 + 10 > cursor;
                if kept { model.insert(sequence, ()); }
                prop_assert!(!kept || playable || sequence >= buffer.head);
                let expected = model.range(cursor / 10..).next().map(|(s, ())| *s);
                match buffer.span(Position(cursor)) {
                    Span::Audio { slot, skip, .. } => {
                        prop_assert_eq!(Some(slot.sequence), expected);
                        prop_assert_eq!(slot.sequence * 10 + u64::from(skip), cursor);
                    }
                    Span::Gap(frames, _) => prop_assert_eq!(Some((cursor + frames) / 10), expected),
                    Span::Empty => prop_assert_eq!(expected, None),
                }
                cursor += step;
            }
        }
    }
}
