//! What playback goes by: the arrivals, which are this receiver's alone, or the line that the sender's timing draws for
//! all receivers of its group.

use proto::timing::Timing;
use proto::units::{self, Mono, Position};

use crate::exchange::PeerClock;
use crate::timeline::Timeline;

/// The sender's timing, in positions of the stream at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) timing: Timing,
    pub(super) rate: u32,
    /// Where the anchor lies, and where the delay begins to slew.
    pub(super) anchor: Position,
    pub(super) begin: Position,
}

impl Line {
    fn slow(&self) -> f64 {
        f64::from(self.timing.anchor.slow_ppb) * 1e-9
    }

    /// When a position was captured, by the sender's clock.
    fn captured_at(&self, position: Position) -> Mono {
        self.timing.anchor.captured_at(position.since(self.anchor), self.rate)
    }

    /// What was captured then, by the sender's clock.
    fn position_at(&self, remote: Mono) -> Position {
        let since = remote.since(self.timing.anchor.captured);
        let nominal = since - (self.slow() / (1.0 + self.slow()) * since as f64).round() as i64;
        Position(self.anchor.0.saturating_add_signed(units::nanos_to_frames(nominal, self.rate)))
    }
}

/// Tells when positions are there to be played, on the local clock, and how fast they follow each other.
#[derive(Clone, Copy)]
pub(super) enum Reference<'a> {
    /// They arrive, with the least delay.
    Arrivals(&'a Timeline),
    /// They are captured.
    Captures(Captures<'a>),
}

/// The sender's line on the local clock.
#[derive(Clone, Copy)]
pub(super) struct Captures<'a> {
    pub(super) line: &'a Line,
    pub(super) clock: &'a PeerClock,
    /// What this receiver adds to the group's delay beside what the sender says, in nanoseconds.
    pub(super) trim: i64,
    /// From the capture to the earliest arrival, in nanoseconds.
    pub(super) transit: i64,
}

impl Captures<'_> {
    /// From the capture of a position to the DAC, for the group and this receiver's place in it, in nanoseconds.
    pub(super) fn delay(&self, position: Position) -> i64 {
        let group = self.line.timing.delay.at(position.since(self.line.begin), self.line.rate);
        group + i64::from(self.line.timing.trim_ns) + self.trim
    }
}

impl Reference<'_> {
    pub(super) fn captures(&self) -> Option<&Captures<'_>> {
        match self {
            Self::Captures(captures) => Some(captures),
            Self::Arrivals(_) => None,
        }
    }

    /// When the latency of a position begins; `None` before anything is known.
    pub(super) fn start_of(&self, position: Position) -> Option<Mono> {
        match self {
            Self::Arrivals(timeline) => timeline.arrival_of(position),
            Self::Captures(Captures { line, clock, .. }) => clock.local_of(line.captured_at(position)),
        }
    }

    /// The position whose latency begins then.
    pub(super) fn position_at(&self, at: Mono) -> Option<Position> {
        match self {
            Self::Arrivals(timeline) => timeline.position_at(at),
            Self::Captures(Captures { line, clock, .. }) => Some(line.position_at(clock.remote_of(at)?)),
        }
    }

    /// By which share positions follow each other more slowly than by the book.
    pub(super) fn slow(&self) -> f64 {
        match self {
            Self::Arrivals(timeline) => timeline.slow(),
            Self::Captures(Captures { line, clock, .. }) => (1.0 + line.slow()) * (1.0 + clock.slow()) - 1.0,
        }
    }
}
