//! Which packets were seen: roll-over counters (RFC 3711, section 3.3.1) and replay (section 3.3.2).

use super::MAX_INDEX;
use crate::units::Sequence;

/// Packets below the newest that may still come: half a second of the shortest ones in use.
const WINDOW: u64 = 1024;

const WORDS: usize = WINDOW as usize / 64;

/// What was seen of one stream of packets. A packet is noted only once it has been authenticated.
#[derive(Clone, Debug)]
pub struct Window {
    /// One above the highest index seen.
    next: u64,
    /// A bit for each index below that, by its remainder.
    seen: [u64; WORDS],
}

impl Window {
    /// A window to which everything below `next` has been seen: who comes later takes nothing from before.
    pub fn new(next: u64) -> Self {
        Self { next, seen: [u64::MAX; WORDS] }
    }

    /// One above the highest index seen.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The index that a sequence number most likely stands for: that which is nearest. `None` where that is none.
    pub fn index_of(&self, sequence: Sequence) -> Option<u64> {
        let ahead = sequence.0.wrapping_sub(self.next as u16) as i16;
        self.next.checked_add_signed(ahead.into()).filter(|index| *index < MAX_INDEX)
    }

    /// Whether a packet of this index was not seen yet.
    pub fn is_fresh(&self, index: u64) -> bool {
        let (word, bit) = place(index);
        index >= self.next || (self.next - index <= WINDOW && self.seen[word] & bit == 0)
    }

    /// Takes note of a packet that is authentic.
    pub fn note(&mut self, index: u64) {
        if index >= self.next {
            let skipped = self.next.max(index.saturating_sub(WINDOW))..index;
            for missing in skipped {
                let (word, bit) = place(missing);
                self.seen[word] &= !bit;
            }
            self.next = index + 1;
        }
        let (word, bit) = place(index);
        self.seen[word] |= bit;
    }

    /// Takes note that the sender is about to use `next`, as it says itself: after a long silence the roll-over counter cannot be
    /// told from sequence numbers.
    pub fn catch_up(&mut self, next: u64) {
        // Less than this, packets on their way may still come.
        const FAR: u64 = 1 << 14;
        if next > self.next + FAR {
            *self = Self::new(next);
        }
    }
}

fn place(index: u64) -> (usize, u64) {
    ((index / 64) as usize % WORDS, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_packet_is_fresh_once() {
        let mut window = Window::new(5);
        assert!(!window.is_fresh(4) && window.is_fresh(5));
        window.note(5);
        window.note(8);
        assert_eq!([5, 6, 7, 8, 9].map(|index| window.is_fresh(index)), [false, true, true, false, true]);
        window.note(8 + WINDOW);
        assert_eq!([8, 9, 10].map(|index| window.is_fresh(index)), [false, true, true]);
        window.note(1 << 40);
        assert!(!window.is_fresh((1 << 40) - WINDOW - 1) && window.is_fresh((1 << 40) - WINDOW + 1));
    }

    #[test]
    fn the_roll_over_counter_is_that_of_the_nearest_index() {
        let window = Window::new(0x1_0002);
        assert_eq!(window.index_of(Sequence(0xffff)), Some(0xffff));
        assert_eq!(window.index_of(Sequence(3)), Some(0x1_0003));
        assert_eq!(Window::new(0x1_fffe).index_of(Sequence(1)), Some(0x2_0001));
        assert_eq!(Window::new(1).index_of(Sequence(0xffff)), None, "before the first");
        assert_eq!(Window::new(MAX_INDEX - 1).index_of(Sequence(0)), None, "after the last");
    }

    #[test]
    fn a_sender_that_is_far_ahead_is_followed() {
        let mut window = Window::new(100);
        window.catch_up(200);
        assert!(window.is_fresh(150));
        window.catch_up(100_000);
        assert_eq!(window.index_of(Sequence(100_001u32 as u16)), Some(100_001));
        assert!(!window.is_fresh(99_999));
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice_and_nothing_near_is_lost(steps in prop::collection::vec((0u64..1500, 0u64..1100), 1..300)) {
            let (mut window, mut seen, mut newest) = (Window::new(1000), HashSet::new(), 1000);
            for (ahead, back) in steps {
                let index = (newest + ahead).saturating_sub(back);
                let fresh = index >= 1000 && index + WINDOW > newest && !seen.contains(&index);
                prop_assert_eq!(window.is_fresh(index), fresh, "{} of {}", index, newest);
                if fresh {
                    window.note(index);
                    seen.insert(index);
                    newest = newest.max(index);
                }
            }
        }
    }
}
