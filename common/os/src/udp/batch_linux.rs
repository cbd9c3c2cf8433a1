//! Several datagrams in one system call.

use std::mem::MaybeUninit;

use super::{Queued, Socket};

/// Datagrams in a system call.
pub(super) const AT_ONCE: usize = 32;

/// Sends from the front, at most [`AT_ONCE`], until one is refused. Returns how many went. The headers are built on the stack.
pub(super) fn send(socket: &Socket, octets: &[u8], queue: &[Queued]) -> usize {
    // SAFETY: both are plain C structures for which all zeros is a valid value.
    let mut vectors: [libc::iovec; AT_ONCE] = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; AT_ONCE] = unsafe { MaybeUninit::zeroed().assume_init() };
    for ((header, vector), queued) in headers.iter_mut().zip(&mut vectors).zip(queue) {
        let bytes = &octets[queued.start..queued.start + queued.length];
        // The kernel only reads through these pointers; C has no way to say so.
        vector.iov_base = bytes.as_ptr().cast_mut().cast();
        vector.iov_len = bytes.len();
        header.msg_hdr.msg_name = queued.to.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = queued.to.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the first `queue.len()` headers point at octets and addresses that are borrowed for this call.
    let went = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), queue.len().min(AT_ONCE) as libc::c_uint, 0)
    };
    usize::try_from(went).unwrap_or(0)
}
