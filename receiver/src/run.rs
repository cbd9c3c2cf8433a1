//! The control thread: opens outputs as streams need them, shows the state, stops cleanly.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use audio::counters::PATHS;
use audio::depth::Reason;
use audio::receive::{End, Event, Incoming, Latency, Path, StreamInfo, Sync};
use audio::secure::Secrecy;
use control::cli::Outcome;
use control::config::Span;
use control::display::Display;
use control::signals::Signals;
use device::keeper::News;
use device::playback::Request;
use os::multicast::{Change, Membership};
use os::udp::Socket;
use proto::announce::Codec;
use serde_json::json;

use crate::args::Settings;
use crate::plan::{self, OutputPlan, Plan};
use crate::sap;
use crate::status::{self, Paths, stream_value};
use crate::{Played, Receiver};

/// How often the control thread looks around, beside what wakes it.
const TICK: Duration = Duration::from_millis(250);
/// The same while the rest of a stream is played.
const ENDING_TICK: Duration = Duration::from_millis(20);
/// How often links are looked at where a group is listened to.
const LINKS: Duration = Duration::from_millis(500);
/// Longest that the rest of a stream may take to be played.
const LONGEST_DRAIN: Duration = Duration::from_secs(12);

/// Plays what comes until a signal stops it, or the stream ends where that was asked for.
///
/// # Errors
/// One line: it could not start as asked.
pub fn run(settings: &Settings) -> Result<Outcome, String> {
    let signals = Signals::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let stdout_is_sound = settings.playback.as_deref() == Some("-");
    let interval = settings.status_interval.map(Span::duration);
    let mut display = Display::new(settings.json, stdout_is_sound, interval);
    let description = match (&settings.sdp, &settings.sap) {
        (Some(path), _) => Some(plan::description(path)?),
        (None, Some(name)) => match sap::wait_for(name, &signals, &mut display)? {
            None => return Ok(Outcome::Done),
            found => found,
        },
        (None, None) => None,
    };
    let plan = Plan::new(settings, description.as_ref())?;
    let listen: Vec<_> = plan.ears.addresses.iter().map(ToString::to_string).collect();
    let latency = plan.pipeline.latency;
    plan.warning.iter().for_each(|warning| display.warn(warning));
    if let Some(octets) = plan.ears.sockets.iter().filter_map(Socket::short_buffer).min() {
        display.warn(&os::udp::remedy(octets));
    }
    let mut receiver = Receiver::start(plan.ears.sockets, plan.ears.media, plan.pipeline)?;
    let mut session = Session {
        played: Played { steered: plan.output.steered, map: plan.output.map.clone() },
        memberships: plan.ears.memberships.into_iter().map(Watch::new).collect(),
        output: plan.output,
        exit_after_stream: plan.exit_after_stream,
        ordered: None,
        description: String::new(),
        outputs: 0,
        stream: None,
        paths: [None; PATHS],
        last_stream: None,
        ending: None,
        raised: 0,
        told_priority: false,
    };
    // A device's faults show at once, not when the first stream comes.
    if session.output.sink.has_clock() {
        let (request, incoming) = session.request(None);
        let opened = receiver.play_to(&request, incoming, &session.played);
        let description = opened.map_err(|error| format!("--playback: {error}"))?;
        session.tell_opened(description, &mut display);
    }
    let text = format!("listening on {}, latency {:.1} ms", listen.join(" and "), latency as f64 / 1e6);
    display.event(
        &text,
        "listening",
        json!({ "address": listen[0], "second_address": listen.get(1), "latency_ms": latency as f64 / 1e6 }),
    );
    let outcome = session.attend(&signals, &mut receiver, &mut display);
    session.conclude(&mut receiver, &mut display);
    Ok(outcome)
}

/// What the control thread keeps in mind.
struct Session {
    output: OutputPlan,
    played: Played,
    memberships: Vec<Watch>,
    exit_after_stream: bool,
    /// The output that was ordered last.
    ordered: Option<(Request, Option<Incoming>)>,
    /// For people.
    description: String,
    /// Outputs opened so far: each file has a name of its own.
    outputs: u32,
    stream: Option<StreamInfo>,
    /// The paths that it comes by, where there are two.
    paths: Paths,
    /// The stream that was played last, for the summary.
    last_stream: Option<StreamInfo>,
    /// The stream has ended; what is left of it is played until then at most.
    ending: Option<Instant>,
    raised: u64,
    told_priority: bool,
}

impl Session {
    fn attend(&mut self, signals: &Signals, receiver: &mut Receiver, display: &mut Display) -> Outcome {
        while !signals.stop() {
            while let Some(event) = receiver.poll_event() {
                match event {
                    Event::Stream(stream) => self.begin(stream, receiver, display),
                    Event::Ended(end) => self.end(end, display),
                    Event::Latency(latency) => tell_latency(latency, display),
                    Event::Sync(sync) => tell_sync(sync, display),
                    Event::Path(path) => self.tell_path(path, display),
                    Event::Secrecy(from, secrecy) => tell_secrecy(from, secrecy, display),
                    Event::Conflict(from) => {
                        display
                            .warn(&format!("another sender ({from}) sends to this port and is not played"));
                    }
                }
            }
            while let Some(news) = receiver.poll_output() {
                self.heed(news, display);
            }
            if self.ending.is_some_and(|limit| drained(receiver) || Instant::now() > limit) {
                return Outcome::Done;
            }
            if receiver.playback().is_some_and(|playback| playback.failed.load(Ordering::Acquire)) {
                display.warn("the output has failed and takes no more sound");
                return Outcome::Failed;
            }
            self.watch(receiver, display);
            if display.due() {
                let line = status::line(receiver, self.stream.as_ref(), &self.paths);
                display
                    .state(&[line], || status::value("status", receiver, self.stream.as_ref(), &self.paths));
            }
            let tick = if self.ending.is_some() { ENDING_TICK } else { TICK };
            receiver.wait(display.left().min(tick));
        }
        Outcome::Done
    }

    fn begin(&mut self, stream: StreamInfo, receiver: &mut Receiver, display: &mut Display) {
        self.ending = None;
        if self.last_stream.is_some_and(|last| last.from != stream.from) {
            self.paths = [None; PATHS];
        }
        self.stream = Some(stream);
        self.last_stream = Some(stream);
        let name = if stream.name.as_str().is_empty() {
            String::new()
        } else {
            format!("`{}` ", stream.name.as_str())
        };
        let map = if stream.map.as_str().is_empty() {
            String::new()
        } else {
            format!(" (channels {})", stream.map.as_str())
        };
        let text = format!(
            "playing {name}from {}: {}, {}, {} channels{map}, {} Hz",
            stream.from,
            stream.wire.name(),
            stream.codec.name(),
            stream.channels,
            stream.rate
        );
        display.event(&text, "stream", stream_value(&stream));
        if let Some(map) = self.played.map.as_ref().filter(|map| map.highest() >= stream.channels) {
            let (channel, channels) = (map.highest(), stream.channels);
            display.warn(&format!(
                "--map: channel {channel} is silent, since the stream has {channels}, from 0 on"
            ));
        }
        if !self.fits(&stream) {
            self.open(receiver, &stream, display);
        }
    }

    fn tell_path(&mut self, path: Path, display: &mut Display) {
        let Path { number, address, lives } = path;
        let before = self.paths[number].replace(path);
        let known = before.is_some_and(|before| before.address == address);
        let (state, words) = match (lives, known) {
            (true, false) => ("found", ""),
            (true, true) => ("back", " is back"),
            (false, _) => ("silent", " is silent, the other one goes on"),
        };
        let text = format!("path {} from {address}{words}", number + 1);
        let details = json!({ "number": number + 1, "from": address.to_string(), "state": state });
        display.event(&text, "path", details);
    }

    /// Whether what was ordered last plays this stream.
    fn fits(&self, stream: &StreamInfo) -> bool {
        let Some((request, incoming)) = &self.ordered else { return false };
        let channels = self.output.channels(Some(stream.channels));
        let codec = incoming.map_or(Codec::L16, |incoming| incoming.codec);
        // PCM of any width takes one decoder.
        let decoded = match incoming.filter(|incoming| incoming.codec == Codec::Opus) {
            Some(incoming) => (codec, incoming.channels) == (stream.codec, stream.channels),
            None => stream.codec != Codec::Opus,
        };
        decoded && (request.rate, request.channels) == (stream.rate, channels)
    }

    /// A sound card may take its time, or be gone: it is ordered, and what becomes of it is heard later.
    fn open(&mut self, receiver: &mut Receiver, stream: &StreamInfo, display: &mut Display) {
        let (request, incoming) = self.request(Some(stream));
        if request.sink.is_device() {
            return receiver.order(&request, incoming, &self.played);
        }
        match receiver.play_to(&request, incoming, &self.played) {
            Ok(description) => self.tell_opened(description, display),
            Err(error) => {
                self.ordered = None;
                display.warn(&format!("the stream is not played: {error}"));
            }
        }
    }

    fn request(&mut self, stream: Option<&StreamInfo>) -> (Request, Option<Incoming>) {
        self.outputs += 1;
        let request = Request {
            sink: self.output.sink(self.outputs),
            rate: stream.map_or(self.output.rate, |stream| stream.rate),
            channels: self.output.channels(stream.map(|stream| stream.channels)),
            period: self.output.period,
        };
        let incoming =
            stream.map(|&StreamInfo { rate, channels, codec, .. }| Incoming { rate, channels, codec });
        self.ordered = Some((request.clone(), incoming));
        (request, incoming)
    }

    fn heed(&mut self, news: News<()>, display: &mut Display) {
        match news {
            News::Opened { rebuilt: true, .. } => {}
            News::Opened { description, .. } => self.tell_opened(description, display),
            News::Lost(reason) => {
                let text = format!("{} is gone: {reason}; it is tried until it is back", self.description);
                let details = json!({ "name": self.description, "reason": reason.name() });
                display.event(&text, "device_lost", details);
            }
            News::Back => {
                let text = format!("{} is back", self.description);
                display.event(&text, "device_back", json!({ "name": self.description }));
            }
            News::Refused(error) => {
                display.warn(&format!("there is no sound until this changes: {error}"));
            }
        }
    }

    fn tell_opened(&mut self, description: String, display: &mut Display) {
        let Some((request, _)) = &self.ordered else { return };
        let text = format!("output {description}: {} channels, {} Hz", request.channels, request.rate);
        let details = json!({ "name": description, "channels": request.channels, "rate": request.rate,
            "period": request.sink.has_clock().then_some(request.period) });
        display.event(&text, "output", details);
        self.description = description;
    }

    fn end(&mut self, end: End, display: &mut Display) {
        self.stream = None;
        let (text, why) = match end {
            End::Bye => ("the sender said goodbye", "bye"),
            End::Silent => ("nothing came for two seconds: the stream has ended", "silent"),
        };
        display.event(text, "ended", json!({ "reason": why }));
        if self.exit_after_stream {
            self.ending = Some(Instant::now() + LONGEST_DRAIN);
        }
    }

    /// Tells of what happens beside the stream, once each time it changes.
    fn watch(&mut self, receiver: &Receiver, display: &mut Display) {
        self.memberships.iter_mut().for_each(|watch| watch.look(display));
        let thread = &receiver.thread_counters;
        if !self.told_priority && thread.running.load(Ordering::Acquire) {
            self.told_priority = true;
            if !thread.realtime.load(Ordering::Acquire) {
                display.warn(&os::realtime::remedy());
            }
        }
        let raised = thread.raised_to_us.get();
        // Small steps while the device settles are not worth a line each.
        self.raised = self.raised.min(raised);
        if raised > self.raised + 500 {
            self.raised = raised;
            display.warn(&format!(
                "the latency is {:.1} ms: the sound card's buffers need that much; a smaller --period may allow less",
                raised as f64 / 1e3
            ));
        }
    }

    fn conclude(&self, receiver: &mut Receiver, display: &mut Display) {
        // A device still holds what was handed to it last.
        if self.output.sink.has_clock() && self.ending.is_some() {
            std::thread::sleep(Duration::from_micros(
                receiver.thread_counters.latency_us.get().min(1_000_000),
            ));
        }
        let value = status::value("summary", receiver, self.last_stream.as_ref(), &self.paths);
        receiver.finish();
        let counters = &receiver.counters;
        let text = format!(
            "received {} packets ({} asked for again, {} rebuilt): {} lost, {} late, {} duplicates; played {} frames, {} of them concealed",
            counters.packets.get(),
            counters.retransmitted.get(),
            counters.rebuilt.get(),
            counters.lost.get(),
            counters.late.get(),
            counters.duplicates.get(),
            counters.frames.get(),
            counters.concealed_frames.get(),
        );
        display.event(&text, "summary", value);
    }
}

fn tell_secrecy(from: SocketAddr, secrecy: Secrecy, display: &mut Display) {
    let details = json!({ "from": from.to_string(), "secrecy": secrecy.name() });
    display.event(&format!("{from}: {}", secrecy.describe()), "secrecy", details);
}

/// Looks after the membership in a group.
struct Watch {
    membership: Membership,
    look: Option<Instant>,
    /// What was said last of a group that cannot be joined.
    told: Option<String>,
}

impl Watch {
    fn new(membership: Membership) -> Self {
        Self { membership, look: None, told: None }
    }

    fn look(&mut self, display: &mut Display) {
        if self.look.is_some_and(|last| last.elapsed() < LINKS) {
            return;
        }
        self.look = Some(Instant::now());
        let changes = match self.membership.refresh() {
            Ok(changes) => changes,
            Err(reason) if self.told.as_ref() == Some(&reason) => return,
            Err(reason) => {
                display.warn(&format!("the group is joined nowhere: {reason}; it is tried until it is"));
                self.told = Some(reason);
                return;
            }
        };
        for change in changes {
            self.told = None;
            let (text, kind, interface) = match change {
                Change::Joined(name) => (format!("joined the group on {name}"), "joined", name),
                Change::Lost(name) => (format!("{name} is gone, and the group with it"), "link_lost", name),
            };
            display.event(&text, kind, json!({ "interface": interface }));
        }
    }
}

fn tell_latency(latency: Latency, display: &mut Display) {
    let (text, why) = match latency.reason {
        Reason::LatePackets => ("packets come later than before", "late_packets"),
        Reason::RanDry => ("the buffer ran dry", "ran_dry"),
        Reason::Calm => ("packets come in better time", "calm"),
    };
    let milliseconds = latency.nanos as f64 / 1e6;
    display.event(
        &format!("latency {milliseconds:.1} ms: {text}"),
        "latency",
        json!({ "latency_ms": milliseconds, "reason": why }),
    );
}

fn tell_sync(sync: Sync, display: &mut Display) {
    let milliseconds = |nanos: i64| nanos as f64 / 1e6;
    let (text, group_delay, state) = match sync {
        Sync::Alone => {
            ("alone: going by the arrivals, without the sender's time".into(), None, status::ALONE)
        }
        Sync::Together { group_delay } => {
            let text =
                format!("in sync: the group plays {:.1} ms after the capture", milliseconds(group_delay));
            (text, Some(group_delay), status::IN_SYNC)
        }
        Sync::Late { group_delay } => {
            let text = format!(
                "late: this sound card needs longer than the group's {:.1} ms; these grow as far as the sender's --delay-max allows",
                milliseconds(group_delay)
            );
            (text, Some(group_delay), status::LATE)
        }
    };
    let details = json!({
        "state": state,
        "group_delay_ms": group_delay.map(milliseconds),
    });
    display.event(&text, "sync", details);
}

/// Whether everything that came has been handed on.
fn drained(receiver: &Receiver) -> bool {
    receiver.counters.depth.get() == 0
}
