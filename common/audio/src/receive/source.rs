//! Who is listened to: one sender at a time, until it has been silent for a while.

use std::net::SocketAddr;

use proto::units::Mono;
use proto::vban;

use crate::detect::{Detector, is_report};
use crate::send::Wire;

/// A source that has said nothing for this long may be replaced by another, in nanoseconds.
pub(super) const SOURCE_TIMEOUT: i64 = 1_000_000_000;
/// Addresses that may become the source.
const CANDIDATES: usize = 4;

#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) address: SocketAddr,
    pub(super) wire: Wire,
    pub(super) heard: Mono,
    /// Where it reports from, so that reports sent back reach it.
    pub(super) reports: Option<SocketAddr>,
}

/// What is to become of a datagram.
pub(super) enum Verdict {
    /// It is the source's.
    Source(Source),
    /// It is from a new source, which takes the place of the one before.
    New(Source),
    /// Another source is listened to.
    Conflict,
    /// It does not tell yet what it is.
    Unknown,
}

/// The source, and the addresses that may become it.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The wire format, or `None` to find out.
    wire: Option<Wire>,
    /// A payload type that is known beside those of our own.
    payload_type: Option<u8>,
    source: Option<Source>,
    candidates: [Option<(SocketAddr, Detector)>; CANDIDATES],
    next_candidate: usize,
    conflict_told: bool,
}

impl Sources {
    pub(super) fn new(wire: Option<Wire>, payload_type: Option<u8>) -> Self {
        Self { wire, payload_type, ..Self::default() }
    }

    pub(super) fn current(&self) -> Option<Source> {
        self.source
    }

    /// The source has said something sensible.
    pub(super) fn heard(&mut self, at: Mono) {
        if let Some(source) = &mut self.source {
            source.heard = at;
        }
    }

    /// The source reports from this address.
    pub(super) fn reports(&mut self, from: SocketAddr) {
        if let Some(source) = &mut self.source {
            source.reports = Some(from);
        }
    }

    /// Nobody is listened to any more.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.wire, self.payload_type);
    }

    pub(super) fn judge(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) -> Verdict {
        match self.source {
            // The list may have changed the wire format of a client that is sent to already.
            Some(source) if source.address == from && !self.speaks_otherwise(source, datagram) => {
                Verdict::Source(source)
            }
            _ if self.is_engaged(at, from) => Verdict::Conflict,
            _ => match self.identify(from, datagram) {
                Some(wire) => Verdict::New(Source { address: from, wire, heard: at, reports: None }),
                None => Verdict::Unknown,
            },
        }
    }

    /// Whether another source is listened to.
    pub(super) fn is_engaged(&self, at: Mono, from: SocketAddr) -> bool {
        self.source.is_some_and(|s| s.address != from && at.since(s.heard) < SOURCE_TIMEOUT)
    }

    /// Takes note of one that is not listened to. True the first time.
    pub(super) fn conflict(&mut self) -> bool {
        !std::mem::replace(&mut self.conflict_told, true)
    }

    /// Listens to this source from now on.
    pub(super) fn choose(&mut self, source: Source) {
        self.source = Some(source);
    }

    /// Whether this is a datagram of another wire format than was found out, beyond doubt.
    fn speaks_otherwise(&self, source: Source, datagram: &[u8]) -> bool {
        let otherwise = match source.wire {
            Wire::Rtp => false,
            Wire::Plain => is_report(datagram) || vban::Packet::parse(datagram).is_ok(),
            Wire::Vban => is_report(datagram),
        };
        otherwise && self.wire.is_none()
    }

    fn identify(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Wire> {
        let known = self.candidates.iter().position(|c| c.is_some_and(|(address, _)| address == from));
        let place = known.unwrap_or_else(|| {
            self.next_candidate = (self.next_candidate + 1) % CANDIDATES;
            self.candidates[self.next_candidate] = None;
            self.next_candidate
        });
        let (_, detector) =
            self.candidates[place].get_or_insert((from, Detector::knowing(self.payload_type)));
        let found = detector.note(datagram);
        match self.wire {
            Some(Wire::Plain) => Some(Wire::Plain),
            Some(expected) => found.filter(|wire| *wire == expected),
            None => found,
        }
    }
}
