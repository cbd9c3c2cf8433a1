//! Where samples come from.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use audio::counters::Counter;
use os::wait::Waker;
use proto::units::{self, Mono, Position};
use ringbuf::HeapProd;
use ringbuf::traits::{Observer, Producer};
use sim::card::CardSpec;

use crate::error::Error;
use crate::keeper::Stream;
use crate::reader::{self, Reader};
use crate::system::{self, Look};
use crate::virtual_card::{self, parse_card};

/// What `--capture` names.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A sound card, by its name, a part of it, or its id.
    Device(String),
    /// A WAV file.
    Wav(PathBuf),
    /// Raw interleaved 16-bit little-endian PCM on standard input.
    Stdin,
    /// A sine in each channel: 220 Hz × (channel + 1), or multiples of another pitch.
    Tone(f64),
    /// Zeros.
    Silence,
    /// A card that does not exist, playing the tone at a clock of its own.
    Virtual(CardSpec),
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (head, tail) = text.split_once(':').map_or((text, None), |(head, tail)| (head, Some(tail)));
        match (head, tail) {
            ("", _) => Err(Error::description(text, "names nothing; run the `devices` command for a list")),
            ("-", None) => Ok(Self::Stdin),
            ("silence", None) => Ok(Self::Silence),
            ("tone", None) => Ok(Self::Tone(220.0)),
            ("tone", Some(pitch)) => match pitch.parse::<f64>() {
                Ok(hertz) if (1.0..=20_000.0).contains(&hertz) => Ok(Self::Tone(hertz)),
                _ => Err(Error::description(text, "a tone's pitch is 1 to 20000 Hz, like tone:997")),
            },
            ("virtual", settings) => Ok(Self::Virtual(parse_card(text, settings.unwrap_or(""))?.0)),
            _ if has_wav_ending(text) => Ok(Self::Wav(text.into())),
            _ => Ok(Self::Device(text.into())),
        }
    }
}

impl Source {
    /// Whether it is a sound card, which may go away and come back.
    pub fn is_device(&self) -> bool {
        matches!(self, Self::Device(_))
    }
}

pub(crate) fn has_wav_ending(text: &str) -> bool {
    let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
    ending.eq_ignore_ascii_case("wav") || ending.eq_ignore_ascii_case("wave")
}

/// How a source is to be opened.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which.
    pub source: Source,
    /// Frames a second of the stream; files are converted to it.
    pub rate: u32,
    /// Channels, where the source does not say itself.
    pub channels: Option<u16>,
    /// At least this many channels are wanted, if the source can.
    pub wanted: u16,
    /// Frames in a period.
    pub period: u32,
    /// Starts a file again at its end.
    pub repeat: bool,
}

/// When a block was captured. Written together with its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureStamp {
    /// Position of the block's first frame. A jump says that frames were lost.
    pub position: Position,
    /// Frames in the block.
    pub frames: u32,
    /// When its first frame entered the ADC.
    pub at: Mono,
}

/// What a capture counts.
#[derive(Debug, Default)]
pub struct CaptureCounters {
    /// Frames captured.
    pub frames: Counter,
    /// Frames that the rings had no room for.
    pub dropped: Counter,
    /// Times the card lost frames.
    pub xruns: Counter,
    /// The source has come to its end.
    pub finished: AtomicBool,
    /// The file, pipe or model has failed and will bring nothing more.
    pub failed: AtomicBool,
}

/// Writes captured blocks into the rings. Runs on audio callbacks: nothing in it allocates, locks or waits.
pub struct Feeder {
    samples: HeapProd<f32>,
    stamps: HeapProd<CaptureStamp>,
    counters: Arc<CaptureCounters>,
    waker: Waker,
    channels: usize,
    rate: u32,
    position: Position,
}

/// Most frames that are stamped as one block.
const BLOCK: usize = 1024;

impl Feeder {
    /// A feeder for blocks of `channels` at `rate`.
    pub fn new(
        samples: HeapProd<f32>,
        stamps: HeapProd<CaptureStamp>,
        counters: Arc<CaptureCounters>,
        waker: Waker,
        channels: u16,
        rate: u32,
    ) -> Self {
        Self {
            samples,
            stamps,
            counters,
            waker,
            channels: usize::from(channels),
            rate,
            position: Position(0),
        }
    }

    /// Takes one captured block whose first frame entered the ADC at `at`.
    pub(crate) fn feed<T: Copy>(&mut self, block: &[T], at: Mono, to_f32: impl Fn(T) -> f32) {
        let _section = os::realtime::section();
        let mut at = at;
        for part in block.chunks(BLOCK * self.channels) {
            let frames = (part.len() / self.channels) as u32;
            if self.samples.vacant_len() >= part.len() && !self.stamps.is_full() {
                self.samples.push_iter(part.iter().map(|&sample| to_f32(sample)));
                // There is room: this is the only producer.
                let _ = self.stamps.try_push(CaptureStamp { position: self.position, frames, at });
            } else {
                self.counters.dropped.add(u64::from(frames));
            }
            self.advance(frames);
            at = at.plus(units::frames_to_nanos(i64::from(frames), self.rate));
        }
        self.waker.wake();
    }

    /// Notes that the card lost frames.
    pub(crate) fn skip(&mut self, frames: u32) {
        self.counters.xruns.add(1);
        self.advance(frames);
    }

    pub(crate) fn finish(&self) {
        self.counters.finished.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn fail(&self) {
        self.counters.failed.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn counters(&self) -> Arc<CaptureCounters> {
        self.counters.clone()
    }

    fn advance(&mut self, frames: u32) {
        self.position = self.position.advanced(u64::from(frames));
        self.counters.frames.add(u64::from(frames));
    }
}

/// A source that was found, ready to start.
pub struct Capture {
    /// For people.
    pub description: String,
    /// Frames a second.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
    /// Frames in all, where the source has an end.
    pub length: Option<u64>,
    request: Request,
    kind: Kind,
}

enum Kind {
    System(system::Opening),
    Paced { reader: Box<dyn Reader>, card: CardSpec, period: u32 },
}

/// Finds the source and checks that it can be had as asked.
///
/// # Errors
/// Every reason that can be known before sound flows; see [`Error`].
pub fn open(request: &Request) -> Result<Capture, Error> {
    open_by(request, Look::Around)
}

/// The same for a sound card that went away, again and again; other devices are left alone.
///
/// # Errors
/// As for [`open`], without the names of other devices.
pub fn reopen(request: &Request) -> Result<Capture, Error> {
    open_by(request, Look::Ahead)
}

fn open_by(request: &Request, look: Look) -> Result<Capture, Error> {
    let (rate, period) = (request.rate, request.period);
    let channels = request.channels.unwrap_or(request.wanted).max(1);
    let found = |description, channels, length, kind| {
        let request = Request { channels: Some(channels), ..request.clone() };
        Ok(Capture { description, rate, channels, length, request, kind })
    };
    let paced = |description: String, channels, length, reader: Box<dyn Reader>, card| {
        found(description, channels, length, Kind::Paced { reader, card, period })
    };
    let steady = CardSpec::default();
    match &request.source {
        Source::Device(name) => {
            let opening =
                system::Opening::capture(name, rate, channels, request.channels.is_some(), period, look)?;
            found(opening.description(), opening.channels(), None, Kind::System(opening))
        }
        Source::Wav(path) => {
            let wav = reader::Wav::open(path, rate, request.repeat)?;
            let (channels, length) = (wav.channels(), wav.length());
            paced(path.display().to_string(), channels, length, Box::new(wav), steady)
        }
        Source::Stdin => {
            let raw = reader::Raw::new(Box::new(std::io::stdin()), channels);
            paced("standard input".into(), channels, None, Box::new(raw), steady)
        }
        Source::Tone(pitch) => {
            let tone = reader::Tone::new(*pitch, channels, rate);
            paced(format!("tone, {pitch} Hz"), channels, None, Box::new(tone), steady)
        }
        Source::Silence => {
            paced("silence".into(), channels, None, Box::new(reader::Silence { channels }), steady)
        }
        Source::Virtual(card) => {
            let tone = reader::Tone::new(220.0, channels, rate);
            paced(format!("virtual card, {} ppm", card.ppm), channels, None, Box::new(tone), *card)
        }
    }
}

impl Capture {
    /// How to have the same again, with as many channels.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Starts feeding.
    ///
    /// # Errors
    /// The audio system's refusal.
    pub fn start(self, feeder: Feeder) -> Result<Stream, Error> {
        match self.kind {
            Kind::System(opening) => opening.start_capture(feeder),
            Kind::Paced { reader, card, period } => {
                let (rate, channels) = (self.rate, self.channels);
                let running = virtual_card::start_capture(reader, card, rate, channels, period, feeder)?;
                Ok(Stream::thread(running))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbuf::HeapRb;
    use ringbuf::traits::{Consumer, Split};

    #[test]
    fn sources_are_told_apart_by_their_form() {
        let parse = |text: &str| text.parse::<Source>().unwrap();
        assert_eq!(parse("BlackHole 16ch"), Source::Device("BlackHole 16ch".into()));
        assert_eq!(parse("hw:1,0"), Source::Device("hw:1,0".into()));
        assert_eq!(parse("a/b.WAV"), Source::Wav("a/b.WAV".into()));
        assert_eq!(parse("-"), Source::Stdin);
        assert_eq!(parse("tone"), Source::Tone(220.0));
        assert_eq!(parse("tone:997"), Source::Tone(997.0));
        assert_eq!(parse("silence"), Source::Silence);
        let card = CardSpec { ppm: -50.0, jitter: 500_000, xrun_every: 2_000_000_000, blur: 0, seed: 3 };
        assert_eq!(parse("virtual:ppm=-50,jitter=0.5,xrun=2,seed=3"), Source::Virtual(card));
        for nonsense in ["", "tone:0", "tone:x", "virtual:ppm", "virtual:ppm=x", "virtual:colour=1"] {
            assert!(nonsense.parse::<Source>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_full_ring_drops_whole_blocks_and_the_positions_tell() {
        let (samples, mut samples_out) = HeapRb::new(4096).split();
        let (stamps, mut stamps_out) = HeapRb::new(8).split();
        let (waker, _wakeup) = os::wait::pair().unwrap();
        let counters = Arc::new(CaptureCounters::default());
        let mut feeder = Feeder::new(samples, stamps, counters.clone(), waker, 2, 1000);
        let block: Vec<f32> = (0..3000).map(|n| n as f32).collect();
        feeder.feed(&block, Mono(0), |sample| sample);
        feeder.feed(&block, Mono(1_500_000_000), |sample| sample);
        let stamps: Vec<_> = stamps_out.pop_iter().collect();
        let stamp =
            |position, frames, at| CaptureStamp { position: Position(position), frames, at: Mono(at) };
        assert_eq!(
            stamps,
            [
                stamp(0, 1024, 0),
                stamp(1024, 476, 1_024_000_000),
                // The next block of 1024 frames found no room; the 476 frames after it did.
                stamp(2524, 476, 2_524_000_000),
            ]
        );
        assert_eq!(counters.dropped.get(), 1024);
        let heard: Vec<f32> = samples_out.pop_iter().collect();
        assert_eq!(heard, [&block[..], &block[2048..]].concat());
    }
}
