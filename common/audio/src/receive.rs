//! From datagrams to samples: source → wire format → jitter buffer → decode or conceal → resample.
//!
//! What stands behind the pipeline decides how it is paced. A device has a clock of its own: the pipeline is asked
//! for samples that leave the DAC at a given time, and a servo keeps the two together. A file follows the stream: it
//! is handed exactly what came, as soon as it is older than the latency.

mod event;
mod output;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use proto::announce::{self, Announcement, Format};
use proto::pcm;
use proto::playout::Playout;
use proto::units::{self, Mono, Position, RtpTime, RtpTimeUnwrapper, Sequence, SequenceUnwrapper};
use proto::{Reject, payload_type, playout, rtcp, rtp};

use crate::conceal::Concealer;
use crate::counters::{Counter, ReceiveCounters};
use crate::detect::{Detector, is_report};
use crate::jitter::{Entry, Inserted, JitterBuffer, Span};
use crate::reception::Reception;
use crate::send::{Transmit, Wire};
use crate::{send, timeline::Timeline};

pub use event::{End, Event, StreamInfo, Text};
pub use output::Output;
use output::{DeviceOutput, render};

/// A source that has said nothing for this long may be replaced by another, in nanoseconds.
const SOURCE_TIMEOUT: i64 = 1_000_000_000;
/// A stream that has brought nothing for this long has ended, in nanoseconds.
const STREAM_TIMEOUT: i64 = 2_000_000_000;
/// Time between two reports, in nanoseconds.
const REPORT_INTERVAL: i64 = 1_000_000_000;
/// Time stamps further than this from the last ones belong to a new timeline, in seconds.
const MAX_JUMP: u32 = 2;
/// Playback that is off by more than this is placed anew rather than steered, in nanoseconds.
const REALIGN: i64 = 10_000_000;
/// Packets in a row that come too late before the timeline is placed anew.
const LATE_RUN: u32 = 8;
/// Frames that a device's resampler hands out at a time.
pub const CHUNK: usize = 64;

/// What the pipeline is built for.
#[derive(Clone, Debug)]
pub struct Config {
    /// The wire format, or `None` to find out.
    pub wire: Option<Wire>,
    /// From the earliest arrival to the DAC, in nanoseconds.
    pub latency: i64,
    /// Frames a second of headerless PCM.
    pub plain_rate: u32,
    /// Channels of headerless PCM.
    pub plain_channels: u16,
    /// How this receiver names itself in reports.
    pub cname: String,
    /// Its own synchronisation source.
    pub ssrc: u32,
}

/// Octets of the largest payload that is kept: what fits plain Ethernet. Headerless PCM is kept in parts.
pub const MAX_PAYLOAD: usize = 1536;

impl Config {
    /// Packets the jitter buffer holds: the latency and half a second, at 16 frames and 48 kHz.
    fn slots(&self) -> usize {
        let nanos = self.latency.clamp(0, 10_000_000_000) + 500_000_000;
        (units::nanos_to_frames(nanos, 48_000) / 16) as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Source {
    address: SocketAddr,
    wire: Wire,
    heard: Mono,
    /// It reports on this port too, so reports sent back reach it.
    reports: bool,
}

struct Stream {
    rate: u32,
    channels: u16,
    ended: bool,
    heard: Mono,
    sequence: SequenceUnwrapper,
    /// Added to unwrapped numbers and times, so that a new stream follows on the last one in the buffer.
    sequence_offset: u64,
    time: RtpTimeUnwrapper,
    position_offset: u64,
    /// Packets in a row that came too late.
    late: u32,
    /// The number after a packet that did not fit the timeline: if it comes, the sender has started anew.
    suspect: Option<Sequence>,
    timeline: Timeline,
    reception: Reception,
}

/// The receiver's pipeline. See the crate's documentation for how it is driven.
pub struct ReceivePipeline {
    config: Config,
    counters: Arc<ReceiveCounters>,
    /// Addresses that may become the source, each with what has been seen of it.
    candidates: [Option<(SocketAddr, Detector)>; 4],
    next_candidate: usize,
    source: Option<Source>,
    conflict_told: bool,
    announced: Option<Format>,
    stream: Option<Stream>,
    info: Option<StreamInfo>,
    events: VecDeque<Event>,
    buffer: JitterBuffer,
    output: Option<Box<Output>>,
    cursor: Position,
    /// The cursor has its place on the timeline.
    aligned: bool,
    /// Audio was played since then.
    begun: bool,
    peak: (f32, u32),
    next_report: Mono,
    latency_us: Counter,
    control: Vec<u8>,
}

const MAX_EVENTS: usize = 8;

impl ReceivePipeline {
    /// A pipeline that waits for a stream and has no output yet.
    pub fn new(config: Config, counters: Arc<ReceiveCounters>) -> Self {
        Self {
            buffer: JitterBuffer::new(config.slots(), MAX_PAYLOAD),
            config,
            counters,
            candidates: [None; 4],
            next_candidate: 0,
            source: None,
            conflict_told: false,
            announced: None,
            stream: None,
            info: None,
            events: VecDeque::with_capacity(MAX_EVENTS),
            output: None,
            cursor: Position(0),
            aligned: false,
            begun: false,
            peak: (0.0, 0),
            next_report: Mono(i64::MIN),
            latency_us: Counter::default(),
            control: vec![0; rtcp::MAX_COMPOUND],
        }
    }

    /// Puts an output in force and returns the one before, to be freed by a thread that may.
    pub fn replace_output(&mut self, output: Box<Output>) -> Option<Box<Output>> {
        self.realign();
        self.output.replace(output)
    }

    /// The latency asked for, in nanoseconds.
    pub fn latency(&self) -> i64 {
        self.config.latency
    }

    /// Changes the latency, in nanoseconds. Playback is placed anew.
    pub fn set_latency(&mut self, latency: i64) {
        self.config.latency = latency;
        self.realign();
    }

    /// Places playback anew: after the device has lost time.
    pub fn realign(&mut self) {
        self.aligned = false;
    }

    /// The next thing to tell the control thread.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes one datagram with its arrival time and its sender.
    pub fn handle_datagram(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        match self.source {
            // The list may have changed the wire format of a client that is sent to already.
            Some(source) if source.address == from && !(self.is_plain(source) && is_report(datagram)) => {
                self.handle_from_source(at, source, datagram);
            }
            Some(source) if source.address != from && at.since(source.heard) < SOURCE_TIMEOUT => {
                self.counters.conflicts.add(1);
                if !std::mem::replace(&mut self.conflict_told, true) {
                    self.tell(Event::Conflict(from));
                }
            }
            _ => self.handle_unknown(at, from, datagram),
        }
    }

    fn is_plain(&self, source: Source) -> bool {
        source.wire == Wire::Plain && self.config.wire.is_none()
    }

    fn handle_unknown(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        let Some(wire) = self.identify(from, datagram) else { return };
        if self.source.is_some() {
            self.end_stream(End::Silent);
        }
        let source = Source { address: from, wire, heard: at, reports: false };
        self.source = Some(source);
        self.handle_from_source(at, source, datagram);
    }

    /// Takes the time: streams end when nothing comes any more.
    pub fn handle_timeout(&mut self, now: Mono) {
        let over = |heard: Mono| now.since(heard) > STREAM_TIMEOUT;
        let stream_over = self.stream.as_ref().is_some_and(|stream| !stream.ended && over(stream.heard));
        if stream_over || self.source.is_some_and(|source| over(source.heard)) {
            self.end_stream(End::Silent);
        }
    }

    /// The next report to the sender.
    pub fn poll_transmit(&mut self, now: Mono) -> Option<Transmit<'_>> {
        let source = self.source.filter(|source| source.reports)?;
        let stream = self.stream.as_mut().filter(|stream| !stream.ended)?;
        if now < self.next_report {
            return None;
        }
        self.next_report = now.plus(REPORT_INTERVAL);
        let block = stream.reception.report(now);
        let depth = self.buffer.end().since(self.cursor).max(0);
        let playout = Playout {
            latency_us: self.latency_us.get() as u32,
            depth_us: (units::frames_to_nanos(depth, stream.rate) / 1000) as u32,
        };
        let mut builder = rtcp::Builder::new(&mut self.control);
        builder.receiver_report(self.config.ssrc, Some(&block));
        builder.description(self.config.ssrc, &self.config.cname);
        builder.application(self.config.ssrc, playout::APP_NAME, 0, &playout.to_bytes());
        let length = builder.finish()?;
        Some(Transmit { bytes: &self.control[..length], to: send::Recipients::One(source.address) })
    }

    /// A last report that says goodbye to the sender.
    pub fn goodbye(&mut self) -> Option<Transmit<'_>> {
        let source = self.source.filter(|source| source.reports)?;
        let mut builder = rtcp::Builder::new(&mut self.control);
        builder.receiver_report(self.config.ssrc, None);
        builder.description(self.config.ssrc, &self.config.cname);
        builder.bye(self.config.ssrc);
        let length = builder.finish()?;
        Some(Transmit { bytes: &self.control[..length], to: send::Recipients::One(source.address) })
    }

    /// Latency in force, from the earliest arrival to the DAC, in microseconds.
    pub fn latency_us(&self) -> u64 {
        self.latency_us.get()
    }

    /// For an output that follows the stream: writes what is older than the latency, or all once the stream has ended.
    /// Returns the number of frames written.
    pub fn pull_stream(&mut self, out: &mut [f32]) -> usize {
        let Some(channels) = self.matching_output(false) else { return 0 };
        let Some(stream) = &self.stream else { return 0 };
        let kept = if stream.ended { 0 } else { units::nanos_to_frames(self.config.latency, stream.rate) };
        self.latency_us.set((units::frames_to_nanos(kept, stream.rate) / 1000) as u64);
        if !self.aligned {
            let Some(start) = self.buffer.start() else { return 0 };
            if self.buffer.end().since(start) <= kept {
                return 0;
            }
            self.cursor = start;
            self.aligned = true;
        }
        let ready = (self.buffer.end().since(self.cursor) - kept).max(0) as usize;
        let frames = ready.min(out.len() / channels);
        self.read(&mut out[..frames * channels], channels, None);
        frames
    }

    /// For a device: fills `out` with what leaves the DAC from `at` on, on this machine's clock. `out` is [`CHUNK`]
    /// frames long.
    pub fn pull_device(&mut self, at: Mono, out: &mut [f32]) {
        out.fill(0.0);
        if self.matching_output(true).is_none() {
            return;
        }
        // Taken out for the call, so that reading may borrow the rest.
        let Some(mut output) = self.output.take() else { return };
        let channels = usize::from(output.channels);
        if let Some(device) = &mut output.device {
            self.play(at, out, channels, device);
        }
        self.output = Some(output);
    }

    fn play(&mut self, at: Mono, out: &mut [f32], channels: usize, device: &mut DeviceOutput) {
        let Some(stream) = &self.stream else { return };
        let delay = device.steering.as_ref().map_or(0, |(resampler, _)| resampler.delay()) as u64;
        if !self.aligned {
            let Some(target) = stream.timeline.position_at(at.plus(-self.config.latency)) else { return };
            let cursor = target.advanced(delay);
            // While the first packet is still ahead, an earlier arrival may still move the place.
            let chunk_end = cursor.advanced(CHUNK as u64);
            self.aligned = self.buffer.start().is_some_and(|start| start <= chunk_end);
            if self.aligned {
                self.counters.realigned.add(1);
                device.last = None;
            }
            self.cursor = cursor;
            device.concealer.jump();
        }
        let heard = Position(self.cursor.0.saturating_sub(delay));
        let Some(arrival) = stream.timeline.arrival_of(heard) else { return };
        let latency = at.since(arrival);
        self.latency_us.set((latency.max(0) / 1000) as u64);
        let late = latency - self.config.latency;
        let Some((resampler, servo)) = &mut device.steering else {
            return self.read(out, channels, Some(&mut device.concealer));
        };
        if self.aligned && late.abs() > REALIGN {
            self.aligned = false;
        }
        let since_last = device.last.map_or(0.0, |last| at.since(last) as f64 / 1e9);
        device.last = Some(at);
        let speed = servo.update(late as f64 / 1e9, since_last.clamp(0.0, 0.1));
        self.counters.set_drift(speed);
        resampler.set_speed(speed);
        resampler.process(out, |input| self.read(input, channels, Some(&mut device.concealer)));
    }

    /// Reads from the cursor on: audio where there is some; elsewhere what conceals, or zeros without a concealer.
    fn read(&mut self, out: &mut [f32], channels: usize, mut concealer: Option<&mut Concealer>) {
        let ended = self.stream.as_ref().is_none_or(|stream| stream.ended);
        let mut rest = out;
        while !rest.is_empty() {
            let room = rest.len() / channels;
            let (frames, audio) = match self.buffer.span(self.cursor) {
                Span::Audio { slot, payload, skip } => {
                    let frames = ((slot.frames - skip) as usize).min(room);
                    render(&slot, payload, skip as usize, &mut rest[..frames * channels], channels);
                    (frames, true)
                }
                Span::Gap(frames) => (frames.min(room as u64) as usize, false),
                Span::Empty => (room, false),
            };
            let (now, later) = rest.split_at_mut(frames * channels);
            match (&mut concealer, audio) {
                (Some(concealer), true) => concealer.pass(now),
                (Some(concealer), false) => concealer.conceal(now),
                (None, true) => {}
                (None, false) => now.fill(0.0),
            }
            self.begun |= audio;
            if !audio && self.begun && !ended {
                self.counters.concealed_frames.add(frames as u64);
            }
            self.meter(now, channels);
            self.cursor = self.cursor.advanced(frames as u64);
            self.counters.frames.add(frames as u64);
            rest = later;
        }
        self.counters.lost.add(self.buffer.take_lost());
        self.counters.depth.set(self.buffer.end().since(self.cursor).max(0) as u64);
    }

    fn meter(&mut self, audio: &[f32], channels: usize) {
        self.peak.0 = audio.iter().fold(self.peak.0, |peak, sample| peak.max(sample.abs()));
        self.peak.1 += (audio.len() / channels) as u32;
        let rate = self.stream.as_ref().map_or(44_100, |stream| stream.rate);
        if self.peak.1 >= rate / 10 {
            self.counters.level.set(self.peak.0);
            self.peak = (0.0, 0);
        }
    }

    /// The output's channels, if it is of the kind asked for and runs at the stream's rate.
    fn matching_output(&self, device: bool) -> Option<usize> {
        let output = self.output.as_ref()?;
        let stream = self.stream.as_ref()?;
        let fits = output.device.is_some() == device && output.rate == stream.rate;
        fits.then_some(usize::from(output.channels))
    }

    fn identify(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Wire> {
        let known = self.candidates.iter().position(|c| c.is_some_and(|(address, _)| address == from));
        let place = known.unwrap_or_else(|| {
            self.next_candidate = (self.next_candidate + 1) % self.candidates.len();
            self.candidates[self.next_candidate] = None;
            self.next_candidate
        });
        let (_, detector) = self.candidates[place].get_or_insert((from, Detector::default()));
        let found = detector.note(datagram);
        let wire = match self.config.wire {
            Some(Wire::Plain) => Some(Wire::Plain),
            Some(Wire::Rtp) => found.filter(|wire| *wire == Wire::Rtp),
            None => found,
        };
        if wire.is_none() {
            let reason = rtp::Packet::parse(datagram).err().unwrap_or(Reject::PayloadType);
            self.counters.reject(reason);
        }
        wire
    }

    fn handle_from_source(&mut self, at: Mono, source: Source, datagram: &[u8]) {
        let handled = match source.wire {
            Wire::Plain => self.handle_plain(at, source, datagram),
            Wire::Rtp if rtp::is_rtcp(datagram) => self.handle_rtcp(at, source, datagram),
            Wire::Rtp => rtp::Packet::parse(datagram).and_then(|packet| self.handle_rtp(at, source, &packet)),
        };
        match (handled, &mut self.source) {
            (Ok(()), Some(source)) => source.heard = at,
            (Ok(()), None) => {}
            (Err(reason), _) => self.counters.reject(reason),
        }
    }

    fn handle_rtcp(&mut self, at: Mono, source: Source, datagram: &[u8]) -> Result<(), Reject> {
        let mut goodbye = false;
        for packet in rtcp::packets(datagram) {
            match packet? {
                rtcp::Packet::Sender { ssrc, info, .. } => {
                    if let Some(source) = &mut self.source {
                        source.reports = true;
                    }
                    if let Some(stream) = self.stream.as_mut().filter(|s| s.reception.ssrc() == ssrc) {
                        stream.reception.note_sender_report(info.ntp, at);
                    }
                }
                rtcp::Packet::Application { name: announce::APP_NAME, body, .. } => {
                    self.handle_announcement(source, &Announcement::parse(body)?);
                }
                rtcp::Packet::Bye { ssrc } => {
                    let ours = self.stream.as_ref().map(|stream| stream.reception.ssrc());
                    goodbye |= ssrc.is_none() || ssrc == ours;
                }
                _ => {}
            }
        }
        if goodbye {
            self.end_stream(End::Bye);
        }
        Ok(())
    }

    fn handle_announcement(&mut self, source: Source, announcement: &Announcement<'_>) {
        self.announced = Some(announcement.format);
        let info = StreamInfo {
            from: source.address,
            wire: Wire::Rtp,
            rate: announcement.format.rate,
            channels: announcement.format.channels,
            name: Text::new(announcement.name),
            map: Text::new(announcement.map),
        };
        if self.info != Some(info) {
            self.info = Some(info);
            self.tell(Event::Stream(info));
        }
    }

    fn handle_rtp(&mut self, at: Mono, source: Source, packet: &rtp::Packet<'_>) -> Result<(), Reject> {
        let header = packet.header;
        let format = payload_type::static_format(header.payload_type)
            .or(self.announced.filter(|format| format.payload_type == header.payload_type))
            .ok_or(Reject::PayloadType)?;
        let frames = pcm::frames(packet.payload, format.channels)? as u32;
        self.continue_or_begin(at, source, &header, &format)?;
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let number = stream.sequence.unwrap(header.sequence);
        let position = Position(stream.time.unwrap(header.timestamp).0.wrapping_add(stream.position_offset));
        stream.heard = at;
        stream.timeline.note(position, at);
        stream.reception.note_packet(number, header.timestamp, at);
        self.counters.jitter_ns.set(stream.reception.jitter_ns());
        let entry = Entry {
            sequence: number.wrapping_add(stream.sequence_offset),
            position,
            frames,
            channels: format.channels,
            big_endian: true,
            payload: packet.payload,
        };
        self.insert(&entry)?;
        self.follow_late_stream(at, position);
        Ok(())
    }

    /// A sender that paused, or a path that grew longer, brings every packet too late from then on: the timeline is placed
    /// anew.
    fn follow_late_stream(&mut self, at: Mono, position: Position) {
        let dry = self.buffer.is_empty();
        let Some(stream) = &mut self.stream else { return };
        if stream.late >= LATE_RUN && dry {
            stream.late = 0;
            stream.timeline = Timeline::new(stream.rate, position);
            stream.timeline.note(position, at);
            self.aligned = false;
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
        let Some(stream) = self.stream.as_mut().filter(|stream| !stream.ended && stream.rate == format.rate)
        else {
            self.begin_rtp(at, source, header, format);
            return Ok(());
        };
        let near_in_time = {
            let expected = stream.time.peek(header.timestamp);
            let last = stream.time.last();
            expected.since(last).unsigned_abs() <= u64::from(MAX_JUMP * stream.rate)
        };
        if near_in_time && stream.reception.ssrc() != header.ssrc {
            // Another encoding of the same sender: the timeline goes on, only the numbers start anew.
            stream.sequence = SequenceUnwrapper::new(header.sequence);
            let first = stream.sequence.peek(header.sequence);
            stream.sequence_offset = self.buffer.tail().max(1 << 32).wrapping_sub(first);
            stream.reception = Reception::new(header.ssrc, format.rate, first);
        } else if !near_in_time && stream.suspect != Some(header.sequence) {
            stream.suspect = Some(header.sequence.next());
            return Err(Reject::Value);
        } else if !near_in_time {
            self.begin_rtp(at, source, header, format);
            return Ok(());
        }
        stream.suspect = None;
        stream.channels = format.channels;
        Ok(())
    }

    fn begin_rtp(&mut self, at: Mono, source: Source, header: &rtp::Header, format: &Format) {
        self.begin_stream(at, source, format.rate, format.channels, Some(header));
    }

    fn begin_stream(
        &mut self,
        at: Mono,
        source: Source,
        rate: u32,
        channels: u16,
        header: Option<&rtp::Header>,
    ) {
        let same_rate = self.stream.as_ref().is_some_and(|stream| stream.rate == rate);
        let to_device = self.output.as_ref().is_some_and(|output| output.device.is_some());
        if to_device || !same_rate {
            // A file still gets the rest of the last stream; a device plays the new one in its own time.
            self.buffer.clear();
            self.aligned = false;
        }
        self.begun = false;
        let first = header.map_or(Sequence(0), |header| header.sequence);
        let first_time = header.map_or(RtpTime(0), |header| header.timestamp);
        let sequence = SequenceUnwrapper::new(first);
        let time = RtpTimeUnwrapper::new(first_time);
        let number = sequence.peek(first);
        // Far enough from zero for packets that were sent before the first one that came.
        let base = if self.buffer.is_empty() { 1 << 32 } else { self.buffer.tail() };
        let start = Position(self.buffer.end().0.max(1 << 32));
        self.stream = Some(Stream {
            rate,
            channels,
            ended: false,
            heard: at,
            sequence_offset: base.wrapping_sub(number),
            position_offset: start.0.wrapping_sub(time.peek(first_time).0),
            sequence,
            time,
            late: 0,
            suspect: None,
            timeline: Timeline::new(rate, start),
            reception: Reception::new(header.map_or(0, |header| header.ssrc), rate, number),
        });
        self.counters.streams.add(1);
        let known = self.info.filter(|info| {
            (info.from, info.wire, info.rate, info.channels) == (source.address, source.wire, rate, channels)
        });
        if known.is_none() {
            let (name, map) = (Text::new(""), Text::new(""));
            let info = StreamInfo { from: source.address, wire: source.wire, rate, channels, name, map };
            self.info = Some(info);
            self.tell(Event::Stream(info));
        }
    }

    fn handle_plain(&mut self, at: Mono, source: Source, datagram: &[u8]) -> Result<(), Reject> {
        let (rate, channels) = (self.config.plain_rate, self.config.plain_channels);
        let frame = usize::from(channels) * pcm::BYTES_PER_SAMPLE;
        pcm::frames(datagram, channels)?;
        if self.stream.as_ref().is_none_or(|stream| stream.ended) {
            self.begin_stream(at, source, rate, channels, None);
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.heard = at;
        let start = Position(self.buffer.end().0.max(1 << 32));
        let to_device = self.output.as_ref().is_some_and(|output| output.device.is_some());
        if to_device && self.aligned && self.cursor > start {
            // Nothing says what was lost: the rest is played with the full latency again.
            stream.timeline = Timeline::new(rate, start);
            self.aligned = false;
        }
        stream.timeline.note(start, at);
        for part in datagram.chunks(MAX_PAYLOAD / frame * frame) {
            let entry = Entry {
                sequence: self.buffer.tail().max(1 << 32),
                position: Position(self.buffer.end().0.max(1 << 32)),
                frames: (part.len() / frame) as u32,
                channels,
                big_endian: false,
                payload: part,
            };
            self.insert(&entry)?;
        }
        Ok(())
    }

    fn insert(&mut self, entry: &Entry<'_>) -> Result<(), Reject> {
        if !self.begun {
            self.buffer.reach_back(entry.sequence);
        }
        let over = self.aligned && entry.position.advanced(u64::from(entry.frames)) <= self.cursor;
        let inserted = if over { Inserted::Late } else { self.buffer.insert(entry) };
        self.counters.overflowed.add(self.buffer.take_overflowed());
        if let Some(stream) = &mut self.stream {
            stream.late = if inserted == Inserted::Late { stream.late + 1 } else { 0 };
        }
        match inserted {
            Inserted::Kept => {
                self.counters.packets.add(1);
                self.counters.octets.add(entry.payload.len() as u64);
            }
            Inserted::Late => self.counters.late.add(1),
            Inserted::Duplicate => self.counters.duplicates.add(1),
            Inserted::TooLong => return Err(Reject::Length),
        }
        Ok(())
    }

    fn end_stream(&mut self, why: End) {
        self.source = None;
        self.candidates = [None; 4];
        self.announced = None;
        self.info = None;
        self.conflict_told = false;
        if let Some(stream) = self.stream.as_mut().filter(|stream| !stream.ended) {
            stream.ended = true;
            self.tell(Event::Ended(why));
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
