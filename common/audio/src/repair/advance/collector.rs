//! The receiver's side: rows of parity wait until what is missing of their block is no more than they can
//! rebuild.

use proto::Reject;
use proto::parity::{Header, Prefix};
use proto::units::RtpTime;

use crate::erasure::{self, MAX_ROWS, Matrix};
use crate::receive::MAX_PAYLOAD;

/// Octets of the longest row that is kept: the image of the largest payload.
pub const ROW: usize = Prefix::LENGTH + MAX_PAYLOAD;

/// Blocks of which something is missing.
const BLOCKS: usize = 64;
/// Rows of all blocks: 193 KiB.
const ROWS: usize = 128;

/// What is protected of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// The RTP header's marker.
    pub marker: bool,
    /// The RTP header's payload type.
    pub payload_type: u8,
    /// The RTP header's time stamp.
    pub timestamp: RtpTime,
    /// Codec octets.
    pub payload: &'a [u8],
}

impl Media<'_> {
    fn prefix(&self) -> [u8; Prefix::LENGTH] {
        Prefix {
            length: self.payload.len() as u16,
            marker: self.marker,
            payload_type: self.payload_type,
            timestamp: self.timestamp,
        }
        .to_bytes()
    }
}

/// The packets that came.
pub trait Packets {
    /// The packet of this number, as long as its octets are there, whether or not it was played.
    fn get(&self, sequence: u64) -> Option<Media<'_>>;

    /// The lowest number that is still of use: packets before it had their time.
    fn head(&self) -> u64;
}

/// A packet that was missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered<'a> {
    /// Its number.
    pub sequence: u64,
    /// Its contents, octet for octet.
    pub media: Media<'a>,
}

/// The rows that came of one block.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: u64,
    k: u8,
    m: u8,
    spread: u8,
    /// Octets of each row.
    length: usize,
    /// Index of each row, and where in the pool its octets are.
    rows: [(u8, u8); MAX_ROWS],
    count: usize,
    /// A bit for each column that was not there when last looked for.
    missing: u32,
}

#[derive(Debug, PartialEq)]
enum Outlook {
    /// Nothing of use is missing.
    Over,
    /// More is missing than there are rows.
    Waiting,
    /// What is missing can be rebuilt.
    Ready,
}

impl Block {
    fn new(header: &Header, first: u64, length: usize) -> Self {
        let missing = u32::MAX >> (32 - header.k);
        let (k, m, spread) = (header.k, header.m, header.spread);
        Self { first, k, m, spread, length, rows: [(0, 0); MAX_ROWS], count: 0, missing }
    }

    fn rows(&self) -> &[(u8, u8)] {
        &self.rows[..self.count]
    }

    fn sequence(&self, column: u8) -> u64 {
        self.first.wrapping_add(u64::from(column) * u64::from(self.spread))
    }

    fn is_missing(&self, column: u8) -> bool {
        self.missing & (1 << column) != 0
    }

    /// Looks again for what was missing: a packet that was there before need not be looked for.
    fn look(&mut self, packets: &impl Packets) -> Outlook {
        let mut of_use = false;
        for column in (0..self.k).rev() {
            if !self.is_missing(column) {
                continue;
            }
            let sequence = self.sequence(column);
            if packets.get(sequence).is_some() {
                self.missing &= !(1 << column);
            } else {
                of_use |= sequence >= packets.head();
            }
        }
        if !of_use {
            Outlook::Over
        } else if self.missing.count_ones() as usize > self.count {
            Outlook::Waiting
        } else {
            Outlook::Ready
        }
    }
}

/// A block that can be rebuilt: its rows hold the sums of what is missing.
#[derive(Debug)]
struct Solution {
    block: Block,
    matrix: Matrix,
    /// The missing columns, in the order of the matrix.
    columns: [u8; MAX_ROWS],
    count: usize,
    next: usize,
}

/// Rebuilds the packets of one RTP stream. Memory is taken at construction.
#[derive(Debug)]
pub struct Collector {
    /// The oldest first.
    blocks: Vec<Block>,
    /// Rows of [`ROW`] octets. Flat, so that the system gives memory only for those that are used.
    pool: Vec<u8>,
    free: Vec<u8>,
    solution: Option<Solution>,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            blocks: Vec::with_capacity(BLOCKS),
            pool: vec![0; ROWS * ROW],
            free: (0..ROWS as u8).collect(),
            solution: None,
        }
    }
}

impl Collector {
    /// Forgets everything: another stream begins.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.solution = None;
        self.free.clear();
        self.free.extend(0..ROWS as u8);
    }

    /// Takes a row of parity. `first` is the header's number on the scale of [`Packets`]. Where room is short,
    /// the oldest block is given up. Call [`recover`](Self::recover) until there is nothing more.
    ///
    /// # Errors
    /// [`Reject::Length`] for a row that is too short, too long or unlike the others of its block,
    /// [`Reject::Value`] for a block that changes its shape.
    pub fn note(&mut self, header: &Header, octets: &[u8], first: u64) -> Result<(), Reject> {
        if !header.is_sane() {
            return Err(Reject::Value);
        }
        if !(Prefix::LENGTH..=ROW).contains(&octets.len()) {
            return Err(Reject::Length);
        }
        let known = self.blocks.iter().find(|block| block.first == first);
        if let Some(block) = known {
            if (block.k, block.m, block.spread) != (header.k, header.m, header.spread) {
                return Err(Reject::Value);
            }
            if block.length != octets.len() {
                return Err(Reject::Length);
            }
            if block.rows().iter().any(|(index, _)| *index == header.index) {
                return Ok(());
            }
        }
        if self.free.is_empty() || known.is_none() && self.blocks.len() == BLOCKS {
            self.give_up(0);
        }
        let Some(place) = self.free.pop() else { return Ok(()) };
        self.pool[usize::from(place) * ROW..][..octets.len()].copy_from_slice(octets);
        let at = self.blocks.iter().position(|block| block.first == first).unwrap_or_else(|| {
            self.blocks.push(Block::new(header, first, octets.len()));
            self.blocks.len() - 1
        });
        let block = &mut self.blocks[at];
        block.rows[block.count] = (header.index, place);
        block.count += 1;
        Ok(())
    }

    /// Rebuilds one packet into `out`. Call it until there is nothing more, after each packet of media and of
    /// parity, with what was recovered put where `packets` finds it.
    pub fn recover<'o>(&mut self, packets: &impl Packets, out: &'o mut [u8; ROW]) -> Option<Recovered<'o>> {
        loop {
            let mut solution = self.solution.take().or_else(|| self.find(packets))?;
            if let Some((sequence, prefix)) = solution.hand_out(self.pool.as_chunks().0, packets, out) {
                self.solution = Some(solution);
                let payload = &out[Prefix::LENGTH..][..usize::from(prefix.length)];
                let Prefix { marker, payload_type, timestamp, .. } = prefix;
                return Some(Recovered {
                    sequence,
                    media: Media { marker, payload_type, timestamp, payload },
                });
            }
            self.release(&solution.block);
        }
    }

    /// Gives up every block that is over, and takes out the first that can be rebuilt.
    fn find(&mut self, packets: &impl Packets) -> Option<Solution> {
        let mut at = 0;
        while let Some(block) = self.blocks.get_mut(at) {
            match block.look(packets) {
                Outlook::Waiting => at += 1,
                Outlook::Over => self.give_up(at),
                Outlook::Ready => {
                    let block = self.blocks.remove(at);
                    let solution = Solution::new(block, packets, self.pool.as_chunks_mut().0);
                    if solution.is_some() {
                        return solution;
                    }
                    self.release(&block);
                }
            }
        }
        None
    }

    fn give_up(&mut self, at: usize) {
        if at < self.blocks.len() {
            let block = self.blocks.remove(at);
            self.release(&block);
        }
    }

    fn release(&mut self, block: &Block) {
        self.free.extend(block.rows().iter().map(|(_, place)| *place));
    }
}

impl Solution {
    /// Subtracts what is there from as many rows as columns are missing. `None` where the octets of a packet
    /// are gone or do not fit the rows.
    fn new(block: Block, packets: &impl Packets, pool: &mut [[u8; ROW]]) -> Option<Self> {
        let (mut columns, mut count) = ([0; MAX_ROWS], 0);
        for column in (0..block.k).filter(|column| block.is_missing(*column)) {
            *columns.get_mut(count)? = column;
            count += 1;
        }
        let rows = block.rows().get(..count)?;
        for column in (0..block.k).filter(|column| !block.is_missing(*column)) {
            let media = packets.get(block.sequence(column))?;
            if Prefix::LENGTH + media.payload.len() > block.length {
                return None;
            }
            let prefix = media.prefix();
            for (index, place) in rows {
                let factor = erasure::coefficient(*index, column);
                let (head, tail) = pool[usize::from(*place)].split_at_mut(Prefix::LENGTH);
                erasure::add(factor, &prefix, head);
                erasure::add(factor, media.payload, tail);
            }
        }
        let indices = block.rows.map(|(index, _)| index);
        let matrix = erasure::invert(&indices[..count], &columns[..count]);
        Some(Self { block, matrix, columns, count, next: 0 })
    }

    /// The next packet that is still missing and of use; its image is in `out` then.
    fn hand_out(
        &mut self,
        pool: &[[u8; ROW]],
        packets: &impl Packets,
        out: &mut [u8; ROW],
    ) -> Option<(u64, Prefix)> {
        while self.next < self.count {
            let missing = self.next;
            self.next += 1;
            let sequence = self.block.sequence(self.columns[missing]);
            if sequence < packets.head() || packets.get(sequence).is_some() {
                continue;
            }
            let image = &mut out[..self.block.length];
            image.fill(0);
            for (row, (_, place)) in self.block.rows[..self.count].iter().enumerate() {
                erasure::add(self.matrix.get(missing, row), &pool[usize::from(*place)], image);
            }
            return Some((sequence, checked(image)?));
        }
        None
    }
}

/// The prefix of an image that can have been one: the rest fits its length and is filled with zeros.
fn checked(image: &[u8]) -> Option<Prefix> {
    let prefix = Prefix::parse(image).ok()?;
    let padding = image.get(Prefix::LENGTH + usize::from(prefix.length)..)?;
    padding.iter().all(|octet| *octet == 0).then_some(prefix)
}
