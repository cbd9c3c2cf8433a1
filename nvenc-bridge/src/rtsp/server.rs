//! Mounts, sessions, and what becomes of them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use proto::units::{Mono, RtpTime};

use super::digest::Credentials;
use super::session::{Route, Session};
use crate::rtp::{Format, Parameters};

/// Several tracks under one name.
#[derive(Clone, Debug)]
pub struct Mount {
    /// What stands behind the `/` of its URL.
    pub name: String,
    /// In the order of the description.
    pub tracks: Vec<MountedTrack>,
    /// Where datagrams go; `None` for each client's own address.
    pub group: Option<Group>,
    /// Counts changes of the description.
    pub version: u64,
}

/// One track of a mount.
#[derive(Clone, Debug)]
pub struct MountedTrack {
    /// What it holds.
    pub format: Format,
    /// Its synchronisation source.
    pub ssrc: u32,
    /// RTP time of the clock's origin.
    pub origin: RtpTime,
    /// As last heard of.
    pub parameters: Parameters,
}

/// A multicast group: two ports for each track, the first of them even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its address.
    pub address: IpAddr,
    /// Port of the first track's packets; its reports have the next.
    pub port: u16,
    /// Networks that datagrams may cross; 1 keeps them on the local one.
    pub ttl: u8,
}

impl Group {
    /// Port of the packets of a track.
    pub fn port_of(&self, track: usize) -> u16 {
        self.port.saturating_add(2 * track as u16)
    }
}

/// Who asks, over which connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Names the connection; never used for another one.
    pub connection: u64,
    /// The client.
    pub remote: IpAddr,
    /// What it has connected to.
    pub local: IpAddr,
    /// What nobody can guess, for this connection.
    pub nonce: String,
}

/// Sockets for datagrams.
pub trait Ports {
    /// Address and port for packets, and the port for reports, of the sockets for clients that have connected to an address;
    /// `None` where there are none to be had.
    fn ports(&mut self, local: IpAddr) -> Option<(SocketAddr, u16)>;
}

/// What a request, or time, has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session plays: it gets these tracks from `since` on.
    Started {
        /// Names it.
        session: u64,
        /// The mount.
        mount: String,
        /// Tracks, by their places in the mount, and how they get to it.
        routes: Vec<(usize, Route)>,
        /// Sound that was captured earlier is not for it.
        since: Mono,
    },
    /// A session gets nothing more.
    Stopped {
        /// Names it.
        session: u64,
    },
    /// The mount of a session is gone, and with it the session.
    Dismissed {
        /// Names it.
        session: u64,
        /// The connection that it was last spoken of on.
        connection: u64,
    },
}

/// The server, without its sockets.
#[derive(Debug)]
pub struct Server {
    pub(super) mounts: BTreeMap<String, Mount>,
    pub(super) sessions: BTreeMap<u64, Session>,
    pub(super) credentials: Option<Credentials>,
    pub(super) events: VecDeque<Event>,
    /// Names this run in descriptions.
    pub(super) run: u32,
    next: u64,
    /// Makes session identifiers that nobody can guess.
    secret: fn(&mut [u8; 16]),
}

impl Server {
    /// A server without mounts. `secret` fills its argument with what nobody can guess.
    pub fn new(credentials: Option<Credentials>, run: u32, secret: fn(&mut [u8; 16])) -> Self {
        Self {
            mounts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            credentials,
            events: VecDeque::new(),
            run,
            next: 0,
            secret,
        }
    }

    /// Adds a mount. Whether its name was free.
    pub fn mount(&mut self, mount: Mount) -> bool {
        let free = !self.mounts.contains_key(&mount.name);
        if free {
            self.mounts.insert(mount.name.clone(), mount);
        }
        free
    }

    /// Removes a mount and ends its sessions.
    pub fn unmount(&mut self, name: &str) {
        self.mounts.remove(name);
        let ends: Vec<_> = self.sessions.extract_if(.., |_, session| session.mount == name).collect();
        for (session, gone) in ends {
            self.events.push_back(Event::Dismissed { session, connection: gone.connection });
        }
    }

    /// The mounts there are.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.values()
    }

    /// Takes note of a track's parameter sets.
    pub fn describe(&mut self, mount: &str, track: usize, parameters: Parameters) {
        let Some(mount) = self.mounts.get_mut(mount) else { return };
        if let Some(track) = mount.tracks.get_mut(track) {
            track.parameters = parameters;
            mount.version += 1;
        }
    }

    /// A session was heard of by other ways than a request: it sends reports, or takes what it is sent.
    pub fn heard(&mut self, session: u64, now: Mono) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.refresh(now);
        }
    }

    /// A connection was closed.
    pub fn closed(&mut self, connection: u64, now: Mono) {
        let mut over = Vec::new();
        for (number, session) in &mut self.sessions {
            if session.disconnected(connection, now) {
                over.push(*number);
            }
        }
        over.into_iter().for_each(|session| self.end(session));
    }

    /// Ends the sessions whose time is over.
    pub fn expire(&mut self, now: Mono) {
        let over: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.is_over(now))
            .map(|(number, _)| *number)
            .collect();
        over.into_iter().for_each(|session| self.end(session));
    }

    /// The oldest event that was not fetched.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many sessions there are, whether they play or not.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn end(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.events.push_back(Event::Stopped { session });
    }

    pub(super) fn begin(&mut self, mount: &str, tracks: usize, peer: &Peer, now: Mono) -> u64 {
        let mut secret = [0; 16];
        (self.secret)(&mut secret);
        let id = format!("{:032X}", u128::from_be_bytes(secret));
        self.next += 1;
        self.sessions.insert(self.next, Session::new(id, mount.into(), peer.remote, tracks, now));
        self.next
    }
}
