//! `sendmmsg` with generic segmentation offload (`UDP_SEGMENT`, Linux 4.18): the kernel carries a run as one datagram as far down
//! as it can, and cuts it there.

use std::io;
use std::mem::MaybeUninit;

use super::{Destination, Failure, Refusal, Run};
use crate::udp::Socket;

/// Destinations in a system call.
const AT_ONCE: usize = 64;

/// Octets of the control message that holds the length of a datagram, a 16-bit number.
// SAFETY: computes a length and touches no memory.
const CONTROL: usize = unsafe { libc::CMSG_SPACE(size_of::<u16>() as u32) } as usize;

/// As C wants the room of control messages to be aligned.
#[repr(C)]
union Control {
    _header: libc::cmsghdr,
    octets: [u8; CONTROL],
}

/// Sends a run to destinations from the front, at most [`AT_ONCE`], until one is refused. Returns how many it went to, never 0
/// where there are any.
pub(super) fn send(socket: &Socket, run: Run<'_>, to: &[Destination]) -> Result<usize, Failure> {
    let segmented = run.octets.len() > run.length;
    let mut control = Control { octets: [0; CONTROL] };
    let mut vector =
        libc::iovec { iov_base: run.octets.as_ptr().cast_mut().cast(), iov_len: run.octets.len() };
    // SAFETY: plain C structures for which all zeros is a valid value.
    let mut headers: [libc::mmsghdr; AT_ONCE] = unsafe { MaybeUninit::zeroed().assume_init() };
    // All headers share one vector and one control message: the kernel only reads through these pointers.
    for (header, destination) in headers.iter_mut().zip(to) {
        header.msg_hdr.msg_name = destination.0.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = destination.0.len();
        header.msg_hdr.msg_iov = &raw mut vector;
        header.msg_hdr.msg_iovlen = 1;
        if segmented {
            header.msg_hdr.msg_control = (&raw mut control).cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
        }
    }
    if segmented {
        write(&headers[0].msg_hdr, run.length as u16);
    }
    let count = to.len().min(AT_ONCE);
    // SAFETY: the first `count` headers point at octets, addresses and a control message that outlive this call.
    let went = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0) };
    if let Ok(went) = usize::try_from(went) {
        return Ok(went);
    }
    Err(match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Failure::Refused(Refusal::Full),
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::ENOPROTOOPT) if segmented => Failure::Uncut,
        _ => Failure::Refused(Refusal::Other),
    })
}

/// Writes the control message that a header has room for.
fn write(header: &libc::msghdr, length: u16) {
    // SAFETY: the header's control room is a `Control`, aligned and long enough for one message of 16 bits, so that the first
    // message is there and its data lie within.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(length);
    }
}
