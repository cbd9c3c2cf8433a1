//! The thread of a track.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use audio::counters::{Counter, Meter};
use os::clock;
use proto::units::Mono;

use super::capture::Captured;
use super::cut::{Chunk, Cutter};
use super::encode::Encoder;
use super::source::Kind;
use super::stream::Received;
use super::{EncodedSound, Settings, Silent, Track};
use crate::encode::{Error, Warning};

/// News that nobody has read yet; what comes beyond is left out.
const NEWS: usize = 16;

/// Where blocks of a track's rate and channels come from.
pub(crate) trait Intake: Send {
    /// For people.
    fn description(&self) -> String;

    /// How long after its capture sound may come, in nanoseconds.
    fn patience(&self) -> i64;

    /// Waits for sound, 20 ms at most.
    fn wait(&mut self);

    /// Hands out what there is, each block with the time at which its first frame was captured.
    fn take(&mut self, emit: &mut dyn FnMut(&[f32], Mono));

    /// The next thing that people should know.
    fn poll_news(&mut self) -> Option<String>;
}

/// What a track counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Access units.
    pub units: Counter,
    /// Position of the last one, as a gauge.
    pub position: Counter,
    /// Octets in them.
    pub octets: Counter,
    /// Frames of silence that were put in where sound did not come.
    pub filled: Counter,
    /// The loudest sample of late.
    pub level: Meter,
    /// The encoder has failed; the track has ended.
    pub failed: AtomicBool,
}

/// A track that runs. Dropping it stops its thread, and frees what the source held.
pub struct Sound {
    /// What to tell players.
    pub track: Track,
    /// For people: what the sound comes from.
    pub description: String,
    /// What is done otherwise than asked.
    pub warnings: Vec<Warning>,
    /// What it counts.
    pub counters: Arc<Counters>,
    news: Receiver<String>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sound {
    /// Opens the source and the encoder, and has every access unit handed to `deliver` by a thread of its own. That must
    /// not wait long: sound is lost after half a second.
    ///
    /// # Errors
    /// One line: the source or the encoder is not to be had as asked.
    pub fn start(
        settings: &Settings,
        deliver: impl FnMut(EncodedSound) + Send + 'static,
    ) -> Result<Self, Error> {
        let encoder = Encoder::new(settings)?;
        let intake: Box<dyn Intake> = match &settings.source.kind {
            Kind::Capture(source) => Box::new(Captured::new(settings, source)?),
            Kind::Stream(asked) => Box::new(Received::new(settings, asked)?),
        };
        let (track, warnings) = (encoder.track().clone(), encoder.warnings().to_vec());
        let description = intake.description();
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (news_in, news) = sync_channel(NEWS);
        let work = Work {
            intake,
            cutter: Cutter::new(
                track.channels,
                track.rate,
                track.frames as usize,
                settings.silent == Silent::On,
            ),
            encoder,
            meter: (0.0, 0),
            counters: counters.clone(),
            news: news_in,
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new().name("sound".into()).spawn(move || work.run(deliver));
        let thread = thread.map_err(|error| Error::Unavailable(format!("no thread: {error}")))?;
        Ok(Self { track, description, warnings, counters, news, stop, thread: Some(thread) })
    }

    /// The next thing that people should know of the source.
    pub fn poll_news(&self) -> Option<String> {
        self.news.try_recv().ok()
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

/// Everything the thread owns.
struct Work {
    intake: Box<dyn Intake>,
    cutter: Cutter,
    encoder: Encoder,
    /// The loudest sample and the chunks since that was told.
    meter: (f32, u32),
    counters: Arc<Counters>,
    news: SyncSender<String>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self, mut deliver: impl FnMut(EncodedSound)) {
        let mut out = VecDeque::new();
        while !self.stop.load(Ordering::Acquire) {
            self.intake.wait();
            if let Err(error) = self.step(&mut out) {
                self.tell(error.to_string());
                self.counters.failed.store(true, Ordering::Release);
                return;
            }
            for unit in out.drain(..) {
                self.counters.units.add(1);
                self.counters.position.set(unit.position);
                self.counters.octets.add(unit.data.len() as u64);
                deliver(unit);
            }
            while let Some(news) = self.intake.poll_news() {
                self.tell(news);
            }
        }
    }

    fn step(&mut self, out: &mut VecDeque<EncodedSound>) -> Result<(), Error> {
        let Self { intake, cutter, encoder, meter, counters, .. } = self;
        let mut done = Ok(());
        let mut emit = |chunk: Chunk<'_>| {
            if done.is_ok() {
                note_level(chunk.samples, meter, counters);
                done = encoder.encode(chunk, out);
            }
        };
        intake.take(&mut |block, at| cutter.push(block, at, &mut emit));
        cutter.fill_until(clock::now().plus(-intake.patience()), &mut emit);
        counters.filled.set(cutter.filled());
        done
    }

    fn tell(&self, news: String) {
        // What nobody reads, nobody misses.
        let _ = self.news.try_send(news);
    }
}

/// Publishes the peak of every fifth chunk and the four before: a tenth of a second or so.
fn note_level(samples: &[f32], meter: &mut (f32, u32), counters: &Counters) {
    const CHUNKS: u32 = 5;
    meter.0 = samples.iter().fold(meter.0, |peak, sample| peak.max(sample.abs()));
    meter.1 += 1;
    if meter.1 >= CHUNKS {
        counters.level.set(meter.0);
        *meter = (0.0, 0);
    }
}
