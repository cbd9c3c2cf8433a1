//! Waiting for a datagram, a wake-up or a deadline, whichever comes first.

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
pub struct Waker(system::Waker);

/// The end that waits.
#[derive(Debug)]
pub struct Wakeup(system::Wakeup);

/// A waker and what it wakes.
///
/// # Errors
/// Where the system has no descriptors left.
pub fn pair() -> std::io::Result<(Waker, Wakeup)> {
    let (waker, wakeup) = system::pair()?;
    Ok((Waker(waker), Wakeup(wakeup)))
}

impl Waker {
    /// Wakes the other end, or has its next wait return at once. Never blocks: fit for an audio callback.
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl Wakeup {
    /// Returns when a socket has a datagram, when woken, or after `timeout`. Whether a socket has a datagram.
    pub fn wait(&self, sockets: &[Socket], timeout: Duration) -> bool {
        self.0.wait(sockets, timeout)
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
