//! Who is let in where a key is set: what comes is opened before anything else looks at it.
//!
//! A sender is known by its greeting, once that answers the id that this receiver has drawn for its next conversation.
//! Until then its media are dropped: a round trip. Its keys and what was seen of it stay until another sender has greeted, so that
//! an outage costs nothing and a recording of it finds no way in.
//!
//! One who sends to a group greets all who listen, and answers each by unicast.

use std::net::SocketAddr;

use proto::announce::Pace;
use proto::srtp::{Direction, Greeting, Id, Next, OVERHEAD, STREAMS, Window};
use proto::units::{Mono, Sequence};
use proto::{Reject, payload_type, rtp};

use super::paths;
use super::source::SOURCE_TIMEOUT;
use crate::detect::is_report;
use crate::secure::{self, Identity, Peer, Secrecy, Secret, Standing};

/// Time between two greetings, in nanoseconds: to the sender that is known, and to those that have not shown that they have
/// the key.
const GREETING_INTERVAL: i64 = 1_000_000_000;
/// For so long a sender that is silent is greeted, in nanoseconds.
const PATIENCE: i64 = 10_000_000_000;
/// The interval to one that is authentic and waits for it.
const LEAST_INTERVAL: i64 = 20_000_000;

/// What guards a receiver that has a key.
#[derive(Debug)]
pub(super) struct Guard {
    /// This end in the conversation at hand.
    me: Identity,
    /// This end in the next one.
    next: Identity,
    sender: Option<Sender>,
    candidate: Option<Candidate>,
    greeted: Mono,
    /// Time between two greetings to the sender, in nanoseconds.
    interval: i64,
    standing: Standing,
}

/// The sender that is listened to.
#[derive(Debug)]
struct Sender {
    address: SocketAddr,
    peer: Peer,
    source: u32,
    streams: [Option<Stream>; STREAMS],
    heard: Mono,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    window: Window,
}

/// One that may become the sender.
#[derive(Debug)]
struct Candidate {
    address: SocketAddr,
    /// Its id and its last index, where it is authentic; else nothing.
    known: (Id, u32),
    /// The source that it sends: one who sends to a group is told which is meant.
    source: u32,
}

/// What is let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A packet of so many octets.
    Packet(usize),
    /// A greeting, which is for the guard alone.
    Greeting,
}

impl Guard {
    pub(super) fn new(secret: Secret, cname: &str) -> Self {
        let me = Identity::new(secret.clone(), Direction::FromReceiver, cname.to_owned());
        let mut next = Identity::new(secret, Direction::FromReceiver, cname.to_owned());
        next.renew();
        Self {
            me,
            next,
            sender: None,
            candidate: None,
            greeted: Mono(i64::MIN),
            interval: GREETING_INTERVAL,
            standing: Standing::default(),
        }
    }

    /// Takes how often the sender asks for reports: those who listen to a group greet no more often.
    pub(super) fn pace(&mut self, pace: Option<Pace>) {
        let asked = pace.map_or(0, |pace| i64::from(pace.report_ms) * 1_000_000);
        self.interval = GREETING_INTERVAL.max(asked);
    }

    /// What is said comes from another address from now on: one who sends to a group believes nothing from there that is no
    /// greeting.
    pub(super) fn hasten(&mut self, now: Mono) {
        self.greeted = Mono(self.greeted.0.min(now.0.saturating_sub(self.interval)));
    }

    /// Whether this address waits for a greeting.
    pub(super) fn awaits(&self, address: SocketAddr) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.address == address)
    }

    pub(super) fn secrecy(&self) -> Secrecy {
        self.standing.secrecy()
    }

    /// Opens a datagram in place.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(super) fn open(&mut self, at: Mono, from: SocketAddr, datagram: &mut [u8]) -> Result<Entry, Reject> {
        let (plain, source) = (is_plain(datagram), source_of(datagram));
        let greeting = secure::find_greeting(datagram);
        let opened = match (&greeting, &mut self.sender) {
            _ if plain => Err(Reject::Unencrypted),
            (Some((greeting, ..)), Some(sender))
                if sender.address == from && sender.peer.id() == greeting.id =>
            {
                sender.peer.open_control(datagram).map(|_| {
                    sender.follow(greeting);
                    Entry::Greeting
                })
            }
            (Some((greeting, name, length)), _) => {
                self.meet(at, from, greeting, &name[..*length], datagram).map(|()| Entry::Greeting)
            }
            (None, Some(sender)) if sender.address == from => sender.open(datagram).map(Entry::Packet),
            (None, _) => Err(Reject::Unknown),
        };
        match opened {
            Ok(_) => {
                self.standing.authentic(at);
                if let Some(sender) = self.sender.as_mut().filter(|sender| sender.address == from) {
                    sender.heard = at;
                }
            }
            Err(Reject::Unencrypted) => self.suspect(at, from, source, Secrecy::OnlyHere),
            Err(Reject::Forged) if greeting.is_some() => self.suspect(at, from, source, Secrecy::WrongKey),
            Err(_) => {}
        }
        opened
    }

    /// Takes the greeting of someone who is not the sender at hand.
    fn meet(
        &mut self,
        at: Mono,
        from: SocketAddr,
        greeting: &Greeting,
        cname: &[u8],
        datagram: &mut [u8],
    ) -> Result<(), Reject> {
        if self.is_engaged(at, from) {
            return Err(Reject::Unknown);
        }
        let source = source_of(datagram);
        let peer = self.next.meet(greeting, cname, datagram)?;
        if greeting.peer != self.next.id() {
            self.candidate = Some(Candidate { address: from, known: (greeting.id, peer.heard()), source });
            self.greeted = Mono(self.greeted.0.min(at.0.saturating_sub(GREETING_INTERVAL - LEAST_INTERVAL)));
            return Err(Reject::Unknown);
        }
        let mut sender =
            Sender { address: from, peer, source, streams: [const { None }; STREAMS], heard: at };
        sender.follow(greeting);
        self.sender = Some(sender);
        self.candidate = None;
        std::mem::swap(&mut self.me, &mut self.next);
        // Whatever is said to this id from now on is too late.
        self.next.renew_after(&self.me);
        Ok(())
    }

    /// Whether another sender is listened to.
    fn is_engaged(&self, at: Mono, from: SocketAddr) -> bool {
        self.sender.as_ref().is_some_and(|s| s.address != from && at.since(s.heard) < SOURCE_TIMEOUT)
    }

    fn suspect(&mut self, at: Mono, from: SocketAddr, source: u32, secrecy: Secrecy) {
        if self.is_engaged(at, from) {
            return;
        }
        self.standing.suspect(at, secrecy);
        let authentic = self.candidate.as_ref().is_some_and(|candidate| candidate.known.0 != Id::default());
        if self.standing.secrecy() == secrecy && !authentic {
            self.candidate = Some(Candidate { address: from, known: Default::default(), source });
        }
    }

    /// When a greeting is due.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        // One that is gone is not told so for ever.
        let alive = |sender: &Sender| self.greeted.since(sender.heard) < PATIENCE;
        let addressed = self.candidate.is_some() || self.sender.as_ref().is_some_and(alive);
        let interval = if self.candidate.is_some() { GREETING_INTERVAL } else { self.interval };
        addressed.then(|| Mono(self.greeted.0.saturating_add(interval)))
    }

    /// Writes a greeting that is due: to a candidate, or else to the sender. Returns its address and the length.
    pub(super) fn greet(&mut self, now: Mono, ssrc: u32, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        self.poll_timeout().filter(|due| *due <= now)?;
        self.greeted = now;
        let meant = |ssrc| [Some(Next { ssrc, index: 0 }), None, None];
        if let Some(Candidate { address, known, source }) = self.candidate.take() {
            if self.next.is_used_up() {
                self.next.renew();
            }
            return Some((address, self.next.greet(ssrc, known, meant(source), out)?));
        }
        let sender = self.sender.as_ref()?;
        if self.me.is_used_up() {
            std::mem::swap(&mut self.me, &mut self.next);
            self.next.renew_after(&self.me);
        }
        let known = (sender.peer.id(), sender.peer.heard());
        Some((sender.address, self.me.greet(ssrc, known, meant(sender.source), out)?))
    }

    /// Protects the compound in the first `length` octets, if it goes to the sender.
    pub(super) fn seal(&mut self, to: SocketAddr, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.sender.as_ref().filter(|sender| sender.address == to)?;
        self.me.seal_control(buffer, length)
    }
}

impl Sender {
    /// Takes note of where its streams are. Those that it names no longer have ended.
    fn follow(&mut self, greeting: &Greeting) {
        for Next { ssrc, index } in greeting.streams.into_iter().flatten() {
            if let Some(known) = self.streams.iter_mut().flatten().find(|known| known.ssrc == ssrc) {
                known.window.catch_up(index);
            }
        }
        let named = |ssrc| greeting.streams.iter().flatten().any(|next| next.ssrc == ssrc);
        for place in &mut self.streams {
            place.take_if(|known| !named(known.ssrc));
        }
        for Next { ssrc, index } in greeting.streams.into_iter().flatten() {
            if !self.streams.iter().flatten().any(|known| known.ssrc == ssrc)
                && let Some(place) = self.streams.iter_mut().find(|place| place.is_none())
            {
                *place = Some(Stream { ssrc, window: Window::new(index) });
            }
        }
    }

    fn open(&mut self, datagram: &mut [u8]) -> Result<usize, Reject> {
        if rtp::is_rtcp(datagram) {
            return self.peer.open_control(datagram);
        }
        let head = datagram.first_chunk::<{ rtp::HEADER_LENGTH }>().ok_or(Reject::Truncated)?;
        let ssrc = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let sequence = Sequence(u16::from_be_bytes([head[2], head[3]]));
        let kind = payload_type::decrypted(head[1] & 0x7f).ok_or(Reject::PayloadType)?;
        let known = self.streams.iter_mut().flatten().find(|stream| stream.ssrc == ssrc);
        let window = &mut known.ok_or(Reject::Unknown)?.window;
        let index = window.index_of(sequence).ok_or(Reject::Value)?;
        if !window.is_fresh(index) {
            return Err(Reject::Replayed);
        }
        let length = self.peer.session().open(datagram, index)?;
        window.note(index);
        datagram[1] = datagram[1] & 0x80 | kind;
        Ok(length)
    }
}

/// The source that a datagram names; none that anybody knows where it is too short.
fn source_of(datagram: &[u8]) -> u32 {
    paths::named(datagram).unwrap_or(0)
}

/// Whether a datagram is what a sender without a key would send.
fn is_plain(datagram: &[u8]) -> bool {
    if rtp::is_rtcp(datagram) { is_report(datagram) } else { !is_encrypted(datagram) }
}

/// Whether a datagram is what a sender with a key would send, to a receiver that has none.
pub(super) fn is_encrypted(datagram: &[u8]) -> bool {
    if rtp::is_rtcp(datagram) {
        return secure::find_greeting(datagram).is_some();
    }
    let head = datagram.first_chunk::<2>().filter(|_| datagram.len() >= rtp::HEADER_LENGTH + OVERHEAD);
    head.is_some_and(|head| head[0] >> 6 == 2 && payload_type::decrypted(head[1] & 0x7f).is_some())
}
