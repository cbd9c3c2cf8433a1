//! The receiver: takes a stream of sound from the network and plays it to a sound card, a file or a pipe.
//!
//! # The machine
//!
//! ```text
//!  socket ──► receive thread ──samples──► playback callback, or writer thread
//!              │   ▲   ▲ ◄──────stamps, wake-up──────┘
//!              │   │   └──feeds (a ring and its output)── control thread
//!              │   └──────────────────────────────────────────┘
//!              └──events, retired feeds──► control thread
//! ```
//!
//! | thread | priority | does |
//! | --- | --- | --- |
//! | receive | real-time | jitter buffer, decoding, concealment, resampling, reports |
//! | playback | the audio system's; real-time for virtual cards | copies a block out of the ring |
//! | write | ordinary; files and pipes only | writes what is in the ring |
//! | control (the caller's) | ordinary | opens outputs, display; allocates and frees for the others |

#![forbid(unsafe_code)]

pub mod args;
pub mod plan;
pub mod run;

mod receive_loop;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use audio::counters::ReceiveCounters;
use audio::receive::{CHUNK, Config, Event, Output, Pace, ReceivePipeline};
use device::playback::{self, Drain, PlaybackCounters, Stream};
use os::udp::{Inbox, Socket};
use os::wait::Waker;
use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

pub use receive_loop::LoopCounters;
use receive_loop::{Feed, ReceiveLoop};

/// Frames between receive and playback: a device takes a few periods, a file may stall for two seconds.
fn sample_ring(has_clock: bool, rate: u32, period: u32) -> usize {
    if has_clock { (period as usize * 4).max(CHUNK * 8) } else { rate as usize * 2 }
}
/// Stamps of callbacks that the receive thread has not seen.
const STAMP_RING: usize = 256;
/// Outputs on their way.
const FEED_RING: usize = 2;
/// Events that the control thread has not seen.
const EVENT_RING: usize = 16;
/// Frames that the receive thread handles at a time.
const BLOCK: usize = 1024;

/// A receiver that runs. Dropping it stops the threads and completes the file.
pub struct Receiver {
    /// What the pipeline counts.
    pub counters: Arc<ReceiveCounters>,
    /// What the receive thread counts.
    pub thread_counters: Arc<LoopCounters>,
    feeds: HeapProd<Box<Feed>>,
    retired: HeapCons<Box<Feed>>,
    events: HeapCons<Event>,
    waker: Waker,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    output: Option<Playing>,
}

/// An output that plays.
struct Playing {
    counters: Arc<PlaybackCounters>,
    _stream: Stream,
}

impl Receiver {
    /// Starts the receive thread. It plays nothing until it has an output.
    ///
    /// # Errors
    /// One line: a thread or a wake-up was refused.
    pub fn start(socket: Socket, config: Config) -> Result<Self, String> {
        let (feeds_in, feeds) = HeapRb::new(FEED_RING).split();
        let (retired, retired_out) = HeapRb::new(FEED_RING).split();
        let (events, events_out) = HeapRb::new(EVENT_RING).split();
        let (waker, wakeup) = os::wait::pair().map_err(|error| format!("no wake-up: {error}"))?;
        let counters = Arc::new(ReceiveCounters::default());
        let thread_counters = Arc::new(LoopCounters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let receive = ReceiveLoop {
            pipeline: ReceivePipeline::new(config, counters.clone()),
            sockets: [socket],
            inbox: Inbox::default(),
            wakeup,
            feeds,
            retired,
            feed: None,
            events,
            counters: thread_counters.clone(),
            stop: stop.clone(),
            block: vec![0.0; BLOCK * 255],
        };
        let thread = std::thread::Builder::new().name("receive".into()).spawn(move || receive.run());
        let thread = Some(thread.map_err(|error| format!("no thread: {error}"))?);
        Ok(Self {
            counters,
            thread_counters,
            feeds: feeds_in,
            retired: retired_out,
            events: events_out,
            waker,
            stop,
            thread,
            output: None,
        })
    }

    /// Plays to another output from now on. Returns its description.
    ///
    /// # Errors
    /// What is wrong with the output; the one before is closed all the same.
    pub fn play_to(&mut self, request: &playback::Request, steered: bool) -> Result<String, device::Error> {
        let has_clock = request.sink.has_clock();
        // A device can often be opened once only.
        self.output = None;
        let opened = playback::open(request)?;
        let description = opened.description.clone();
        let channels = usize::from(request.channels);
        let ring = sample_ring(has_clock, request.rate, request.period) * channels;
        let (samples, samples_out) = HeapRb::new(ring).split();
        let (stamps_in, stamps) = HeapRb::new(STAMP_RING).split();
        let counters = Arc::new(PlaybackCounters::default());
        let drain =
            Drain::new(samples_out, stamps_in, counters.clone(), self.waker.clone(), request.channels);
        let output = if has_clock {
            Output::device(request.channels, request.rate, steered)
        } else {
            Output::stream_clocked(request.channels, request.rate)
        };
        let feed = Feed {
            output: Some(Box::new(output)),
            samples,
            stamps,
            channels,
            rate: request.rate,
            has_clock,
            pace: Pace::new(request.rate),
        };
        let stream = opened.start(drain)?;
        self.output = Some(Playing { counters, _stream: stream });
        let mut feed = Box::new(feed);
        while let Err(refused) = self.feeds.try_push(feed) {
            feed = refused;
            self.collect();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.waker.wake();
        Ok(description)
    }

    /// What the playback counts, once there is one.
    pub fn playback(&self) -> Option<&PlaybackCounters> {
        self.output.as_ref().map(|playing| &*playing.counters)
    }

    /// The next thing the receive thread has to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.collect();
        self.events.try_pop()
    }

    fn collect(&mut self) {
        self.retired.pop_iter().for_each(drop);
    }

    /// Stops the threads; what is in the ring of a file is written first.
    pub fn finish(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
        self.output = None;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.finish();
    }
}
