//! Sockets of multicast groups that programs of one machine share: for announcements, not for media.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// A socket that takes what is sent to these groups on this port, over the network that has the default way and within this
/// machine. Others may listen on the same port. Groups that cannot be joined here are left out.
///
/// # Errors
/// The system's: it has no such address family, the port is taken by a program that does not share it, or no group could be
/// joined.
pub fn listen(port: u16, groups: &[IpAddr]) -> io::Result<UdpSocket> {
    let v6 = groups.first().is_some_and(IpAddr::is_ipv6);
    let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let address = SocketAddr::new(any, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if v6 {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    let mut joined = Err(io::ErrorKind::AddrNotAvailable.into());
    for group in groups {
        joined = match group {
            IpAddr::V4(group) => {
                let outside = socket.join_multicast_v4(group, &Ipv4Addr::UNSPECIFIED);
                let inside = socket.join_multicast_v4(group, &Ipv4Addr::LOCALHOST);
                joined.or(outside).or(inside)
            }
            IpAddr::V6(group) => joined.or(socket.join_multicast_v6(group, 0)),
        };
    }
    joined.map(|()| socket.into())
}

/// A socket that sends to groups from this address, with as many hops as there can be: those who listen on this machine get
/// it too. An address that is unspecified leaves the way to the system.
///
/// # Errors
/// The system's, unchanged.
pub fn speak(from: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(from, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&SockAddr::from(address))?;
    match from {
        IpAddr::V4(from) => {
            socket.set_multicast_if_v4(&from)?;
            socket.set_multicast_ttl_v4(255)?;
        }
        IpAddr::V6(_) => socket.set_multicast_hops_v6(255)?,
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_told_to_a_group_is_heard_by_everybody_on_this_machine() {
        let group: IpAddr = Ipv4Addr::new(239, 255, 77, 77).into();
        let ears: Vec<_> = (0..2).map(|_| listen(52_177, &[group]).unwrap()).collect();
        let mouth = speak(Ipv4Addr::LOCALHOST.into()).unwrap();
        mouth.send_to(b"hark", (group, 52_177)).unwrap();
        for ear in ears {
            ear.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut octets = [0; 8];
            let (length, from) = ear.recv_from(&mut octets).unwrap();
            assert_eq!((&octets[..length], from), (&b"hark"[..], mouth.local_addr().unwrap()));
        }
    }
}
