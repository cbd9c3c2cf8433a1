//! The send thread: takes captured blocks, has them made into packets, hands those to the sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audio::counters::Counter;
use audio::send::{Recipients, Routing, SendPipeline};
use device::capture::{CaptureCounters, CaptureStamp};
use os::clock;
use os::udp::{Inbox, Outbox, Socket};
use os::wait::Wakeup;
use proto::units::frames_to_nanos;
use ringbuf::traits::{Consumer, Observer, Producer};
use ringbuf::{HeapCons, HeapProd};

use crate::course::Course;
use crate::tap::Tap;

/// Longest sleep: how soon the thread sees a new routing or a request to stop while no sound comes.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// What the send thread counts.
#[derive(Debug, Default)]
pub struct SendCounters {
    /// Datagrams handed to the sockets.
    pub datagrams: Counter,
    /// System calls that took them.
    pub calls: Counter,
    /// Datagrams that the sockets would not take.
    pub unsent: Counter,
    /// Frames turned into packets.
    pub frames: Counter,
    /// Blocks turned into packets, and those of them whose packets were handed to the sockets more than the block's own length
    /// after it was captured.
    pub blocks: Counter,
    /// See [`blocks`](Self::blocks).
    pub late_blocks: Counter,
    /// The thread got real-time priority.
    pub realtime: AtomicBool,
}

/// The rings that a capture's stream fills. Built and freed by the control thread and the device thread.
pub(crate) struct Feed {
    pub(crate) samples: HeapCons<f32>,
    pub(crate) stamps: HeapCons<CaptureStamp>,
}

/// Everything the thread owns.
pub(crate) struct SendLoop {
    pub(crate) pipeline: SendPipeline,
    pub(crate) feeds: HeapCons<Box<Feed>>,
    pub(crate) retired_feeds: HeapProd<Box<Feed>>,
    pub(crate) feed: Option<Box<Feed>>,
    pub(crate) tap: Option<Tap>,
    pub(crate) course: Course,
    pub(crate) routings: HeapCons<Box<Routing>>,
    pub(crate) retired: HeapProd<Box<Routing>>,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) wakeup: Wakeup,
    pub(crate) capture: Arc<CaptureCounters>,
    pub(crate) counters: Arc<SendCounters>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) channels: usize,
    pub(crate) rate: u32,
    pub(crate) post: Post,
    pub(crate) inbox: Inbox,
    pub(crate) block: Vec<f32>,
}

/// Datagrams on their way out, by the sockets that they leave by.
pub(crate) struct Post {
    ways: Vec<Way>,
    refused: Vec<SocketAddr>,
}

/// What leaves by one socket.
struct Way {
    outbox: Outbox,
    part: Part,
}

/// What a socket is for.
#[derive(Clone, Copy)]
struct Part {
    v6: bool,
    /// Of several sockets of a family, one for each interface, only the first sends to single addresses.
    first: bool,
}

impl Part {
    fn takes(self, address: SocketAddr) -> bool {
        address.is_ipv6() == self.v6 && (self.first || address.ip().is_multicast())
    }
}

impl Post {
    pub(crate) fn new(sockets: &[Socket]) -> Self {
        let mut ways: Vec<Way> = Vec::new();
        for socket in sockets {
            let v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
            let first = ways.iter().all(|way| way.part.v6 != v6);
            ways.push(Way { outbox: Outbox::default(), part: Part { v6, first } });
        }
        Self { ways, refused: Vec::with_capacity(64) }
    }

    fn push(&mut self, sockets: &[Socket], bytes: &[u8], to: Recipients<'_>) -> u64 {
        let mut count = 0;
        for address in to.addresses().filter(|address| !self.ways.iter().any(|way| way.part.takes(*address)))
        {
            note(&mut self.refused, address);
        }
        for (socket, way) in sockets.iter().zip(&mut self.ways) {
            let refused = &mut self.refused;
            let refuse = |address| note(refused, address);
            let part = way.part;
            let fitting = to.addresses().filter(|address| part.takes(*address));
            way.outbox.push(socket, bytes, fitting.inspect(|_| count += 1), refuse);
        }
        count
    }

    fn flush(&mut self, sockets: &[Socket]) {
        for (socket, way) in sockets.iter().zip(&mut self.ways) {
            way.outbox.flush(socket, |address| note(&mut self.refused, address));
        }
    }
}

/// Remembers a refusal, within the room there is.
fn note(refused: &mut Vec<SocketAddr>, address: SocketAddr) {
    if refused.len() < refused.capacity() {
        refused.push(address);
    }
}

impl SendLoop {
    /// Runs until told to stop or until the source has ended and everything is sent.
    pub(crate) fn run(mut self) {
        self.counters.realtime.store(os::realtime::promote(), Ordering::Release);
        let mut readable = false;
        loop {
            let ended = {
                let _section = os::realtime::section();
                self.step(readable)
            };
            if ended {
                return;
            }
            let wait = self.pipeline.poll_timeout().left_from(clock::now()).min(LONGEST_WAIT);
            readable = self.wakeup.wait(&self.sockets, wait);
        }
    }

    fn step(&mut self, readable: bool) -> bool {
        // Seen before the rings are emptied: what was captured before the end is sent. A short file may be at its end
        // before its rings are here.
        let over =
            self.capture.finished.load(Ordering::Acquire) || self.capture.failed.load(Ordering::Acquire);
        let ending = self.stop.load(Ordering::Acquire) || (over && self.feed.is_some());
        self.take_routing();
        if readable {
            self.receive();
        }
        let now = clock::now();
        self.pipeline.set_wall_clock(now, clock::unix_nanos());
        self.pipeline.handle_timeout(now);
        if readable {
            // Answers say that they leave now.
            self.transmit();
            self.post.flush(&self.sockets);
        }
        self.take_blocks();
        self.take_feed();
        if ending {
            self.pipeline.finish();
        }
        self.transmit();
        self.post.flush(&self.sockets);
        self.count_refused();
        ending
    }

    fn take_routing(&mut self) {
        // Without room for the old one the new one waits.
        while !self.retired.is_full() {
            let Some(routing) = self.routings.try_pop() else { return };
            let old = self.pipeline.replace(routing);
            self.transmit();
            // There was room.
            let _ = self.retired.try_push(old);
        }
    }

    /// Nothing more comes from the rings at hand once there are others: they are empty by now.
    fn take_feed(&mut self) {
        if self.retired_feeds.is_full() {
            return;
        }
        let Some(feed) = self.feeds.try_pop() else { return };
        if let Some(old) = self.feed.replace(feed) {
            self.course.renew();
            // There was room.
            let _ = self.retired_feeds.try_push(old);
        }
        self.take_blocks();
    }

    fn receive(&mut self) {
        let pipeline = &mut self.pipeline;
        for socket in &self.sockets {
            self.inbox.receive(socket, |at, from, datagram| pipeline.handle_datagram(at, from, datagram));
        }
    }

    fn take_blocks(&mut self) {
        // Taken out for the call, so that the rest may be borrowed.
        let Some(mut feed) = self.feed.take() else { return };
        while let Some(stamp) = feed.stamps.try_pop() {
            let stamp = self.course.place(stamp);
            self.pipeline.set_capture_clock(self.course.slow());
            if stamp.position != self.pipeline.position() {
                self.pipeline.flush();
                self.transmit();
            }
            self.take_block(&mut feed.samples, stamp);
        }
        self.feed = Some(feed);
    }

    fn take_block(&mut self, samples: &mut HeapCons<f32>, stamp: CaptureStamp) {
        let mut done = 0;
        while done < stamp.frames {
            let frames = (self.block.len() / self.channels).min(self.pipeline.max_block());
            let frames = frames.min((stamp.frames - done) as usize);
            let block = &mut self.block[..frames * self.channels];
            samples.pop_slice(block);
            if let Some(tap) = &mut self.tap {
                tap.put(stamp.position.advanced(u64::from(done)), block);
            }
            let at = stamp.at.plus(frames_to_nanos(i64::from(done), self.rate));
            self.pipeline.handle_block(stamp.position.advanced(u64::from(done)), at, block);
            self.transmit();
            done += frames as u32;
        }
        self.counters.frames.add(u64::from(stamp.frames));
        self.counters.blocks.add(1);
        let length = frames_to_nanos(i64::from(stamp.frames), self.rate);
        self.counters.late_blocks.add(u64::from(clock::now().since(stamp.at) > 2 * length));
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.pipeline.poll_transmit() {
            let count = self.post.push(&self.sockets, transmit.bytes, transmit.to);
            self.counters.datagrams.add(count);
        }
    }

    fn count_refused(&mut self) {
        self.counters.calls.set(self.post.ways.iter().map(|way| way.outbox.calls()).sum());
        for address in self.post.refused.drain(..) {
            self.counters.unsent.add(1);
            self.pipeline.note_unsent(address);
        }
    }
}
