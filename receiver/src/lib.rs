//! The receiver: takes a stream of sound from the network and plays it to a sound card, a file or a pipe.
//!
//! # The machine
//!
//! ```text
//!  socket ──► receive thread ──samples──► playback callback, or writer thread
//!              │   ▲   ▲ ◄──────stamps, wake-up──────┘
//!              │   │   └──feeds (a ring and its output)── control thread
//!              │   └──────────────────────────────────────────┘
//!              └──events, retired feeds──► control thread ──orders──► device thread
//!                                              ▲──────news, feeds──────────┘
//! ```
//!
//! | thread | priority | does |
//! | --- | --- | --- |
//! | receive | real-time | jitter buffer, decoding, concealment, resampling, reports |
//! | playback | the audio system's; real-time for virtual cards | copies a block out of the ring |
//! | write | ordinary; files and pipes only | writes what is in the ring |
//! | device | ordinary | opens, watches and closes outputs; opens a sound card again that went away |
//! | control (the caller's) | ordinary | decides on outputs, display; hands feeds on and frees them |

#![forbid(unsafe_code)]

pub mod args;
pub mod listen;
pub mod mouths;
pub mod plan;
pub mod run;

mod receive_loop;
mod sap;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use audio::counters::ReceiveCounters;
use audio::map::ChannelMap;
use audio::receive::{Config, Event, Incoming, Output, Pace, ReceivePipeline};
use device::keeper::{Keeper, News, Open, Presence, Started};
use device::playback::{self, Drain, PlaybackCounters};
use os::udp::{Inbox, Socket};
use os::wait::{Waker, Wakeup};
use proto::announce::Codec;
use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use mouths::Mouths;
pub use receive_loop::LoopCounters;
use receive_loop::{Crowd, Feed, ReceiveLoop};

/// Frames between receive and playback: a device takes a few periods or 40 ms at once, a file may stall for two seconds.
fn sample_ring(has_clock: bool, rate: u32, period: u32) -> usize {
    if has_clock { (period as usize * 4).max(rate as usize / 20) } else { rate as usize * 2 }
}
/// Stamps of callbacks that the receive thread has not seen.
const STAMP_RING: usize = 256;
/// Outputs on their way.
const FEED_RING: usize = 2;
/// Events that the control thread has not seen.
const EVENT_RING: usize = 16;
/// Frames that the receive thread handles at a time.
const BLOCK: usize = 1024;

/// How an output plays a stream.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// A device is kept on the stream's time by resampling.
    pub steered: bool,
    /// What is played of the stream's channels; `None` for all of them.
    pub map: Option<ChannelMap>,
}

/// A receiver that runs. Dropping it stops the threads and completes the file.
pub struct Receiver {
    /// What the pipeline counts.
    pub counters: Arc<ReceiveCounters>,
    /// What the receive thread counts.
    pub thread_counters: Arc<LoopCounters>,
    feeds: HeapProd<Box<Feed>>,
    retired: HeapCons<Box<Feed>>,
    events: HeapCons<Event>,
    /// Wakes the receive thread.
    waker: Waker,
    /// Events and news wake the control thread.
    wakeup: Wakeup,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// `None` once finished.
    keeper: Option<Keeper<Box<Feed>>>,
    playback: Option<Arc<PlaybackCounters>>,
    presence: Presence,
}

impl Receiver {
    /// Starts the receive thread. It plays nothing until it has an output. The first `media` sockets are for media; others are for
    /// reports alone, where those have a port of their own or the first ones are groups', and are spoken with then.
    ///
    /// # Errors
    /// One line: a thread or a wake-up was refused.
    pub fn start(sockets: Vec<Socket>, media: usize, config: Config) -> Result<Self, String> {
        let (feeds_in, feeds) = HeapRb::new(FEED_RING).split();
        let (retired, retired_out) = HeapRb::new(FEED_RING).split();
        let (events, events_out) = HeapRb::new(EVENT_RING).split();
        let pair = || os::wait::pair().map_err(|error| format!("no wake-up: {error}"));
        let ((waker, wakeup), (control, told)) = (pair()?, pair()?);
        let counters = Arc::new(ReceiveCounters::default());
        let thread_counters = Arc::new(LoopCounters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let receive = ReceiveLoop {
            latency: config.latency,
            pipeline: ReceivePipeline::new(config, counters.clone()),
            mouths: Mouths::new(&sockets, media),
            sockets,
            inbox: Inbox::default(),
            crowd: Crowd::new(),
            wakeup,
            feeds,
            retired,
            feed: None,
            events,
            control: control.clone(),
            counters: thread_counters.clone(),
            stop: stop.clone(),
            block: vec![0.0; BLOCK * 255],
        };
        let keeper = Some(Keeper::start(control).map_err(|error| error.to_string())?);
        let thread = std::thread::Builder::new().name("receive".into()).spawn(move || receive.run());
        let thread = Some(thread.map_err(|error| format!("no thread: {error}"))?);
        Ok(Self {
            counters,
            thread_counters,
            feeds: feeds_in,
            retired: retired_out,
            events: events_out,
            waker,
            wakeup: told,
            stop,
            thread,
            keeper,
            playback: None,
            presence: Presence::default(),
        })
    }

    /// Has another output opened, to be played to from then on; the one before is closed at once. What becomes of it is
    /// told by [`poll_output`](Self::poll_output). `incoming` is the stream that it is for, where that is known; a device
    /// that does not take its rate is opened at another, and the stream is resampled.
    pub fn order(&mut self, request: &playback::Request, incoming: Option<Incoming>, played: &Played) {
        let counters = Arc::new(PlaybackCounters::default());
        self.playback = Some(counters.clone());
        let (request, played, waker) = (request.clone(), played.clone(), self.waker.clone());
        // Until a stream says otherwise, it will have the rate that is asked for.
        let incoming = incoming.unwrap_or(Incoming { rate: request.rate, channels: 1, codec: Codec::L16 });
        let device = request.sink.is_device();
        let mut again = false;
        let open: Open<Box<Feed>> = Box::new(move || {
            let open = if std::mem::replace(&mut again, true) { playback::reopen } else { playback::open };
            let (taken, opened) = open_at_any_rate(&request, open)?;
            let mut description = opened.description.clone();
            if taken.rate != request.rate {
                description += &format!(", resampled to {} Hz", taken.rate);
            }
            let request = taken;
            let (drain, feed) = connect(&request, incoming, &played, counters.clone(), waker.clone())?;
            Ok(Started { stream: opened.start(drain)?, feed: Box::new(feed), description })
        });
        if let Some(keeper) = &mut self.keeper {
            keeper.order(open, device);
        }
    }

    /// Plays to another output from now on, and waits until it does. Returns its description.
    ///
    /// # Errors
    /// What is wrong with the output; the one before is closed all the same.
    pub fn play_to(
        &mut self,
        request: &playback::Request,
        incoming: Option<Incoming>,
        played: &Played,
    ) -> Result<String, device::Error> {
        self.order(request, incoming, played);
        loop {
            let news = self.keeper.as_ref().and_then(Keeper::wait);
            let news = news.ok_or_else(|| std::io::Error::other("the device thread has ended"))?;
            match self.take(news) {
                News::Opened { description, .. } => return Ok(description),
                News::Refused(error) => return Err(error),
                News::Lost(_) | News::Back => {}
            }
        }
    }

    /// What became of an output, if there is news. Feeds are handed on here: to be called often.
    pub fn poll_output(&mut self) -> Option<News<()>> {
        let news = self.keeper.as_ref()?.poll()?;
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
            feed = refused;
            self.collect();
            std::thread::sleep(Duration::from_millis(1));
        }
        self.waker.wake();
    }

    /// What the playback counts, once there is one.
    pub fn playback(&self) -> Option<&PlaybackCounters> {
        self.playback.as_deref()
    }

    /// Times that a sound card's stream was built anew.
    pub fn rebuilt(&self) -> u64 {
        self.presence.rebuilt
    }

    /// The sound card is gone.
    pub fn lost(&self) -> bool {
        self.presence.lost
    }

    /// Waits until there is an event or news of an output, a signal comes, or `longest` has passed.
    pub fn wait(&self, longest: Duration) {
        self.wakeup.wait(&[], longest);
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
        self.keeper = None;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.finish();
    }
}

type Opener = fn(&playback::Request) -> Result<playback::Playback, device::Error>;

/// Opens at the rate that was asked for, or, where a device does not take it, at the first usual one that it does.
fn open_at_any_rate(
    request: &playback::Request,
    open: Opener,
) -> Result<(playback::Request, playback::Playback), device::Error> {
    let refusal = match open(request) {
        Ok(opened) => return Ok((request.clone(), opened)),
        Err(error @ device::Error::UnsupportedFormat { .. }) if request.sink.is_device() => error,
        Err(error) => return Err(error),
    };
    let others = [48_000, 44_100, 96_000, 88_200, 192_000].into_iter().filter(|rate| *rate != request.rate);
    let mut others = others.map(|rate| playback::Request { rate, ..request.clone() });
    let taken = others.find_map(|other| open(&other).ok().map(|opened| (other, opened)));
    taken.ok_or(refusal)
}

/// The rings of an output: the device's end and the receive thread's.
fn connect(
    request: &playback::Request,
    incoming: Incoming,
    played: &Played,
    counters: Arc<PlaybackCounters>,
    waker: Waker,
) -> Result<(Drain, Feed), device::Error> {
    let has_clock = request.sink.has_clock();
    let channels = usize::from(request.channels);
    let ring = sample_ring(has_clock, request.rate, request.period) * channels;
    let (samples, samples_out) = HeapRb::new(ring).split();
    let (stamps_in, stamps) = HeapRb::new(STAMP_RING).split();
    let output = if has_clock {
        Output::device(request.channels, request.rate, played.steered)
    } else {
        Output::stream_clocked(request.channels, request.rate)
    };
    let output = output.mapped(played.map.clone()).playing(incoming).map_err(std::io::Error::other)?;
    let feed = Feed {
        output: Some(Box::new(output)),
        samples,
        stamps,
        channels,
        rate: request.rate,
        has_clock,
        pace: Pace::new(request.rate),
    };
    Ok((Drain::new(samples_out, stamps_in, counters, waker, request.channels), feed))
}
