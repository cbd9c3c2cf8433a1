//! Sockets for datagrams: two for each address that clients connect to, two for each group.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use os::fan::{Destination, Fan, Refusal, Run};
use os::multicast::Outgoing;
use os::udp::Socket;

use crate::rtsp::{self, Group};

/// Assured forwarding for interactive pictures (RFC 4594, section 4.3).
const AF41: u8 = 34;
/// Pairs of ports that are tried until both of one are free.
const TRIES: usize = 64;
/// Sockets for reports have tokens from here on.
pub(super) const FIRST_TOKEN: usize = 32;
/// Pairs at most, so that tokens do not reach those of connections.
const MAX_PAIRS: usize = 512;

struct Pair {
    packets: Socket,
    reports: UdpSocket,
    token: usize,
}

/// Where a pair of sockets is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// For clients that have connected to this address.
    Local(IpAddr),
    /// For a group.
    Group(IpAddr, u16),
}

#[derive(Default)]
pub(super) struct Sockets {
    pairs: BTreeMap<Place, Pair>,
    fan: Fan,
    next: usize,
}

impl Sockets {
    /// Opens the sockets of a place unless they are.
    pub(super) fn open(
        &mut self,
        place: Place,
        group: Option<&Group>,
        registry: &Registry,
    ) -> io::Result<()> {
        if self.pairs.contains_key(&place) {
            return Ok(());
        }
        if self.pairs.len() >= MAX_PAIRS {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let (packets, mut reports) = match place {
            Place::Local(local) => pair(local)?,
            Place::Group(address, _) => outgoing(address, group.map_or(1, |group| group.ttl))?,
        };
        let token = FIRST_TOKEN + self.next % (super::connections::FIRST_TOKEN - FIRST_TOKEN);
        self.next += 1;
        registry.register(&mut reports, Token(token), Interest::READABLE)?;
        let _ = packets.mark(AF41);
        self.pairs.insert(place, Pair { packets, reports, token });
        Ok(())
    }

    /// Closes those that no place needs any longer.
    pub(super) fn keep(&mut self, needed: impl Fn(&Place) -> bool) {
        self.pairs.retain(|place, _| needed(place));
    }

    /// Sends a run; `refused` is told of each destination that did not get all of it.
    pub(super) fn send(
        &mut self,
        place: Place,
        run: Run<'_>,
        to: &[Destination],
        refused: impl FnMut(usize, Refusal),
    ) {
        if let Some(pair) = self.pairs.get(&place) {
            self.fan.send(&pair.packets, run, to, refused);
        }
    }

    /// Sends a report.
    pub(super) fn report(&self, place: Place, report: &[u8], to: SocketAddr) {
        if let Some(pair) = self.pairs.get(&place) {
            // One that is lost is followed by the next.
            let _ = pair.reports.send_to(report, to);
        }
    }

    /// Fetches a report that has come in.
    pub(super) fn fetch(&self, token: usize, room: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let pair = self.pairs.values().find(|pair| pair.token == token)?;
        loop {
            match pair.reports.recv_from(room) {
                Ok((length, from)) => return Some((length, from)),
                // An earlier report has found nobody; those that wait are still wanted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(_) => return None,
            }
        }
    }
}

/// Two ports in a row, the first of them even (RFC 3550, section 11).
fn pair(local: IpAddr) -> io::Result<(Socket, UdpSocket)> {
    let mut error = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let packets = Socket::bind((local, 0).into())?;
        let port = packets.local_addr()?.port();
        if !port.is_multiple_of(2) {
            continue;
        }
        match UdpSocket::bind((local, port + 1).into()) {
            Ok(reports) => return Ok((packets, reports)),
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

fn outgoing(group: IpAddr, ttl: u8) -> io::Result<(Socket, UdpSocket)> {
    let any: IpAddr = if group.is_ipv4() { [0u8; 4].into() } else { [0u16; 8].into() };
    let packets = Socket::bind((any, 0).into())?;
    packets.send_to_groups(&Outgoing { ttl, loopback: true, interface: None })?;
    let reports = UdpSocket::bind((any, 0).into())?;
    if group.is_ipv4() {
        reports.set_multicast_ttl_v4(ttl.into())?;
    }
    Ok((packets, reports))
}

/// The sockets as a server without sockets sees them.
pub(super) struct Opening<'a> {
    pub sockets: &'a mut Sockets,
    pub registry: &'a Registry,
    /// What goes over connections is not for datagrams, which anybody can read.
    pub secret: bool,
}

impl rtsp::Ports for Opening<'_> {
    fn ports(&mut self, local: IpAddr) -> Option<(SocketAddr, u16)> {
        if self.secret {
            return None;
        }
        let place = Place::Local(local);
        self.sockets.open(place, None, self.registry).ok()?;
        let pair = self.sockets.pairs.get(&place)?;
        Some((pair.packets.local_addr().ok()?, pair.reports.local_addr().ok()?.port()))
    }
}
