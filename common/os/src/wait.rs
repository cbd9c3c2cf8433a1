//! Waiting for a datagram, a wake-up or a deadline, whichever comes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::udp::Socket;

#[cfg(all(unix, not(feature = "fallback")))]
#[path = "wait/unix.rs"]
mod system;
#[cfg(not(all(unix, not(feature = "fallback"))))]
#[path = "wait/fallback.rs"]
mod system;

/// The end that wakes. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Waker {
    system: system::Waker,
    /// The other end sleeps, and is not to be nudged.
    sleeps: Arc<AtomicBool>,
}

/// The end that waits.
#[derive(Debug)]
pub struct Wakeup {
    system: system::Wakeup,
    sleeps: Arc<AtomicBool>,
}

/// A waker and what it wakes.
///
/// # Errors
/// Where the system has no descriptors left.
pub fn pair() -> std::io::Result<(Waker, Wakeup)> {
    let (waker, wakeup) = system::pair()?;
    let sleeps = Arc::new(AtomicBool::new(false));
    Ok((Waker { system: waker, sleeps: sleeps.clone() }, Wakeup { system: wakeup, sleeps }))
}

impl Waker {
    /// Wakes the other end, or has its next wait return at once. Never blocks: fit for an audio callback.
    pub fn wake(&self) {
        self.system.wake();
    }

    /// Wakes the other end from a [wait](Wakeup::wait), and leaves it alone where it [sleeps](Wakeup::sleep). One that comes as a sleep
    /// ends may go unnoticed.
    pub fn nudge(&self) {
        if !self.sleeps.load(Ordering::Acquire) {
            self.wake();
        }
    }
}

impl Wakeup {
    /// Returns when a socket has a datagram, when woken, or after `timeout`. Whether a socket has a datagram.
    pub fn wait(&self, sockets: &[Socket], timeout: Duration) -> bool {
        self.system.wait(sockets, timeout)
    }

    /// Returns after `time`, or when woken; nudges do not count.
    pub fn sleep(&self, time: Duration) {
        self.sleeps.store(true, Ordering::Release);
        self.wait(&[], time);
        self.sleeps.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_wake_up_before_the_wait_is_not_lost() {
        let (waker, wakeup) = pair().unwrap();
        waker.wake();
        let start = Instant::now();
        assert!(!wakeup.wait(&[], Duration::from_secs(20)));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_sleep_is_ended_by_waking_and_not_by_nudging() {
        let (waker, wakeup) = pair().unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !wakeup.sleeps.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                waker.nudge();
                std::thread::sleep(Duration::from_millis(20));
                waker.wake();
            });
            wakeup.sleep(Duration::from_secs(20));
        });
        assert!((20..10_000).contains(&start.elapsed().as_millis()));
        waker.nudge();
        assert!(!wakeup.wait(&[], Duration::from_secs(20)));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_datagram_ends_the_wait() {
        let (_waker, wakeup) = pair().unwrap();
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        other.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        let start = Instant::now();
        assert!(wakeup.wait(std::slice::from_ref(&socket), Duration::from_secs(20)));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn the_deadline_ends_it_too() {
        let (_waker, wakeup) = pair().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            wakeup.wait(&[], Duration::from_millis(20).saturating_sub(start.elapsed()));
        }
    }
}
