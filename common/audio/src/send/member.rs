//! A client that plays in time with others: what it asks, and what it needs.

use std::net::SocketAddr;

use proto::exchange::{self, Reply, Request};
use proto::rtcp::Builder;
use proto::units::Mono;

use super::group::GroupId;

/// One that asks nothing for so long is gone, in nanoseconds, unless it is to ask so seldom that this is longer.
const PATIENCE: i64 = 5_000_000_000;
/// Questions are answered at most this often, in nanoseconds: a receiver that starts asks every 25 ms.
const PAUSE: i64 = 10_000_000;

/// A client's part in its group.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// `None` where the client plays by itself.
    pub(super) group: Option<GroupId>,
    /// What it adds to the group's delay, in nanoseconds.
    pub(super) trim_ns: i32,
    /// How long it may ask nothing, in nanoseconds, where that is longer than usual.
    pub(super) patience: i64,
    known: Known,
}

/// What a change of the routing leaves as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The question that waits for an answer, when it came, and from where.
    question: Option<(Request, Mono, SocketAddr)>,
    /// When the last question came that was answered.
    answered: Option<Mono>,
    /// When the last one came at all, and what the client needs.
    heard: Option<(Mono, u32)>,
}

impl Member {
    /// Takes a question that came at `at`. Whether the client is to be told everything at once: it is new, or needs
    /// something else than before.
    pub(super) fn ask(&mut self, at: Mono, from: SocketAddr, request: &Request) -> bool {
        let known = &mut self.known;
        if known.answered.is_none_or(|last| at.since(last) >= PAUSE) {
            known.question = Some((*request, at, from));
            known.answered = Some(at);
        }
        let before = self.wanted(at);
        self.known.heard = Some((at, request.wanted_us));
        before != Some(request.wanted_us)
    }

    /// Whether a question waits for its answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.known.question.is_some()
    }

    /// The group delay that the client needs, in microseconds: 0 where it has not said yet, `None` where it is not heard.
    pub(super) fn wanted(&self, now: Mono) -> Option<u32> {
        self.known
            .heard
            .filter(|(at, _)| now.since(*at) < PATIENCE.max(self.patience))
            .map(|(_, wanted)| wanted)
    }

    /// Writes the answer to the question that waits. Returns where that came from, and the length. A compound has to begin with
    /// a report (RFC 3550, 6.1); an empty one will do.
    pub(super) fn answer(&mut self, now: Mono, ssrc: u32, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let (request, received, from) = self.known.question.take()?;
        let reply = Reply { asked: request.written, received, answered: now.max(received) };
        let mut builder = Builder::with_empty_report(out, ssrc);
        builder.application(ssrc, exchange::APP_NAME, exchange::REPLY, &reply.to_bytes());
        Some((from, builder.finish()?))
    }

    /// Takes over what is known of the same client.
    pub(super) fn inherit(&mut self, former: &mut Self) {
        self.known = std::mem::take(&mut former.known);
    }
}
