//! From the jitter buffer to the output: which position is due, and what is played where it did not come.

use std::sync::Arc;

use proto::units::{self, Mono, Position};

use super::CHUNK;
use super::decode::Decoder;
use super::output::{DeviceOutput, Output};
use super::pace::Due;
use super::precision::Precision;
use super::reference::Reference;
use super::stream::Stream;
use crate::conceal::Concealer;
use crate::counters::{Counter, ReceiveCounters};
use crate::depth::{Depth, Preset, Reason};
use crate::jitter::{Entry, Inserted, JitterBuffer, Span};

/// Playback that is off by more than this is placed anew rather than steered, in nanoseconds.
const REALIGN: i64 = 10_000_000;
/// In time with others, where it takes a second to steer as far.
const REALIGN_TOGETHER: i64 = 2_000_000;
/// Where nothing steers, in nanoseconds.
const UNSTEERED: i64 = 100_000_000;
/// By how much the latency comes down or goes up, beside the drift: shares of the playing speed. More than a group's delay
/// does.
const SLEW: f64 = 2_500e-6;
/// An adaptive latency follows its target only where they differ by more than this, in nanoseconds.
const NEAR_ENOUGH: i64 = 250_000;
/// What a latency has to leave beyond the lead, in nanoseconds: packets come a little late always.
const SPARE: i64 = 500_000;
/// After silence, audio returns where nothing is missing of it for this long, in nanoseconds: twice the crossfade.
const WHOLE: i64 = 8_000_000;
/// The lead's memory, in nanoseconds.
const LEAD_WINDOW: i64 = 8_000_000_000;

/// How the latency adapts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adapt {
    /// How careful.
    pub preset: Preset,
    /// Least latency, in nanoseconds.
    pub least: i64,
    /// Most latency, in nanoseconds.
    pub most: i64,
}

/// How long before the DAC samples are taken from the buffer: the most of the last while.
#[derive(Debug, Default)]
struct Lead {
    former: i64,
    current: i64,
    ends: Mono,
}

impl Lead {
    fn note(&mut self, now: Mono, lead: i64) {
        if now >= self.ends {
            self.former = self.current;
            self.current = 0;
            self.ends = now.plus(LEAD_WINDOW);
        }
        self.current = self.current.max(lead);
    }

    fn get(&self) -> i64 {
        self.former.max(self.current)
    }
}

pub(super) struct Player {
    counters: Arc<ReceiveCounters>,
    buffer: JitterBuffer,
    output: Option<Box<Output>>,
    cursor: Position,
    /// The cursor has its place on the timeline.
    aligned: bool,
    /// Audio was played since then.
    begun: bool,
    /// The latency asked for, or an adaptive one's first, and the one in force. In nanoseconds.
    asked: i64,
    latency: i64,
    adapt: Option<(Adapt, Depth)>,
    /// From the capture to the earliest arrival, in nanoseconds, where the latency counts from the capture; else 0.
    transit: i64,
    /// Playback goes by the captures, and is later than the group's delay.
    together: bool,
    late: bool,
    precision: Precision,
    /// Why the latency has changed since that was told.
    change: Option<Reason>,
    lead: Lead,
    /// Channels of what was played last.
    channels: u16,
    /// Frames for which the cursor has waited for a packet that is late.
    held: u64,
    /// Frames that a device was handed earlier than it had to be.
    ahead: i64,
    now: Mono,
    peak: (f32, u32),
    latency_us: Counter,
}

impl Player {
    pub(super) fn new(
        latency: i64,
        adapt: Option<Adapt>,
        buffer: JitterBuffer,
        counters: Arc<ReceiveCounters>,
    ) -> Self {
        Self {
            counters,
            buffer,
            output: None,
            cursor: Position(0),
            aligned: false,
            begun: false,
            asked: latency,
            latency,
            adapt: adapt.map(|adapt| (adapt, Depth::new(adapt.preset, latency))),
            transit: 0,
            together: false,
            late: false,
            precision: Precision::default(),
            change: None,
            lead: Lead::default(),
            channels: 0,
            held: 0,
            ahead: 0,
            now: Mono(0),
            peak: (0.0, 0),
            latency_us: Counter::default(),
        }
    }

    pub(super) fn buffer(&self) -> &JitterBuffer {
        &self.buffer
    }

    pub(super) fn replace_output(&mut self, output: Box<Output>) -> Option<Box<Output>> {
        self.aligned = false;
        self.output.replace(output)
    }

    pub(super) fn plays_to_device(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.device.is_some())
    }

    pub(super) fn realign(&mut self) {
        self.aligned = false;
    }

    pub(super) fn cursor(&self) -> Option<Position> {
        self.aligned.then_some(self.cursor)
    }

    /// Frames are played when the sender's timing says, or later by what this receiver needs.
    pub(super) fn is_together(&self) -> bool {
        self.together && self.aligned
    }

    /// Later.
    pub(super) fn is_late(&self) -> bool {
        self.is_together() && self.late
    }

    pub(super) fn precision(&mut self) -> &mut Precision {
        &mut self.precision
    }

    /// From the earliest arrival, or the capture, to the DAC as it is, in microseconds.
    pub(super) fn latency_us(&self) -> u64 {
        self.latency_us.get()
    }

    /// The latency that is aimed for, in nanoseconds.
    pub(super) fn target(&self) -> i64 {
        match &self.adapt {
            // A packet has to be there when its first sample is taken from the buffer.
            Some((adapt, depth)) => (depth.needed() + self.lead.get()).clamp(adapt.least, adapt.most),
            None => self.asked,
        }
    }

    pub(super) fn set_latency(&mut self, latency: i64) {
        self.aligned &= self.adapt.is_some() || self.together || self.asked == latency;
        self.asked = latency;
    }

    pub(super) fn adapts(&self) -> bool {
        self.adapt.is_some()
    }

    pub(super) fn take_change(&mut self) -> Option<Reason> {
        self.change.take()
    }

    /// How long after its earliest arrival a packet is still in time, in nanoseconds.
    pub(super) fn time_to_wait(&self) -> i64 {
        self.latency - self.transit - self.lead.get()
    }

    /// Audio in the buffer, and what a device was handed ahead of its time, in frames.
    pub(super) fn depth(&self) -> i64 {
        self.buffer.end().since(self.cursor).max(0) + self.ahead
    }

    /// Blocks of parity span so many packets, which are needed to rebuild one of them.
    pub(super) fn keep(&mut self, packets: u64) {
        self.buffer.keep(packets);
    }

    /// A new stream begins. A file still gets the rest of the last one; a device plays the new one in its own time.
    pub(super) fn begin(&mut self, same_rate: bool) {
        if self.plays_to_device() || !same_rate {
            self.buffer.clear();
            self.aligned = false;
        }
        self.begun = false;
        self.held = 0;
        if let Some((_, depth)) = &mut self.adapt {
            depth.restart();
        }
    }

    /// Takes note how late a packet came.
    pub(super) fn note_lateness(&mut self, at: Mono, late: i64) {
        if let Some((_, depth)) = &mut self.adapt {
            let reason = depth.note(at, late);
            self.change = reason.or(self.change);
        }
    }

    pub(super) fn insert(&mut self, entry: &Entry<'_>) -> Inserted {
        if !self.begun {
            self.buffer.reach_back(entry.sequence);
        }
        let over = self.aligned && entry.position.advanced(u64::from(entry.frames)) <= self.cursor;
        let inserted = if over { Inserted::Late } else { self.buffer.insert(entry) };
        self.counters.overflowed.add(self.buffer.take_overflowed());
        inserted
    }

    /// For an output that follows the stream: writes what is older than the latency, or all once the stream has ended.
    pub(super) fn pull_stream(&mut self, stream: &Stream, out: &mut [f32]) -> usize {
        let Some(channels) = self.matching_output(stream, false) else { return 0 };
        let rate = stream.format.rate;
        let kept = if stream.ended { 0 } else { units::nanos_to_frames(self.asked, rate) };
        self.latency_us.set((units::frames_to_nanos(kept, rate) / 1000) as u64);
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
        // Taken out for the call, so that reading may borrow the rest.
        if let Some(mut output) = self.output.take() {
            self.read(stream, &mut out[..frames * channels], channels, &mut output.decoder, None);
            self.output = Some(output);
        }
        frames
    }

    /// Whether some of what the next chunk needs has not come, and may still come.
    pub(super) fn lacks(&self, stream: &Stream) -> bool {
        self.begun && self.aligned && !stream.ended && !self.has_next()
    }

    /// Whether all has come that the next chunk needs.
    pub(super) fn has_chunk(&self) -> bool {
        self.begun && self.aligned && self.has_next()
    }

    fn has_next(&self) -> bool {
        let steering = self.output.as_ref().and_then(|output| output.device.as_ref()?.steering.as_ref());
        let needed = steering.map_or(CHUNK, |(resampler, _)| resampler.needed());
        self.buffer.covers(self.cursor, needed as u64)
    }

    /// For a device: fills `out` with what leaves the DAC when it is due. Without a reference, what plays goes on as it did,
    /// and nothing begins.
    pub(super) fn pull_device(
        &mut self,
        stream: &Stream,
        reference: Option<Reference<'_>>,
        now: Mono,
        due: Due,
        out: &mut [f32],
    ) {
        let fits = self.matching_output(stream, true).is_some();
        let Some(mut output) = self.output.take() else { return };
        self.now = now;
        if fits {
            self.play(stream, reference, due, out, &mut output);
        } else if let Some(device) = &mut output.device {
            device.fall_silent(out);
        }
        self.output = Some(output);
    }

    fn play(
        &mut self,
        stream: &Stream,
        reference: Option<Reference<'_>>,
        due: Due,
        out: &mut [f32],
        output: &mut Output,
    ) {
        let channels = usize::from(output.channels);
        let decoder = &mut output.decoder;
        let Some(device) = &mut output.device else { return };
        let at = due.at;
        let lag = device.steering.as_ref().map_or(0.0, |(resampler, _)| resampler.lag());
        let delay = lag as u64;
        let reach = units::frames_to_nanos((delay + CHUNK as u64) as i64, stream.format.rate);
        // What was made ahead of its time could have waited.
        let early = due.soon.map_or(0, |_| due.by.since(self.now)).max(0);
        self.ahead = if self.has_chunk() { units::nanos_to_frames(early, stream.format.rate) } else { 0 };
        self.lead.note(self.now, at.since(due.latest(self.now)) + reach);
        let Some(reference) = reference else { return self.go_on(stream, out, channels, output) };
        let together = reference.captures().is_some();
        let moves = std::mem::replace(&mut self.together, together) != together;
        if !self.aligned {
            let first = self.asked - self.lead.get();
            if let Some((_, depth)) = &mut self.adapt {
                depth.assume(first);
            }
            let Some(near) = reference.position_at(at.plus(-self.latency)) else { return };
            self.latency = self.aim(&reference, near);
            let Some(target) = reference.position_at(at.plus(-self.latency)) else { return };
            self.place(target.advanced(delay), device);
        }
        let heard = Position(self.cursor.0.saturating_sub(delay));
        let Some(start) = reference.start_of(heard) else { return };
        // Whole frames alone would have the servo follow a saw.
        let actual = at.since(start) + ((lag - delay as f64) * 1e9 / f64::from(stream.format.rate)) as i64;
        self.latency_us.set((actual.max(0) / 1000) as u64);
        let aim = self.aim(&reference, heard);
        if let Some(captures) = reference.captures().filter(|_| self.aligned) {
            self.precision.note(actual - captures.delay(heard));
        }
        let Some((resampler, servo)) = &mut device.steering else {
            self.latency = aim;
            // The clocks are left to drift apart until that is heard.
            self.aligned &= (actual - self.latency).abs() <= UNSTEERED;
            return self.read(stream, out, channels, decoder, Some(&mut device.concealer));
        };
        let elapsed = device.last.map_or(0, |last| at.since(last)).clamp(0, 100_000_000);
        device.last = Some(at);
        let slew = self.slew(aim, elapsed);
        if self.aligned {
            self.catch_up(actual, aim, moves);
        }
        let late = actual - self.latency;
        // What both clocks are known to do needs no error to be corrected.
        let known = (1.0 + due.slow) / (1.0 + reference.slow()) - 1.0;
        let speed = known + servo.update(late as f64 / 1e9, elapsed as f64 / 1e9);
        self.counters.drift_ppb.set((speed * 1e9) as i64);
        resampler.set_speed(speed + slew);
        let concealer = &mut device.concealer;
        resampler.process(out, |input| self.read(stream, input, channels, decoder, Some(concealer)));
    }

    /// Plays at the speed that was found last.
    fn go_on(&mut self, stream: &Stream, out: &mut [f32], channels: usize, output: &mut Output) {
        let decoder = &mut output.decoder;
        let Some(device) = &mut output.device else { return };
        device.last = None;
        if !self.aligned {
            return device.fall_silent(out);
        }
        let DeviceOutput { concealer, steering, .. } = device;
        let mut fill = |input: &mut [f32]| self.read(stream, input, channels, decoder, Some(concealer));
        match steering {
            Some((resampler, _)) => resampler.process(out, fill),
            None => fill(out),
        }
    }

    /// The latency to aim for at a position: the group's delay, where it is enough for this device.
    fn aim(&mut self, reference: &Reference<'_>, position: Position) -> i64 {
        let Some(captures) = reference.captures() else {
            self.transit = 0;
            return self.target();
        };
        self.transit = captures.transit;
        let given = captures.delay(position);
        let own = self.transit + self.target();
        let least = self.transit + self.lead.get() + SPARE;
        // Once late, the delay that is asked for is waited for, and met without a jump.
        self.late = given < if self.late { own } else { least.min(own) };
        if self.late { own } else { given }
    }

    fn place(&mut self, cursor: Position, device: &mut DeviceOutput) {
        // While the first packet is still ahead, an earlier arrival may still move the place.
        let chunk_end = cursor.advanced(CHUNK as u64);
        self.aligned = self.buffer.start().is_some_and(|start| start <= chunk_end);
        if self.aligned {
            self.counters.realigned.add(1);
            device.last = None;
            self.held = 0;
        }
        self.cursor = cursor;
        device.concealer.jump();
    }

    /// Where playback is off by more than what steering is for: takes what it finds for the latency in force, which then
    /// moves to where it should be; or gives up its place, where that would take too long. The same where it goes by something
    /// else from now on.
    fn catch_up(&mut self, actual: i64, aim: i64, moves: bool) {
        let off = (actual - self.latency).abs();
        match &self.adapt {
            _ if moves || self.together && off > NEAR_ENOUGH => {
                self.latency = actual;
                self.aligned = (actual - aim).abs() <= REALIGN_TOGETHER;
            }
            _ if off <= REALIGN => {}
            Some((adapt, _)) if (adapt.least..=adapt.most).contains(&actual) => self.latency = actual,
            _ => self.aligned = false,
        }
    }

    /// Moves the latency in force towards its aim. Returns by which share to play faster for that.
    fn slew(&mut self, aim: i64, elapsed: i64) -> f64 {
        let difference = aim - self.latency;
        // What a buffer needs is not known so well that every change is worth a change of pitch.
        let near = if self.together && !self.late { 1 } else { NEAR_ENOUGH };
        if difference.abs() < near || elapsed == 0 || self.held > 0 {
            return 0.0;
        }
        let most = (elapsed as f64 * SLEW) as i64;
        let step = difference.clamp(-most, most);
        self.latency += step;
        -(step as f64) / elapsed as f64
    }

    /// Reads from the cursor on: audio where there is some; elsewhere concealment, or zeros without a concealer.
    fn read(
        &mut self,
        stream: &Stream,
        out: &mut [f32],
        channels: usize,
        decoder: &mut Decoder,
        mut concealer: Option<&mut Concealer>,
    ) {
        let mut rest = out;
        while !rest.is_empty() {
            let room = rest.len() / channels;
            let cursor = self.cursor;
            let holding = concealer.is_some() && self.may_hold(stream);
            // What repair brings back of an outage comes in pieces: too short a one would click on both ends.
            let piece = concealer.as_ref().is_some_and(|concealer| concealer.is_silent())
                && self.buffer.breaks(cursor, units::nanos_to_frames(WHOLE, stream.format.rate) as u64);
            // How far this goes, whether it sounds, and whether a packet brought it.
            let (frames, sounds, brought, holding) = match self.buffer.span(cursor) {
                Span::Audio { slot, skip, .. } if piece => {
                    self.end_hold();
                    (((slot.frames - skip) as usize).min(room), false, false, false)
                }
                Span::Audio { slot, payload, skip } => {
                    let frames = ((slot.frames - skip) as usize).min(room);
                    decoder.render(&slot, payload, skip as usize, &mut rest[..frames * channels], channels);
                    if slot.channels < std::mem::replace(&mut self.channels, slot.channels) {
                        // What the outputs had that have no channel of their own any more ends without a click.
                        concealer.as_deref_mut().into_iter().for_each(Concealer::jump);
                    }
                    self.end_hold();
                    (frames, true, true, false)
                }
                Span::Gap(frames, _) if self.held > 0 => {
                    self.skip_held(stream, frames);
                    continue;
                }
                Span::Gap(frames, next) => {
                    let now = frames.min(room as u64) as usize;
                    let made =
                        decoder.conceal(cursor, Some((frames, next)), &mut rest[..now * channels], channels);
                    if made > 0 { (made, true, false, false) } else { (now, false, false, false) }
                }
                Span::Empty if holding => (room, false, false, true),
                Span::Empty => {
                    let made = decoder.conceal(cursor, None, rest, channels);
                    if made > 0 { (made, true, false, false) } else { (room, false, false, false) }
                }
            };
            let (now, later) = rest.split_at_mut(frames * channels);
            match (&mut concealer, sounds) {
                (Some(concealer), true) => concealer.pass(now),
                (Some(concealer), false) => concealer.conceal(now),
                (None, true) => {}
                (None, false) => now.fill(0.0),
            }
            self.begun |= brought;
            if !brought && self.begun && !stream.ended {
                self.counters.concealed_frames.add(frames as u64);
            }
            self.meter(stream, now, channels);
            if holding {
                self.held += frames as u64;
                self.latency += units::frames_to_nanos(frames as i64, stream.format.rate);
            } else {
                self.cursor = self.cursor.advanced(frames as u64);
            }
            self.counters.frames.add(frames as u64);
            rest = later;
        }
        self.counters.lost.add(self.buffer.take_lost());
        self.counters.depth.set(self.depth() as u64);
    }

    /// Nothing later has come either: an adaptive buffer waits rather than give up what is on its way.
    fn may_hold(&self, stream: &Stream) -> bool {
        let Some((adapt, _)) = &self.adapt else { return false };
        self.begun && self.aligned && !self.together && !stream.ended && self.latency < adapt.most
    }

    /// What was waited for has come: the latency that this took is needed.
    fn end_hold(&mut self) {
        if std::mem::take(&mut self.held) == 0 {
            return;
        }
        let depth_in_force = self.latency - self.lead.get();
        if let Some((_, depth)) = &mut self.adapt {
            let reason = depth.ran_dry(self.now, depth_in_force);
            self.change = reason.or(self.change);
        }
    }

    /// What was waited for is lost, as a later packet shows: the wait counts as its time.
    fn skip_held(&mut self, stream: &Stream, gap: u64) {
        let skipped = self.held.min(gap);
        self.held -= skipped;
        self.cursor = self.cursor.advanced(skipped);
        self.latency -= units::frames_to_nanos(skipped as i64, stream.format.rate);
        if self.held > 0 {
            self.end_hold();
        }
    }

    fn meter(&mut self, stream: &Stream, audio: &[f32], channels: usize) {
        self.peak.0 = audio.iter().fold(self.peak.0, |peak, sample| peak.max(sample.abs()));
        self.peak.1 += (audio.len() / channels) as u32;
        if self.peak.1 >= stream.format.rate / 10 {
            self.counters.level.set(self.peak.0);
            self.peak = (0.0, 0);
        }
    }

    /// The output's channels, if it is of the kind asked for and runs at the stream's rate.
    fn matching_output(&self, stream: &Stream, device: bool) -> Option<usize> {
        let output = self.output.as_ref()?;
        let fits = output.device.is_some() == device
            && output.stream_rate == stream.format.rate
            && output.decoder.fits(&stream.format);
        fits.then_some(usize::from(output.channels))
    }
}
