//! One stream of packets: its shape, its numbers, and those it goes to.

use proto::announce::{self, Format};
use proto::units::{self, Mono, Position, RtpTime, Sequence};
use proto::vban::{self, Name};
use proto::{rtp, srtp};

use super::Shape;
use super::client::Client;
use super::mix::{Block, Mixer};
use super::pack::Packer;
use super::repair::Keeper;
use super::seal::Numbers;
use super::spec::{EncodingSpec, LONGEST_HEADER, Wire};

/// Identifies an encoding across changes of the routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncodingId(pub u64);

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
        let mut encoding = Self::resuming(id, spec, rate, ssrc, sequence, clients);
        encoding.state.packer = packer;
        encoding
    }

    /// An encoding for a routing that comes after one with the same `id`, `ssrc` and kind of packets. It takes over all else,
    /// and is silent without: nothing is built for it that takes its time, as the filters of a resampler do.
    pub fn resuming(
        id: EncodingId,
        spec: EncodingSpec,
        rate: u32,
        ssrc: u32,
        sequence: Sequence,
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
            packer: Packer::Vacant,
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
        let mut rest = Block { from: position, channels: shape.channels.into(), samples: block };
        while rest.frames() > 0 {
            let frames = self.state.packer.wanted().min(rest.frames());
            let (now, later) = rest.split_at(frames);
            let peak = self.state.packer.append(now, &mut self.mixer);
            self.state.peak = self.state.peak.max(peak);
            self.state.peak_frames += frames as u32;
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
            let Some(known) = former.clients.iter_mut().find(|c| c.is_same(client)) else {
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
