//! In time with others: asks for the sender's clock, takes its timing, says what this receiver needs.

use proto::announce::Pace;
use proto::exchange::{Reply, Request};
use proto::timing::Timing;
use proto::units::Mono;

use super::reference::{Captures, Line, Reference};
use super::stream::Stream;
use crate::exchange::PeerClock;

/// Playback waits this long for the timing of a sender that tells it, in nanoseconds, rather than begin by the arrivals
/// and move. A lost datagram is made up for by then, and nobody waits longer for sound gladly.
const PATIENCE: i64 = 400_000_000;
/// The same while nothing says that the sender answers: one of other make does not.
const STRANGER: i64 = 120_000_000;
/// Questions to a sender that may be of other make.
const TRIALS: u32 = 12;
/// Timing of which no report has spoken for this long is void, in nanoseconds: five reports may be lost.
const VALID: i64 = 5_000_000_000;
/// From the capture to the earliest arrival there is at least the packet itself, and at most this, in nanoseconds. Whatever
/// else the timing says, it is of another clock than the one that is known; but that may be off by a little.
const TRANSIT: std::ops::RangeInclusive<i64> = -5_000_000..=1_000_000_000;
/// What is needed is told in steps of this, and again when it grows, or shrinks by a good deal. In microseconds.
const STEP: u32 = 100;
const LESS: u32 = 1_000;

pub(super) struct Conductor {
    /// What this receiver adds to the group's delay, in nanoseconds; `None` to play by the arrivals.
    trim: Option<i64>,
    clock: PeerClock,
    /// What the sender said last, of which source, and when.
    told: Option<(u32, Timing, Mono)>,
    line: Option<Line>,
    /// The sender is of our own make.
    kin: bool,
    /// Questions so far.
    asked: u32,
    /// The group delay that is needed, as the sender is told; 0 until known. In microseconds.
    wanted_us: u32,
    /// When arrivals were last found to be others than before.
    since: Mono,
    /// Since when there is nothing to go by.
    lost: Option<Mono>,
}

impl Conductor {
    pub(super) fn new(trim: Option<i64>, seed: u32) -> Self {
        Self {
            trim,
            clock: PeerClock::new(seed),
            told: None,
            line: None,
            kin: false,
            asked: 0,
            wanted_us: 0,
            since: Mono(i64::MIN),
            lost: None,
        }
    }

    /// Another sender is listened to.
    pub(super) fn forget(&mut self) {
        self.clock.restart();
        (self.told, self.line, self.lost) = (None, None, None);
        (self.kin, self.asked, self.wanted_us) = (false, 0, 0);
    }

    /// The sender is of our own make, and says how often it wants to be asked.
    pub(super) fn recognise(&mut self, pace: Option<Pace>) {
        self.kin = true;
        self.clock.pace(pace.map(|pace| i64::from(pace.question_ms) * 1_000_000));
    }

    /// Other packets follow: of the timeline before, or of a new one.
    pub(super) fn follow(&mut self, stream: &Stream, goes_on: bool) {
        if !goes_on {
            (self.line, self.lost) = (None, None);
            // The sender may have started anew, and its clock with it.
            self.clock.hurry();
        }
        self.draw(stream);
    }

    /// Takes what the sender says of a source.
    pub(super) fn handle_timing(&mut self, at: Mono, ssrc: u32, timing: Timing, stream: Option<&Stream>) {
        self.kin = true;
        self.told = Some((ssrc, timing, at));
        if let Some(stream) = stream {
            self.draw(stream);
        }
    }

    fn draw(&mut self, stream: &Stream) {
        let Some((_, timing, _)) = self.told.filter(|(ssrc, ..)| *ssrc == stream.reception.ssrc()) else {
            return;
        };
        let anchor = stream.position_of(timing.anchor.rtp_time);
        let begin = stream.position_of(timing.delay.begin);
        self.line = Some(Line { timing, rate: stream.format.rate, anchor, begin });
    }

    /// Takes an answer. Whether it shows that one of the clocks was set.
    pub(super) fn handle_reply(&mut self, at: Mono, reply: &Reply) -> bool {
        let breaks = self.clock.breaks();
        self.kin |= self.clock.handle_reply(at, reply);
        self.clock.breaks() != breaks
    }

    /// Arrivals are no longer what they were: the path is another, or one of the clocks was set.
    pub(super) fn verify(&mut self, at: Mono) {
        self.since = at;
        self.clock.hurry();
    }

    fn asks(&self) -> bool {
        self.trim.is_some() && (self.kin || self.asked < TRIALS)
    }

    /// When [`poll_request`](Self::poll_request) has something to ask.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.asks().then(|| self.clock.poll_timeout())
    }

    /// The next question to the sender of the source `media`.
    pub(super) fn poll_request(&mut self, now: Mono, media: u32) -> Option<Request> {
        let request = self.asks().then(|| self.clock.poll_request(now, self.wanted_us, media)).flatten()?;
        self.asked = self.asked.saturating_add(1);
        Some(request)
    }

    /// Round trip in microseconds; 0 until known.
    pub(super) fn round_trip_us(&self) -> u32 {
        self.clock.round_trip().map_or(0, |nanos| (nanos / 1000) as u32)
    }

    /// The delay that the group has or is about to have, in nanoseconds.
    pub(super) fn group_delay(&self) -> i64 {
        self.line.map_or(0, |line| i64::from(line.timing.delay.to_us) * 1000)
    }

    /// What playback goes by at `now`, for a receiver that by itself would play so many nanoseconds after the earliest
    /// arrival; `None` while that is worth waiting for.
    pub(super) fn reference<'a>(
        &'a mut self,
        now: Mono,
        stream: &'a Stream,
        own: i64,
    ) -> Option<Reference<'a>> {
        let arrivals = Reference::Arrivals(&stream.timeline);
        let Some(trim) = self.trim else { return Some(arrivals) };
        let transit = self.transit(now, stream);
        if let (Some(line), Some(transit)) = (self.line, transit) {
            self.want(transit + own - trim - i64::from(line.timing.trim_ns));
        }
        match (&self.line, transit) {
            (Some(line), Some(transit)) if line.timing.delay.to_us > 0 => {
                self.lost = None;
                Some(Reference::Captures(Captures { line, clock: &self.clock, trim, transit }))
            }
            _ => {
                let patience = if self.kin { PATIENCE } else { STRANGER };
                let lost = *self.lost.get_or_insert(now);
                (now.since(lost) > patience).then_some(arrivals)
            }
        }
    }

    /// Tells the sender at once where this differs from what it was told.
    fn want(&mut self, nanos: i64) {
        let needed =
            u32::try_from(nanos.max(1) / 1000).unwrap_or(u32::MAX - STEP).next_multiple_of(STEP).max(STEP);
        if needed > self.wanted_us || needed + LESS < self.wanted_us {
            self.wanted_us = needed;
            self.clock.hurry();
        }
    }

    /// From the capture of what was sent last to its earliest arrival, in nanoseconds, where that is known and can be true.
    fn transit(&self, now: Mono, stream: &Stream) -> Option<i64> {
        let valid = self.told.is_some_and(|(.., at)| now.since(at) < VALID);
        let line =
            self.line.as_ref().filter(|_| valid && self.clock.ready() && self.clock.holds(self.since))?;
        let position = stream.newest_position()?;
        let captures = Captures { line, clock: &self.clock, trim: 0, transit: 0 };
        let captured = Reference::Captures(captures).start_of(position)?;
        let transit = stream.timeline.arrival_of(position)?.since(captured);
        TRANSIT.contains(&transit).then_some(transit)
    }
}
