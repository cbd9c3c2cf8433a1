//! Encryption at the pipeline's edge: what leaves is sealed last, what comes is opened first.
//!
//! One key serves all encodings and clients of a sender: an encoding's packets are sealed once for all its clients. Nonces
//! differ since SSRCs do and since every packet takes the next index of its SSRC here, whatever number it came with.
//!
//! Those who listen to a group have the keys that they derive from an id of their own, as any client has, and are known by it. The
//! group is greeted with every report; who answers that is greeted by unicast.

use std::net::SocketAddr;

use proto::srtp::{Id, MAX_INDEX, Next, STREAMS, Session};
use proto::units::{Mono, Sequence};
use proto::{Reject, payload_type, rtcp};

use super::repair::{parity_ssrc, retransmission_ssrc};
use super::{Client, Encoding};
use crate::detect::is_report;
use crate::secure::{self, Found, Identity, Peer, Secrecy, Standing};

/// The streams of an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Media,
    Retransmission,
    Parity,
}

/// The index that each stream's next packet takes at the earliest.
#[derive(Debug, Default)]
pub(super) struct Numbers([u64; STREAMS]);

impl Numbers {
    /// Seals the packet in the first `length` octets. Media keep their numbers; what repairs them, which clients of one
    /// encoding get in different order, is numbered here.
    pub(super) fn seal(
        &mut self,
        part: Part,
        session: &Session,
        buffer: &mut [u8],
        length: usize,
    ) -> Option<usize> {
        let next = &mut self.0[part as usize];
        let number: &mut [u8; 2] = buffer.get_mut(2..4)?.try_into().ok()?;
        if part == Part::Media {
            *next += u64::from(u16::from_be_bytes(*number).wrapping_sub(*next as u16));
        } else {
            *number = (*next as u16).to_be_bytes();
        }
        let (marker, kind) = (buffer[1] & 0x80, buffer[1] & 0x7f);
        buffer[1] = marker | payload_type::encrypted(kind)?;
        let index = *next;
        *next = (index + 1).min(MAX_INDEX);
        session.seal(buffer, length, index)
    }

    /// None are left: for what has the SSRC of an encoding that goes on elsewhere. Who encrypts gives it another.
    pub(super) fn spent() -> Self {
        Self([MAX_INDEX; STREAMS])
    }

    /// As greetings have them. Before its first packet a medium begins with `first`.
    fn announced(&self, ssrc: u32, first: Sequence) -> [Option<Next>; STREAMS] {
        let media = if self.0[0] == 0 { u64::from(first.0) } else { self.0[0] };
        [(ssrc, media), (retransmission_ssrc(ssrc), self.0[1]), (parity_ssrc(ssrc), self.0[2])]
            .map(|(ssrc, index)| Some(Next { ssrc, index }))
    }
}

/// What is known of a client's keys.
#[derive(Debug, Default)]
pub(super) struct Acquaintance {
    peer: Option<Peer>,
    /// Only who has heard something of this index is newer than the peer.
    since: u32,
    standing: Standing,
}

impl Acquaintance {
    /// Whether it has never been heard.
    pub(super) fn is_blank(&self) -> bool {
        self.peer.is_none()
    }
}

/// Writes the greeting for a client, or for one who listens to its group and has shown that it has the key.
pub(super) fn greet(
    me: &mut Identity,
    encoding: &Encoding,
    answered: (Id, u32),
    out: &mut [u8],
) -> Option<usize> {
    let streams = encoding.state.numbers.announced(encoding.ssrc, encoding.state.sequence);
    me.greet(encoding.ssrc, answered, streams, out)
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// A compound, so many octets long.
    Compound(usize),
    /// A greeting of one that is new: it waits for an answer.
    Newcomer,
    /// A greeting, or nothing that is of use.
    Nothing,
}

impl Acquaintance {
    /// Of one who has listened to a group for a moment: what it has heard last is not older than `since`.
    pub(super) fn since(since: u32) -> Self {
        Self { since, ..Self::default() }
    }

    /// Whether it is known by this id.
    pub(super) fn is(&self, id: Id) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.id() == id)
    }

    /// Whom to answer, as a greeting has it.
    pub(super) fn answered(&self) -> (Id, u32) {
        self.peer.as_ref().map_or_else(Default::default, |peer| (peer.id(), peer.heard()))
    }

    /// Opens what one end sent, in place.
    pub(super) fn open(
        &mut self,
        me: &Identity,
        greeting: Option<&Found>,
        datagram: &mut [u8],
    ) -> Result<Opened, Reject> {
        match (greeting, &mut self.peer) {
            (Some((greeting, name, length)), peer) if peer.as_ref().is_none_or(|p| p.id() != greeting.id) => {
                let newcomer = me.meet(greeting, &name[..*length], datagram)?;
                // The first compound has the index 0, which `heard` cannot tell from nothing.
                let fresh = greeting.peer == me.id() && greeting.heard >= self.since;
                fresh.then_some(()).ok_or(Reject::Replayed)?;
                self.peer = Some(newcomer);
                self.since = me.next();
                Ok(Opened::Newcomer)
            }
            (_, Some(peer)) => peer.open_control(datagram).map(|length| match greeting {
                Some(_) => Opened::Nothing,
                None => Opened::Compound(length),
            }),
            (_, None) => Err(Reject::Unknown),
        }
    }
}

/// Opens what a client sent, or one who listens to its group, in place.
pub(super) fn open(
    me: Option<&Identity>,
    client: &mut Client,
    at: Mono,
    from: SocketAddr,
    datagram: &mut [u8],
) -> Opened {
    let (greeting, plain) = (secure::find_greeting(datagram), is_report(datagram));
    let Some(me) = me else {
        if greeting.is_some() {
            suspect(client, at, Secrecy::OnlyThere);
            return Opened::Nothing;
        }
        return Opened::Compound(datagram.len());
    };
    let opened = match &mut client.audience {
        Some(audience) => audience.open(me, at, from, greeting.as_ref(), datagram),
        None => client.acquaintance.open(me, greeting.as_ref(), datagram),
    };
    match opened {
        Ok(opened) => {
            if client.acquaintance.standing.authentic(at) {
                client.counters.secrecy.set(Secrecy::Encrypted.to_counter());
            }
            opened
        }
        Err(reason) => {
            client.counters.refused_reports.add(1);
            if plain {
                suspect(client, at, Secrecy::OnlyHere);
            } else if reason == Reject::Forged && greeting.is_some() {
                suspect(client, at, Secrecy::WrongKey);
            }
            Opened::Nothing
        }
    }
}

fn suspect(client: &mut Client, at: Mono, secrecy: Secrecy) {
    if client.acquaintance.standing.suspect(at, secrecy) {
        client.counters.secrecy.set(secrecy.to_counter());
    }
}

/// Octets of the longest compound, sealed.
pub(super) const LONGEST_CONTROL: usize = rtcp::MAX_COMPOUND + proto::srtp::CONTROL_OVERHEAD;
