//! One system call for each datagram.

use super::{Queued, Socket};

/// Datagrams in a system call.
pub(super) const AT_ONCE: usize = 1;

/// Sends from the front until one is refused. Returns how many went.
pub(super) fn send(socket: &Socket, octets: &[u8], queue: &[Queued]) -> usize {
    let send = |queued: &&Queued| {
        socket.inner.send_to(&octets[queued.start..queued.start + queued.length], &queued.to).is_ok()
    };
    queue.iter().take_while(send).count()
}
