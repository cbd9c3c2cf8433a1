//! One stream of packets: its shape, its numbers, and those it goes to.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::announce::{self, Format};
use proto::exchange::Request;
use proto::units::{self, Mono, Position, RtpTime, Sequence};
use proto::vban::{self, Name};
use proto::{payload_type, pcm, rtp, srtp};

use super::Shape;
use super::audience::Audience;
use super::group::GroupId;
use super::member::Member;
use super::mix::Mixer;
use super::pack::Packer;
use super::recipients::Whereabouts;
use super::repair::{Keeper, Mender, Repair};
use super::seal::{Acquaintance, Numbers};
use crate::counters::ClientCounters;
use crate::map::ChannelMap;
use crate::opus;
use crate::signal::Test;

/// What goes over the wire for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// RTP (RFC 3550, RFC 3551), RTCP on the same port (RFC 5761).
    Rtp,
    /// Headerless signed 16-bit little-endian PCM.
    Plain,
    /// VBAN: PCM of 16 or 24 bits with a name and a number.
    Vban,
}

impl Wire {
    /// Its name on command lines, in files and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::Plain => "plain",
            Self::Vban => "vban",
        }
    }

    /// Octets before a payload.
    pub(super) fn header_length(self) -> usize {
        match self {
            Self::Rtp => rtp::HEADER_LENGTH,
            Self::Plain => 0,
            Self::Vban => vban::HEADER_LENGTH,
        }
    }
}

/// Octets of the longest header.
const LONGEST_HEADER: usize = vban::HEADER_LENGTH;

/// How samples become octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 16-bit linear PCM: `L16` (RFC 3551).
    #[default]
    Pcm16,
    /// 24-bit linear PCM: `L24` (RFC 3190).
    Pcm24,
    /// Opus (RFC 7587).
    Opus(opus::Spec),
}

impl Codec {
    /// Its name on command lines, in files and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcm16 => "pcm16",
            Self::Pcm24 => "pcm24",
            Self::Opus(_) => "opus",
        }
    }

    /// Rate of its RTP clock, for sound that is captured at `rate`.
    pub fn clock_rate(self, rate: u32) -> u32 {
        if matches!(self, Self::Opus(_)) { opus::RATE } else { rate }
    }
}

/// What distinguishes one encoding from another. Equal specifications are encoded once.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodingSpec {
    /// The wire format.
    pub wire: Wire,
    /// The codec. Headerless streams are [`Codec::Pcm16`], whatever stands here; VBAN carries PCM only.
    pub codec: Codec,
    /// Which source channels.
    pub map: ChannelMap,
    /// Factor for each sample; negative inverts the polarity, zero mutes.
    pub factor: f32,
    /// What every output plays in place of the source channels.
    pub test: Option<Test>,
    /// Frames in a packet of PCM, at least 1. Those of Opus last as long as its own settings say.
    pub frames: u16,
    /// Most octets of a packet of Opus, whose length varies. Those of PCM are as long as they are.
    pub mtu: u16,
}

impl EncodingSpec {
    /// The codec that is used.
    pub fn codec(&self) -> Codec {
        if self.wire == Wire::Plain { Codec::Pcm16 } else { self.codec }
    }

    /// Frames in a packet, of the codec's own clock.
    pub fn packet_frames(&self) -> u16 {
        match self.codec() {
            Codec::Opus(settings) => settings.frame.frames(),
            Codec::Pcm16 | Codec::Pcm24 => self.frames,
        }
    }

    /// Octets of a full packet; of Opus, at its bit rate.
    pub fn packet_length(&self) -> usize {
        let samples = usize::from(self.frames) * usize::from(self.map.channels());
        let payload = match self.codec() {
            Codec::Pcm16 => samples * pcm::BYTES_PER_SAMPLE,
            Codec::Pcm24 => samples * pcm::BYTES_PER_SAMPLE_24,
            Codec::Opus(settings) => settings.payload_length(self.map.channels()),
        };
        self.wire.header_length() + payload
    }

    /// What its packets hold, captured at `rate`: how receivers are told of it.
    pub fn format(&self, rate: u32) -> Format {
        let channels = self.map.channels();
        let (codec, payload_type) = match self.codec() {
            Codec::Pcm16 => (announce::Codec::L16, payload_type::of_l16(rate, channels)),
            Codec::Pcm24 => (announce::Codec::L24, payload_type::L24),
            Codec::Opus(_) => (announce::Codec::Opus, payload_type::OPUS),
        };
        let rate = self.codec().clock_rate(rate);
        Format { payload_type, codec, channels, rate, frames: self.packet_frames() }
    }

    /// Whether clients that hear the same get the same packets. Those of VBAN have the client's name in them.
    pub fn is_shared(&self) -> bool {
        self.wire != Wire::Vban
    }

    /// How VBAN names the samples.
    fn vban_sample(&self) -> vban::Sample {
        if self.codec() == Codec::Pcm24 { vban::Sample::Bits24 } else { vban::Sample::Bits16 }
    }

    /// Whether one stream can go on from this to another: its packets are of the same kind, whatever is heard in them.
    pub fn continues_as(&self, other: &Self) -> bool {
        let kind = |spec: &Self| (spec.wire, spec.codec(), spec.map.channels(), spec.frames, spec.mtu);
        kind(self) == kind(other)
    }

    /// Octets of the longest packet.
    pub(super) fn longest_packet(&self) -> usize {
        match self.codec() {
            Codec::Opus(_) => usize::from(self.mtu).max(self.wire.header_length()),
            Codec::Pcm16 | Codec::Pcm24 => self.packet_length(),
        }
    }

    /// The largest block of frames, captured at `rate`, that becomes at most one packet.
    fn max_block(&self, rate: u32) -> usize {
        let clock = u64::from(self.codec().clock_rate(rate));
        (u64::from(self.packet_frames()) * u64::from(rate) / clock.max(1)).max(1) as usize
    }
}

/// Identifies an encoding across changes of the routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodingId(pub u64);

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

/// One stream of packets and those it goes to.
#[derive(Debug)]
pub struct Encoding {
    pub(super) id: EncodingId,
    pub(super) former: Option<EncodingId>,
    spec: EncodingSpec,
    mixer: Mixer,
    pub(super) map_text: String,
    pub(super) ssrc: u32,
    /// Longest block that becomes at most one packet, in captured frames.
    pub(super) max_block: usize,
    pub(super) clients: Vec<Client>,
    pub(super) state: State,
    /// Only RTP has one.
    pub(super) keeper: Option<Keeper>,
}

/// What an encoding carries over when the routing is replaced.
#[derive(Debug)]
pub(super) struct State {
    started: bool,
    pub(super) sequence: Sequence,
    pub(super) numbers: Numbers,
    pub(super) packets: u32,
    pub(super) octets: u32,
    packer: Packer,
    /// The last full packet; empty once it was polled.
    pub(super) ready: Vec<u8>,
    peak: f32,
    peak_frames: u32,
}

impl Encoding {
    /// An encoding of sound captured at `rate` that starts with the next block. `ssrc` and `sequence` are to be random
    /// (RFC 3550, 5.1).
    pub fn new(
        id: EncodingId,
        spec: EncodingSpec,
        rate: u32,
        ssrc: u32,
        sequence: Sequence,
        clients: Vec<Client>,
    ) -> Self {
        let packer = Packer::new(&spec, rate);
        Self::build(id, spec, rate, ssrc, (sequence, packer), clients)
    }

    /// An encoding for a routing that comes after one with the same `id`, `ssrc` and kind of packets. It takes over all else,
    /// and is silent without: nothing is built for it that takes its time, as the filters of a resampler do.
    pub fn resuming(
        id: EncodingId,
        spec: EncodingSpec,
        rate: u32,
        ssrc: u32,
        sequence: Sequence,
        clients: Vec<Client>,
    ) -> Self {
        Self::build(id, spec, rate, ssrc, (sequence, Packer::Vacant), clients)
    }

    fn build(
        id: EncodingId,
        spec: EncodingSpec,
        rate: u32,
        ssrc: u32,
        (sequence, packer): (Sequence, Packer),
        mut clients: Vec<Client>,
    ) -> Self {
        let keeper = (spec.wire == Wire::Rtp).then(|| {
            let packets = spec.codec().clock_rate(rate) / u32::from(spec.packet_frames().max(1));
            let repairs = clients.iter().map(|client| client.repair);
            Keeper::new(ssrc, sequence, spec.longest_packet(), packets, repairs)
        });
        for client in &mut clients {
            client.mender = keeper
                .as_ref()
                .map(|keeper| keeper.mender(client.repair, sequence, client.audience.is_some()));
            client.member.group = client.member.group.filter(|_| spec.wire == Wire::Rtp);
        }
        let state = State {
            started: false,
            sequence,
            numbers: Numbers::default(),
            packets: 0,
            octets: 0,
            packer,
            ready: Vec::with_capacity(spec.longest_packet() + srtp::OVERHEAD),
            peak: 0.0,
            peak_frames: 0,
        };
        let max_block = spec.max_block(rate);
        let mixer = Mixer::new(&spec, rate);
        let map_text = spec.map.to_string();
        Self { id, former: None, map_text, spec, mixer, ssrc, max_block, clients, state, keeper }
    }

    /// The same, but its clients heard `former` before, of this specification: what they hear is crossfaded. Where `former`
    /// [continues as](EncodingSpec::continues_as) this with the same `ssrc`, so does the stream, number by number. Else
    /// the former one's last packet is completed for them, and this one begins where it ends.
    ///
    /// For a part of an encoding's clients: where all of them are to hear something else, the encoding keeps its id.
    pub fn after(mut self, former: EncodingId, spec: &EncodingSpec) -> Self {
        self.former = Some(former);
        self.state.ready.reserve(spec.longest_packet() + srtp::OVERHEAD);
        self
    }

    /// Its identity.
    pub fn id(&self) -> EncodingId {
        self.id
    }

    pub(super) fn is_rtp(&self) -> bool {
        self.spec.wire == Wire::Rtp
    }

    pub(super) fn format(&self, rate: u32) -> Format {
        self.spec.format(rate)
    }

    /// How long a packet lasts, in nanoseconds.
    pub(super) fn packet_time(&self, rate: u32) -> i64 {
        units::frames_to_nanos(self.spec.packet_frames().into(), self.spec.codec().clock_rate(rate))
    }

    /// How often those who listen to a client's group may speak; the client is told how many they are.
    pub(super) fn pace(&mut self, now: Mono, rate: u32, client: usize) -> Option<announce::Pace> {
        let octets = self.octets_a_second(rate);
        let client = &mut self.clients[client];
        let audience = client.audience.as_mut()?;
        let pace = audience.pace(now, octets);
        client.counters.listeners.set(audience.len() as u64);
        Some(pace)
    }

    /// Octets a second on the network, with the headers of UDP and IP.
    fn octets_a_second(&self, rate: u32) -> f64 {
        const HEADERS: usize = 28;
        (self.spec.packet_length() + HEADERS) as f64 * 1e9 / self.packet_time(rate).max(1) as f64
    }

    /// The RTP time of a captured frame.
    pub(super) fn rtp_time(&self, position: Position, shape: &Shape) -> RtpTime {
        let clock = self.spec.codec().clock_rate(shape.rate);
        RtpTime::at(shape.origin, position.at_rate(clock, shape.rate))
    }

    /// By how much later than its RTP time says its sound was captured, in nanoseconds: what whole frames leave over.
    pub(super) fn shift(&self) -> i64 {
        self.state.packer.shift()
    }

    pub(super) fn handle_block(&mut self, position: Position, block: &[f32], shape: &Shape) {
        let captured = usize::from(shape.channels);
        let mut at = position;
        let mut rest = block;
        while rest.len() >= captured {
            let frames = self.state.packer.wanted().min(rest.len() / captured);
            let (now, later) = rest.split_at(frames * captured);
            let peak = self.state.packer.append(at, captured, now, &mut self.mixer);
            self.state.peak = self.state.peak.max(peak);
            self.state.peak_frames += frames as u32;
            at = at.advanced(frames as u64);
            rest = later;
            if self.state.packer.wanted() == 0 {
                self.complete_packet(shape);
            }
        }
    }

    /// Completes what is half filled, where the codec can, and takes frames of any position next.
    pub(super) fn flush(&mut self, shape: &Shape) {
        self.complete_packet(shape);
        self.state.packer.restart();
    }

    fn complete_packet(&mut self, shape: &Shape) {
        let Some(time) = self.state.packer.complete(&mut self.state.ready) else { return };
        let payload = self.state.ready.len() - self.spec.wire.header_length();
        let header = self.header(time, payload, shape);
        let state = &mut self.state;
        let (room, payload) = state.ready.split_at_mut(self.spec.wire.header_length());
        room.copy_from_slice(&header[..room.len()]);
        let octets = payload.len();
        if let Some(keeper) = &mut self.keeper {
            let wants = |client: &Client, spec| client.mender.as_ref().is_some_and(|m| m.wants(spec));
            keeper.note(&state.ready, |spec| self.clients.iter().any(|client| wants(client, spec)));
        }
        state.started = true;
        state.sequence = state.sequence.next();
        state.packets = state.packets.wrapping_add(1);
        state.octets = state.octets.wrapping_add(octets as u32);
        let meter_due = state.peak_frames >= shape.rate / 10;
        for client in &self.clients {
            client.counters.packets.add(1);
            client.counters.octets.add(octets as u64);
            if meter_due {
                client.counters.level.set(state.peak);
            }
        }
        if meter_due {
            state.peak = 0.0;
            state.peak_frames = 0;
        }
    }

    /// Of the next packet, whose first frame has this time and whose payload has so many octets. Headerless PCM has none.
    fn header(&self, time: Position, payload: usize, shape: &Shape) -> [u8; LONGEST_HEADER] {
        let mut header = [0; LONGEST_HEADER];
        if self.spec.wire == Wire::Vban {
            let (sample, channels) = (self.spec.vban_sample(), self.spec.map.channels());
            let frames = (payload / (usize::from(channels) * sample.octets())) as u16;
            let name = Name::new(self.clients.first().map_or("", |client| &client.name));
            let counter = self.state.packets;
            let fields = vban::Header { rate: shape.rate, frames, channels, sample, name, counter };
            // Nobody asks for what no header can say.
            return fields.to_bytes().unwrap_or(header);
        }
        let fields = rtp::Header {
            marker: !self.state.started,
            payload_type: self.format(shape.rate).payload_type,
            sequence: self.state.sequence,
            timestamp: RtpTime::at(shape.origin, time),
            ssrc: self.ssrc,
        };
        header[..rtp::HEADER_LENGTH].copy_from_slice(&fields.to_bytes());
        header
    }

    /// Takes over what the encoding of the same id was before.
    pub(super) fn resume(&mut self, same: &mut Self, shape: &Shape) {
        self.mixer.follow(&same.mixer);
        if !same.goes_on_as(self) {
            if self.ssrc == same.ssrc {
                std::mem::swap(&mut self.state.numbers, &mut same.state.numbers);
            }
            return same.copy_last(&mut self.state.ready, shape);
        }
        std::mem::swap(&mut self.state, &mut same.state);
        if let (Some(keeper), Some(former)) = (&mut self.keeper, &mut same.keeper) {
            keeper.inherit(former);
        }
        self.take_clients(same);
    }

    /// Goes on for clients that leave an encoding, which may go on for others.
    pub(super) fn branch(&mut self, former: &mut Self, shape: &Shape) {
        self.mixer.follow(&former.mixer);
        if self.ssrc == former.ssrc {
            self.state.numbers = Numbers::spent();
        }
        if !former.goes_on_as(self) {
            return former.copy_last(&mut self.state.ready, shape);
        }
        self.state.follow(&former.state);
        if let (Some(keeper), Some(former)) = (&mut self.keeper, &former.keeper) {
            keeper.copy(former);
        }
        self.take_clients(former);
    }

    fn goes_on_as(&self, next: &Self) -> bool {
        self.ssrc == next.ssrc && self.spec.continues_as(&next.spec)
    }

    /// What is known of clients stays with them. They are told at once of what they hear, where that has changed.
    fn take_clients(&mut self, former: &mut Self) {
        let same_map = self.map_text == former.map_text;
        for client in &mut self.clients {
            let Some(known) = former.clients.iter_mut().find(|c| c.address == client.address) else {
                continue;
            };
            if same_map {
                client.next_report = known.next_report;
            }
            client.unanswered = known.unanswered;
            client.member.inherit(&mut known.member);
            if let (Some(audience), Some(former)) = (&mut client.audience, &mut known.audience) {
                audience.inherit(former);
            }
            if client.repair == known.repair {
                std::mem::swap(&mut client.mender, &mut known.mender);
            }
        }
    }

    /// Puts what waits to fill a packet into `out`, a packet of its own, where there is room.
    fn copy_last(&self, out: &mut Vec<u8>, shape: &Shape) {
        if out.capacity() < self.spec.longest_packet() {
            return;
        }
        let Some(time) = self.state.packer.copy_rest(out) else { return };
        let payload = out.len() - self.spec.wire.header_length();
        let header = self.header(time, payload, shape);
        let room = &mut out[..self.spec.wire.header_length()];
        room.copy_from_slice(&header[..room.len()]);
    }
}

impl State {
    /// Goes on from where another is, which goes on too.
    fn follow(&mut self, other: &Self) {
        (self.started, self.sequence) = (other.started, other.sequence);
        (self.packets, self.octets) = (other.packets, other.octets);
        (self.peak, self.peak_frames) = (other.peak, other.peak_frames);
        self.packer.follow(&other.packer, &mut self.ready);
    }
}
