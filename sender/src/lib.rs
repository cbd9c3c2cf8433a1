//! The sender: captures many channels once and streams to each client the channels that it is to play.
//!
//! # The machine
//!
//! ```text
//!  capture callback ──samples, stamps──► send thread ──► sockets
//!        │                                 ▲ ▲  │
//!        └──────────wake-up────────────────┘ │  │
//!  control thread ──routings, feeds (rings)──┘  │
//!        ▲ ▲────────retired routings and feeds──┘
//!        └──news, feeds── device thread
//! ```
//!
//! | thread | priority | does |
//! | --- | --- | --- |
//! | capture | the audio system's; real-time for files and test signals | copies a block into the rings |
//! | send | real-time | map, encode, send, read reports |
//! | device | ordinary | opens, watches and closes the source; opens a sound card again that went away |
//! | control (the caller's) | ordinary | lists, files, display; allocates and frees for the others |
//!
//! `sender align` hears what is captured itself: the send thread puts a copy into a [`tap`].

#![forbid(unsafe_code)]

pub mod args;
pub mod book;
pub mod course;
pub mod groups;
pub mod network;
pub mod packets;
pub mod plan;
pub mod run;
pub mod tap;
pub mod tools;

mod align;
mod sap;
mod sdp;
mod send_loop;
mod status;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use audio::secure::Secret;
use audio::send::{Routing, SendPipeline};
use device::capture::{self, Capture, CaptureCounters, Feeder};
use device::keeper::{Keeper, News, Open, Presence, Started};
use os::udp::{Inbox, Socket};
use os::wait::{Waker, Wakeup};
use proto::srtp::FileKey;
use proto::units::RtpTime;
use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use course::Course;
use network::Network;
pub use send_loop::SendCounters;
use send_loop::{Feed, Post, SendLoop};
use tap::Tap;

/// Samples between capture and send thread: half a second, so that a stall of the machine loses nothing.
fn sample_ring(rate: u32, channels: u16) -> usize {
    rate as usize / 2 * usize::from(channels)
}
/// Stamps for as many blocks, at the smallest period.
const STAMP_RING: usize = 4096;
/// Rings on their way.
const FEED_RING: usize = 2;
/// Routings on their way: more than a person can make between two blocks.
const ROUTING_RING: usize = 4;
/// Frames the send thread takes at a time.
const BLOCK: usize = 1024;

/// A sender that runs. Dropping it stops the threads.
pub struct Sender {
    /// What the capture counts.
    pub capture: Arc<CaptureCounters>,
    /// What the send thread counts.
    pub counters: Arc<SendCounters>,
    /// Octets of the smallest of its sockets' buffers, where the system gave less than is good.
    pub short_buffer: Option<usize>,
    routings: HeapProd<Box<Routing>>,
    retired: HeapCons<Box<Routing>>,
    feeds: HeapProd<Box<Feed>>,
    retired_feeds: HeapCons<Box<Feed>>,
    /// Wakes the send thread.
    waker: Waker,
    /// News wake the control thread.
    wakeup: Wakeup,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    keeper: Keeper<Box<Feed>>,
    presence: Presence,
}

impl Sender {
    /// Starts every thread, with the first routing in force before the first block.
    ///
    /// # Errors
    /// One line: a socket, a thread or the device was refused.
    pub fn start(
        capture: Capture,
        routing: Box<Routing>,
        network: &Network,
        party: Party,
    ) -> Result<Self, String> {
        Self::start_tapped(capture, routing, network, party, None)
    }

    /// The same, and copies what is captured into `tap`.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_tapped(
        capture: Capture,
        routing: Box<Routing>,
        network: &Network,
        party: Party,
        tap: Option<Tap>,
    ) -> Result<Self, String> {
        let (rate, channels) = (capture.rate, capture.channels);
        let (feeds_in, feeds) = HeapRb::new(FEED_RING).split();
        let (retired_feeds, retired_feeds_out) = HeapRb::new(FEED_RING).split();
        let (mut routings_in, routings) = HeapRb::new(ROUTING_RING).split();
        let (retired, retired_out) = HeapRb::new(ROUTING_RING).split();
        let pair = || os::wait::pair().map_err(|error| format!("no wake-up: {error}"));
        let ((waker, wakeup), (control, told)) = (pair()?, pair()?);
        let capture_counters = Arc::new(CaptureCounters::default());
        let counters = Arc::new(SendCounters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let sockets = network.sockets()?;
        let short_buffer = sockets.iter().filter_map(Socket::short_buffer).min();
        // The ring is empty, so there is room.
        let _ = routings_in.try_push(routing);
        let origin = RtpTime(os::random::bits() as u32);
        let pipeline = SendPipeline::new(rate, channels, origin, party.cname);
        let send = SendLoop {
            pipeline: match party.secret {
                Some(secret) => pipeline.secured(secret),
                None => pipeline,
            },
            feeds,
            retired_feeds,
            feed: None,
            tap,
            course: Course::new(rate),
            routings,
            retired,
            post: Post::new(&sockets),
            sockets,
            wakeup,
            capture: capture_counters.clone(),
            counters: counters.clone(),
            stop: stop.clone(),
            channels: usize::from(channels),
            rate,
            inbox: Inbox::default(),
            block: vec![0.0; BLOCK * usize::from(channels)],
        };
        let mut keeper = Keeper::start(control).map_err(|error| error.to_string())?;
        let thread = std::thread::Builder::new().name("send".into()).spawn(move || send.run());
        let thread = Some(thread.map_err(|error| format!("no thread: {error}"))?);
        let device = capture.request().source.is_device();
        keeper.order(opener(capture, capture_counters.clone(), waker.clone()), device);
        let mut sender = Self {
            capture: capture_counters,
            counters,
            short_buffer,
            routings: routings_in,
            retired: retired_out,
            feeds: feeds_in,
            retired_feeds: retired_feeds_out,
            waker,
            wakeup: told,
            stop,
            thread,
            keeper,
            presence: Presence::default(),
        };
        match sender.keeper.wait() {
            Some(News::Refused(error)) => Err(format!("--capture: {error}")),
            Some(news) => {
                sender.take(news);
                Ok(sender)
            }
            None => Err("the device thread has ended".into()),
        }
    }

    /// Waits until there is news of the sound card, a signal comes, or `longest` has passed.
    pub fn wait(&self, longest: Duration) {
        self.wakeup.wait(&[], longest);
    }

    /// What became of a sound card, if there is news. Rings are handed on here: to be called often.
    pub fn poll_capture(&mut self) -> Option<News<()>> {
        let news = self.keeper.poll()?;
        Some(self.take(news))
    }

    fn take(&mut self, news: News<Box<Feed>>) -> News<()> {
        let (news, feed) = news.split();
        if let Some(feed) = feed {
            self.hand_on(feed);
        }
        self.presence.note(&news);
        news
    }

    fn hand_on(&mut self, mut feed: Box<Feed>) {
        self.collect();
        while let Err(refused) = self.feeds.try_push(feed) {
            if self.ended() {
                return;
            }
            feed = refused;
            self.collect();
            std::thread::sleep(Duration::from_millis(1));
        }
        self.waker.wake();
    }

    /// Times that the sound card's stream was built anew.
    pub fn rebuilt(&self) -> u64 {
        self.presence.rebuilt
    }

    /// The sound card is gone.
    pub fn lost(&self) -> bool {
        self.presence.lost
    }

    /// Hands a new routing over. `Err` gives it back while earlier ones are still on their way.
    ///
    /// # Errors
    /// The routing, to be tried again.
    pub fn route(&mut self, routing: Box<Routing>) -> Result<(), Box<Routing>> {
        self.collect();
        self.routings.try_push(routing)
    }

    /// Frees what the send thread has given back.
    pub fn collect(&mut self) {
        self.retired.pop_iter().for_each(drop);
        self.retired_feeds.pop_iter().for_each(drop);
    }

    /// Whether the send thread has ended by itself: the source came to its end or failed.
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Has the send thread say goodbye to every client, and waits for it.
    pub fn finish(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Opens what was found, and later the same again, each time with rings of its own.
fn opener(capture: Capture, counters: Arc<CaptureCounters>, waker: Waker) -> Open<Box<Feed>> {
    let request = capture.request().clone();
    let mut found = Some(capture);
    Box::new(move || {
        let capture = found.take().map_or_else(|| capture::reopen(&request), Ok)?;
        let (rate, channels) = (capture.rate, capture.channels);
        let (samples_in, samples) = HeapRb::new(sample_ring(rate, channels)).split();
        let (stamps_in, stamps) = HeapRb::new(STAMP_RING).split();
        let feeder = Feeder::new(samples_in, stamps_in, counters.clone(), waker.clone(), channels, rate);
        let description = capture.description.clone();
        let feed = Box::new(Feed { samples, stamps });
        Ok(Started { stream: capture.start(feeder)?, feed, description })
    })
}

/// Who a sender is on the network, in this run of the program.
#[derive(Clone, Debug)]
pub struct Party {
    /// A canonical name that differs from sender to sender (RFC 7022, 4.2).
    pub cname: String,
    /// With a key, everything is encrypted.
    pub secret: Option<Secret>,
}

impl Party {
    /// A new one, with the installation's key or without.
    ///
    /// # Errors
    /// One line: the system has no random numbers.
    pub fn new(key: Option<FileKey>) -> Result<Self, String> {
        let secret = key.map(control::key::secret).transpose()?;
        Ok(Self { cname: format!("{:016x}@sender", os::random::bits()), secret })
    }

    /// The line of SDP that gives strangers the key; `None` where nothing is encrypted.
    ///
    /// # Errors
    /// Those of [`control::key::crypto_line`].
    pub fn crypto(&self) -> Result<Option<String>, String> {
        let line = |(secret, stream): (&Secret, String)| control::key::crypto_line(&secret.key, &stream);
        self.secret.as_ref().zip(self.stream()).map(line).transpose()
    }

    /// What strangers' keys are made from; `None` where nothing is encrypted.
    pub fn stream(&self) -> Option<String> {
        self.secret.as_ref().map(|secret| control::key::stream_name(secret.id, &self.cname))
    }
}
