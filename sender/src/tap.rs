//! A copy of what is captured, for another thread, on the stream's own course of positions.

use proto::units::Position;
use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

/// Blocks on their way: two seconds of the shortest.
const BLOCKS: usize = 8192;

/// Where the send thread puts its copy. Never waits: what finds no room is left out.
pub struct Tap {
    samples: HeapProd<f32>,
    blocks: HeapProd<(Position, usize)>,
}

/// Where it comes out.
pub struct Outlet {
    samples: HeapCons<f32>,
    blocks: HeapCons<(Position, usize)>,
    block: Vec<f32>,
}

/// Both ends, with room for two seconds of `channels` at `rate`.
pub fn pair(rate: u32, channels: u16) -> (Tap, Outlet) {
    let (samples, samples_out) = HeapRb::new(2 * rate as usize * usize::from(channels)).split();
    let (blocks, blocks_out) = HeapRb::new(BLOCKS).split();
    let outlet = Outlet { samples: samples_out, blocks: blocks_out, block: Vec::new() };
    (Tap { samples, blocks }, outlet)
}

impl Tap {
    /// Takes whole frames, of which the first has this position.
    pub(crate) fn put(&mut self, position: Position, block: &[f32]) {
        if self.samples.vacant_len() >= block.len() && !self.blocks.is_full() {
            self.samples.push_slice(block);
            // There is room: this is the only producer.
            let _ = self.blocks.try_push((position, block.len()));
        }
    }
}

impl Outlet {
    /// The next block, if one is there.
    pub fn take(&mut self) -> Option<(Position, &[f32])> {
        let (position, length) = self.blocks.try_pop()?;
        self.block.resize(length, 0.0);
        self.samples.pop_slice(&mut self.block);
        Some((position, &self.block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_left_out_whole() {
        let (mut tap, mut outlet) = pair(10, 2);
        tap.put(Position(0), &[1.0; 30]);
        tap.put(Position(15), &[2.0; 12]);
        tap.put(Position(21), &[3.0; 10]);
        assert_eq!(outlet.take(), Some((Position(0), &[1.0; 30][..])));
        assert_eq!(outlet.take(), Some((Position(21), &[3.0; 10][..])));
        assert_eq!(outlet.take(), None);
    }
}
