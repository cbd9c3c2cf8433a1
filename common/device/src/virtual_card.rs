//! Threads that keep a card's time: for files and test signals, and for cards that exist in the model only.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use os::clock;
use proto::units::Mono;
use sim::card::{Card, CardSpec, Direction};

use crate::capture::Feeder;
use crate::error::Error;
use crate::playback::Drain;
use crate::reader::Reader;
use crate::writer::WavFile;

/// A source that is this much behind its time has waited for its pipe, and starts its clock again.
const STALLED: i64 = 200_000_000;

/// How long a disk may take to write what is left.
pub(crate) const FILE_PATIENCE: Duration = Duration::from_secs(30);

/// A thread that is stopped and joined when this is dropped.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// A thread that may wait for a pipe for ever is left behind after this time.
    patience: Duration,
}

impl Running {
    pub(crate) fn spawn(
        name: &str,
        patience: Duration,
        body: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || body(&flag))?;
        Ok(Self { stop, thread: Some(thread), patience })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            join(thread, self.patience);
        }
    }
}

/// Waits for a thread that has been told to end; one that does not is left behind.
pub(crate) fn join(thread: JoinHandle<()>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    if thread.is_finished() {
        // A panic there has been printed already.
        let _ = thread.join();
    }
}

/// Reads the settings of a virtual card, such as `ppm=100,jitter=0.5,xrun=10,seed=1,file=out.wav`.
pub(crate) fn parse_card(whole: &str, settings: &str) -> Result<(CardSpec, Option<PathBuf>), Error> {
    let mut spec = CardSpec::default();
    let mut file = None;
    for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let number = || {
            let number = value.parse::<f64>().ok().filter(|number| number.abs() <= 1e5);
            number.ok_or_else(|| Error::description(whole, format!("`{setting}` needs a number")))
        };
        match key {
            "ppm" => spec.ppm = number()?,
            "jitter" => spec.jitter = (number()?.max(0.0) * 1e6) as i64,
            "blur" => spec.blur = (number()?.max(0.0) * 1e6) as i64,
            "xrun" => spec.xrun_every = (number()?.max(0.0) * 1e9) as i64,
            "seed" => spec.seed = number()? as u64,
            "file" => file = Some(value.into()),
            _ => {
                let reason = "a virtual card has ppm=N, jitter=MILLISECONDS, blur=MILLISECONDS, xrun=SECONDS, seed=N and, for playback, file=PATH";
                return Err(Error::description(whole, reason));
            }
        }
    }
    Ok((spec, file))
}

pub(crate) fn start_capture(
    mut reader: Box<dyn Reader>,
    spec: CardSpec,
    rate: u32,
    channels: u16,
    period: u32,
    mut feeder: Feeder,
) -> Result<Running, Error> {
    Running::spawn("capture", Duration::ZERO, move |stop| {
        os::realtime::promote();
        let new_card = || Card::new(spec, Direction::Capture, rate, period, next_hundredth());
        let mut card = new_card();
        let mut block = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let mut now = card.next_period();
            block.clear();
            let failed = reader.read(period as usize, &mut block).is_err();
            if clock::now().since(now.callback) > STALLED {
                card = new_card();
                now = card.next_period();
            }
            sleep_until(now.callback);
            if now.lost > 0 {
                feeder.skip(now.lost);
            }
            if !block.is_empty() {
                feeder.feed(&block, now.told, |sample| sample);
            }
            if failed {
                return feeder.fail();
            }
            if block.len() < period as usize * usize::from(channels) {
                return feeder.finish();
            }
        }
    })
}

pub(crate) fn start_playback(
    spec: CardSpec,
    file: Option<WavFile>,
    rate: u32,
    channels: u16,
    period: u32,
    mut drain: Drain,
) -> Result<Running, Error> {
    Running::spawn("playback", FILE_PATIENCE, move |stop| {
        os::realtime::promote();
        let (start, before) = recorded_from(spec, rate, period);
        let mut card = Card::new(spec, Direction::Playback, rate, period, start);
        let mut block = vec![0.0; period as usize * usize::from(channels)];
        let mut file = file;
        let mut record = |samples: &[f32], drain: &mut Drain| {
            if let Some(open) = &mut file
                && open.write(samples).is_err()
            {
                drain.fail();
                file = None;
            }
        };
        record(&vec![0.0; before * usize::from(channels)], &mut drain);
        while !stop.load(Ordering::Relaxed) {
            let now = card.next_period();
            sleep_until(now.callback);
            if now.lost > 0 {
                drain.note_xrun();
                // Lost periods are as long as the others.
                block.fill(0.0);
                record(&block, &mut drain);
            }
            drain.fill(&mut block, now.told, |sample| sample);
            record(&block, &mut drain);
        }
        if file.is_some_and(|file| file.finish().is_err()) {
            drain.fail();
        }
    })
}

/// When a card starts whose recording begins at a whole second of the wall clock, so that recordings can be laid side by
/// side; and how many silent frames they begin with.
fn recorded_from(spec: CardSpec, rate: u32, period: u32) -> (Mono, usize) {
    let (now, since_second) = (clock::now(), clock::unix_nanos().rem_euclid(1_000_000_000));
    let frame = 1e9 / (f64::from(rate) * (1.0 + spec.ppm * 1e-6));
    // The first frame leaves the DAC one period after the start.
    let before = (since_second as f64 / frame).ceil() + f64::from(period);
    let start = ((before - f64::from(period)) * frame) as i64 - since_second;
    (now.plus(start), before as usize)
}

/// A source begins at a whole hundredth of a second of the wall clock, so that a tone of 100 Hz tells when it was captured.
fn next_hundredth() -> Mono {
    const HUNDREDTH: i64 = 10_000_000;
    let now = clock::now();
    now.plus(HUNDREDTH - clock::unix_nanos().rem_euclid(HUNDREDTH))
}

pub(crate) fn sleep_until(at: Mono) {
    let left = at.left_from(clock::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}
