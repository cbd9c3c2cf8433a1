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
mod encoding;
mod group;
mod line;
mod member;
mod mix;
mod pack;
mod recipients;
mod repair;
mod report;
mod routing;
mod seal;

use std::net::SocketAddr;

use proto::announce::{self, Announcement, Companion};
use proto::srtp::{self, Direction};
use proto::timing::{Delay, Timing};
use proto::units::{self, Mono, Ntp, Position, RtpTime};
use proto::{payload_type, rtcp, rtp, timing};

use crate::repair::advance::Spec;
use crate::secure::{Identity, Secret};

pub use encoding::{Client, Codec, Encoding, EncodingId, EncodingSpec, Reports, Wire};
pub use group::{Group, GroupId, Policy};
pub use recipients::Recipients;
pub use repair::{Advance, Repair};
pub use routing::{Departure, Routing};

use encoding::{GATHER, State};
use line::Line;
use recipients::Whereabouts;
use repair::{Keeper, ROOM, parity_ssrc, retransmission_ssrc};
use seal::{Opened, Part};

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

/// A datagram, by where it lies.
enum Next {
    /// In `control`, to be sealed.
    Control(Whereabouts, usize),
    /// In `control`, as it is.
    Sealed(Whereabouts, usize),
    /// What is ready of an encoding, to be sealed.
    Media(usize),
    /// In `spare`, as it is.
    Repair(Whereabouts, usize),
}

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
        let arrival = self.ntp(at);
        let rate = self.shape.rate;
        let secured = self.secure.is_some();
        let client = self.routing.speaker(from, datagram, secured).filter(|_| rtp::is_rtcp(datagram));
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

    fn next_datagram(&mut self) -> Option<Next> {
        if let Some(answer) = self.next_answer() {
            return Some(answer);
        }
        if let Some(gone) = self.routing.departures.pop() {
            let to = Whereabouts { first: gone.address, second: gone.second };
            return Some(Next::Control(to, self.write_goodbye(gone.ssrc)));
        }
        if let Some((encoding, client)) = self.after_greeting.take() {
            return Some(self.next_control(encoding, client));
        }
        if self.ending {
            if let Some(index) = self.next_media() {
                return Some(Next::Media(index));
            }
            self.ending = false;
        }
        if self.now >= self.reports_due {
            if let Some((encoding, client)) = self.next_report() {
                return Some(self.next_greeting(encoding, client));
            }
            self.reports_due = self.earliest_report();
        }
        if let Some(index) = self.next_media() {
            return Some(Next::Media(index));
        }
        if let Some((to, length)) = self.next_repair() {
            return Some(Next::Repair(to, length));
        }
        let (to, ssrc) = self.next_goodbye()?;
        Some(Next::Control(to, self.write_goodbye(ssrc)))
    }

    fn next_control(&mut self, encoding: usize, client: usize) -> Next {
        let next = self.routing.encodings[encoding].clients[client].reports_next();
        let length = self.write_report(encoding, client, next);
        let client = &mut self.routing.encodings[encoding].clients[client];
        let here = client.whereabouts();
        client.unanswered = client.unanswered.map(|count| count.saturating_add(1));
        Next::Control(if next { here.at_next_port() } else { here }, length)
    }

    /// Where there is a key, a greeting goes before each report, to where a receiver of our own listens.
    fn next_greeting(&mut self, encoding: usize, client: usize) -> Next {
        let Some(me) = &mut self.secure else { return self.next_control(encoding, client) };
        if me.is_used_up() {
            me.renew();
            let clients = self.routing.encodings.iter_mut().flat_map(|encoding| &mut encoding.clients);
            clients.for_each(|client| client.next_report = Mono(i64::MIN));
        }
        let of = &mut self.routing.encodings[encoding];
        if let Some(audience) = &mut of.clients[client].audience {
            audience.note_index(self.now, me.next());
        }
        let answered = of.clients[client].acquaintance.answered();
        match seal::greet(me, of, answered, &mut self.control) {
            Some(length) => {
                self.after_greeting = Some((encoding, client));
                Next::Sealed(of.clients[client].takes_reports_at(), length)
            }
            None => self.next_control(encoding, client),
        }
    }

    fn seal_control(&mut self, length: usize) -> Option<usize> {
        match &mut self.secure {
            Some(me) => me.seal_control(&mut self.control, length),
            None => Some(length),
        }
    }

    /// Whether the packet that is ready may go.
    fn seal_media(&mut self, index: usize) -> bool {
        let Some(me) = &self.secure else { return true };
        let encoding = &mut self.routing.encodings[index];
        if !encoding.is_rtp() {
            return false;
        }
        let State { numbers, ready, .. } = &mut encoding.state;
        // The last of a stream that goes on for others has a number that is theirs.
        if ready.get(8..12) != Some(&encoding.ssrc.to_be_bytes()[..]) {
            return false;
        }
        let length = ready.len();
        ready.resize(length + srtp::OVERHEAD, 0);
        numbers.seal(Part::Media, me.session(), ready, length).is_some()
    }

    /// Seals the packet in `spare`. Returns its length.
    fn seal_repair(&mut self, index: usize, part: Part, length: usize) -> Option<usize> {
        let Some(me) = &self.secure else { return Some(length) };
        let numbers = &mut self.routing.encodings[index].state.numbers;
        numbers.seal(part, me.session(), &mut self.spare, length)
    }

    fn next_answer(&mut self) -> Option<Next> {
        if !self.asked {
            return None;
        }
        for encoding in &mut self.routing.encodings {
            let greet = |client: &mut Client| client.audience.as_mut()?.next_greeting();
            if let Some(me) = &mut self.secure
                && let Some((address, answered)) = encoding.clients.iter_mut().find_map(greet)
                && let Some(length) = seal::greet(me, encoding, answered, &mut self.control)
            {
                return Some(Next::Sealed(address.into(), length));
            }
            for client in &mut encoding.clients {
                let out = &mut self.control[..rtcp::MAX_COMPOUND];
                if let Some((address, length)) = client.answer(self.now, encoding.ssrc, out) {
                    return Some(Next::Control(address.into(), length));
                }
            }
        }
        self.asked = false;
        None
    }

    /// Moves on to an encoding with a packet that was not polled yet.
    fn next_media(&mut self) -> Option<usize> {
        // The packet that was returned last is done with only now, since the caller borrowed it.
        if let Some(last) = self.encoding_cursor.checked_sub(1)
            && let Some(encoding) = self.routing.encodings.get_mut(last)
        {
            encoding.state.ready.clear();
        }
        while let Some(encoding) = self.routing.encodings.get(self.encoding_cursor) {
            self.encoding_cursor += 1;
            if !encoding.state.ready.is_empty() {
                return Some(self.encoding_cursor - 1);
            }
        }
        None
    }

    /// Parity that is due, then what clients asked for.
    fn next_repair(&mut self) -> Option<(Whereabouts, usize)> {
        loop {
            let Some((index, spec, length, next)) = self.parity else {
                self.parity = self.next_parity();
                if self.parity.is_none() {
                    return self.next_resend();
                }
                continue;
            };
            let clients = &self.routing.encodings[index].clients;
            let wants = |client: &Client| client.mender.as_ref().is_some_and(|m| m.wants(spec));
            let Some(found) = clients.iter().skip(next).position(wants) else {
                self.parity = None;
                continue;
            };
            self.parity = Some((index, spec, length, next + found + 1));
            let client = &clients[next + found];
            client.counters.parity.add(1);
            return Some((client.whereabouts(), length));
        }
    }

    fn next_parity(&mut self) -> Option<(usize, Spec, usize, usize)> {
        for (index, encoding) in self.routing.encodings.iter_mut().enumerate() {
            let Some((spec, packet)) = encoding.keeper.as_mut().and_then(Keeper::poll) else { continue };
            let Some(room) = self.spare.get_mut(..packet.len()) else { continue };
            room.copy_from_slice(packet);
            let length = packet.len();
            return Some((index, spec, self.seal_repair(index, Part::Parity, length)?, 0));
        }
        None
    }

    fn next_resend(&mut self) -> Option<(Whereabouts, usize)> {
        for (index, encoding) in self.routing.encodings.iter_mut().enumerate() {
            let Some(keeper) = &encoding.keeper else { continue };
            for client in &mut encoding.clients {
                let Some(mender) = &mut client.mender else { continue };
                if let Some(length) = mender.poll(self.now, keeper, &mut self.spare) {
                    mender.count(&client.counters);
                    let to = client.whereabouts();
                    return Some((to, self.seal_repair(index, Part::Retransmission, length)?));
                }
            }
        }
        None
    }

    fn next_goodbye(&mut self) -> Option<(Whereabouts, u32)> {
        let (mut index, mut client) = self.goodbye_cursor?;
        while let Some(encoding) = self.routing.encodings.get(index) {
            if encoding.is_rtp() && client < encoding.clients.len() {
                self.goodbye_cursor = Some((index, client + 1));
                return Some((encoding.clients[client].takes_reports_at(), encoding.ssrc));
            }
            (index, client) = (index + 1, 0);
        }
        None
    }

    fn next_report(&mut self) -> Option<(usize, usize)> {
        let now = self.now;
        for (index, encoding) in self.routing.encodings.iter_mut().enumerate() {
            if !encoding.is_rtp() {
                continue;
            }
            if let Some(client) = encoding.clients.iter().position(|c| c.next_report <= now) {
                let Client { next_report: due, member, .. } = &mut encoding.clients[client];
                let first = due.0 == i64::MIN;
                // The first interval of each client differs, so that the reports of many clients spread over the second.
                let interval = if first {
                    REPORT_INTERVAL / 2 + REPORT_INTERVAL / 64 * (client as i64 % 64)
                } else {
                    REPORT_INTERVAL
                };
                // Members hear at the next tick again.
                *due = if member.group.is_some() { Mono(i64::MAX) } else { now.plus(interval) };
                return Some((index, client));
            }
        }
        None
    }

    fn earliest_report(&self) -> Mono {
        let rtp = self.routing.encodings.iter().filter(|e| e.is_rtp());
        rtp.flat_map(|e| &e.clients).map(|c| c.next_report).min().unwrap_or(Mono(i64::MAX))
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

    /// What a client is told of the time at which to play; `None` where it plays by itself, and before the first block.
    fn timing(&self, encoding: &Encoding, client: &Client) -> Option<Timing> {
        let group = self.routing.groups.iter().find(|group| Some(group.id) == client.member.group)?;
        let anchor = self.line?.anchor(encoding, &self.shape);
        let delay = group.ramp().map_or(Delay { begin: anchor.rtp_time, ..Delay::default() }, |ramp| Delay {
            from_us: ramp.from_us,
            to_us: ramp.to_us,
            begin: encoding.rtp_time(ramp.begin, &self.shape),
        });
        Some(Timing { anchor, delay, trim_ns: client.member.trim_ns })
    }

    /// Programs of other make get no more of it than they know.
    fn write_report(&mut self, encoding: usize, client: usize, foreign: bool) -> usize {
        let pace = self.routing.encodings[encoding].pace(self.now, self.shape.rate, client);
        let encoding = &self.routing.encodings[encoding];
        let info = self.here().map(|position| rtcp::SenderInfo {
            ntp: self.ntp(self.now),
            rtp_time: encoding.rtp_time(position, &self.shape),
            packets: encoding.state.packets,
            octets: encoding.state.octets,
        });
        let timing = self.timing(encoding, &encoding.clients[client]);
        let mender = encoding.clients[client].mender.as_ref();
        let announcement = Announcement {
            format: encoding.format(self.shape.rate),
            name: &encoding.clients[client].name,
            map: &encoding.map_text,
            retransmission: mender.filter(|m| m.takes_requests()).map(|_| Companion {
                payload_type: payload_type::RETRANSMISSION,
                ssrc: retransmission_ssrc(encoding.ssrc),
            }),
            parity: mender
                .map(|_| Companion { payload_type: payload_type::PARITY, ssrc: parity_ssrc(encoding.ssrc) }),
            pace,
        };
        let mut body = [0; 384];
        let length = announcement.write(&mut body).unwrap_or(0);
        let mut builder = rtcp::Builder::new(&mut self.control[..rtcp::MAX_COMPOUND]);
        match info {
            Some(info) => builder.sender_report(encoding.ssrc, &info),
            // Nothing was captured yet, so no RTP time has a wall-clock time.
            None => builder.receiver_report(encoding.ssrc, None),
        }
        builder.description(encoding.ssrc, &self.cname);
        if !foreign {
            builder.application(encoding.ssrc, announce::APP_NAME, 0, &body[..length]);
        }
        if let Some(timing) = timing.filter(|_| !foreign) {
            builder.application(encoding.ssrc, timing::APP_NAME, 0, &timing.to_bytes());
        }
        builder.finish().unwrap_or(0)
    }

    /// A compound has to begin with a report (RFC 3550, 6.1); an empty one will do.
    fn write_goodbye(&mut self, ssrc: u32) -> usize {
        let mut builder = rtcp::Builder::new(&mut self.control[..rtcp::MAX_COMPOUND]);
        builder.receiver_report(ssrc, None);
        builder.description(ssrc, &self.cname);
        builder.bye(ssrc);
        builder.finish().unwrap_or(0)
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
