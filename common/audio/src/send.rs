//! From captured blocks to packets: map → encode → RTP or headerless PCM, and the reports that go with it.
//!
//! Clients that hear the same thing share one [`Encoding`]: their packets are built once and sent to each. The
//! control thread builds a new [`Routing`] when the list changes; the send thread swaps it in between two blocks, and
//! encodings that stay keep their sequence numbers and half-filled packets.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::announce::{self, Announcement, Codec, Format};
use proto::pcm::{self, ByteOrder};
use proto::playout::Playout;
use proto::units::{self, Mono, Ntp, Position, RtpTime, Sequence};
use proto::{payload_type, playout, rtcp, rtp};

use crate::counters::ClientCounters;
use crate::map::ChannelMap;

/// What goes over the wire for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// RTP with `L16` payloads (RFC 3550, RFC 3551), RTCP on the same port (RFC 5761).
    Rtp,
    /// Headerless signed 16-bit little-endian PCM.
    Plain,
}

impl Wire {
    /// Its name on command lines, in files and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::Plain => "plain",
        }
    }
}

/// What distinguishes one encoding from another. Equal specifications are encoded once.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodingSpec {
    /// The wire format.
    pub wire: Wire,
    /// Which source channels.
    pub map: ChannelMap,
    /// Factor for each sample; negative inverts the polarity, zero mutes.
    pub factor: f32,
    /// Frames in a packet.
    pub frames: u16,
}

impl EncodingSpec {
    /// Octets of a full packet.
    pub fn packet_length(&self) -> usize {
        let header = if self.wire == Wire::Rtp { rtp::HEADER_LENGTH } else { 0 };
        header + usize::from(self.frames) * usize::from(self.map.channels()) * pcm::BYTES_PER_SAMPLE
    }
}

/// Identifies an encoding across changes of the routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodingId(pub u64);

/// One receiver of an encoding.
#[derive(Debug)]
pub struct Client {
    /// Its name in the list, announced to it.
    pub name: String,
    /// Where its packets go.
    pub address: SocketAddr,
    /// What is known of it.
    pub counters: Arc<ClientCounters>,
    next_report: Mono,
}

impl Client {
    /// A client that is due for its first report at once.
    pub fn new(name: String, address: SocketAddr, counters: Arc<ClientCounters>) -> Self {
        Self { name, address, counters, next_report: Mono(i64::MIN) }
    }
}

/// One stream of packets and those it goes to.
#[derive(Debug)]
pub struct Encoding {
    id: EncodingId,
    spec: EncodingSpec,
    map_text: String,
    ssrc: u32,
    clients: Vec<Client>,
    state: State,
}

/// What an encoding carries over when the routing is replaced.
#[derive(Debug)]
struct State {
    started: bool,
    sequence: Sequence,
    packets: u32,
    octets: u32,
    /// Position of the first frame in `filling`.
    position: Position,
    filled: u16,
    filling: Vec<u8>,
    /// The last full packet; empty once it was polled.
    ready: Vec<u8>,
    peak: f32,
    peak_frames: u32,
}

impl Encoding {
    /// An encoding that starts with the next block. `ssrc` and `sequence` are to be random (RFC 3550, 5.1).
    pub fn new(
        id: EncodingId,
        spec: EncodingSpec,
        ssrc: u32,
        sequence: Sequence,
        clients: Vec<Client>,
    ) -> Self {
        let capacity = spec.packet_length();
        let state = State {
            started: false,
            sequence,
            packets: 0,
            octets: 0,
            position: Position(0),
            filled: 0,
            filling: Vec::with_capacity(capacity),
            ready: Vec::with_capacity(capacity),
            peak: 0.0,
            peak_frames: 0,
        };
        Self { id, map_text: spec.map.to_string(), spec, ssrc, clients, state }
    }

    /// Its identity.
    pub fn id(&self) -> EncodingId {
        self.id
    }

    fn is_rtp(&self) -> bool {
        self.spec.wire == Wire::Rtp
    }

    fn format(&self, rate: u32) -> Format {
        let channels = self.spec.map.channels();
        Format {
            payload_type: payload_type::of_l16(rate, channels),
            codec: Codec::L16,
            channels,
            rate,
            frames: self.spec.frames,
        }
    }

    fn handle_block(&mut self, position: Position, block: &[f32], shape: &Shape) {
        let channels = usize::from(shape.channels);
        let mut at = position;
        let mut rest = block;
        while !rest.is_empty() {
            if self.state.filled == 0 {
                self.state.position = at;
                self.begin_packet(shape);
            }
            let room = usize::from(self.spec.frames - self.state.filled);
            let (now, later) = rest.split_at(rest.len().min(room * channels));
            self.append(now, channels);
            at = at.advanced((now.len() / channels) as u64);
            rest = later;
            if self.state.filled == self.spec.frames {
                self.complete_packet(shape);
            }
        }
    }

    fn begin_packet(&mut self, shape: &Shape) {
        self.state.filling.clear();
        if self.is_rtp() {
            let header = rtp::Header {
                marker: !self.state.started,
                payload_type: self.format(shape.rate).payload_type,
                sequence: self.state.sequence,
                timestamp: RtpTime::at(shape.origin, self.state.position),
                ssrc: self.ssrc,
            };
            self.state.filling.extend_from_slice(&header.to_bytes());
        }
    }

    fn append(&mut self, block: &[f32], channels: usize) {
        let order = if self.is_rtp() { ByteOrder::Big } else { ByteOrder::Little };
        let outputs = self.spec.map.outputs();
        let frames = block.len() / channels;
        let state = &mut self.state;
        let start = state.filling.len();
        state.filling.resize(start + frames * outputs.len() * pcm::BYTES_PER_SAMPLE, 0);
        let slots = state.filling[start..].as_chunks_mut().0;
        let mut peak = state.peak;
        for (output, sources) in outputs.iter().enumerate() {
            let slots = slots.iter_mut().skip(output).step_by(outputs.len());
            let mut write = |slot, sum: f32| {
                let sample = sum * self.spec.factor;
                peak = peak.max(sample.abs());
                pcm::write_sample(sample, order, slot);
            };
            match sources[..] {
                [only] if usize::from(only) < channels => {
                    let source = block.iter().skip(usize::from(only)).step_by(channels);
                    slots.zip(source).for_each(|(slot, sample)| write(slot, *sample));
                }
                _ => {
                    for (slot, frame) in slots.zip(block.chunks_exact(channels)) {
                        let source = |&channel: &u16| frame.get(usize::from(channel)).unwrap_or(&0.0);
                        write(slot, sources.iter().map(source).sum());
                    }
                }
            }
        }
        state.peak = peak;
        state.filled += frames as u16;
    }

    /// Moves what is filled to `ready`; also for a last, shorter packet.
    fn complete_packet(&mut self, shape: &Shape) {
        let state = &mut self.state;
        if state.filled == 0 {
            return;
        }
        std::mem::swap(&mut state.filling, &mut state.ready);
        let header = if self.spec.wire == Wire::Rtp { rtp::HEADER_LENGTH } else { 0 };
        let payload = state.ready.len() - header;
        state.started = true;
        state.sequence = state.sequence.next();
        state.packets = state.packets.wrapping_add(1);
        state.octets = state.octets.wrapping_add(payload as u32);
        state.peak_frames += u32::from(state.filled);
        state.filled = 0;
        let meter_due = state.peak_frames >= shape.rate / 10;
        for client in &self.clients {
            client.counters.packets.add(1);
            client.counters.octets.add(payload as u64);
            if meter_due {
                client.counters.level.set(state.peak);
            }
        }
        if meter_due {
            state.peak = 0.0;
            state.peak_frames = 0;
        }
    }
}

/// A client that has left, to be told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Where it listens.
    pub address: SocketAddr,
    /// The stream that ends for it.
    pub ssrc: u32,
}

/// All encodings, ordered by id, and the clients that a change leaves behind.
#[derive(Debug, Default)]
pub struct Routing {
    encodings: Vec<Encoding>,
    departures: Vec<Departure>,
}

impl Routing {
    /// A routing of these encodings; `departures` are sent a BYE when it takes effect.
    pub fn new(mut encodings: Vec<Encoding>, departures: Vec<Departure>) -> Self {
        encodings.sort_by_key(Encoding::id);
        Self { encodings, departures }
    }

    /// The largest block that every encoding turns into at most one packet, in frames.
    fn max_block(&self) -> u16 {
        self.encodings.iter().map(|e| e.spec.frames).min().unwrap_or(u16::MAX)
    }

    /// Takes over the state of encodings that `old` has too.
    fn inherit(&mut self, old: &mut Routing) {
        let mut former = old.encodings.iter_mut().peekable();
        for encoding in &mut self.encodings {
            while former.next_if(|f| f.id < encoding.id).is_some() {}
            let Some(same) = former.next_if(|f| f.id == encoding.id) else { continue };
            std::mem::swap(&mut encoding.state, &mut same.state);
            for client in &mut encoding.clients {
                if let Some(known) = same.clients.iter().find(|c| c.address == client.address) {
                    client.next_report = known.next_report;
                }
            }
        }
    }
}

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

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub enum Recipients<'a> {
    /// Every client of an encoding: media.
    All(&'a [Client]),
    /// One address: reports and goodbyes.
    One(SocketAddr),
}

/// Packets of a compound that are looked at: a client sends three.
const MAX_REPORTS: usize = 8;
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
    now: Mono,
    reports_due: Mono,
    encoding_cursor: usize,
    /// The encoding and client whose last goodbye is next, once the stream ends.
    goodbye_cursor: Option<(usize, usize)>,
    control: Vec<u8>,
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
            now: Mono(0),
            reports_due: Mono(i64::MIN),
            encoding_cursor: 0,
            goodbye_cursor: None,
            control: vec![0; rtcp::MAX_COMPOUND],
        }
    }

    /// Puts a new routing in force and returns the old one, to be freed by a thread that may. Poll until empty
    /// before and after.
    pub fn replace(&mut self, mut routing: Box<Routing>) -> Box<Routing> {
        routing.inherit(&mut self.routing);
        self.reports_due = Mono(i64::MIN);
        std::mem::replace(&mut self.routing, routing)
    }

    /// The largest block that [`handle_block`](Self::handle_block) takes, in frames.
    pub fn max_block(&self) -> usize {
        usize::from(self.routing.max_block())
    }

    /// Says which wall-clock time (nanoseconds since 1970) a monotonic instant has.
    pub fn set_wall_clock(&mut self, at: Mono, unix_nanos: i64) {
        self.wall = (at, unix_nanos);
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
        self.stamp = Some((position, at));
        self.position = position.advanced((block.len() / usize::from(self.shape.channels)) as u64);
        self.encoding_cursor = 0;
    }

    /// Takes the time. Reports that are due come out of [`poll_transmit`](Self::poll_transmit).
    pub fn handle_timeout(&mut self, now: Mono) {
        self.now = now;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Mono {
        self.reports_due
    }

    /// Takes a datagram that a client sent back. Anything that is not a client's report is ignored.
    pub fn handle_datagram(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        let clients = |encoding: &Encoding| encoding.clients.iter().position(|c| c.address == from);
        let served = |encoding: &&Encoding| clients(encoding).is_some();
        let Some(encoding) = self.routing.encodings.iter().find(served).filter(|_| rtp::is_rtcp(datagram))
        else {
            return;
        };
        let Some(client) = clients(encoding).map(|index| &encoding.clients[index]) else { return };
        let arrival = self.ntp(at);
        for packet in rtcp::packets(datagram).map_while(Result::ok).take(MAX_REPORTS) {
            note_report(&client.counters, encoding.ssrc, arrival, at, &packet);
        }
    }

    /// Takes note that the socket would not take a datagram for this address.
    pub fn note_unsent(&self, address: SocketAddr) {
        let clients = self.routing.encodings.iter().flat_map(|encoding| &encoding.clients);
        clients.filter(|client| client.address == address).for_each(|client| client.counters.unsent.add(1));
    }

    /// Completes half-filled packets. Poll until empty before the next block.
    pub fn flush(&mut self) {
        for encoding in &mut self.routing.encodings {
            encoding.complete_packet(&self.shape);
        }
        self.encoding_cursor = 0;
    }

    /// Ends the stream: half-filled packets are completed, and a BYE follows to every client.
    pub fn finish(&mut self) {
        self.flush();
        self.goodbye_cursor = Some((0, 0));
    }

    /// The next datagram: goodbyes to clients that left, reports that are due, media, and at the end the last goodbyes.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        if let Some(gone) = self.routing.departures.pop() {
            let length = self.write_goodbye(gone.ssrc);
            return Some(Transmit { bytes: &self.control[..length], to: Recipients::One(gone.address) });
        }
        if self.now >= self.reports_due {
            if let Some((encoding, client)) = self.next_report() {
                let length = self.write_report(encoding, client);
                let address = self.routing.encodings[encoding].clients[client].address;
                return Some(Transmit { bytes: &self.control[..length], to: Recipients::One(address) });
            }
            self.reports_due = self.earliest_report();
        }
        if let Some(index) = self.next_media() {
            let encoding = &self.routing.encodings[index];
            return Some(Transmit { bytes: &encoding.state.ready, to: Recipients::All(&encoding.clients) });
        }
        let (address, ssrc) = self.next_goodbye()?;
        let length = self.write_goodbye(ssrc);
        Some(Transmit { bytes: &self.control[..length], to: Recipients::One(address) })
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

    fn next_goodbye(&mut self) -> Option<(SocketAddr, u32)> {
        let (mut index, mut client) = self.goodbye_cursor?;
        while let Some(encoding) = self.routing.encodings.get(index) {
            if encoding.is_rtp() && client < encoding.clients.len() {
                self.goodbye_cursor = Some((index, client + 1));
                return Some((encoding.clients[client].address, encoding.ssrc));
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
                let due = &mut encoding.clients[client].next_report;
                let first = due.0 == i64::MIN;
                // The first interval of each client differs, so that the reports of many clients spread over the second.
                let interval = if first {
                    REPORT_INTERVAL / 2 + REPORT_INTERVAL / 64 * (client as i64 % 64)
                } else {
                    REPORT_INTERVAL
                };
                *due = now.plus(interval);
                return Some((index, client));
            }
        }
        None
    }

    fn earliest_report(&self) -> Mono {
        let rtp = self.routing.encodings.iter().filter(|e| e.is_rtp());
        rtp.flat_map(|e| &e.clients).map(|c| c.next_report).min().unwrap_or(Mono(i64::MAX))
    }

    fn write_report(&mut self, encoding: usize, client: usize) -> usize {
        let encoding = &self.routing.encodings[encoding];
        let info = self.stamp.map(|(position, at)| {
            let elapsed = units::nanos_to_frames(self.now.since(at), self.shape.rate);
            rtcp::SenderInfo {
                ntp: self.ntp(self.now),
                rtp_time: RtpTime::at(self.shape.origin, Position(position.0.saturating_add_signed(elapsed))),
                packets: encoding.state.packets,
                octets: encoding.state.octets,
            }
        });
        let announcement = Announcement {
            format: encoding.format(self.shape.rate),
            name: &encoding.clients[client].name,
            map: &encoding.map_text,
            retransmission: None,
            parity: None,
        };
        let mut body = [0; 384];
        let length = announcement.write(&mut body).unwrap_or(0);
        let mut builder = rtcp::Builder::new(&mut self.control);
        match info {
            Some(info) => builder.sender_report(encoding.ssrc, &info),
            // Nothing was captured yet, so no RTP time has a wall-clock time.
            None => builder.receiver_report(encoding.ssrc, None),
        }
        builder.description(encoding.ssrc, &self.cname);
        builder.application(encoding.ssrc, announce::APP_NAME, 0, &body[..length]);
        builder.finish().unwrap_or(0)
    }

    /// A compound has to begin with a report (RFC 3550, 6.1); an empty one will do.
    fn write_goodbye(&mut self, ssrc: u32) -> usize {
        let mut builder = rtcp::Builder::new(&mut self.control);
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

fn note_report(counters: &ClientCounters, ssrc: u32, arrival: Ntp, at: Mono, packet: &rtcp::Packet<'_>) {
    match *packet {
        rtcp::Packet::Receiver { mut blocks, .. } | rtcp::Packet::Sender { mut blocks, .. } => {
            let Some(block) = blocks.find(|b| b.ssrc == ssrc) else { return };
            counters.reports.add(1);
            counters.reported_at.set(at.0 as u64);
            counters.fraction_lost.set(u64::from(block.fraction_lost));
            counters.lost.set(u64::try_from(block.cumulative_lost).unwrap_or(0));
            if let Some(nanos) = units::round_trip(arrival, block.last_sr, block.delay_since_last_sr) {
                counters.round_trip_us.set((nanos / 1000) as u64);
            }
        }
        rtcp::Packet::Application { name: playout::APP_NAME, body, .. } => {
            if let Ok(playout) = Playout::parse(body) {
                counters.latency_us.set(u64::from(playout.latency_us));
            }
        }
        _ => {}
    }
}
