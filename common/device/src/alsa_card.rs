//! Sound cards of Linux, by ALSA.
//!
//! Through cpal a card holds two periods, and whoever comes one period late loses sound. Here its buffer is deep. A capture may be
//! read late, which costs no latency as long as it is not. A playback is handed what has come well ahead of its time, and
//! silence only at the last moment: what would wait in the jitter buffer waits in the card, where a machine that stands
//! still for some milliseconds does not interrupt it. One that holds enough is left alone, which spares wake-ups.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use alsa::pcm::{Access, Format, HwParams, IO, PCM, State};
use alsa::{Direction, Error, ValueOr};
use cpal::{SampleFormat, StreamConfig};
use os::clock;
use proto::units::{Mono, frames_to_nanos, nanos_to_frames};

use crate::capture::Feeder;
use crate::convert::CardSample;
use crate::playback::{Drain, Queue};
use crate::virtual_card::{Running, sleep_until};
use crate::watch::Signs;

/// What a capture may be late by, in nanoseconds.
const CAPTURE_DEPTH: i64 = 200_000_000;
/// How far a playback may go ahead, and what it can be left alone with, in nanoseconds.
const PLAYBACK_DEPTH: i64 = 80_000_000;
const ENOUGH: i64 = 40_000_000;
/// How long a playback is not left alone to begin with: the memory of [`audio::tracker`], which has to find its clock. In
/// nanoseconds.
const FINDING: i64 = 10_000_000_000;
/// What it takes to be woken, in nanoseconds, beside a share of the period.
const WAKING: i64 = 300_000;
const WAKING_SHARE: u32 = 4;
/// How long to leave a card alone that has refused a call.
const PAUSE: Duration = Duration::from_millis(1);
/// How long to wait for a capture before the thread looks whether it is to stop, in milliseconds.
const LOOK: u32 = 100;
/// How long a card may take to close.
const PATIENCE: Duration = Duration::from_secs(2);

/// A card that is open and does not run yet.
pub(crate) struct Card {
    pcm: PCM,
    config: StreamConfig,
    /// Both in frames.
    period: u32,
    buffer: u32,
}

/// What came of handing a playback sound.
struct Round {
    /// What it was to take at most, and what it got, in frames.
    room: u32,
    written: u32,
    /// When it is down to what is enough.
    next: Mono,
}

/// What becomes of a refused call.
#[derive(PartialEq)]
enum Remedy {
    /// The card runs anew, and has lost time.
    Restarted,
    /// It may pass.
    Later,
    /// The card is gone.
    Gone,
}

impl Card {
    /// Opens the card of this name for what cpal has found that it takes.
    pub(crate) fn open(
        name: &str,
        direction: Direction,
        config: StreamConfig,
        period: u32,
        format: SampleFormat,
    ) -> Result<Self, Error> {
        let pcm = PCM::new(name, direction, true)?;
        let depth = match direction {
            Direction::Capture => CAPTURE_DEPTH,
            Direction::Playback => PLAYBACK_DEPTH,
        };
        let rate = config.sample_rate;
        let hardware = HwParams::any(&pcm)?;
        hardware.set_access(Access::RWInterleaved)?;
        hardware.set_format(match format {
            SampleFormat::I32 => Format::s32(),
            SampleFormat::F32 => Format::float(),
            _ => Format::s16(),
        })?;
        hardware.set_channels(u32::from(config.channels))?;
        hardware.set_rate(rate, ValueOr::Nearest)?;
        let period = hardware.set_period_size_near(i64::from(period), ValueOr::Nearest)?;
        // A playback may have played a period more than it tells.
        hardware.set_buffer_size_near((nanos_to_frames(depth, rate) + period).max(period * 4))?;
        pcm.hw_params(&hardware)?;
        drop(hardware);
        let (buffer, period) = pcm.get_params()?;
        let card = Self { pcm, config, period: period as u32, buffer: buffer as u32 };
        let software = card.pcm.sw_params_current()?;
        // Both are started by hand as well; PulseAudio waits for as much after it ran dry.
        software.set_start_threshold(i64::from(match direction {
            Direction::Capture => 1,
            Direction::Playback => card.least(),
        }))?;
        software.set_avail_min(i64::from(card.period))?;
        card.pcm.sw_params(&software)?;
        drop(software);
        card.pcm.prepare()?;
        Ok(card)
    }

    /// A period of the card's, in nanoseconds.
    pub(crate) fn period(&self) -> i64 {
        frames_to_nanos(i64::from(self.period), self.config.sample_rate)
    }

    /// Feeds what the card captures.
    pub(crate) fn capture<T: CardSample>(
        self,
        mut feeder: Feeder,
        signs: Arc<Signs>,
    ) -> Result<Running, crate::Error> {
        Running::spawn("capture", PATIENCE, move |stop| {
            os::realtime::promote();
            let Ok(io) = self.pcm.io_checked::<T>() else { return signs.note_gone() };
            let mut block = vec![T::from_f32(0.0); self.samples(self.buffer)];
            let counters = feeder.counters();
            // Those of PulseAudio refuse until the server has answered.
            let mut runs = false;
            while !stop.load(Ordering::Relaxed) {
                let mut read = || {
                    if !runs {
                        self.pcm.start()?;
                    }
                    self.read(&io, &mut block)
                };
                match read() {
                    Ok(None) => runs = true,
                    Ok(Some((frames, at))) => {
                        runs = true;
                        signs.note_callback();
                        feeder.feed(&block[..self.samples(frames)], at, T::to_f32);
                    }
                    Err(error) => match self.remedy(error, !runs, &signs) {
                        Remedy::Restarted => {
                            counters.xruns.add(1);
                            runs = false;
                        }
                        Remedy::Later => runs = self.pcm.state() == State::Running,
                        Remedy::Gone => return,
                    },
                }
            }
        })
    }

    /// Waits for whole periods: how many frames came, and when the first of them entered the ADC.
    fn read<T: CardSample>(&self, io: &IO<'_, T>, block: &mut [T]) -> Result<Option<(u32, Mono)>, Error> {
        if !self.pcm.wait(Some(LOOK))? {
            return Ok(None);
        }
        let (ready, delay) = self.pcm.avail_delay()?;
        let at = clock::now().plus(-frames_to_nanos(delay.max(0), self.config.sample_rate));
        let frames = (ready.max(0) as u32).min(self.buffer) / self.period * self.period;
        if frames == 0 {
            // Some plugins wake early.
            sleep(PAUSE);
            return Ok(None);
        }
        let frames = io.readi(&mut block[..self.samples(frames)])?;
        Ok(Some((frames as u32, at)))
    }

    /// Plays what there is.
    pub(crate) fn playback<T: CardSample>(
        self,
        mut drain: Drain,
        signs: Arc<Signs>,
    ) -> Result<Running, crate::Error> {
        Running::spawn("playback", PATIENCE, move |stop| {
            os::realtime::promote();
            let Ok(io) = self.pcm.io_checked::<T>() else { return signs.note_gone() };
            let mut block = vec![T::from_f32(0.0); self.samples(self.buffer)];
            let mut restarted = false;
            let mut next = clock::now();
            let found = next.plus(FINDING);
            let mut left = 0;
            while !stop.load(Ordering::Relaxed) {
                let enough = (next >= found).then_some(ENOUGH);
                match self.write(&io, &mut block, &mut drain, enough, restarted) {
                    Ok(round) => {
                        restarted = false;
                        // One that stands still takes no more.
                        if round.room > std::mem::replace(&mut left, round.room - round.written) {
                            signs.note_callback();
                        }
                        next = next.plus(self.period()).max(round.next);
                        sleep_until(next);
                    }
                    Err(error) => match self.remedy(error, restarted, &signs) {
                        Remedy::Restarted => {
                            drain.note_xrun();
                            restarted = true;
                        }
                        Remedy::Later => {}
                        Remedy::Gone => return,
                    },
                }
            }
        })
    }

    /// Hands over what there is, and as much silence as the card needs to go on until the next time: when a period is over and
    /// it holds no more than `enough`, in nanoseconds, if that is given.
    fn write<T: CardSample>(
        &self,
        io: &IO<'_, T>,
        block: &mut [T],
        drain: &mut Drain,
        enough: Option<i64>,
        restarted: bool,
    ) -> Result<Round, Error> {
        let rate = self.config.sample_rate;
        let (free, delay) = self.pcm.avail_delay()?;
        let (free, delay) = ((free.max(0) as u32).min(self.buffer), delay.max(0) as u32);
        let now = clock::now();
        let at = now.plus(frames_to_nanos(i64::from(delay), rate));
        // Some have more room than is of use.
        let most = (nanos_to_frames(PLAYBACK_DEPTH, rate) as u32).max(4 * self.period).min(self.buffer);
        // Some count in whole periods, and tell more finely what they have left to play.
        let counted = self.buffer - free;
        let queued = counted.min(delay.max(counted.saturating_sub(self.period)));
        let room = most.saturating_sub(queued).min(free);
        let enough = enough.map_or(most, |enough| (nanos_to_frames(enough, rate) as u32).max(self.least()));
        // There will be room for what is played until then.
        let enough = enough.min(most.saturating_sub(self.period));
        let queue = Queue { queued, delay, least: self.least(), enough, most, restarted };
        let written = drain.fill_ahead(&mut block[..self.samples(room)], queue, at, T::from_f32);
        let mut rest = &block[..self.samples(written)];
        while !rest.is_empty() {
            let taken = io.writei(rest)?;
            rest = &rest[self.samples(taken as u32)..];
        }
        if self.pcm.state() == State::Prepared {
            self.pcm.start()?;
        }
        let spare = (queued + written).saturating_sub(enough);
        Ok(Round { room, written, next: now.plus(frames_to_nanos(i64::from(spare), rate)) })
    }

    /// What a playback holds at least when its thread goes to sleep, in frames: what is played meanwhile, the step in which the card
    /// shows how far it has come, and what it takes to be woken.
    fn least(&self) -> u32 {
        let waking = self.period / WAKING_SHARE + nanos_to_frames(WAKING, self.config.sample_rate) as u32;
        (2 * self.period + waking).min(self.buffer)
    }

    fn samples(&self, frames: u32) -> usize {
        frames as usize * usize::from(self.config.channels)
    }

    /// Has the card take calls again; `restarted` where it has taken none since it ran anew.
    fn remedy(&self, error: Error, restarted: bool, signs: &Signs) -> Remedy {
        let again = |done: Result<(), Error>| if done.is_ok() { Remedy::Restarted } else { Remedy::Later };
        let remedy = match (error.errno(), self.pcm.state()) {
            (libc::ENODEV, _) | (_, State::Disconnected) => {
                signs.note_gone();
                return Remedy::Gone;
            }
            (libc::EPIPE, _) | (_, State::XRun) => again(self.pcm.prepare()),
            // Where it cannot take up where it was, it begins anew.
            (libc::ESTRPIPE, _) | (_, State::Suspended) => match self.pcm.resume() {
                Err(error) if error.errno() == libc::EAGAIN => Remedy::Later,
                Ok(()) => Remedy::Restarted,
                Err(_) => again(self.pcm.prepare()),
            },
            _ => Remedy::Later,
        };
        signs.note_error();
        if restarted || remedy == Remedy::Later {
            sleep(PAUSE);
        }
        remedy
    }
}
