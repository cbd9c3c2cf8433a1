//! A sender's repair of what it sent: what the targets' receivers ask for comes again, and parity goes ahead.

use audio::repair::advance::{Guard, Spec};
use audio::repair::request::{History, Limits, Requests};
use proto::retransmission;
use proto::rtcp::{Packet, packets};
use proto::units::Mono;

use crate::{FIRST, PARITY, RETRANSMISSION};

/// Octets of the longest packet that is repaired.
const MAX_PACKET: usize = 800;
/// Packets that are kept.
const KEPT: usize = 64;
const LIMITS: Limits = Limits { rate: 1000, burst: 64, pause: 1_000_000 };

/// The last packets of one stream, what was asked for of them, and their parity.
pub struct Mend {
    history: History,
    requests: Requests,
    guard: Guard,
    room: [u8; MAX_PACKET + retransmission::OVERHEAD],
}

impl Mend {
    /// Nothing was sent yet. The shape of the parity is brought into a small range.
    pub fn new(k: u8, m: u8, spread: u8) -> Self {
        let spec = Spec::new(k % 8 + 1, m % 4 + 1, spread % 4 + 1).expect("small enough");
        Self {
            history: History::new(KEPT, MAX_PACKET),
            requests: Requests::new(LIMITS, RETRANSMISSION.payload_type, RETRANSMISSION.ssrc, FIRST),
            guard: Guard::new(spec, PARITY.ssrc, PARITY.payload_type, FIRST, MAX_PACKET),
            room: [0; MAX_PACKET + retransmission::OVERHEAD],
        }
    }

    /// Takes a packet as it is sent. Poll [`parity`](Self::parity) until empty before the next one.
    pub fn note(&mut self, packet: &[u8]) {
        self.history.note(packet);
        self.guard.note(packet);
    }

    /// The next packet of parity.
    pub fn parity(&mut self) -> Option<&[u8]> {
        self.guard.poll()
    }

    /// Takes what a receiver sends.
    pub fn hear(&mut self, now: Mono, compound: &[u8]) {
        for packet in packets(compound) {
            if let Ok(Packet::Nack { lost, .. }) = packet {
                lost.sequences().for_each(|number| self.requests.ask(now, number));
            }
        }
    }

    /// The next packet that was asked for.
    pub fn answer(&mut self, now: Mono) -> Option<&[u8]> {
        let length = self.requests.poll(now, &self.history, &mut self.room)?;
        Some(&self.room[..length])
    }
}
