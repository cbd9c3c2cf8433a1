//! Sound of this machine: a card, a file, standard input, a tone, silence.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use device::capture::{self, Capture, CaptureCounters, CaptureStamp, Feeder, Request};
use device::keeper::{Keeper, News, Open, Started};
use os::wait::{Waker, Wakeup};
use proto::units::Mono;
use ringbuf::traits::{Consumer, Split};
use ringbuf::{HeapCons, HeapRb};

use super::Settings;
use super::steady::Steady;
use super::work::Intake;
use crate::encode::Error;

/// Blocks that may wait: as many samples as half a second has, at the smallest period.
const STAMP_RING: usize = 1024;
/// Longest sleep.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// How long after its capture sound may come, in nanoseconds: a few periods, and the card's own buffers.
const PATIENCE: i64 = 150_000_000;
/// Other rates that a card is asked for, where it does not take the track's.
const OTHER_RATES: [u32; 3] = [48_000, 44_100, 96_000];

/// The thread's end of a capture's rings.
struct Feed {
    samples: HeapCons<f32>,
    stamps: HeapCons<CaptureStamp>,
    channels: usize,
    /// What puts a card on this machine's clock; everything else is on it already.
    steady: Option<Steady>,
}

pub(crate) struct Captured {
    keeper: Keeper<Feed>,
    feed: Option<Feed>,
    wakeup: Wakeup,
    counters: Arc<CaptureCounters>,
    description: String,
    /// Channels of the track.
    channels: usize,
    block: Vec<f32>,
    mixed: Vec<f32>,
    told_end: bool,
}

impl Captured {
    /// Opens the source and begins.
    ///
    /// # Errors
    /// One line: the source is not there, or not so.
    pub(crate) fn new(settings: &Settings, source: &capture::Source) -> Result<Self, Error> {
        let request = Request {
            source: source.clone(),
            rate: settings.rate,
            channels: matches!(source, capture::Source::Stdin).then_some(settings.channels),
            wanted: settings.channels,
            // 10 ms: an encoder takes about two of them at a time.
            period: settings.rate / 100,
            repeat: true,
        };
        let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(format!("sound: {error}"));
        let (waker, wakeup) = os::wait::pair().map_err(|error| unavailable(&error))?;
        let mut keeper = Keeper::start(waker.clone()).map_err(|error| unavailable(&error))?;
        let counters = Arc::new(CaptureCounters::default());
        let device = source.is_device();
        keeper.order(opener(request, settings.channels, counters.clone(), waker), device);
        let (feed, description) = match keeper.wait() {
            Some(News::Opened { feed, description, .. }) => (Some(feed), description),
            Some(News::Refused(error)) => return Err(unavailable(&error)),
            _ => return Err(unavailable(&"the device thread has ended")),
        };
        let channels = usize::from(settings.channels);
        let (block, mixed) = (Vec::new(), Vec::new());
        Ok(Self { keeper, feed, wakeup, counters, description, channels, block, mixed, told_end: false })
    }
}

impl Intake for Captured {
    fn description(&self) -> String {
        self.description.clone()
    }

    fn patience(&self) -> i64 {
        PATIENCE
    }

    fn wait(&mut self) {
        self.wakeup.wait(&[], LONGEST_WAIT);
    }

    fn take(&mut self, emit: &mut dyn FnMut(&[f32], Mono)) {
        let Some(feed) = &mut self.feed else { return };
        while let Some(stamp) = feed.stamps.try_pop() {
            // Samples are written before their stamp.
            self.block.resize(stamp.frames as usize * feed.channels, 0.0);
            feed.samples.pop_slice(&mut self.block);
            mix(&self.block, feed.channels, self.channels, &mut self.mixed);
            match &mut feed.steady {
                Some(steady) => {
                    steady.push(&self.mixed, stamp.position, stamp.at, &mut |out, at| emit(out, at))
                }
                None => emit(&self.mixed, stamp.at),
            }
        }
    }

    fn poll_news(&mut self) -> Option<String> {
        if let Some(news) = self.keeper.poll() {
            let (news, feed) = news.split();
            self.feed = feed.or(self.feed.take());
            let name = &self.description;
            return Some(match news {
                News::Opened { .. } => format!("{name} is open again"),
                News::Lost(reason) => format!("{name} is gone: {reason}; it is tried until it is back"),
                News::Back => format!("{name} is back"),
                News::Refused(error) => format!("there is no sound until this changes: {error}"),
            });
        }
        let ended = self.counters.finished.load(Ordering::Acquire);
        let failed = self.counters.failed.load(Ordering::Acquire);
        if (ended || failed) && !std::mem::replace(&mut self.told_end, true) {
            let how = if failed { "has failed" } else { "has come to its end" };
            return Some(format!("{} {how}: there is no more sound", self.description));
        }
        None
    }
}

/// Opens the source, again and again if it is a card, each time with rings of its own.
fn opener(request: Request, channels: u16, counters: Arc<CaptureCounters>, waker: Waker) -> Open<Feed> {
    let card = matches!(request.source, capture::Source::Device(_) | capture::Source::Virtual(_));
    let track = request.rate;
    let mut again = false;
    Box::new(move || {
        let open = if std::mem::replace(&mut again, true) { capture::reopen } else { capture::open };
        let capture = open_at_any_rate(&request, open)?;
        let (rate, own) = (capture.rate, capture.channels);
        let (samples_in, samples) = HeapRb::new(rate as usize / 2 * usize::from(own)).split();
        let (stamps_in, stamps) = HeapRb::new(STAMP_RING).split();
        let feeder = Feeder::new(samples_in, stamps_in, counters.clone(), waker.clone(), own, rate);
        let mut description = capture.description.clone();
        if rate != track {
            description += &format!(", resampled from {rate} Hz");
        }
        let steady = card.then(|| Steady::new(channels, rate, track));
        let feed = Feed { samples, stamps, channels: own.into(), steady };
        Ok(Started { stream: capture.start(feeder)?, feed, description })
    })
}

/// Opens at the track's rate, or, where a card does not take it, at the first usual one that it does.
fn open_at_any_rate(
    request: &Request,
    open: fn(&Request) -> Result<Capture, device::Error>,
) -> Result<Capture, device::Error> {
    let refusal = match open(request) {
        Err(error @ device::Error::UnsupportedFormat { .. }) if request.source.is_device() => error,
        other => return other,
    };
    let others = OTHER_RATES.iter().filter(|rate| **rate != request.rate);
    let mut others = others.map(|&rate| Request { rate, period: rate / 100, ..request.clone() });
    others.find_map(|other| open(&other).ok()).ok_or(refusal)
}

/// One channel goes to all; of several, each to its own.
fn mix(block: &[f32], from: usize, to: usize, out: &mut Vec<f32>) {
    out.clear();
    for frame in block.chunks_exact(from) {
        out.extend((0..to).map(|channel| match from {
            1 => frame[0],
            _ => frame.get(channel).copied().unwrap_or(0.0),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_find_their_places() {
        let mixed = |block: &[f32], from, to| {
            let mut out = Vec::new();
            mix(block, from, to, &mut out);
            out
        };
        assert_eq!(mixed(&[1.0, 2.0], 1, 2), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(mixed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 2), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(mixed(&[1.0, 2.0, 3.0, 4.0], 2, 1), [1.0, 3.0]);
    }
}
