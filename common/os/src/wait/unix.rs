//! One `ppoll` over the sockets and a descriptor that a waker writes to: an eventfd on Linux, a pipe elsewhere.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::udp::Socket;

/// Sockets waited for at most; a sender has one for each address family and interface.
const MAX_SOCKETS: usize = 15;

#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<OwnedFd>);

#[derive(Debug)]
pub(super) struct Wakeup(Arc<OwnedFd>);

#[cfg(target_os = "linux")]
pub(super) fn pair() -> io::Result<(Waker, Wakeup)> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    let fd = Arc::new(owned(fd)?);
    Ok((Waker(fd.clone()), Wakeup(fd)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pair() -> io::Result<(Waker, Wakeup)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors that pipe writes.
    if unsafe { libc::pipe(fds.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (read, write) = (owned(fds[0])?, owned(fds[1])?);
    for fd in &fds {
        // SAFETY: both descriptors are open and owned above.
        unsafe {
            libc::fcntl(*fd, libc::F_SETFL, libc::O_NONBLOCK);
            libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok((Waker(Arc::new(write)), Wakeup(Arc::new(read))))
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Waker {
    pub(super) fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is valid for its length. A full counter or pipe refuses, and is a wake-up already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl Wakeup {
    pub(super) fn wait(&self, sockets: &[Socket], timeout: Duration) -> bool {
        let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut fds = [entry(-1); MAX_SOCKETS + 1];
        fds[0] = entry(self.0.as_raw_fd());
        for (slot, socket) in fds[1..].iter_mut().zip(sockets) {
            *slot = entry(socket.as_raw_fd());
        }
        let used = &mut fds[..=sockets.len().min(MAX_SOCKETS)];
        poll(used, timeout);
        if fds[0].revents != 0 {
            self.drain();
        }
        fds[1..].iter().any(|socket| socket.revents != 0)
    }

    fn drain(&self) {
        let mut sink = [0u8; 64];
        // SAFETY: the buffer is valid for its length; the descriptor does not block. What a pipe still holds wakes again.
        unsafe { libc::read(self.0.as_raw_fd(), sink.as_mut_ptr().cast(), sink.len()) };
    }
}

#[cfg(target_os = "linux")]
fn poll(fds: &mut [libc::pollfd], timeout: Duration) {
    let seconds = timeout.as_secs().min(3600) as libc::time_t;
    // SAFETY: a timespec of zeros is a valid value; some systems have padding fields that cannot be named.
    let mut limit: libc::timespec = unsafe { std::mem::zeroed() };
    limit.tv_sec = seconds;
    limit.tv_nsec = timeout.subsec_nanos() as _;
    // SAFETY: pointer and length describe `fds`, `limit` outlives the call, no signal mask is given.
    unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &limit, std::ptr::null()) };
}

#[cfg(not(target_os = "linux"))]
fn poll(fds: &mut [libc::pollfd], timeout: Duration) {
    let millis = timeout.as_micros().div_ceil(1000).min(3_600_000) as libc::c_int;
    // SAFETY: pointer and length describe `fds`.
    unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, millis) };
}
