//! Where samples go.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use audio::counters::Counter;
use audio::receive::{Ahead, PlaybackStamp};
use os::wait::Waker;
use proto::units::Mono;
use ringbuf::traits::{Consumer, Producer};
use ringbuf::{HeapCons, HeapProd};
use sim::card::CardSpec;

use crate::capture::has_wav_ending;
use crate::error::Error;
use crate::keeper::Stream;
use crate::system::{self, Look};
use crate::virtual_card::{self, parse_card};
use crate::writer::{self, WavFile, Writer};

/// What `--playback` names.
#[derive(Clone, Debug, PartialEq)]
pub enum Sink {
    /// A sound card, by its name, a part of it, or its id.
    Device(String),
    /// A WAV file of 16 bits.
    Wav(PathBuf),
    /// Raw interleaved 16-bit little-endian PCM on standard output.
    Stdout,
    /// Takes everything and keeps nothing.
    Null,
    /// A card that does not exist, with a clock of its own; it may record what it plays.
    Virtual(CardSpec, Option<PathBuf>),
}

impl FromStr for Sink {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (head, tail) = text.split_once(':').unwrap_or((text, ""));
        match (head, tail) {
            ("", _) => Err(Error::description(text, "names nothing; run the `devices` command for a list")),
            ("-", "") => Ok(Self::Stdout),
            ("null", "") => Ok(Self::Null),
            ("virtual", settings) => {
                let (card, file) = parse_card(text, settings)?;
                Ok(Self::Virtual(card, file))
            }
            _ if has_wav_ending(text) => Ok(Self::Wav(text.into())),
            _ => Ok(Self::Device(text.into())),
        }
    }
}

impl Sink {
    /// Whether it has a clock of its own that the stream has to be steered to.
    pub fn has_clock(&self) -> bool {
        matches!(self, Self::Device(_) | Self::Virtual(..))
    }

    /// Whether it is a sound card, which may go away and come back.
    pub fn is_device(&self) -> bool {
        matches!(self, Self::Device(_))
    }
}

/// What a playback counts.
#[derive(Debug, Default)]
pub struct PlaybackCounters {
    /// Callbacks.
    pub callbacks: Counter,
    /// Frames that the ring could not give.
    pub missing: Counter,
    /// Times the card lost frames.
    pub xruns: Counter,
    /// Device latency in microseconds, from the callback to the DAC, as the system reports it.
    pub latency_us: Counter,
    /// The file or pipe has failed and takes nothing more.
    pub failed: AtomicBool,
}

/// What a device holds that takes sound ahead of its time, in frames.
pub(crate) struct Queue {
    pub(crate) queued: u32,
    /// To the DAC.
    pub(crate) delay: u32,
    /// What it has to hold until it asks again.
    pub(crate) least: u32,
    /// It does not ask while it holds more.
    pub(crate) enough: u32,
    pub(crate) most: u32,
    /// It has lost time since it asked last.
    pub(crate) restarted: bool,
}

/// Reads blocks out of the ring. Runs on audio callbacks: nothing in it allocates, locks or waits.
pub struct Drain {
    samples: HeapCons<f32>,
    stamps: HeapProd<PlaybackStamp>,
    counters: Arc<PlaybackCounters>,
    waker: Waker,
    channels: usize,
    taken: u64,
}

impl Drain {
    /// A drain of blocks of `channels`.
    pub fn new(
        samples: HeapCons<f32>,
        stamps: HeapProd<PlaybackStamp>,
        counters: Arc<PlaybackCounters>,
        waker: Waker,
        channels: u16,
    ) -> Self {
        Self { samples, stamps, counters, waker, channels: usize::from(channels), taken: 0 }
    }

    /// Fills one block whose first frame leaves the DAC at `at`; with silence where the ring is empty.
    pub(crate) fn fill<T: Copy>(&mut self, block: &mut [T], at: Mono, from_f32: impl Fn(f32) -> T) {
        let asked = (block.len() / self.channels) as u32;
        self.pour(block, asked, at, from_f32, |_| None);
    }

    /// Fills the beginning of a block that is as long as the device has room for, with all that is there, and with silence only as
    /// far as the device needs some. Returns how many frames that are.
    pub(crate) fn fill_ahead<T: Copy>(
        &mut self,
        block: &mut [T],
        queue: Queue,
        at: Mono,
        from_f32: impl Fn(f32) -> T,
    ) -> u32 {
        let Queue { queued, delay, least, enough, most, restarted } = queue;
        let needed = least.saturating_sub(queued).min((block.len() / self.channels) as u32);
        let ahead = |given: u32| {
            let holds = queued + given;
            let (room, pause) = (most.saturating_sub(holds.min(enough)), holds.saturating_sub(enough));
            Some(Ahead { held: delay, room, least, pause, delay: delay.saturating_sub(queued), restarted })
        };
        self.pour(block, needed, at, from_f32, ahead)
    }

    fn pour<T: Copy>(
        &mut self,
        block: &mut [T],
        needed: u32,
        at: Mono,
        from_f32: impl Fn(f32) -> T,
        ahead: impl Fn(u32) -> Option<Ahead>,
    ) -> u32 {
        let _section = os::realtime::section();
        let taken = self.taken;
        let (older, newer) = self.samples.as_slices();
        let there = older.iter().chain(newer);
        let count = (older.len() + newer.len()).min(block.len());
        block.iter_mut().zip(there).for_each(|(slot, sample)| *slot = from_f32(*sample));
        self.samples.skip(count);
        let given = (count / self.channels) as u32;
        let missing = needed.saturating_sub(given);
        block[count..][..missing as usize * self.channels].fill(from_f32(0.0));
        self.taken += u64::from(given);
        let asked = given + missing;
        self.counters.callbacks.add(1);
        self.counters.missing.add(u64::from(missing));
        // A full ring means that nobody reads the stamps; the next one tells the same.
        let ahead = ahead(asked);
        let _ = self.stamps.try_push(PlaybackStamp { taken, asked, missing, at, ahead });
        if missing > 0 || ahead.is_none_or(|ahead| ahead.restarted) {
            self.waker.wake();
        } else {
            self.waker.nudge();
        }
        asked
    }

    /// Notes that the card lost frames.
    pub(crate) fn note_xrun(&self) {
        self.counters.xruns.add(1);
    }

    pub(crate) fn fail(&self) {
        self.counters.failed.store(true, Ordering::Release);
    }

    pub(crate) fn counters(&self) -> Arc<PlaybackCounters> {
        self.counters.clone()
    }

    /// The ring, and what to do with an error that ends the writing.
    pub(crate) fn into_parts(self) -> (HeapCons<f32>, impl FnOnce(Error)) {
        let counters = self.counters;
        let report = move |error: Error| {
            // On the writer's own thread, which may print.
            eprintln!("error: {error}");
            counters.failed.store(true, Ordering::Release);
        };
        (self.samples, report)
    }
}

/// How a sink is to be opened.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which.
    pub sink: Sink,
    /// Frames a second.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
    /// Frames in a device's period.
    pub period: u32,
}

/// A sink that was found, ready to start.
pub struct Playback {
    /// For people.
    pub description: String,
    rate: u32,
    channels: u16,
    kind: Kind,
}

enum Kind {
    System(system::Opening),
    Virtual { card: CardSpec, file: Option<WavFile>, period: u32 },
    Writer(Writer),
}

/// Finds the sink and checks that it can be had as asked.
///
/// # Errors
/// Every reason that can be known before sound flows; see [`Error`].
pub fn open(request: &Request) -> Result<Playback, Error> {
    open_by(request, Look::Around)
}

/// The same for a sound card that went away, again and again; other devices are left alone.
///
/// # Errors
/// As for [`open`], without the names of other devices.
pub fn reopen(request: &Request) -> Result<Playback, Error> {
    open_by(request, Look::Ahead)
}

fn open_by(request: &Request, look: Look) -> Result<Playback, Error> {
    let Request { rate, channels, period, .. } = *request;
    let (description, kind) = match &request.sink {
        Sink::Device(name) => {
            let opening = system::Opening::playback(name, rate, channels, period, look)?;
            (opening.description(), Kind::System(opening))
        }
        Sink::Wav(path) => {
            let file = WavFile::create(path, rate, channels)?;
            (path.display().to_string(), Kind::Writer(Writer::Wav(file)))
        }
        Sink::Stdout => ("standard output".into(), Kind::Writer(Writer::Stdout)),
        Sink::Null => ("null".into(), Kind::Writer(Writer::Null)),
        Sink::Virtual(card, path) => {
            let file = path.as_ref().map(|path| WavFile::create(path, rate, channels)).transpose()?;
            (format!("virtual card, {} ppm", card.ppm), Kind::Virtual { card: *card, file, period })
        }
    };
    Ok(Playback { description, rate, channels, kind })
}

impl Playback {
    /// Starts draining.
    ///
    /// # Errors
    /// The audio system's refusal.
    pub fn start(self, drain: Drain) -> Result<Stream, Error> {
        match self.kind {
            Kind::System(opening) => opening.start_playback(drain),
            Kind::Virtual { card, file, period } => {
                let running =
                    virtual_card::start_playback(card, file, self.rate, self.channels, period, drain)?;
                Ok(Stream::thread(running))
            }
            Kind::Writer(writer) => Ok(Stream::thread(writer::start(writer, drain)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbuf::HeapRb;
    use ringbuf::traits::Split;

    #[test]
    fn sinks_are_told_apart_by_their_form() {
        let parse = |text: &str| text.parse::<Sink>().unwrap();
        assert_eq!(parse("default"), Sink::Device("default".into()));
        assert_eq!(parse("plughw:1,0"), Sink::Device("plughw:1,0".into()));
        assert_eq!(parse("out.wav"), Sink::Wav("out.wav".into()));
        assert_eq!(parse("-"), Sink::Stdout);
        assert_eq!(parse("null"), Sink::Null);
        assert_eq!(parse("virtual"), Sink::Virtual(CardSpec::default(), None));
        let card = CardSpec { ppm: 100.0, ..CardSpec::default() };
        assert_eq!(parse("virtual:ppm=100,file=a.wav"), Sink::Virtual(card, Some("a.wav".into())));
        assert!("".parse::<Sink>().is_err());
    }

    #[test]
    fn an_empty_ring_is_filled_with_silence_and_counted() {
        let (mut samples, samples_out) = HeapRb::new(64).split();
        let (stamps, mut stamps_out) = HeapRb::new(8).split();
        let (waker, _wakeup) = os::wait::pair().unwrap();
        let counters = Arc::new(PlaybackCounters::default());
        let mut drain = Drain::new(samples_out, stamps, counters.clone(), waker, 2);
        samples.push_slice(&[0.5; 12]);
        let mut block = [9.0; 8];
        drain.fill(&mut block, Mono(10), |sample| sample);
        assert_eq!(block, [0.5; 8]);
        drain.fill(&mut block, Mono(20), |sample| sample);
        assert_eq!(block, [0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]);
        let stamps: Vec<_> = stamps_out.pop_iter().collect();
        assert_eq!(
            stamps,
            [
                PlaybackStamp { taken: 0, asked: 4, missing: 0, at: Mono(10), ahead: None },
                PlaybackStamp { taken: 4, asked: 4, missing: 2, at: Mono(20), ahead: None },
            ]
        );
        assert_eq!(counters.missing.get(), 2);
    }

    #[test]
    fn a_device_that_goes_ahead_gets_all_there_is_and_silence_only_as_far_as_it_needs() {
        let (mut samples, samples_out) = HeapRb::new(64).split();
        let (stamps, mut stamps_out) = HeapRb::new(8).split();
        let (waker, _wakeup) = os::wait::pair().unwrap();
        let mut drain = Drain::new(samples_out, stamps, Arc::default(), waker, 2);
        let mut pour = |queued: u32, delay: u32| {
            let mut block = [9.0; 20];
            let room = 10 - queued;
            let queue = Queue { queued, delay, least: 4, enough: 7, most: 10, restarted: false };
            let given = drain.fill_ahead(&mut block[..room as usize * 2], queue, Mono(1), |sample| sample);
            block[..given as usize * 2].to_vec()
        };
        samples.push_slice(&[0.5; 6]);
        assert_eq!(pour(0, 0), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0]);
        assert!(pour(4, 7).is_empty());
        samples.push_slice(&[0.5; 20]);
        assert_eq!(pour(3, 3), [0.5; 14]);
        let stamps: Vec<_> = stamps_out.pop_iter().collect();
        let stamp = |taken, asked, missing, held, room, pause, delay| PlaybackStamp {
            taken,
            asked,
            missing,
            at: Mono(1),
            ahead: Some(Ahead { held, room, least: 4, pause, delay, restarted: false }),
        };
        assert_eq!(
            stamps,
            [stamp(0, 4, 1, 0, 6, 0, 0), stamp(3, 0, 0, 7, 6, 0, 3), stamp(3, 7, 0, 3, 3, 3, 0)]
        );
    }
}
