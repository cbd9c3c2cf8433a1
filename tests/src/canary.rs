//! Whether the machine itself stood still, so that a late program is not to blame: on each processor that programs may run on, a
//! real-time thread that does nothing but sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long each of them sleeps at a time.
const NAP: Duration = Duration::from_millis(1);

/// The threads. Dropping this ends them.
pub struct Canaries {
    stalls: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
}

impl Canaries {
    /// Starts one on each processor. Waking up later than by `stall` is one.
    pub fn start(stall: Duration) -> Self {
        let canaries = Self { stalls: Arc::default(), stop: Arc::default() };
        for processor in processors() {
            let (stalls, stop) = (canaries.stalls.clone(), canaries.stop.clone());
            std::thread::spawn(move || {
                pin(processor);
                os::realtime::promote();
                while !stop.load(Relaxed) {
                    let start = Instant::now();
                    std::thread::sleep(NAP);
                    stalls.fetch_add(u32::from(start.elapsed() > NAP + stall), Relaxed);
                }
            });
        }
        canaries
    }

    /// How often one of them woke up late, so far.
    pub fn stalls(&self) -> u32 {
        self.stalls.load(Relaxed)
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// Those that this thread may run on.
fn processors() -> impl Iterator<Item = usize> {
    let allowed = sched_getaffinity(None).expect("a thread may know where it runs");
    (0..CpuSet::MAX_CPU).filter(move |processor| allowed.is_set(*processor))
}

/// Keeps this thread on one processor.
fn pin(processor: usize) {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).expect("it is one of those that are allowed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::skip;

    #[test]
    fn a_stall_of_any_processor_is_seen() {
        const STALL: Duration = Duration::from_millis(10);
        for processor in processors() {
            let canaries = Canaries::start(STALL);
            let hog = std::thread::spawn(move || {
                pin(processor);
                // Let the one that is watched begin.
                std::thread::sleep(10 * NAP);
                let real_time = os::realtime::promote();
                let start = Instant::now();
                while start.elapsed() < 2 * STALL + NAP {
                    std::hint::spin_loop();
                }
                real_time
            });
            if !hog.join().expect("it only spins") {
                return skip("real-time priority is not given here");
            }
            std::thread::sleep(10 * NAP);
            assert!(canaries.stalls() > 0, "processor {processor}");
        }
    }
}
