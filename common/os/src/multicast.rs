//! Multicast: what a socket sends to groups, and membership in a group that outlasts its links.
//!
//! A group is joined on each interface by itself: what the system would choose may be another network. Who calls
//! [`Membership::refresh`] about twice a second has it noticed that a link or an interface came back: its state, its index and,
//! on Linux, the count of its link's changes are compared with those of the last time. The group is then left and joined anew,
//! so that the network hears of it at once: a switch forgets its members when their link goes down, and the system only tells
//! it again when an interface, not when its link, comes up.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::InterfaceIndexOrAddress;

use crate::interface::{self, Interface};
use crate::udp::{Socket, any};

#[cfg(all(target_os = "linux", not(feature = "fallback")))]
#[path = "multicast/linux.rs"]
mod source;
#[cfg(not(all(target_os = "linux", not(feature = "fallback"))))]
#[path = "multicast/fallback.rs"]
mod source;

/// How datagrams for groups leave.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Networks that they may cross: TTL of IPv4, hop limit of IPv6. 1 keeps them on the local one.
    pub ttl: u8,
    /// Programs on this machine get them too.
    pub loopback: bool,
    /// Where they leave; `None` leaves it to the system.
    pub interface: Option<Interface>,
}

impl Outgoing {
    pub(crate) fn apply(&self, socket: &socket2::Socket, v6: bool) -> io::Result<()> {
        if v6 {
            socket.set_multicast_hops_v6(self.ttl.into())?;
            socket.set_multicast_loop_v6(self.loopback)?;
            return self.interface.iter().try_for_each(|i| socket.set_multicast_if_v6(i.index));
        }
        socket.set_multicast_ttl_v4(self.ttl.into())?;
        socket.set_multicast_loop_v4(self.loopback)?;
        let Some(interface) = &self.interface else { return Ok(()) };
        let no_address = || io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no IPv4 address");
        socket.set_multicast_if_v4(&interface.v4().ok_or_else(no_address)?)
    }
}

/// A socket that hears a group together with others on this machine, and its membership there: for what `sources` send, or for
/// everybody where there are none; on the wanted interfaces, by name or address, or on every one.
/// [`refresh`](Membership::refresh) joins.
///
/// # Errors
/// The system's, unchanged: it has no such address family, or the port is taken by a program that does not share it.
pub fn listen(
    group: SocketAddr,
    sources: Vec<IpAddr>,
    wanted: Vec<String>,
) -> io::Result<(Socket, Membership)> {
    let socket = Socket::shared(listening_address(group))?;
    let handle = socket.share()?;
    Ok((socket, Membership { socket: handle, group: group.ip(), sources, wanted, joined: Vec::new() }))
}

/// A socket that announces to groups from this address, with as many hops as there can be: those who listen on this machine get
/// it too. An address that is unspecified leaves the way to the system.
///
/// # Errors
/// The system's, unchanged.
pub fn speak(from: IpAddr) -> io::Result<Socket> {
    let socket = Socket::bind(SocketAddr::new(from, 0))?;
    // Announcements can wait.
    let _ = socket.mark(0);
    socket.send_to_groups(&Outgoing { ttl: u8::MAX, loopback: true, interface: None })?;
    if let IpAddr::V4(from) = from {
        socket.share()?.set_multicast_if_v4(&from)?;
    }
    Ok(socket)
}

/// The address to bind a socket to that listens to a group: the group's own where the system allows that, so that nothing
/// else comes in on its port.
fn listening_address(group: SocketAddr) -> SocketAddr {
    // IPv6 groups of one interface or link can only be bound to together with it.
    let local = matches!(group, SocketAddr::V6(v6) if v6.ip().octets()[1] & 0xf <= 2);
    if cfg!(target_os = "linux") && !local { group } else { SocketAddr::new(any(group.ip()), group.port()) }
}

/// A socket's membership in a group.
#[derive(Debug)]
pub struct Membership {
    socket: socket2::Socket,
    group: IpAddr,
    /// Whom alone to hear, in the order of preference; everybody where empty.
    sources: Vec<IpAddr>,
    /// Names or addresses of interfaces; every one where empty.
    wanted: Vec<String>,
    joined: Vec<Interface>,
}

/// What became of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Joined on an interface.
    Joined(String),
    /// The interface is gone, or its link is.
    Lost(String),
}

impl Membership {
    /// Joins where it can be joined now and is not, joins anew where links came back, and tells of what changed.
    ///
    /// # Errors
    /// Where the group is joined nowhere: the reason, as the system has it.
    pub fn refresh(&mut self) -> Result<Vec<Change>, String> {
        let now = self.eligible();
        let mut changes = Vec::new();
        let same = |a: &Interface, b: &Interface| a.index == b.index && a.link_changes == b.link_changes;
        let (kept, lost): (Vec<_>, Vec<_>) = std::mem::take(&mut self.joined)
            .into_iter()
            .partition(|old| now.iter().any(|new| same(old, new)));
        self.joined = kept;
        for old in lost {
            // Where the interface is gone, so is the membership.
            let _ = self.change(false, &old);
            changes.push(Change::Lost(old.name));
        }
        let mut refused = None;
        for new in now {
            if self.joined.iter().any(|old| old.index == new.index) {
                continue;
            }
            match self.change(true, &new) {
                Ok(()) => {
                    changes.push(Change::Joined(new.name.clone()));
                    self.joined.push(new);
                }
                Err(error) => refused = Some(format!("{}: {error}", new.name)),
            }
        }
        if self.joined.is_empty() && changes.is_empty() {
            return Err(refused.unwrap_or_else(|| self.nowhere()));
        }
        Ok(changes)
    }

    fn nowhere(&self) -> String {
        match &self.wanted[..] {
            [] => "no network interface is up".into(),
            wanted => format!("{} is not there, or not up", wanted.join(", ")),
        }
    }

    fn eligible(&self) -> Vec<Interface> {
        let all = interface::all();
        if all.is_empty() && self.wanted.is_empty() {
            return vec![unnamed()];
        }
        let family = |i: &Interface| i.addresses.iter().any(|a| a.is_ipv4() == self.group.is_ipv4());
        let wanted = |i: &Interface| match &self.wanted[..] {
            [] => i.multicast || i.loopback,
            wanted => wanted.iter().any(|text| i.is_called(text)),
        };
        all.into_iter().filter(|i| i.running && family(i) && wanted(i)).collect()
    }

    fn change(&self, join: bool, interface: &Interface) -> io::Result<()> {
        let socket = &self.socket;
        if !self.sources.is_empty() {
            let change = |from: &IpAddr| source::change(socket, join, interface, self.group, *from);
            return self.sources.iter().try_for_each(change);
        }
        let index = interface.index;
        match (self.group, InterfaceIndexOrAddress::Index(index)) {
            (IpAddr::V4(group), index) if join => socket.join_multicast_v4_n(&group, &index),
            (IpAddr::V4(group), index) => socket.leave_multicast_v4_n(&group, &index),
            (IpAddr::V6(group), _) if join => socket.join_multicast_v6(&group, index),
            (IpAddr::V6(group), _) => socket.leave_multicast_v6(&group, index),
        }
    }
}

/// Whichever interface the system chooses.
fn unnamed() -> Interface {
    Interface {
        name: "the system's choice".into(),
        index: 0,
        addresses: Vec::new(),
        running: true,
        multicast: true,
        loopback: false,
        link_changes: 0,
    }
}

#[cfg(all(test, target_os = "linux", not(feature = "fallback")))]
mod tests {
    use super::*;
    use crate::udp::Inbox;

    /// A socket that listens to a group on the loopback, for `sources`.
    fn ear(group: SocketAddr, sources: &[&str]) -> (Socket, Membership) {
        let sources = sources.iter().map(|text| text.parse().unwrap()).collect();
        let (socket, mut membership) = listen(group, sources, vec!["lo".into()]).unwrap();
        assert_eq!(membership.refresh(), Ok(vec![Change::Joined("lo".into())]));
        assert_eq!(membership.refresh(), Ok(vec![]));
        (socket, membership)
    }

    fn heard(socket: &Socket) -> usize {
        let mut count = 0;
        Inbox::default().receive(socket, |_, _, datagram| {
            assert_eq!(datagram, b"hark");
            count += 1;
        });
        count
    }

    fn mouth(from: &str) -> Socket {
        let socket = Socket::bind(from.parse().unwrap()).unwrap();
        let interface = Some(interface::find("lo").unwrap());
        socket.send_to_groups(&Outgoing { ttl: 1, loopback: true, interface }).unwrap();
        socket
    }

    #[test]
    fn everybody_on_a_machine_who_has_joined_hears_it() {
        let group = "239.255.77.78:52178".parse().unwrap();
        let ears = [ear(group, &[]), ear(group, &[])];
        assert!(mouth("127.0.0.1:0").send(b"hark", group));
        assert_eq!(ears.each_ref().map(|(socket, _)| heard(socket)), [1, 1]);
        assert!(speak([127, 0, 0, 1].into()).unwrap().send(b"hark", group));
        assert_eq!(ears.each_ref().map(|(socket, _)| heard(socket)), [1, 1]);
    }

    #[test]
    fn ipv6_groups_of_one_link_are_listened_to_by_their_port() {
        for (group, bound) in
            [("[ff15::1]:9", "[ff15::1]:9"), ("[ff02::1]:9", "[::]:9"), ("[ff11::1]:9", "[::]:9")]
        {
            let address = listening_address(group.parse().unwrap());
            assert_eq!(address, bound.parse().unwrap());
        }
    }

    #[test]
    fn other_sources_than_those_asked_for_are_not_heard() {
        let group = "232.1.77.79:52179".parse().unwrap();
        let (socket, _membership) = ear(group, &["127.0.0.1"]);
        assert!(mouth("127.0.0.2:0").send(b"hark", group));
        assert_eq!(heard(&socket), 0);
        assert!(mouth("127.0.0.1:0").send(b"hark", group));
        assert_eq!(heard(&socket), 1);
    }

    #[test]
    fn an_interface_that_is_not_there_is_said_and_waited_for() {
        let group = "239.255.77.80:52180".parse().unwrap();
        let (_socket, mut membership) = listen(group, Vec::new(), vec!["nowhere0".into()]).unwrap();
        for _ in 0..2 {
            assert_eq!(membership.refresh(), Err("nowhere0 is not there, or not up".into()));
        }
    }
}
