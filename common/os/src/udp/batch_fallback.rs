//! One system call for each datagram.

use super::{Queued, Socket};

pub(super) struct Batch;

impl Batch {
    /// Sends from the front until one is refused. Returns how many went.
    pub(super) fn send(&mut self, socket: &Socket, octets: &[u8], queue: &[Queued]) -> usize {
        let send = |queued: &&Queued| {
            socket.inner.send_to(&octets[queued.start..queued.start + queued.length], &queued.to).is_ok()
        };
        queue.iter().take_while(send).count()
    }
}
