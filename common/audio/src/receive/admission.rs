//! The pipeline's edge: who may come in, opened first where there is a key, and what leaves, sealed last.

use std::net::SocketAddr;

use proto::Reject;
use proto::units::Mono;

use super::guard::{self, Entry};
use super::paths::Sifted;
use super::{Event, MAX_PAYLOAD, ReceivePipeline, STREAM_TIMEOUT};
use crate::detect::is_report;
use crate::secure::Secrecy;
use crate::send::{Recipients, Transmit};

/// Octets of the longest encrypted datagram that is opened: beside the payload a header with all that it may hold.
pub(super) const LONGEST_SEALED: usize = MAX_PAYLOAD + 512;

/// What takes a plain datagram: of the media's port, or of the one for reports alone.
type Way = fn(&mut ReceivePipeline, Mono, SocketAddr, &[u8]);

impl ReceivePipeline {
    /// Hands on what may come in and has not come by another path.
    pub(super) fn admit(&mut self, at: Mono, from: SocketAddr, datagram: &[u8], hand_on: Way) {
        self.counters.datagrams.add(1);
        if !self.config.from.is_empty() && !self.config.from.contains(&from.ip().to_canonical()) {
            self.counters.unwelcome.add(1);
            return;
        }
        let source = self.live_stream().map(|stream| stream.reception.ssrc());
        let engaged = self.sources.is_engaged(at, from);
        let from = match self.paths.sift(at, from, datagram, source, engaged) {
            Sifted::Other => from,
            Sifted::First(called) => called,
            Sifted::Copy => return self.tell_paths(),
            Sifted::Unproven => return,
        };
        (self.taken, self.accepted) = (false, false);
        self.open(at, from, datagram, hand_on);
        self.counters.accepted.add(self.accepted.into());
        if self.taken || self.accepted {
            self.paths.take(at, datagram);
        }
        self.tell_paths();
    }

    /// Hands on what is of no other path, opened where there is a key.
    fn open(&mut self, at: Mono, from: SocketAddr, datagram: &[u8], hand_on: Way) {
        if self.guard.is_some() {
            self.handle_sealed(at, from, datagram, hand_on);
        } else if self.sources.current().is_none() && self.is_sealed(at, from, datagram) {
            // One datagram like this takes nothing from a stream that plays.
            self.counters.reject(Reject::Unknown);
            self.tell_secrecy(from, Secrecy::OnlyThere);
        } else {
            hand_on(self, at, from, datagram);
        }
    }

    /// Opens a datagram; nothing else looks at those that are refused.
    fn handle_sealed(&mut self, at: Mono, from: SocketAddr, datagram: &[u8], hand_on: Way) {
        let Some(guard) = &mut self.guard else { return };
        // Taken out for the call, so that the rest may be borrowed.
        let mut opened = std::mem::take(&mut self.opened);
        let admitted = match opened.get_mut(..datagram.len()) {
            Some(copy) => {
                copy.copy_from_slice(datagram);
                guard.open(at, from, copy)
            }
            None => Err(Reject::Length),
        };
        let secrecy = guard.secrecy();
        match admitted {
            Ok(Entry::Packet(length)) => {
                hand_on(self, at, from, &opened[..length]);
                self.taken = true;
            }
            Ok(Entry::Greeting) => self.accepted = true,
            Err(_) if self.sources.is_engaged(at, from) => self.note_conflict(from),
            Err(reason) => self.counters.reject(reason),
        }
        self.opened = opened;
        self.tell_secrecy(from, secrecy);
    }

    /// Whether a datagram is one that needs a key. What else comes from the same address is no headerless PCM either.
    fn is_sealed(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) -> bool {
        // Another program may use these payload types for something else.
        let stranger = || self.config.format.map(|format| format.payload_type);
        if guard::is_encrypted(datagram) && datagram.get(1).map(|kind| kind & 0x7f) != stranger() {
            self.sealed = Some((from, at));
            return true;
        }
        let known = |(address, last): (SocketAddr, Mono)| address == from && at.since(last) < STREAM_TIMEOUT;
        self.sealed.is_some_and(known) && !is_report(datagram)
    }

    pub(super) fn note_conflict(&mut self, from: SocketAddr) {
        self.counters.conflicts.add(1);
        if self.sources.conflict() {
            self.tell(Event::Conflict(from));
        }
    }

    fn tell_secrecy(&mut self, from: SocketAddr, secrecy: Secrecy) {
        if std::mem::replace(&mut self.told_secrecy, secrecy) != secrecy {
            self.tell(Event::Secrecy(from, secrecy));
        }
    }

    /// What is in `control`, protected where there is a key.
    pub(super) fn sealed(&mut self, address: SocketAddr, length: usize) -> Option<Transmit<'_>> {
        let length = match &mut self.guard {
            Some(guard) => guard.seal(address, &mut self.control, length)?,
            None => length,
        };
        Some(self.transmit(address, length))
    }

    pub(super) fn transmit(&self, address: SocketAddr, length: usize) -> Transmit<'_> {
        let reports = self.sources.current().and_then(|source| source.reports);
        let to = Recipients::One(self.paths.route(address, reports));
        Transmit { bytes: &self.control[..length], to }
    }
}
