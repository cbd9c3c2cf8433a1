//! Membership for one source, of either family, by an interface's index (RFC 3678, section 5.2).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::SockAddr;

use crate::interface::Interface;

/// Joins or leaves a group on an interface, for what one source sends.
pub(super) fn change(
    socket: &socket2::Socket,
    join: bool,
    interface: &Interface,
    group: IpAddr,
    from: IpAddr,
) -> io::Result<()> {
    let option = if join { libc::MCAST_JOIN_SOURCE_GROUP } else { libc::MCAST_LEAVE_SOURCE_GROUP };
    let level = if group.is_ipv4() { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
    let request = libc::group_source_req {
        gsr_interface: interface.index,
        gsr_group: storage(group),
        gsr_source: storage(from),
    };
    let length = size_of_val(&request) as libc::socklen_t;
    // SAFETY: the descriptor is open, pointer and length describe `request`.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const request).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn storage(address: IpAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    // SAFETY: zeros are a valid value of this plain C structure.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    // SAFETY: both are valid for the address's length, which is at most that of any address, and do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            (&raw mut storage).cast::<u8>(),
            address.len() as usize,
        );
    }
    storage
}
