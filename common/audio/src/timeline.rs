//! When a position is to leave the DAC: the earliest arrival seen, plus the latency.
//!
//! Without the sender's clock, the packets that met the least delay are the best witness of it. Two adjoining windows
//! of arrivals are kept, and the earlier of the two minima counts: the reference follows a sender whose clock drifts,
//! and no single window's bad luck moves it.

use proto::units::{self, Mono, Position};

/// Length of a window, in nanoseconds: several times a Wi-Fi stall, short against any drift.
const WINDOW: i64 = 2_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    rate: u32,
    /// A position near the stream's current one, so that no product grows beyond exact arithmetic.
    base: Position,
    /// Least arrival − media time of the last full window and of the current one, in nanoseconds.
    former: Option<i64>,
    current: Option<i64>,
    window_ends: Mono,
}

impl Timeline {
    pub(crate) fn new(rate: u32, base: Position) -> Self {
        Self { rate, base, former: None, current: None, window_ends: Mono(i64::MAX) }
    }

    /// Takes the arrival of a packet that begins with `position`.
    pub(crate) fn note(&mut self, position: Position, at: Mono) {
        let offset = at.0.saturating_sub(self.media_time(position));
        match self.current {
            Some(least) if at < self.window_ends => self.current = Some(least.min(offset)),
            _ => {
                self.former = self.current;
                self.current = Some(offset);
                self.window_ends = at.plus(WINDOW);
            }
        }
    }

    /// When `position` would have arrived with the least delay; `None` before the first arrival.
    pub(crate) fn arrival_of(&self, position: Position) -> Option<Mono> {
        let offset = match (self.former, self.current?) {
            (Some(former), current) => former.min(current),
            (None, current) => current,
        };
        Some(Mono(self.media_time(position).saturating_add(offset)))
    }

    /// The position that would have arrived at `at` with the least delay.
    pub(crate) fn position_at(&self, at: Mono) -> Option<Position> {
        let since_base = at.since(self.arrival_of(self.base)?);
        let frames = units::nanos_to_frames(since_base, self.rate);
        Some(Position(self.base.0.saturating_add_signed(frames)))
    }

    fn media_time(&self, position: Position) -> i64 {
        units::frames_to_nanos(position.since(self.base), self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn the_earliest_arrival_counts() {
        let mut timeline = Timeline::new(48_000, Position(1000));
        assert_eq!(timeline.arrival_of(Position(1000)), None);
        timeline.note(Position(1000), Mono(50 * MS));
        timeline.note(Position(1480), Mono(53 * MS));
        timeline.note(Position(1960), Mono(90 * MS));
        assert_eq!(timeline.arrival_of(Position(1480)), Some(Mono(53 * MS)));
        assert_eq!(timeline.arrival_of(Position(1000)), Some(Mono(43 * MS)));
        assert_eq!(timeline.position_at(Mono(53 * MS)), Some(Position(1480)));
        assert_eq!(timeline.position_at(Mono(33 * MS)), Some(Position(520)));
    }

    #[test]
    fn follows_a_sender_that_runs_slow() {
        // 100 ppm slow: a packet of 480 frames comes every 10.001 ms.
        let mut timeline = Timeline::new(48_000, Position(0));
        for packet in 0..6000i64 {
            timeline.note(Position(packet as u64 * 480), Mono(packet * 10_001_000));
        }
        let position = Position(5999 * 480);
        let lag = 5999 * 10_001_000 - timeline.arrival_of(position).unwrap().0;
        // Behind by at most two windows' worth of drift.
        assert!((0..=400_000).contains(&lag), "{lag} ns");
    }
}
