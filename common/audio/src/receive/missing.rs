//! Which packets are missing, and when to ask the sender for them (again).
//!
//! A packet is missing once a later one has come, or once it is overdue: in a burst of losses nothing later comes, and
//! waiting for it would use up the time there is. Questions and answers may be lost as well, so a question is repeated
//! after a round trip, and more often when time runs out.

use proto::units::Mono;

/// Packets that are kept in mind; a power of two.
const ROOM: usize = 512;
/// Questions for one packet.
const MOST_ASKS: u8 = 10;
/// Packets asked for at a time.
const AT_ONCE: usize = 64;
/// Round trip until one was measured, in nanoseconds.
const FIRST_GUESS: i64 = 4_000_000;
/// Shortest time between two questions for the same packet, in nanoseconds.
const SHORTEST: i64 = 1_000_000;
/// Packets that are found missing at a time: of a longer outage, the newest.
const AT_A_TIME: u64 = 128;
/// Questions that each packet of the stream allows, and the most that are saved up. What was never sent cannot be asked for
/// without end.
const ALLOWANCE: u32 = 2;
const SAVED: u32 = 512;
/// Longest that packets out of order are waited for, in nanoseconds.
const LONGEST_REORDER: i64 = 5_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    sequence: u64,
    open: bool,
    /// Found out by a later packet, not by the clock.
    overtaken: bool,
    asks: u8,
    /// When it was found out, first asked for, and when to ask (again).
    found: Mono,
    first_asked: Mono,
    due: Mono,
}

#[derive(Debug)]
pub(super) struct Missing {
    holes: Vec<Hole>,
    open: usize,
    /// The lowest number that may be open, and the one after the highest that came or is overdue.
    lowest: u64,
    next: u64,
    round_trip: i64,
    measured: bool,
    /// How long packets that were overtaken took to come after all.
    reorder: i64,
    /// What all but 2 % of the packets are late by, at most.
    usual_lateness: i64,
    due: Vec<u64>,
    /// Questions that may be asked.
    allowed: u32,
}

impl Missing {
    pub(super) fn new() -> Self {
        Self {
            holes: vec![Hole::default(); ROOM],
            open: 0,
            lowest: 0,
            next: 0,
            round_trip: FIRST_GUESS,
            measured: false,
            reorder: 0,
            usual_lateness: SHORTEST,
            due: Vec::with_capacity(AT_ONCE),
            allowed: SAVED,
        }
    }

    /// A stream begins with this number.
    pub(super) fn restart(&mut self, first: u64) {
        self.holes.iter_mut().for_each(|hole| hole.open = false);
        self.open = 0;
        (self.lowest, self.next) = (first, first);
    }

    /// The number after the highest that came or is overdue.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How late a packet may be before it counts as overdue, in nanoseconds.
    pub(super) fn allowance(&self) -> i64 {
        self.usual_lateness + SHORTEST
    }

    /// Takes how late a packet was: the 98th percentile by small steps, 49 of them up for each one down.
    pub(super) fn note_lateness(&mut self, late: i64) {
        const STEP: i64 = 5_000;
        let step = if late > self.usual_lateness { 49 * STEP } else { -STEP };
        self.usual_lateness = (self.usual_lateness + step).max(0);
    }

    /// Another sender: nothing is known of the way to it.
    pub(super) fn forget(&mut self) {
        (self.round_trip, self.measured) = (FIRST_GUESS, false);
        (self.reorder, self.usual_lateness) = (0, SHORTEST);
    }

    /// A packet came as it was sent first.
    pub(super) fn arrived(&mut self, sequence: u64, at: Mono) {
        self.allowed = (self.allowed + ALLOWANCE).min(SAVED);
        if sequence >= self.next {
            self.open_until(sequence, at, true);
            self.next = sequence + 1;
        } else if let Some(hole) = self.close(sequence).filter(|hole| hole.overtaken) {
            let took = at.since(hole.found).min(LONGEST_REORDER);
            self.reorder = self.reorder.max(took);
        }
    }

    /// A packet came in answer to a question. Returns whether it was missing.
    pub(super) fn answered(&mut self, sequence: u64, at: Mono) -> bool {
        let Some(hole) = self.close(sequence).filter(|hole| hole.asks > 0) else { return false };
        let took = at.since(hole.first_asked).max(0);
        if !self.measured || (hole.asks == 1 && took < self.round_trip) {
            self.round_trip = took;
            self.measured = true;
        } else if hole.asks == 1 {
            self.round_trip += (took - self.round_trip) / 8;
        }
        true
    }

    /// A packet was rebuilt otherwise.
    pub(super) fn recovered(&mut self, sequence: u64) {
        self.close(sequence);
    }

    /// Everything below `sequence` should have come by now.
    pub(super) fn overdue_below(&mut self, sequence: u64, now: Mono) {
        if sequence > self.next {
            self.open_until(sequence, now, false);
            self.next = sequence;
        }
    }

    fn open_until(&mut self, sequence: u64, now: Mono, overtaken: bool) {
        if self.reorder > 0 {
            self.reorder -= self.reorder / 256 + 1;
        }
        // Of a long outage only the newest can be kept in mind.
        for number in self.next.max(sequence.saturating_sub(AT_A_TIME))..sequence {
            let due = if overtaken { now.plus(self.reorder) } else { now };
            let hole = &mut self.holes[number as usize % ROOM];
            self.open += usize::from(!hole.open);
            *hole =
                Hole { sequence: number, open: true, overtaken, asks: 0, found: now, first_asked: now, due };
        }
        self.lowest = self.lowest.max(sequence.saturating_sub(ROOM as u64));
    }

    fn close(&mut self, sequence: u64) -> Option<Hole> {
        let hole = &mut self.holes[sequence as usize % ROOM];
        if !hole.open || hole.sequence != sequence {
            return None;
        }
        hole.open = false;
        self.open -= 1;
        Some(*hole)
    }

    /// When to ask next.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        if self.open == 0 {
            return None;
        }
        (self.lowest..self.next).filter_map(|number| self.get(number)).map(|hole| hole.due).min()
    }

    fn get(&self, number: u64) -> Option<&Hole> {
        let hole = &self.holes[number as usize % ROOM];
        (hole.open && hole.sequence == number).then_some(hole)
    }

    /// The numbers to ask for now, ascending. What lies below `played` is given up; `deadline` says when a packet is
    /// played.
    pub(super) fn poll(&mut self, now: Mono, played: u64, deadline: impl Fn(u64) -> Option<Mono>) -> &[u64] {
        self.due.clear();
        while self.lowest < played.min(self.next) {
            self.close(self.lowest);
            self.lowest += 1;
        }
        if self.open == 0 {
            self.lowest = self.next;
            return &self.due;
        }
        for number in self.lowest..self.next {
            let Some(hole) = self.get(number) else { continue };
            if hole.due > now || self.due.len() == AT_ONCE {
                continue;
            }
            let left = deadline(number).map_or(i64::MAX, |deadline| deadline.since(now));
            // What cannot come in time is not worth a question; the round trip is an average, so not quite all of it.
            if hole.asks >= MOST_ASKS || left < self.round_trip / 4 * 3 {
                if hole.asks == 0 && left > 0 {
                    // Without a question there is no answer that could say better.
                    self.round_trip -= self.round_trip / 16;
                }
                self.close(number);
                continue;
            }
            if self.allowed == 0 {
                // Packets that come allow for more.
                self.holes[number as usize % ROOM].due = now.plus(LONGEST_REORDER);
                continue;
            }
            self.allowed -= 1;
            let patient = self.round_trip + self.round_trip / 4;
            let interval = if left < 4 * patient { patient / 3 } else { patient };
            let hole = &mut self.holes[number as usize % ROOM];
            if hole.asks == 0 {
                hole.first_asked = now;
            }
            hole.asks += 1;
            hole.due = now.plus(interval.max(SHORTEST));
            self.due.push(number);
        }
        &self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn ask(missing: &mut Missing, at: i64, played: u64, deadline: i64) -> Vec<u64> {
        missing.poll(Mono(at), played, |_| Some(Mono(deadline))).to_vec()
    }

    fn missing(came: &[(u64, i64)]) -> Missing {
        let mut missing = Missing::new();
        missing.restart(100);
        came.iter().for_each(|&(sequence, at)| missing.arrived(sequence, Mono(at)));
        missing
    }

    #[test]
    fn asks_for_what_was_overtaken_and_again_after_a_round_trip() {
        let mut missing = missing(&[(100, 0), (103, 3 * MS)]);
        assert_eq!(ask(&mut missing, 3 * MS, 0, 100 * MS), [101, 102]);
        assert_eq!(ask(&mut missing, 4 * MS, 0, 100 * MS), []);
        assert_eq!(missing.poll_timeout(), Some(Mono(8 * MS)));
        missing.answered(101, Mono(5 * MS));
        assert_eq!(missing.round_trip, 2 * MS);
        assert_eq!(ask(&mut missing, 8 * MS, 0, 100 * MS), [102]);
        missing.recovered(102);
        assert_eq!((ask(&mut missing, 50 * MS, 0, 100 * MS), missing.poll_timeout()), (vec![], None));
    }

    #[test]
    fn asks_for_what_is_overdue_before_anything_later_comes() {
        let mut missing = missing(&[(100, 0)]);
        missing.overdue_below(102, Mono(6 * MS));
        assert_eq!(ask(&mut missing, 6 * MS, 0, 100 * MS), [101]);
        missing.arrived(101, Mono(7 * MS));
        missing.arrived(102, Mono(8 * MS));
        assert_eq!(ask(&mut missing, 50 * MS, 0, 100 * MS), []);
    }

    #[test]
    fn asks_more_often_when_time_runs_out_and_not_when_it_is_over() {
        let asks = |deadline: i64| {
            let mut missing = missing(&[(100, 0), (102, 0)]);
            (0..100).filter(|ms| !ask(&mut missing, ms * MS, 0, deadline).is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(asks(12 * MS), [0, 2, 4, 6, 8]);
        assert_eq!(asks(24 * MS), [0, 5, 7, 9, 11, 13, 15, 17, 19, 21]);
        assert_eq!(asks(2 * MS), []);
    }

    #[test]
    fn what_was_played_is_given_up() {
        let mut missing = missing(&[(100, 0), (105, 0)]);
        assert_eq!(ask(&mut missing, 0, 103, 100 * MS), [103, 104]);
    }

    #[test]
    fn packets_out_of_order_teach_it_to_wait() {
        let mut missing = missing(&[(100, 0), (102, MS), (101, 2 * MS), (104, 3 * MS)]);
        assert_eq!(ask(&mut missing, 3 * MS, 0, 100 * MS), []);
        assert_eq!(ask(&mut missing, 4 * MS, 0, 100 * MS), [103]);
    }

    #[test]
    fn an_outage_longer_than_its_memory_is_survived() {
        let mut missing = missing(&[(100, 0), (100 + (1 << 40), MS)]);
        assert_eq!(ask(&mut missing, MS, 0, 100 * MS).len(), AT_ONCE);
        missing.restart(0);
        assert_eq!(missing.poll_timeout(), None);
    }
}
