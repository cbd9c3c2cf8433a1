//! From datagrams to samples: source → stream → jitter buffer → decode or conceal → resample.
//!
//! What stands behind the pipeline decides how it is paced. A device has a clock of its own: the pipeline is asked
//! for samples that leave the DAC at a given time, and a servo keeps the two together. A file follows the stream: it
//! is handed exactly what came, as soon as it is older than the latency.

mod admission;
mod conductor;
mod decode;
mod event;
mod guard;
mod missing;
mod output;
mod pace;
mod paths;
mod plain;
mod player;
mod precision;
mod reference;
mod repair;
mod reports;
mod source;
mod stream;
mod turn;
mod vban;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proto::announce::Format;
use proto::units::{self, Mono, Position};
use proto::{Reject, exchange, payload_type, rtcp, rtp, srtp};

use crate::counters::ReceiveCounters;
use crate::jitter::{self, Coding, Entry, Inserted, JitterBuffer, Label};
use crate::secure::{Secrecy, Secret};
use crate::send::{Transmit, Wire};

pub use event::{End, Event, Latency, StreamInfo, Sync, Text};
pub use output::{Incoming, Output};
pub use pace::{Ahead, Due, Pace, PlaybackStamp};
pub use paths::Path;
pub use player::Adapt;

use admission::LONGEST_SEALED;
use conductor::Conductor;
use guard::Guard;
use paths::Paths;
use player::Player;
use repair::Repair;
use source::{Source, Sources, Verdict};
use stream::{Fit, Place, Stream};
use turn::Turn;

/// Where a stream comes by two paths, its end is waited for so long after the goodbye: what went the longer way is on it still, in
/// nanoseconds.
const LAST_WORD: i64 = 100_000_000;
/// A stream that has brought nothing for this long has ended, in nanoseconds.
const STREAM_TIMEOUT: i64 = 2_000_000_000;
/// Frames that a device's resampler hands out at a time.
pub const CHUNK: usize = 64;
/// Octets of the largest payload that is kept: what fits plain Ethernet. Headerless PCM is kept in parts.
pub const MAX_PAYLOAD: usize = 1536;
/// First number and position of the first stream: far enough from zero for packets that were sent before the first one
/// that came.
const BEGINNING: u64 = 1 << 32;
const MAX_EVENTS: usize = 8;

/// What the pipeline is built for.
#[derive(Clone, Debug)]
pub struct Config {
    /// The wire format, or `None` to find out.
    pub wire: Option<Wire>,
    /// From the earliest arrival to the DAC, in nanoseconds; where it adapts, to begin with.
    pub latency: i64,
    /// What this receiver adds to the delay of its group, in nanoseconds, when a device plays in time with others at the
    /// sender's word; `None` to go by the arrivals.
    pub trim: Option<i64>,
    /// How the latency adapts to the network when a device plays; `None` keeps it.
    pub adapt: Option<Adapt>,
    /// What a payload type means that is neither static nor announced: for senders that are not ours.
    pub format: Option<Format>,
    /// Frames a second of headerless PCM.
    pub plain_rate: u32,
    /// Channels of headerless PCM.
    pub plain_channels: u16,
    /// How this receiver names itself in reports.
    pub cname: String,
    /// Its own synchronisation source.
    pub ssrc: u32,
    /// With a key, nothing is taken that is not encrypted with it.
    pub secret: Option<Secret>,
    /// Who may send; empty for anybody.
    pub from: Vec<IpAddr>,
}

impl Config {
    /// Takes what comes, whatever it is and whoever sends it, and plays it with a fixed latency in nanoseconds; headerless PCM
    /// is mono at 44.1 kHz, as it is where nothing else was agreed on.
    pub fn new(latency: i64, cname: String, ssrc: u32) -> Self {
        Self {
            wire: None,
            latency,
            trim: None,
            adapt: None,
            format: None,
            plain_rate: 44_100,
            plain_channels: 1,
            cname,
            ssrc,
            secret: None,
            from: Vec::new(),
        }
    }

    /// Packets the jitter buffer holds: the latency and a fifth of a second, of the shortest at 48 kHz. A group's delay may be
    /// longer, up to ten seconds at the usual 128 frames.
    fn slots(&self) -> usize {
        let alone = self.adapt.map_or(self.latency, |adapt| adapt.most.max(self.latency));
        let most = if self.trim.is_some() { alone.max(1_000_000_000) } else { alone };
        let nanos = most.clamp(0, 10_000_000_000) + 200_000_000;
        units::nanos_to_frames(nanos, 48_000) as usize / jitter::SHORTEST
    }
}

/// What a packet of the stream brings.
struct Media<'a> {
    coding: Coding,
    frames: u32,
    payload: &'a [u8],
}

/// The receiver's pipeline. See the crate's documentation for how it is driven.
pub struct ReceivePipeline {
    config: Config,
    counters: Arc<ReceiveCounters>,
    sources: Sources,
    paths: Paths,
    /// The datagram at hand is authentic, as far as there is a key, and it is of the sender that is played.
    taken: bool,
    accepted: bool,
    announced: Option<Format>,
    stream: Option<Stream>,
    vban: Option<vban::Course>,
    info: Option<StreamInfo>,
    player: Player,
    repair: Repair,
    conductor: Conductor,
    told: Sync,
    /// When a stream ends that has said goodbye.
    ending: Option<Mono>,
    events: VecDeque<Event>,
    turn: Turn,
    /// Until when the next chunk waits for a packet.
    waits: Option<Mono>,
    control: Vec<u8>,
    guard: Option<Guard>,
    /// Who sends what needs a key, and when it last did, where there is no guard.
    sealed: Option<(SocketAddr, Mono)>,
    told_secrecy: Secrecy,
    /// What came, to be opened in place.
    opened: Vec<u8>,
}

impl ReceivePipeline {
    /// A pipeline that waits for a stream and has no output yet.
    pub fn new(config: Config, counters: Arc<ReceiveCounters>) -> Self {
        let guard = config.secret.clone().map(|secret| Guard::new(secret, &config.cname));
        let buffer = JitterBuffer::new(config.slots(), MAX_PAYLOAD);
        Self {
            sources: Sources::new(config.wire, config.format.map(|format| format.payload_type)),
            paths: Paths::new(config.ssrc, counters.clone()),
            taken: false,
            accepted: false,
            player: Player::new(config.latency, config.adapt, buffer, counters.clone()),
            repair: Repair::new(counters.clone()),
            conductor: Conductor::new(config.trim, config.ssrc),
            told: Sync::Alone,
            ending: None,
            turn: Turn::new(config.ssrc),
            config,
            counters,
            announced: None,
            stream: None,
            vban: None,
            info: None,
            events: VecDeque::with_capacity(MAX_EVENTS),
            waits: None,
            control: vec![0; rtcp::MAX_COMPOUND + srtp::CONTROL_OVERHEAD],
            guard,
            sealed: None,
            told_secrecy: Secrecy::Unknown,
            opened: vec![0; LONGEST_SEALED],
        }
    }

    /// Puts an output in force and returns the one before, to be freed by a thread that may.
    pub fn replace_output(&mut self, output: Box<Output>) -> Option<Box<Output>> {
        self.player.replace_output(output)
    }

    /// The latency that is aimed for, in nanoseconds.
    pub fn latency(&self) -> i64 {
        self.player.target()
    }

    /// Whether the latency adapts: then it covers what the device needs by itself.
    pub fn adapts(&self) -> bool {
        self.player.adapts()
    }

    /// Changes a fixed latency, in nanoseconds. Playback is placed anew.
    pub fn set_latency(&mut self, latency: i64) {
        self.player.set_latency(latency);
    }

    /// Places playback anew: after the device has lost time.
    pub fn realign(&mut self) {
        self.player.realign();
    }

    /// Latency as it is, from the earliest arrival to the DAC, in microseconds.
    pub fn latency_us(&self) -> u64 {
        self.player.latency_us()
    }

    /// The next thing to tell the control thread.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes one datagram with its arrival time and its sender.
    pub fn handle_datagram(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        self.admit(at, from, datagram, Self::handle_plainly);
    }

    fn handle_plainly(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        match self.sources.judge(at, from, datagram) {
            Verdict::Source(source) => self.handle_from_source(at, source, datagram),
            Verdict::New(source) => {
                if self.sources.current().is_some() {
                    self.end_stream(End::Silent);
                }
                self.sources.choose(source);
                if source.wire == Wire::Rtp {
                    self.paths.begin(at, source.address);
                } else {
                    self.paths.forget();
                }
                self.handle_from_source(at, source, datagram);
            }
            Verdict::Conflict => self.note_conflict(from),
            Verdict::Unknown => {
                let reason = rtp::Packet::parse(datagram).err().unwrap_or(Reject::PayloadType);
                self.counters.reject(reason);
            }
        }
    }

    /// Takes the time: streams end when nothing comes any more.
    pub fn handle_timeout(&mut self, now: Mono) {
        self.waits = self.waits.filter(|until| now < *until);
        if self.ending.is_some_and(|ending| now >= ending) {
            self.end_stream(End::Bye);
        }
        if self.paths.handle_timeout(now)
            && let Some(guard) = &mut self.guard
        {
            guard.hasten(now);
        }
        self.tell_paths();
        let over = |heard: Mono| now.since(heard) > STREAM_TIMEOUT;
        let stream_over = self.stream.as_ref().is_some_and(|stream| !stream.ended && over(stream.heard));
        if stream_over || self.sources.current().is_some_and(|source| over(source.heard)) {
            self.end_stream(End::Silent);
        }
    }

    fn tell_paths(&mut self) {
        while let Some(path) = self.paths.poll_news() {
            self.tell(Event::Path(path));
        }
    }

    /// The path that an address of the sender belongs to, by its number; `None` where it is of none.
    pub fn path_of(&self, address: SocketAddr) -> Option<usize> {
        self.paths.of(address)
    }

    /// Whether an address that is of no path yet is to be greeted.
    pub fn awaits(&self, address: SocketAddr) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.awaits(address))
    }

    /// When the device's next chunk waits no longer, or [`poll_transmit`](Self::poll_transmit) has something to ask the
    /// sender, unless a packet comes before.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let greeting = self.guard.as_ref().and_then(Guard::poll_timeout);
        self.waits.into_iter().chain(greeting).chain(self.ending).chain(self.next_question()).min()
    }

    fn next_question(&self) -> Option<Mono> {
        let source = self.sources.current().filter(|source| source.wire == Wire::Rtp)?;
        let stream = self.live_stream()?;
        let repair = source.reports.and_then(|_| self.repair.poll_timeout(stream));
        let clock = self.player.plays_to_device().then(|| self.conductor.poll_timeout()).flatten();
        [repair, clock].into_iter().flatten().min()
    }

    /// Whether the device's next chunk waits for a packet.
    pub fn waits(&self) -> bool {
        self.waits.is_some()
    }

    /// Whether the sender is being asked for what is missing: its answers are wanted soon.
    pub fn is_asking(&self) -> bool {
        self.repair.is_asking()
    }

    /// The next greeting, question, request or report to the sender. A question is out of date soon: `now` is to be read just
    /// before.
    pub fn poll_transmit(&mut self, now: Mono) -> Option<Transmit<'_>> {
        let greeting = self.guard.as_mut().and_then(|g| g.greet(now, self.config.ssrc, &mut self.control));
        if let Some((address, length)) = greeting {
            return Some(self.transmit(address, length));
        }
        let source = self.sources.current().filter(|source| source.wire == Wire::Rtp)?;
        let (address, length) = self.write_next(now, source)?;
        self.sealed(address, length)
    }

    fn write_next(&mut self, now: Mono, source: Source) -> Option<(SocketAddr, usize)> {
        let stream = self.stream.as_mut().filter(|stream| !stream.ended)?;
        let control = &mut self.control[..rtcp::MAX_COMPOUND];
        if self.player.plays_to_device()
            && let Some(request) = self.conductor.poll_request(now, stream.reception.ssrc())
        {
            let mut builder = rtcp::Builder::with_empty_report(control, self.config.ssrc);
            builder.application(self.config.ssrc, exchange::APP_NAME, exchange::REQUEST, &request.to_bytes());
            return Some((source.address, builder.finish()?));
        }
        let reports = source.reports?;
        let length = self.repair.write_request(now, stream, &self.player, self.config.ssrc, control);
        if length > 0 {
            return Some((reports, length));
        }
        if !self.turn.is_due(now) {
            return None;
        }
        Some((reports, self.write_report(now)?))
    }

    /// For an output that follows the stream: writes what is older than the latency, or all once the stream has ended.
    /// Returns the number of frames written.
    pub fn pull_stream(&mut self, out: &mut [f32]) -> usize {
        self.stream.as_ref().map_or(0, |stream| self.player.pull_stream(stream, out))
    }

    /// For a device: fills `out`, [`CHUNK`] frames long, with what leaves the DAC when it is due. `now` and `due` are on
    /// this machine's clock. `false` where a packet has not come, and there is time: to be asked again after the next
    /// datagram, or when [`poll_timeout`](Self::poll_timeout) says.
    pub fn pull_device(&mut self, now: Mono, due: Due, out: &mut [f32]) -> bool {
        let is_early = due.soon.is_some_and(|soon| now < soon);
        let lacks = self.stream.as_ref().is_some_and(|stream| now < due.by && self.player.lacks(stream));
        self.waits = (lacks && !is_early).then_some(due.by);
        if lacks || (is_early && !self.player.has_chunk()) {
            return false;
        }
        out.fill(0.0);
        if let Some(stream) = &self.stream {
            let reference = self.conductor.reference(now, stream, self.player.target());
            self.player.pull_device(stream, reference, now, due, out);
        }
        self.tell_change();
        self.tell_sync();
        true
    }

    fn live_stream(&self) -> Option<&Stream> {
        self.stream.as_ref().filter(|stream| !stream.ended)
    }

    fn handle_from_source(&mut self, at: Mono, source: Source, datagram: &[u8]) {
        let handled = match source.wire {
            Wire::Plain => self.handle_plain(at, source, datagram),
            Wire::Vban => self.handle_vban(at, source, datagram),
            Wire::Rtp if rtp::is_rtcp(datagram) => self.handle_rtcp(at, source, source.address, datagram),
            Wire::Rtp => rtp::Packet::parse(datagram).and_then(|packet| self.handle_rtp(at, source, &packet)),
        };
        match handled {
            Ok(()) => {
                self.sources.heard(at);
                self.accepted = true;
            }
            Err(reason) => self.counters.reject(reason),
        }
        self.tell_change();
    }

    fn handle_rtp(&mut self, at: Mono, source: Source, packet: &rtp::Packet<'_>) -> Result<(), Reject> {
        if self.repair.is_retransmission(&packet.header) {
            self.handle_retransmission(at, packet)?;
            return self.rebuild();
        }
        if self.repair.is_parity(&packet.header) {
            self.handle_parity(packet)?;
            return self.rebuild();
        }
        let header = packet.header;
        let format = self.format_of(header.payload_type)?;
        let coding = Coding::of(&format);
        let frames = coding.frames(packet.payload, format.channels)?;
        self.continue_or_begin(at, source, &header, &format)?;
        self.handle_media(at, &header, &format, &Media { coding, frames, payload: packet.payload })?;
        self.rebuild()
    }

    /// Takes a packet of the stream at hand.
    fn handle_media(
        &mut self,
        at: Mono,
        header: &rtp::Header,
        format: &Format,
        media: &Media<'_>,
    ) -> Result<(), Reject> {
        let &Media { coding, frames, payload } = media;
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let (place, late) = stream.note(at, header, frames);
        self.repair.missing.arrived(place.sequence, at);
        self.repair.missing.note_lateness(late);
        self.player.note_lateness(at, late);
        self.counters.jitter_ns.set(stream.reception.jitter_ns());
        let &rtp::Header { marker, payload_type, timestamp, .. } = header;
        let label = Label { marker, payload_type, timestamp };
        let inserted = self.insert(&Entry { coding, ..entry(place, frames, label, format, payload) })?;
        self.note_in_time(at, place.position, inserted);
        Ok(())
    }

    fn format_of(&self, payload_type: u8) -> Result<Format, Reject> {
        let known = [self.announced, self.config.format].into_iter().flatten();
        let dynamic = || known.into_iter().find(|format| format.payload_type == payload_type);
        payload_type::static_format(payload_type).or_else(dynamic).ok_or(Reject::PayloadType)
    }

    fn insert(&mut self, entry: &Entry<'_>) -> Result<Inserted, Reject> {
        let inserted = self.player.insert(entry);
        match inserted {
            Inserted::Kept => {
                self.counters.packets.add(1);
                self.counters.octets.add(entry.payload.len() as u64);
            }
            Inserted::Late => self.counters.late.add(1),
            Inserted::Duplicate => self.counters.duplicates.add(1),
            Inserted::TooLong => return Err(Reject::Length),
        }
        Ok(inserted)
    }

    fn note_in_time(&mut self, at: Mono, position: Position, inserted: Inserted) {
        let dry = self.player.buffer().is_empty();
        let Some(stream) = &mut self.stream else { return };
        if stream.note_in_time(at, position, inserted == Inserted::Late, dry) {
            self.conductor.verify(at);
            self.player.realign();
        }
    }

    /// Decides whether a packet belongs to the stream at hand; if not, a new one begins with it.
    fn continue_or_begin(
        &mut self,
        at: Mono,
        source: Source,
        header: &rtp::Header,
        format: &Format,
    ) -> Result<(), Reject> {
        let fit = self.stream.as_mut().map_or(Ok(Fit::Restarted), |stream| stream.fit(header, format))?;
        match (fit, &mut self.stream) {
            (Fit::Same, Some(stream)) => stream.format = *format,
            (Fit::Switched, Some(stream)) => {
                let sequence = self.player.buffer().tail().max(BEGINNING);
                stream.switch(header, *format, sequence);
                self.conductor.follow(stream, true);
                self.repair.restart(sequence);
            }
            _ => self.begin_stream(at, source, *format, Some(header), ""),
        }
        Ok(())
    }

    fn begin_stream(
        &mut self,
        at: Mono,
        source: Source,
        format: Format,
        header: Option<&rtp::Header>,
        name: &str,
    ) {
        let same_rate = self.stream.as_ref().is_some_and(|stream| stream.format.rate == format.rate);
        self.player.begin(same_rate);
        let first = self.next_place();
        self.repair.restart(first.sequence);
        let stream = self.stream.insert(Stream::new(at, format, header, first));
        self.conductor.follow(stream, false);
        self.ending = None;
        self.counters.streams.add(1);
        let Format { rate, channels, codec, .. } = format;
        let known = self.info.filter(|info| {
            (info.from, info.wire, info.rate, info.channels, info.codec)
                == (source.address, source.wire, rate, channels, codec)
        });
        if known.is_none() {
            let (name, map) = (Text::new(name), Text::new(""));
            let info =
                StreamInfo { from: source.address, wire: source.wire, rate, channels, codec, name, map };
            self.info = Some(info);
            self.tell(Event::Stream(info));
        }
    }

    /// What follows on everything in the buffer.
    fn next_place(&self) -> Place {
        let buffer = self.player.buffer();
        let end = Position(buffer.end().0.max(BEGINNING));
        Place { sequence: buffer.tail().max(BEGINNING), position: end }
    }

    fn end_stream(&mut self, why: End) {
        self.sources.forget();
        self.repair.forget();
        self.conductor.forget();
        self.announced = None;
        self.ending = None;
        if let Some(stream) = &mut self.stream {
            stream.ended = true;
        }
        // Also where it was announced and nothing of it came.
        if self.info.take().is_some() {
            self.tell(Event::Ended(why));
        }
    }

    fn tell_change(&mut self) {
        if let Some(reason) = self.player.take_change() {
            self.tell(Event::Latency(Latency { nanos: self.player.target(), reason }));
        }
    }

    fn tell_sync(&mut self) {
        let group_delay = self.conductor.group_delay();
        let live = self.live_stream().is_some();
        let (together, late) = (live && self.player.is_together(), live && self.player.is_late());
        self.counters.synced.set(together.into());
        self.counters.late_for_group.set(late.into());
        self.counters.group_delay_us.set(if together { (group_delay / 1000) as u64 } else { 0 });
        let sync = match (together, late) {
            (true, false) => Sync::Together { group_delay },
            (true, true) => Sync::Late { group_delay },
            (false, _) => Sync::Alone,
        };
        // That a stream has ended is told already, and before its first frame nothing is to be told.
        if !live {
            self.told = Sync::Alone;
        } else if self.told != sync && self.player.cursor().is_some() {
            self.told = sync;
            self.tell(Event::Sync(sync));
        }
    }

    /// Keeps the newest events: a control thread that lags behind needs the present more than the past.
    fn tell(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

fn entry<'a>(place: Place, frames: u32, label: Label, format: &Format, payload: &'a [u8]) -> Entry<'a> {
    let Place { sequence, position } = place;
    Entry {
        sequence,
        position,
        frames,
        channels: format.channels,
        coding: Coding::of(format),
        label,
        payload,
    }
}

#[cfg(test)]
mod tests;
