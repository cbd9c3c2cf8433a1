//! The thread between a source and whoever encodes its pictures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::pace::{self, Arrival, Clock, Wanted};
use super::slot::{self, Counters, Giver, Taker};
use super::spec::Spec;
use super::{Pacing, Reader, Shape};
use crate::picture::{Picture, Rate};

/// A source that runs. Dropping it stops the thread.
pub struct Feed {
    /// Where its pictures are taken.
    pub pictures: Taker,
    /// Of the first of them.
    pub shape: Shape,
    /// Pictures a second.
    pub rate: Arc<Wanted>,
    stop: Arc<AtomicBool>,
}

/// A source that is open and has not begun.
pub struct Opened {
    reader: Box<dyn Reader>,
    stop: Arc<AtomicBool>,
}

/// Now, on the clock of [`os::clock`].
pub fn now() -> Duration {
    Duration::from_nanos(os::clock::now().0.max(0) as u64)
}

impl Opened {
    /// Opens a source, and waits until it says what its pictures are like, or until `stop` is set.
    ///
    /// # Errors
    /// As [`Spec::open`].
    pub fn new(spec: &Spec, stop: Arc<AtomicBool>) -> Result<Self, String> {
        Ok(Self { reader: spec.open(stop.clone())?, stop })
    }

    /// Of its pictures.
    pub fn shape(&self) -> Shape {
        self.reader.shape()
    }

    /// Begins, at so many pictures a second, and counts what comes.
    ///
    /// # Errors
    /// One line, where the system has no threads left.
    pub fn begin(self, rate: Rate, counters: Arc<Counters>) -> Result<Feed, String> {
        let Self { mut reader, stop } = self;
        let shape = reader.shape();
        let (giver, pictures) = slot::slot(counters);
        let rate = Arc::new(Wanted::new(rate));
        let (stopped, wanted) = (stop.clone(), rate.clone());
        // It is not waited for: standard input may keep it for ever.
        let work = move || {
            let ended = match reader.pace() {
                Pacing::Clock => clocked(&mut *reader, &wanted, &giver, &stopped),
                Pacing::Arrival | Pacing::Live => arriving(&mut *reader, &wanted, &giver, &stopped),
            };
            giver.end(ended);
        };
        std::thread::Builder::new()
            .name("pictures".into())
            .spawn(work)
            .map_err(|error| format!("pictures: {error}"))?;
        Ok(Feed { pictures, shape, rate, stop })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Reads ahead by one picture, and gives each at its time.
fn clocked(reader: &mut dyn Reader, wanted: &Wanted, giver: &Giver, stop: &AtomicBool) -> Result<(), String> {
    let mut rate = wanted.get();
    let (mut shown, mut memory) = (Vec::new(), Vec::new());
    if !reader.read(&mut shown, 0)? {
        return Ok(());
    }
    // Pictures read, and those of them that stood before the first one at this rate.
    let (mut read, mut before) = (1, 0);
    let mut clock = Clock::new(rate, now());
    while !stop.load(Ordering::Relaxed) {
        if wanted.get() != rate {
            rate = wanted.get();
            before = read;
            clock.change(rate);
        }
        let turn = clock.turn(now());
        giver.miss(turn.missed);
        let own = reader.shape().rate.unwrap_or(rate);
        let place = before + pace::index(rate, own, turn.since);
        if place >= read {
            if !reader.read(&mut shown, place - read)? {
                break;
            }
            read = place + 1;
        }
        let lasts = before + pace::index(rate, own, turn.since + 1) < read;
        let data = if lasts {
            memory.clone_from(&shown);
            std::mem::take(&mut memory)
        } else {
            std::mem::take(&mut shown)
        };
        std::thread::sleep(turn.at.saturating_sub(now()));
        let Shape { format, size, .. } = reader.shape();
        let spare = giver.give(Picture { format, size, data, at: turn.at, number: turn.number });
        *(if lasts { &mut memory } else { &mut shown }) = spare;
    }
    Ok(())
}

/// Gives each as it comes; those of a device that come too early are left out.
fn arriving(
    reader: &mut dyn Reader,
    wanted: &Wanted,
    giver: &Giver,
    stop: &AtomicBool,
) -> Result<(), String> {
    let mut pace = Arrival::default();
    let mut data = Vec::new();
    let mut number = 0;
    while reader.read(&mut data, 0)? && !stop.load(Ordering::Relaxed) {
        let (rate, came) = (wanted.get(), now());
        if reader.pace() == Pacing::Live && pace.is_early(rate, came) {
            continue;
        }
        std::thread::sleep(pace.wait(rate, came));
        let Shape { format, size, .. } = reader.shape();
        data = giver.give(Picture { format, size, data, at: now(), number });
        number += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
