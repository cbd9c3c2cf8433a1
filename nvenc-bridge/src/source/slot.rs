//! One place between two threads: the newest picture, and no other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::picture::Picture;

/// What the place holds.
#[derive(Debug, Default)]
struct Held {
    picture: Option<Picture>,
    /// Memory of a picture that was taken, to be written again.
    spare: Option<Vec<u8>>,
    ended: Option<Result<(), String>>,
}

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<Held>,
    news: Condvar,
    counters: Arc<Counters>,
}

/// What a source has done.
#[derive(Debug, Default)]
pub struct Counters {
    /// Pictures that were given out.
    pub given: AtomicU64,
    /// Pictures that nobody took before the next one came.
    pub dropped: AtomicU64,
    /// Pictures whose time had passed when their turn came.
    pub missed: AtomicU64,
}

/// The end that gives pictures.
#[derive(Debug)]
pub struct Giver(Arc<Shared>);

/// The end that takes them.
#[derive(Debug)]
pub struct Taker(Arc<Shared>);

/// What a taker finds.
#[derive(Debug)]
pub enum Found {
    /// The newest picture.
    Picture(Picture),
    /// None yet.
    Nothing,
    /// There will be none any more; the error in one line where the source failed.
    End(Result<(), String>),
}

/// An empty place, and where is counted what it is used for.
pub fn slot(counters: Arc<Counters>) -> (Giver, Taker) {
    let shared = Arc::new(Shared { counters, ..Shared::default() });
    (Giver(shared.clone()), Taker(shared))
}

impl Giver {
    /// Puts a picture there, in place of one that was not taken. Memory for the next.
    pub fn give(&self, picture: Picture) -> Vec<u8> {
        let mut held = self.0.lock();
        let counters = &self.0.counters;
        counters.given.fetch_add(1, Ordering::Relaxed);
        let old = held.picture.replace(picture);
        self.0.news.notify_one();
        match old {
            Some(old) => {
                counters.dropped.fetch_add(1, Ordering::Relaxed);
                old.data
            }
            None => held.spare.take().unwrap_or_default(),
        }
    }

    /// Counts pictures that were left out.
    pub fn miss(&self, pictures: u64) {
        self.0.counters.missed.fetch_add(pictures, Ordering::Relaxed);
    }

    /// Says that no more will come, and why.
    pub fn end(&self, reason: Result<(), String>) {
        self.0.lock().ended = Some(reason);
        self.0.news.notify_all();
    }
}

impl Taker {
    /// Takes the picture that is there, or waits for one so long.
    pub fn take(&self, timeout: Duration) -> Found {
        let held = self.0.lock();
        let empty = |held: &mut Held| held.picture.is_none() && held.ended.is_none();
        let waited = self.0.news.wait_timeout_while(held, timeout, empty);
        let (mut held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (held.picture.take(), &held.ended) {
            (Some(picture), _) => Found::Picture(picture),
            (None, Some(reason)) => Found::End(reason.clone()),
            (None, None) => Found::Nothing,
        }
    }

    /// Gives a picture's memory back.
    pub fn reuse(&self, picture: Picture) {
        self.0.lock().spare = Some(picture.data);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // What is held is whole at any time, also where a thread has ended while it held the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Format, Size};

    fn picture(number: u64) -> Picture {
        let size = Size { width: 2, height: 2 };
        Picture { format: Format::I420, size, data: vec![number as u8; 6], at: Duration::ZERO, number }
    }

    #[test]
    fn the_newest_picture_takes_the_place_of_one_that_was_not_taken() {
        let counters = Arc::<Counters>::default();
        let (giver, taker) = slot(counters.clone());
        assert!(matches!(taker.take(Duration::ZERO), Found::Nothing));
        giver.give(picture(0));
        let memory = giver.give(picture(1));
        assert_eq!(memory, [0; 6]);
        let Found::Picture(taken) = taker.take(Duration::ZERO) else { panic!("it was there") };
        assert_eq!(taken.number, 1);
        taker.reuse(taken);
        assert_eq!(giver.give(picture(2)), [1; 6]);
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((counted(&counters.given), counted(&counters.dropped)), (3, 1));
    }

    #[test]
    fn the_last_picture_comes_before_the_end() {
        let (giver, taker) = slot(Arc::default());
        giver.give(picture(0));
        giver.end(Err("broken".into()));
        assert!(matches!(taker.take(Duration::ZERO), Found::Picture(_)));
        assert!(matches!(taker.take(Duration::ZERO), Found::End(Err(reason)) if reason == "broken"));
    }
}
