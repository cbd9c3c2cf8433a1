//! Membership for one source as other systems have it in common: IPv4 alone, by an interface's address.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::interface::Interface;

/// Joins or leaves a group on an interface, for what one source sends.
pub(super) fn change(
    socket: &socket2::Socket,
    join: bool,
    interface: &Interface,
    group: IpAddr,
    from: IpAddr,
) -> io::Result<()> {
    let (IpAddr::V4(group), IpAddr::V4(from)) = (group, from) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let address = interface.v4().unwrap_or(Ipv4Addr::UNSPECIFIED);
    if join {
        socket.join_ssm_v4(&from, &group, &address)
    } else {
        socket.leave_ssm_v4(&from, &group, &address)
    }
}
