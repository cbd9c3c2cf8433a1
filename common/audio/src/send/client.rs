//! One of those that an encoding goes to: where it listens, and what is known of it.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::exchange::Request;
use proto::units::Mono;

use super::audience::Audience;
use super::group::GroupId;
use super::member::Member;
use super::recipients::Whereabouts;
use super::repair::{Mender, Repair};
use super::seal::Acquaintance;
use crate::counters::ClientCounters;

/// Where a client's reports go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reports {
    /// To the media's port (RFC 5761), and while nothing has ever come back from there, every second one to the next, where
    /// programs of other make listen. Of a multicast group, to the media's port alone.
    #[default]
    Auto,
    /// To the media's port.
    Mux,
    /// To the port after the media's (RFC 3550, 11).
    Next,
}

/// Reports that a client leaves without an answer before it may be of other make.
const UNANSWERED: u32 = 3;

/// Listeners that start together are told together, once for so many nanoseconds.
pub(super) const GATHER: i64 = 50_000_000;

/// One receiver of an encoding, or a multicast group of them.
#[derive(Debug)]
pub struct Client {
    /// Its name in the list, announced to it.
    pub name: String,
    /// Where its packets go.
    pub address: SocketAddr,
    /// Where the same packets go once more, by another path.
    pub second: Option<SocketAddr>,
    /// What is known of it.
    pub counters: Arc<ClientCounters>,
    pub(super) repair: Repair,
    /// Built with the encoding; only RTP has one.
    pub(super) mender: Option<Mender>,
    pub(super) next_report: Mono,
    pub(super) member: Member,
    pub(super) acquaintance: Acquaintance,
    pub(super) reports: Reports,
    /// Reports without an answer from the media's port; `None` once there was one, and for a group: no group answers.
    pub(super) unanswered: Option<u32>,
    /// Those who listen, where the address is that of a multicast group.
    pub(super) audience: Option<Audience>,
}

impl Client {
    /// A client that is due for its first report at once. Where the address is that of a multicast group, its listeners
    /// make themselves known by what they say of the encoding: no other group may have the same one.
    pub fn new(name: String, address: SocketAddr, counters: Arc<ClientCounters>) -> Self {
        let is_group = address.ip().is_multicast();
        Self {
            name,
            address,
            second: None,
            counters,
            repair: Repair::default(),
            mender: None,
            next_report: Mono(i64::MIN),
            member: Member::default(),
            acquaintance: Acquaintance::default(),
            reports: Reports::Auto,
            unanswered: (!is_group).then_some(0),
            audience: is_group.then(Audience::new),
        }
    }

    /// The same client, which is sent everything at this address too: one that is heard by two paths loses nothing when one of
    /// them does. Answers go to where the question came from.
    pub fn also_at(self, second: Option<SocketAddr>) -> Self {
        Self { second, ..self }
    }

    /// Whether packets for it go there.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        self.address == address || self.second == Some(address)
    }

    /// Whether they have an address in common: then they are one, wherever else packets for it go.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.is_at(other.address) || other.second.is_some_and(|second| self.is_at(second))
    }

    /// The same client with another kind of repair than the default.
    pub fn repaired(self, repair: Repair) -> Self {
        Self { repair, ..self }
    }

    /// The same client with its reports elsewhere.
    pub fn reporting(self, reports: Reports) -> Self {
        Self { reports, ..self }
    }

    /// Where its packets go.
    pub(super) fn whereabouts(&self) -> Whereabouts {
        Whereabouts { first: self.address, second: self.second }
    }

    /// Where it takes reports, unless it is of other make and does not say so.
    pub(super) fn takes_reports_at(&self) -> Whereabouts {
        let here = self.whereabouts();
        if self.reports == Reports::Next { here.at_next_port() } else { here }
    }

    /// Whether the next report goes to the port after the media's.
    pub(super) fn reports_next(&self) -> bool {
        match self.reports {
            Reports::Mux => false,
            Reports::Next => true,
            Reports::Auto => self.unanswered.is_some_and(|count| count >= UNANSWERED && count % 2 == 1),
        }
    }

    /// The same client as a member of a group, with whose delay it plays, and `trim_ns` nanoseconds later than that (earlier
    /// where negative). Only RTP clients can be members.
    pub fn grouped(mut self, group: GroupId, trim_ns: i32) -> Self {
        (self.member.group, self.member.trim_ns) = (Some(group), trim_ns);
        if let Some(audience) = &mut self.audience {
            audience.belong(self.member.clone());
        }
        self
    }

    /// Takes a question. Whether a report is due, and not before when.
    pub(super) fn ask(&mut self, at: Mono, from: SocketAddr, request: &Request) -> Option<Mono> {
        if let Some(audience) = &mut self.audience {
            let news = self.member.group.is_some() && audience.ask(at, from, request);
            self.counters.wanted_us.set(audience.wanted(at).into());
            return news.then(|| at.plus(GATHER));
        }
        let news = self.member.group.is_some() && self.member.ask(at, from, request);
        self.counters.wanted_us.set(request.wanted_us.into());
        news.then_some(Mono(i64::MIN))
    }

    /// Those who play what it is sent.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        let listeners = self.audience.iter().flat_map(Audience::members);
        self.audience.is_none().then_some(&self.member).into_iter().chain(listeners)
    }

    /// Whether a question waits for its answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.audience.as_ref().map_or(self.member.is_waiting(), Audience::is_waiting)
    }

    /// Writes an answer, as long as one may be given. Returns whom to, and its length.
    pub(super) fn answer(&mut self, now: Mono, ssrc: u32, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        match &mut self.audience {
            Some(audience) => audience.answer(now, ssrc, out),
            None => {
                let (from, length) = self.member.answer(now, ssrc, out)?;
                Some((if self.second == Some(from) { from } else { self.address }, length))
            }
        }
    }
}
