//! Looks every millisecond: for systems where nothing waits for sockets and wake-ups at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::udp::Socket;

const STEP: Duration = Duration::from_millis(1);

#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<AtomicBool>);

#[derive(Debug)]
pub(super) struct Wakeup(Arc<AtomicBool>);

pub(super) fn pair() -> io::Result<(Waker, Wakeup)> {
    let flag = Arc::new(AtomicBool::new(false));
    Ok((Waker(flag.clone()), Wakeup(flag)))
}

impl Waker {
    pub(super) fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Wakeup {
    pub(super) fn wait(&self, sockets: &[Socket], timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let readable = sockets.iter().any(Socket::is_readable);
            let left = deadline.saturating_duration_since(Instant::now());
            if readable || self.0.swap(false, Ordering::Acquire) || left.is_zero() {
                return readable;
            }
            std::thread::sleep(left.min(STEP));
        }
    }
}
