//! The receive thread: hands datagrams to the pipeline, keeps the playback ring filled, sends reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audio::counters::Counter;
use audio::receive::{CHUNK, Event, Output, Pace, PlaybackStamp, ReceivePipeline};
use os::clock;
use os::udp::{Inbox, Socket};
use os::wait::{Waker, Wakeup};
use proto::units::{self, Mono};
use ringbuf::traits::{Consumer, Observer, Producer};
use ringbuf::{HeapCons, HeapProd};

use crate::mouths::Mouths;

/// Longest wait for a datagram.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// The share of the latency for which packets may lie in the socket, and the least such time that is worth it, in nanoseconds. The
/// system keeps their arrival times, so that the thread need not wake for each of them beside each callback.
const NAP_SHARE: i64 = 5;
const LEAST_NAP: i64 = 8_000_000;
/// Twice as long where the device needs nothing and nothing is missing, up to this, in nanoseconds.
const LONGEST_NAP: i64 = 40_000_000;
/// Datagrams that may come in that time and still lie in the socket meanwhile, whatever room the system gives it: several times a
/// large stream. More of them are a flood, in which the stream's own would find no room.
const CROWD: u32 = 200;
/// What a latency that was raised gets on top of what the device needs, in nanoseconds.
const SPARE: i64 = 500_000;

/// What the thread tells beside the pipeline's own counters.
#[derive(Debug, Default)]
pub struct LoopCounters {
    /// The thread got real-time priority.
    pub realtime: AtomicBool,
    /// The thread runs.
    pub running: AtomicBool,
    /// Frames that the playback ring had no room for.
    pub dropped: Counter,
    /// Latency in force, in microseconds.
    pub latency_us: Counter,
    /// Latency that the device needs, in microseconds, where more than was asked for; else 0.
    pub raised_to_us: Counter,
}

/// An output with its ring. Built and freed by the control thread.
pub(crate) struct Feed {
    /// The pipeline's part, until it is handed over.
    pub(crate) output: Option<Box<Output>>,
    pub(crate) samples: HeapProd<f32>,
    pub(crate) stamps: HeapCons<PlaybackStamp>,
    pub(crate) channels: usize,
    pub(crate) rate: u32,
    pub(crate) has_clock: bool,
    pub(crate) pace: Pace,
}

/// How the thread rests without looking at its sockets.
enum Nap {
    /// Not at all.
    None,
    /// Until the device calls back, or so long.
    UntilCalled(Duration),
    /// So long: the device needs nothing meanwhile.
    Sound(Duration),
}

/// How much comes.
#[derive(Debug)]
pub(crate) struct Crowd {
    since: Mono,
    count: u32,
    is_flood: bool,
}

impl Crowd {
    pub(crate) fn new() -> Self {
        Self { since: Mono(i64::MIN), count: 0, is_flood: false }
    }

    fn note(&mut self, now: Mono, count: u32) {
        self.count += count;
        if now.since(self.since) >= LONGEST_NAP {
            *self = Self { since: now, count: 0, is_flood: self.count > CROWD };
        }
    }
}

/// Everything the thread owns.
pub(crate) struct ReceiveLoop {
    pub(crate) pipeline: ReceivePipeline,
    /// The latency that was asked for, in nanoseconds.
    pub(crate) latency: i64,
    /// For media, and for reports where those have one of their own.
    pub(crate) sockets: Vec<Socket>,
    pub(crate) mouths: Mouths,
    pub(crate) inbox: Inbox,
    pub(crate) crowd: Crowd,
    pub(crate) wakeup: Wakeup,
    pub(crate) feeds: HeapCons<Box<Feed>>,
    pub(crate) retired: HeapProd<Box<Feed>>,
    pub(crate) feed: Option<Box<Feed>>,
    pub(crate) events: HeapProd<Event>,
    /// Wakes who reads the events.
    pub(crate) control: Waker,
    pub(crate) counters: Arc<LoopCounters>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) block: Vec<f32>,
}

impl ReceiveLoop {
    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        self.counters.realtime.store(os::realtime::promote(), Ordering::Release);
        self.counters.running.store(true, Ordering::Release);
        let mut readable = false;
        while !self.stop.load(Ordering::Acquire) {
            {
                let _section = os::realtime::section();
                self.step(readable);
            }
            readable = self.rest();
        }
        if let Some(goodbye) = self.pipeline.goodbye() {
            self.mouths.send(&self.sockets, &goodbye);
        }
    }

    /// Waits until there is something to do. Whether a socket may have a datagram.
    fn rest(&self) -> bool {
        let now = clock::now();
        match self.nap(now) {
            Nap::None => {
                let due = self.pipeline.poll_timeout().map_or(LONGEST_WAIT, |due| due.left_from(now));
                return self.wakeup.wait(&self.sockets, due.min(LONGEST_WAIT));
            }
            Nap::UntilCalled(longest) => {
                self.wakeup.wait(&[], longest);
            }
            Nap::Sound(time) => self.wakeup.sleep(time),
        }
        // Nobody looked.
        true
    }

    /// How long to leave the socket alone, where a device plays that calls back and the latency leaves time for it.
    fn nap(&self, now: Mono) -> Nap {
        let latency = self.pipeline.latency();
        let share = (latency / NAP_SHARE).min(LONGEST_NAP / 2);
        let idle = share >= LEAST_NAP && !self.pipeline.waits() && !self.crowd.is_flood;
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.has_clock && idle) else { return Nap::None };
        let time = |nanos: i64| Duration::from_nanos(nanos as u64);
        let level = feed.samples.occupied_len() / feed.channels;
        let soon = feed.pace.next_chunk(level, latency).and_then(|due| due.soon);
        let until = feed.pace.leisure(level, now).map(|until| soon.map_or(until, |soon| soon.min(until)));
        match until.map(|until| until.since(now).min(2 * share)) {
            Some(leisure) if leisure > share && !self.pipeline.is_asking() => Nap::Sound(time(leisure)),
            _ => Nap::UntilCalled(time(share)),
        }
    }

    /// `readable` where a socket may have a datagram: to ask one that has none is a system call for each callback.
    fn step(&mut self, readable: bool) {
        self.take_feed();
        let mut count = 0;
        if readable {
            count = self.mouths.hear(&self.sockets, &mut self.inbox, &mut self.pipeline);
        }
        let now = clock::now();
        self.crowd.note(now, count);
        self.pipeline.handle_timeout(now);
        match &mut self.feed {
            Some(feed) if feed.has_clock => {
                feed_device(&mut self.pipeline, feed, &mut self.block, now, &self.counters);
            }
            Some(feed) => feed_stream(&mut self.pipeline, feed, &mut self.block),
            None => {}
        }
        self.tell();
        // Questions about the sender's clock say when they were written: each gets the time anew.
        while let Some(transmit) = self.pipeline.poll_transmit(clock::now()) {
            self.mouths.send(&self.sockets, &transmit);
        }
    }

    fn take_feed(&mut self) {
        if self.retired.is_full() {
            return;
        }
        let Some(mut feed) = self.feeds.try_pop() else { return };
        // What the device before needed is over.
        self.pipeline.set_latency(self.latency);
        self.counters.raised_to_us.set(0);
        if let Some(output) = feed.output.take() {
            let former = self.pipeline.replace_output(output);
            if let Some(mut old) = self.feed.replace(feed) {
                old.output = former;
                // There was room.
                let _ = self.retired.try_push(old);
            }
        }
    }

    fn tell(&mut self) {
        self.counters.latency_us.set(self.pipeline.latency_us());
        while !self.events.is_full() {
            let Some(event) = self.pipeline.poll_event() else { break };
            let _ = self.events.try_push(event);
            self.control.wake();
        }
    }
}

/// Hands on everything that is due.
fn feed_stream(pipeline: &mut ReceivePipeline, feed: &mut Feed, block: &mut [f32]) {
    loop {
        let room = (feed.samples.vacant_len() / feed.channels).min(block.len() / feed.channels);
        let frames = pipeline.pull_stream(&mut block[..room * feed.channels]);
        if frames == 0 {
            return;
        }
        feed.samples.push_slice(&block[..frames * feed.channels]);
    }
}

/// Keeps as much in the ring as the next callback will take, and a little more.
fn feed_device(
    pipeline: &mut ReceivePipeline,
    feed: &mut Feed,
    block: &mut [f32],
    now: Mono,
    counters: &LoopCounters,
) {
    while let Some(stamp) = feed.stamps.try_pop() {
        if feed.pace.note(stamp, now) {
            pipeline.realign();
        }
    }
    let chunk = &mut block[..CHUNK * feed.channels];
    while feed.samples.vacant_len() >= chunk.len() {
        let level = feed.samples.occupied_len() / feed.channels;
        let Some(due) = feed.pace.next_chunk(level, pipeline.latency()) else { return };
        let needed = due.at.since(due.latest(now)) + units::frames_to_nanos(CHUNK as i64, feed.rate);
        if needed > pipeline.latency() && !pipeline.adapts() {
            pipeline.set_latency(needed + SPARE);
            counters.raised_to_us.set(((needed + SPARE) / 1000) as u64);
        }
        if !pipeline.pull_device(now, due, chunk) {
            return;
        }
        feed.samples.push_slice(chunk);
        feed.pace.pushed(CHUNK);
    }
}
