//! From captured blocks to packets: map → encode → RTP or headerless PCM, and the reports that go with it.
//!
//! Clients that hear the same thing share one [`Encoding`]: their packets are built once and sent to each. The
//! control thread builds a new [`Routing`] when the list changes; the send thread swaps it in between two blocks, and
//! encodings that stay keep their sequence numbers and half-filled packets. What a client hears is crossfaded over 5 ms
//! where it changes. One that is to hear something else than those it shared with branches off: it gets an encoding of
//! its own, which begins with all that theirs holds, so that nobody's numbers, times and packets show the change.
//!
//! RTP times count frames of the encoding's own clock from one random origin: the captured rate for PCM, 48 kHz for
//! Opus. They say when what a packet decodes to was captured. For Opus this takes into account both how long the
//! resampler holds samples back and how far the encoder looks ahead
//! ([`Encoder::lookahead`](crate::opus::Encoder::lookahead)), so that a receiver which plays what a decoder hands out
//! at the packet's time is in time with those of PCM, and need not know how the encoder was set.
//!
//! Clients of a [`Group`] are told when the frames of their stream were captured and how much later to play them, once a
//! second and all at the same time, since each of them draws the stream's line through what it was told last. Their
//! questions about this machine's clock are answered before anything else. A client whose sender reports come without
//! timing has none to expect.
//!
//! A client may have two addresses, one on each of two networks: it gets the same datagrams at both, octet by octet.
//!
//! A client whose address is that of a multicast group stands for all who listen there: one stream for all of them. They
//! speak to this sender by unicast, each by itself, and are known by the source that they speak of. What they lost is sent
//! again to the whole group, once; reports go to the group, and answers about this machine's clock to each that asked.

mod audience;
mod client;
mod compound;
mod encoding;
mod group;
mod line;
mod member;
mod mix;
mod next;
mod pack;
mod recipients;
mod repair;
mod report;
mod routing;
mod seal;
mod spec;

use std::net::SocketAddr;

use proto::srtp::{self, Direction};
use proto::units::{self, Mono, Ntp, Position, RtpTime};
use proto::{rtcp, rtp};

use crate::repair::advance::Spec;
use crate::secure::{Identity, Secret};

pub use client::{Client, Reports};
pub use encoding::{Encoding, EncodingId};
pub use group::{Group, GroupId, Policy};
pub use recipients::Recipients;
pub use repair::{Advance, Repair};
pub use routing::{Departure, Routing};
pub use spec::{Codec, EncodingSpec, Wire};

use client::GATHER;
use line::Line;
use next::Next;
use repair::ROOM;
use seal::Opened;

/// What all encodings of a sender share.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rate: u32,
    channels: u16,
    /// RTP time of position 0: one for all encodings, so that a client that changes its encoding keeps its timeline.
    origin: RtpTime,
}

/// One datagram for one or several clients.
#[derive(Debug)]
pub struct Transmit<'a> {
    /// The datagram.
    pub bytes: &'a [u8],
    /// Where it goes.
    pub to: Recipients<'a>,
}

/// Octets of the longest packet that repair sends.
const LARGEST_REPAIR: usize = crate::receive::MAX_PAYLOAD + rtp::HEADER_LENGTH + ROOM + srtp::OVERHEAD;
/// Packets of a compound that are looked at: a client sends three.
const MAX_REPORTS: usize = 4;
/// Time between two reports to a client, in nanoseconds.
const REPORT_INTERVAL: i64 = 1_000_000_000;

/// The sender's pipeline. See the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct SendPipeline {
    shape: Shape,
    cname: String,
    routing: Box<Routing>,
    position: Position,
    /// Wall clock: NTP time in nanoseconds since 1970 at a monotonic instant.
    wall: (Mono, i64),
    /// Position and capture time of the last block's first frame; `None` before the first block.
    stamp: Option<(Position, Mono)>,
    /// By which share the capture clock runs slow.
    slow: f64,
    /// What members are told of the capture clock, since the last tick; `None` before the first block.
    line: Option<Line>,
    /// When members are told anew, and when a group wants to decide before that.
    tick_due: Mono,
    decision_due: Mono,
    /// Questions may wait for their answers.
    asked: bool,
    now: Mono,
    reports_due: Mono,
    encoding_cursor: usize,
    /// Packets of streams that a new routing has ended may be left: they go before what is said of the streams that follow.
    ending: bool,
    /// A packet of parity in `spare`: its encoding, kind, length, and the client that is next to get it.
    parity: Option<(usize, Spec, usize, usize)>,
    spare: Vec<u8>,
    /// The encoding and client whose last goodbye is next, once the stream ends.
    goodbye_cursor: Option<(usize, usize)>,
    control: Vec<u8>,
    /// This end, where a key is set.
    secure: Option<Identity>,
    /// A report that follows on a greeting: its encoding and client.
    after_greeting: Option<(usize, usize)>,
    /// What came, to be opened in place.
    opened: Vec<u8>,
}

impl SendPipeline {
    /// A pipeline without clients. `rate` and `channels` describe the captured blocks; `origin` is the random RTP time
    /// of the first frame; `cname` names this sender in its reports.
    pub fn new(rate: u32, channels: u16, origin: RtpTime, cname: String) -> Self {
        Self {
            shape: Shape { rate, channels: channels.max(1), origin },
            cname,
            routing: Box::default(),
            position: Position(0),
            wall: (Mono(0), 0),
            stamp: None,
            slow: 0.0,
            line: None,
            tick_due: Mono(i64::MAX),
            decision_due: Mono(i64::MAX),
            asked: false,
            now: Mono(0),
            reports_due: Mono(i64::MIN),
            encoding_cursor: 0,
            ending: false,
            parity: None,
            spare: vec![0; LARGEST_REPAIR],
            goodbye_cursor: None,
            control: vec![0; seal::LONGEST_CONTROL],
            secure: None,
            after_greeting: None,
            opened: vec![0; seal::LONGEST_CONTROL],
        }
    }

    /// The same with a key: everything is encrypted, and nothing is believed that is not. Headerless PCM is not sent at all.
    pub fn secured(mut self, secret: Secret) -> Self {
        self.secure = Some(Identity::new(secret, Direction::FromSender, self.cname.clone()));
        self
    }

    /// Puts a new routing in force and returns the old one, to be freed by a thread that may. Poll until empty
    /// before and after.
    pub fn replace(&mut self, mut routing: Box<Routing>) -> Box<Routing> {
        routing.inherit(&mut self.routing, &self.shape);
        self.reports_due = Mono(i64::MIN);
        self.tick_due = Mono(if routing.groups.is_empty() { i64::MAX } else { i64::MIN });
        self.encoding_cursor = 0;
        self.ending = routing.encodings.iter().any(|encoding| !encoding.state.ready.is_empty());
        std::mem::replace(&mut self.routing, routing)
    }

    /// The largest block that [`handle_block`](Self::handle_block) takes, in frames.
    pub fn max_block(&self) -> usize {
        self.routing.max_block()
    }

    /// Says which wall-clock time (nanoseconds since 1970) a monotonic instant has.
    pub fn set_wall_clock(&mut self, at: Mono, unix_nanos: i64) {
        self.wall = (at, unix_nanos);
    }

    /// Says by which share the capture clock runs slow (1e-6 is one part per million), as the times of blocks show it.
    pub fn set_capture_clock(&mut self, slow: f64) {
        self.slow = slow;
    }

    /// The position of the frame that is expected next. Where capture skips some, call [`flush`](Self::flush) first.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Takes one captured block of whole frames, at most [`max_block`](Self::max_block) long, whose first frame has
    /// this position and was captured at `at`. Poll until empty before the next block.
    pub fn handle_block(&mut self, position: Position, at: Mono, block: &[f32]) {
        for encoding in &mut self.routing.encodings {
            encoding.handle_block(position, block, &self.shape);
        }
        if self.stamp.replace((position, at)).is_none() {
            self.line = Some(Line { position, at, slow: self.slow });
            tell(&mut self.routing.encodings, |_| true);
            self.reports_due = Mono(i64::MIN);
        }
        self.position = position.advanced((block.len() / usize::from(self.shape.channels)) as u64);
        self.encoding_cursor = 0;
    }

    /// Takes the time. Answers and reports that are due come out of [`poll_transmit`](Self::poll_transmit). Answers say that
    /// they were sent at this time: where datagrams came in, call it again before they are polled.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.now = now;
        if now >= self.tick_due {
            self.line = self.stamp.map(|(position, at)| Line { position, at, slow: self.slow });
            self.tick_due = now.plus(REPORT_INTERVAL);
            self.decide();
            tell(&mut self.routing.encodings, |_| true);
            self.reports_due = now;
        } else if now >= self.decision_due {
            self.decide();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Mono {
        self.reports_due.min(self.tick_due).min(self.decision_due)
    }

    /// Takes a datagram that a client sent back. Anything that is not a client's report is ignored.
    pub fn handle_datagram(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        if !rtp::is_rtcp(datagram) {
            return;
        }
        let arrival = self.ntp(at);
        let rate = self.shape.rate;
        let secured = self.secure.is_some();
        let client = self.routing.speaker(from, datagram, secured);
        let Some(((encoding, client), opened)) = client.zip(self.opened.get_mut(..datagram.len())) else {
            return;
        };
        opened.copy_from_slice(datagram);
        let encoding = &mut self.routing.encodings[encoding];
        let packet_time = encoding.packet_time(rate);
        let client = &mut encoding.clients[client];
        let opening = seal::open(self.secure.as_ref(), client, at, from, opened);
        if client.is_at(from) && opening != Opened::Nothing {
            client.unanswered = None;
        }
        let length = match opening {
            Opened::Compound(length) => length,
            Opened::Newcomer => {
                // Of those who listen to a group, several may have come.
                let due = client.audience.as_ref().map_or(Mono(i64::MIN), |_| at.plus(GATHER));
                self.asked |= client.is_waiting();
                client.next_report = client.next_report.min(due);
                self.reports_due = self.reports_due.min(due);
                return;
            }
            Opened::Nothing => return,
        };
        let mut due = None;
        for packet in rtcp::packets(&opened[..length]).map_while(Result::ok).take(MAX_REPORTS) {
            match report::question(&packet) {
                Some(request) => due = client.ask(at, from, &request).or(due),
                None => report::note(client, from, encoding.ssrc, packet_time, arrival, at, &packet),
            }
        }
        self.asked |= client.is_waiting();
        if let Some(due) = due {
            client.next_report = client.next_report.min(due);
            self.reports_due = self.reports_due.min(due);
            self.decide();
        }
    }

    /// Takes note that the socket would not take a datagram for this address.
    pub fn note_unsent(&self, address: SocketAddr) {
        let clients = self.routing.encodings.iter().flat_map(|encoding| &encoding.clients);
        clients.filter(|client| client.is_at(address)).for_each(|client| client.counters.unsent.add(1));
    }

    /// Completes half-filled packets of PCM, and forgets what is too little for one of Opus: the next block may have any
    /// position. Poll until empty before it.
    pub fn flush(&mut self) {
        for encoding in &mut self.routing.encodings {
            encoding.flush(&self.shape);
        }
        self.encoding_cursor = 0;
    }

    /// Ends the stream: half-filled packets are completed, and a BYE follows to every client.
    pub fn finish(&mut self) {
        self.flush();
        self.goodbye_cursor = Some((0, 0));
    }

    /// The next datagram: answers, goodbyes to clients that left, last packets of streams that end with a new routing, reports
    /// that are due, media, and at the end the last goodbyes.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        loop {
            let (bytes, to) = match self.next_datagram()? {
                Next::Sealed(to, length) => (&self.control[..length], to.into()),
                Next::Control(to, length) => match self.seal_control(length) {
                    Some(length) => (&self.control[..length], to.into()),
                    None => continue,
                },
                Next::Media(index) if !self.seal_media(index) => continue,
                Next::Media(index) => {
                    let encoding = &self.routing.encodings[index];
                    (&encoding.state.ready[..], Recipients::All(&encoding.clients))
                }
                Next::Repair(to, length) => (&self.spare[..length], to.into()),
            };
            return Some(Transmit { bytes, to });
        }
    }

    /// The frame that is captured now; `None` before the first.
    fn here(&self) -> Option<Position> {
        let (position, at) = self.stamp?;
        let elapsed = units::nanos_to_frames(self.now.since(at), self.shape.rate);
        Some(Position(position.0.saturating_add_signed(elapsed)))
    }

    /// Has each group choose its delay, and tells the members of those that have news.
    fn decide(&mut self) {
        let (now, here, rate) = (self.now, self.here(), self.shape.rate);
        let Routing { groups, encodings, .. } = &mut *self.routing;
        for group in &mut *groups {
            let id = group.id;
            let clients = encodings.iter().flat_map(|encoding| &encoding.clients);
            let members = clients.flat_map(Client::members).filter(|m| m.group == Some(id));
            if group.decide(now, here, rate, members) {
                tell(encodings, |to| to == id);
                self.reports_due = Mono(i64::MIN);
            }
        }
        self.decision_due = groups.iter().map(Group::poll_timeout).min().unwrap_or(Mono(i64::MAX));
    }

    fn ntp(&self, at: Mono) -> Ntp {
        let unix = self.wall.1.saturating_add(at.since(self.wall.0));
        Ntp::from_unix_nanos(u64::try_from(unix).unwrap_or(0))
    }
}

/// Has a report due for the clients of some groups.
fn tell(encodings: &mut [Encoding], which: impl Fn(GroupId) -> bool) {
    let clients = encodings.iter_mut().flat_map(|encoding| &mut encoding.clients);
    let told = clients.filter(|client| client.member.group.is_some_and(&which));
    told.for_each(|client| client.next_report = Mono(i64::MIN));
}

#[cfg(test)]
mod tests;
