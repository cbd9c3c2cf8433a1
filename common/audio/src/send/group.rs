//! How long after its capture a frame leaves the loudspeakers of a group: one delay for all of them.
//!
//! Each receiver says what it needs. The group's delay is the largest of that, so that the slowest network path is met; but
//! one that needs more than is allowed is left to play late by itself. Once sound is heard, the delay changes only by
//! ramps that are announced before they begin, which every receiver follows at the same frames.

use std::sync::Arc;

use proto::timing::SLEW;
use proto::units::{self, Mono, Position};

use super::member::Member;
use crate::counters::GroupCounters;

/// Identifies a group across changes of the routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// How a group's delay is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Always so many microseconds.
    Fixed(u32),
    /// What the members need, at most so many microseconds.
    Auto(u32),
}

impl Policy {
    /// Most that a member may need, in microseconds.
    pub fn most(self) -> u32 {
        match self {
            Self::Fixed(most) | Self::Auto(most) => most,
        }
    }
}

/// Delays are whole multiples of this, in microseconds: what members need wavers by less.
const STEP: u32 = 500;
/// The first members to say what they need wait this long for the others, in nanoseconds.
const GATHER: i64 = 150_000_000;
/// The delay shrinks only by as much or more, in microseconds, and only once it was enough for so long, in nanoseconds.
const LESS: u32 = 2_000;
const CALM: i64 = 10_000_000_000;
/// From the decision to the ramp, in nanoseconds: two reports reach every member, so that one may be lost.
const LEAD: i64 = 1_250_000_000;

/// Clients that play together.
#[derive(Debug)]
pub struct Group {
    pub(super) id: GroupId,
    policy: Policy,
    counters: Arc<GroupCounters>,
    state: State,
}

/// What a group carries over when the routing is replaced.
#[derive(Debug, Default)]
struct State {
    ramp: Option<Ramp>,
    /// The delay is no first guess any more.
    settled: bool,
    /// When the first member said what it needs, until the delay is decided.
    gathering: Option<Mono>,
    /// Since when less would do, and the most that was needed since.
    less: Option<(Mono, u32)>,
}

/// A delay that changes, in microseconds, and the captured frame from which on it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ramp {
    pub(super) from_us: u32,
    pub(super) to_us: u32,
    pub(super) begin: Position,
}

impl Ramp {
    fn flat(us: u32, begin: Position) -> Self {
        Self { from_us: us, to_us: us, begin }
    }

    fn is_over(&self, here: Position, rate: u32) -> bool {
        let lasts = i64::from(self.from_us.abs_diff(self.to_us)) * 1000 * SLEW;
        here.since(self.begin) > units::nanos_to_frames(lasts, rate)
    }
}

/// What the members of a group need, in microseconds.
#[derive(Default)]
struct Need {
    members: u64,
    /// Some of them have not said yet; some clients are not heard.
    untold: bool,
    silent: bool,
    /// The most that is allowed, and whether somebody needs more.
    most: Option<u32>,
    beyond: bool,
}

impl Group {
    /// A group whose delay follows `policy`; what becomes of it can be read from `counters`.
    pub fn new(id: GroupId, policy: Policy, counters: Arc<GroupCounters>) -> Self {
        Self { id, policy, counters, state: State::default() }
    }

    /// The delay in force, and what it changes to; `None` before the first decision.
    pub(super) fn ramp(&self) -> Option<Ramp> {
        self.state.ramp
    }

    /// Takes over what a group has decided before a change of the routing.
    pub(super) fn inherit(&mut self, former: &mut Self) {
        if self.policy == former.policy {
            std::mem::swap(&mut self.state, &mut former.state);
        }
    }

    /// When [`decide`](Self::decide) wants to be called next, beside once a second.
    pub(super) fn poll_timeout(&self) -> Mono {
        self.state.gathering.map_or(Mono(i64::MAX), |since| since.plus(GATHER))
    }

    /// Decides anew, at the capture of frame `here` (`None` while nothing is captured, at `rate` frames a second). Whether
    /// there is something to announce.
    pub(super) fn decide<'a>(
        &mut self,
        now: Mono,
        here: Option<Position>,
        rate: u32,
        members: impl Iterator<Item = &'a Member>,
    ) -> bool {
        self.flatten(here, rate);
        let before = self.state.ramp;
        let need = Need::of(members, now, self.policy.most());
        self.counters.members.set(need.members);
        let start = here.unwrap_or_default();
        match (self.policy, need.in_force(self.policy.most())) {
            (Policy::Fixed(us), _) if before.is_none() => self.state.ramp = Some(Ramp::flat(us, start)),
            (Policy::Auto(_), Some(us)) if !self.state.settled => self.settle(now, start, us, &need),
            (Policy::Auto(_), Some(us)) => self.adapt(now, here, rate, us, &need),
            // Nobody plays in time yet, or any more: the delay may fit at once whoever comes next.
            (Policy::Auto(_), None) => self.state = State { ramp: before, ..State::default() },
            (Policy::Fixed(_), _) => {}
        }
        self.counters.delay_us.set(self.state.ramp.map_or(0, |ramp| ramp.to_us.into()));
        self.state.ramp != before
    }

    /// A ramp that is over is forgotten, so that its beginning is never half the range of RTP times away.
    fn flatten(&mut self, here: Option<Position>, rate: u32) {
        if let (Some(ramp), Some(here)) = (&mut self.state.ramp, here)
            && ramp.is_over(here, rate)
        {
            *ramp = Ramp::flat(ramp.to_us, here);
        }
    }

    /// The first decision: takes effect at once, since nobody is heard yet.
    fn settle(&mut self, now: Mono, start: Position, us: u32, need: &Need) {
        let since = *self.state.gathering.get_or_insert(now);
        if (need.untold || need.silent) && now.since(since) < GATHER {
            return;
        }
        (self.state.settled, self.state.gathering) = (true, None);
        if self.state.ramp.is_none_or(|ramp| us > ramp.to_us || us + LESS <= ramp.to_us) {
            self.state.ramp = Some(Ramp::flat(us, start));
        }
    }

    fn adapt(&mut self, now: Mono, here: Option<Position>, rate: u32, us: u32, need: &Need) {
        let (Some(ramp), Some(here)) = (self.state.ramp, here) else { return };
        // One ramp after the other: what was announced holds.
        if ramp.from_us != ramp.to_us {
            return;
        }
        let slew = |to_us| Ramp {
            to_us,
            begin: here.advanced(units::nanos_to_frames(LEAD, rate).unsigned_abs()),
            ..ramp
        };
        if us > ramp.to_us {
            self.state.ramp = Some(slew(us));
            self.state.less = None;
        } else if need.untold || us + LESS > ramp.to_us {
            self.state.less = None;
        } else {
            let (since, most) = self.state.less.get_or_insert((now, us));
            *most = us.max(*most);
            if now.since(*since) >= CALM {
                self.state.ramp = Some(slew(*most));
                self.state.less = None;
            }
        }
    }
}

impl Need {
    fn of<'a>(members: impl Iterator<Item = &'a Member>, now: Mono, allowed: u32) -> Self {
        let mut need = Self::default();
        for member in members {
            match member.wanted(now) {
                None => need.silent = true,
                Some(0) => {
                    need.members += 1;
                    need.untold = true;
                }
                Some(us) => {
                    need.members += 1;
                    need.beyond |= us > allowed;
                    need.most = need.most.max((us <= allowed).then_some(us));
                }
            }
        }
        need
    }

    /// What the delay is to be: whole steps, at most what is allowed. Where nobody can keep up with that, it is as much.
    fn in_force(&self, allowed: u32) -> Option<u32> {
        let stepped = self.most.map(|us| us.next_multiple_of(STEP).min(allowed));
        stepped.or(self.beyond.then_some(allowed))
    }
}

#[cfg(test)]
mod tests;
