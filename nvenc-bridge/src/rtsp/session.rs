//! A client's session: what it gets, by which route, and how long it may stay silent.

use std::net::{IpAddr, SocketAddr};

use proto::units::Mono;

/// Seconds without a request or a report after which a session ends.
pub const SESSION_TIMEOUT: i64 = 60;
/// The same for one that has lost its connection, and may come back over another one.
const GRACE: i64 = 10;
/// Beyond what a client was told, for clients that wait until the last moment.
const MERCY: i64 = 5;
const SECOND: i64 = 1_000_000_000;

/// How a track gets to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// In datagrams.
    Udp {
        /// Whence: the address that the client has connected to.
        local: IpAddr,
        /// Where packets go.
        packets: SocketAddr,
        /// Where reports go, and come from.
        reports: SocketAddr,
    },
    /// By the group of its mount.
    Group,
    /// On a connection.
    Interleaved {
        /// Which one.
        connection: u64,
        /// For packets and for reports.
        channels: (u8, u8),
    },
}

#[derive(Debug)]
pub(super) struct Session {
    /// How clients name it; nobody can guess it.
    pub id: String,
    pub mount: String,
    pub remote: IpAddr,
    /// The connection that it was last spoken of on.
    pub connection: u64,
    /// One for each track.
    pub routes: Vec<Option<Route>>,
    pub playing: bool,
    deadline: Mono,
}

impl Session {
    pub(super) fn new(id: String, mount: String, remote: IpAddr, tracks: usize, now: Mono) -> Self {
        let mut new = Self {
            id,
            mount,
            remote,
            connection: 0,
            routes: vec![None; tracks],
            playing: false,
            deadline: now,
        };
        new.refresh(now);
        new
    }

    pub(super) fn refresh(&mut self, now: Mono) {
        self.deadline = now.plus((SESSION_TIMEOUT + MERCY) * SECOND);
    }

    /// Its connection was closed. Whether nothing is left of it.
    pub(super) fn disconnected(&mut self, connection: u64, now: Mono) -> bool {
        for route in &mut self.routes {
            if matches!(route, Some(Route::Interleaved { connection: its, .. }) if *its == connection) {
                *route = None;
            }
        }
        if self.connection == connection {
            self.deadline = self.deadline.min(now.plus(GRACE * SECOND));
        }
        self.routes.iter().all(Option::is_none)
    }

    pub(super) fn is_over(&self, now: Mono) -> bool {
        now >= self.deadline
    }

    /// Interleaved channels in use on a connection.
    pub(super) fn channels(&self, connection: u64) -> impl Iterator<Item = u8> {
        self.routes
            .iter()
            .flatten()
            .filter_map(move |route| match route {
                Route::Interleaved { connection: its, channels } if *its == connection => {
                    Some([channels.0, channels.1])
                }
                _ => None,
            })
            .flatten()
    }
}
