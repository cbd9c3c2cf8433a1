//! Where datagrams go.

use std::net::SocketAddr;

use super::Client;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub enum Recipients<'a> {
    /// Every client of an encoding: media.
    All(&'a [Client]),
    /// One address: reports and goodbyes.
    One(SocketAddr),
    /// Both addresses of a client that is heard by two paths.
    Both(SocketAddr, SocketAddr),
}

impl Recipients<'_> {
    /// Every address that a datagram goes to.
    pub fn addresses(self) -> impl Iterator<Item = SocketAddr> {
        let (one, other, all) = match self {
            Self::One(address) => (Some(address), None, &[][..]),
            Self::Both(one, other) => (Some(one), Some(other), &[][..]),
            Self::All(clients) => (None, None, clients),
        };
        let all = all.iter().flat_map(|client| [Some(client.address), client.second]);
        [one, other].into_iter().chain(all).flatten()
    }
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    pub(super) first: SocketAddr,
    /// Where it is by another path.
    pub(super) second: Option<SocketAddr>,
}

impl Whereabouts {
    pub(super) fn includes(self, address: SocketAddr) -> bool {
        self.first == address || self.second == Some(address)
    }

    /// Where RTCP is that has a port of its own (RFC 3550, 11); there is none after the last.
    pub(super) fn at_next_port(self) -> Self {
        let next = |address: SocketAddr| SocketAddr::new(address.ip(), address.port().saturating_add(1));
        Self { first: next(self.first), second: self.second.map(next) }
    }
}

impl From<SocketAddr> for Whereabouts {
    fn from(first: SocketAddr) -> Self {
        Self { first, second: None }
    }
}

impl From<Whereabouts> for Recipients<'_> {
    fn from(Whereabouts { first, second }: Whereabouts) -> Self {
        second.map_or(Self::One(first), |second| Self::Both(first, second))
    }
}
