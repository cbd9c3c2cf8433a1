//! The thread that serves: it waits for access units, connections and reports, and never for a client.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use os::clock;
use proto::units::Mono;

use super::connections::{Answer, Connections, FIRST_TOKEN as FIRST_CONNECTION};
use super::info::Figures;
use super::ports::{FIRST_TOKEN as FIRST_SOCKET, Opening, Place};
use super::stage::{Net, Stage};
use super::{Error, Settings};
use crate::rtp::Unit;
use crate::rtsp::{Event, Incoming, Mount, Server, lets_in};

pub(super) const WAKER: Token = Token(0);
const FIRST_LISTENER: usize = 1;
/// Tokens of others begin behind theirs.
pub(super) const MAX_LISTENERS: usize = FIRST_SOCKET - FIRST_LISTENER;
/// Between looks at what is overdue.
const SWEEP: i64 = 250_000_000;
/// Events taken at a time: access units wait for them.
const EVENTS: usize = 256;
/// Reports taken from a socket at a time: access units wait for them, whoever sends them.
const REPORTS: usize = 64;

/// What the thread is told.
pub(super) enum Command {
    /// Serve these tracks. The answer is where they are served.
    Mount { id: u64, mount: Mount, figures: Arc<Figures>, answer: SyncSender<Result<Vec<SocketAddr>, Error>> },
    /// Serve them no longer.
    Unmount { id: u64 },
    /// Send this to whom it concerns.
    Unit { id: u64, track: usize, unit: Unit },
    /// End.
    Stop,
}

pub(super) struct Engine {
    settings: Settings,
    poll: Poll,
    commands: Receiver<Command>,
    rtsp: Server,
    listeners: Vec<TcpListener>,
    /// When nobody was to be accepted until.
    pause: Option<Mono>,
    stages: BTreeMap<u64, Stage>,
    /// Sockets that may have more reports although no event will say so.
    unread: BTreeSet<usize>,
    net: Net,
    sweep: Mono,
}

impl Engine {
    pub(super) fn new(settings: Settings, poll: Poll, commands: Receiver<Command>) -> Self {
        // Where the system gives no randomness now, it gave some when the process began.
        let secret = |octets: &mut [u8; 16]| {
            if os::random::secret(octets).is_err() {
                let both = [os::random::bits(), os::random::bits()].map(u64::to_be_bytes);
                octets.copy_from_slice(both.as_flattened());
            }
        };
        let rtsp = Server::new(settings.credentials.clone(), os::random::bits() as u32, secret);
        let connections = Connections::new(settings.tls.clone());
        Self {
            settings,
            poll,
            commands,
            rtsp,
            listeners: Vec::new(),
            pause: None,
            stages: BTreeMap::new(),
            unread: BTreeSet::new(),
            net: Net { connections, ..Net::default() },
            sweep: Mono(0),
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut next = clock::now();
        loop {
            let now = clock::now();
            let owed = self.net.connections.has_unread() || !self.unread.is_empty();
            let wait = if owed { Duration::ZERO } else { next.left_from(now) };
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            // Access units first: what clients ask can wait for them.
            while let Ok(command) = self.commands.try_recv() {
                if !self.obey(command) {
                    return;
                }
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(token) if token < FIRST_SOCKET => self.accept(token - FIRST_LISTENER),
                    Token(token) if token < FIRST_CONNECTION => {
                        self.unread.insert(token);
                    }
                    Token(token) => self.net.connections.note((token - FIRST_CONNECTION) as u64),
                }
            }
            for token in std::mem::take(&mut self.unread) {
                self.reports(token);
            }
            self.net.connections.begin_turn();
            while let Some(connection) = self.net.connections.next_unread() {
                self.served(connection);
            }
            next = self.tick();
        }
    }

    /// Whether there is more to do.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Unit { id, track, unit } => {
                let Some(stage) = self.stages.get_mut(&id) else { return true };
                if let Some(parameters) = &unit.parameters {
                    self.rtsp.describe(&stage.name, track, parameters.clone());
                }
                stage.send(track, unit, &mut self.net, clock::now());
            }
            Command::Mount { id, mount, figures, answer } => {
                let result = self.mount(id, mount, figures);
                // Who asked is gone if nobody takes the answer, and takes the mount along.
                let _ = answer.send(result);
            }
            Command::Unmount { id } => self.unmount(id),
            Command::Stop => {
                let all: Vec<_> = self.stages.keys().copied().collect();
                all.into_iter().for_each(|id| self.unmount(id));
                return false;
            }
        }
        true
    }

    fn mount(&mut self, id: u64, mount: Mount, figures: Arc<Figures>) -> Result<Vec<SocketAddr>, Error> {
        if self.rtsp.mounts().any(|other| other.name == mount.name) {
            return Err(Error::Taken(mount.name));
        }
        if self.listeners.is_empty() {
            self.listen()?;
        }
        let addresses = self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        if let Some(group) = &mount.group {
            let place = Place::Group(group.address, group.port);
            let opened = self.net.sockets.open(place, Some(group), self.poll.registry());
            opened.map_err(|error| Error::Group(group.address, error))?;
        }
        let tracks = mount.tracks.iter().map(|it| (it.ssrc, it.format.clock(), it.format.is_video()));
        self.stages.insert(id, Stage::new(mount.name.clone(), mount.group, tracks, figures));
        self.rtsp.mount(mount);
        Ok(addresses)
    }

    fn listen(&mut self) -> Result<(), Error> {
        let mut listeners = Vec::new();
        for (place, address) in self.settings.listen.iter().enumerate().take(MAX_LISTENERS) {
            let refused = |error| Error::Listen(*address, error);
            let listener = std::net::TcpListener::bind(address).map_err(refused)?;
            listener.set_nonblocking(true).map_err(refused)?;
            let mut listener = TcpListener::from_std(listener);
            let token = Token(FIRST_LISTENER + place);
            self.poll.registry().register(&mut listener, token, Interest::READABLE).map_err(refused)?;
            listeners.push(listener);
        }
        self.listeners = listeners;
        Ok(())
    }

    /// With the last mount, everything is closed, so that other programs can have the ports.
    fn unmount(&mut self, id: u64) {
        let Some(name) = self.stages.get(&id).map(|stage| stage.name.clone()) else { return };
        self.rtsp.unmount(&name);
        self.settle(clock::now());
        if let Some(stage) = self.stages.remove(&id) {
            stage.publish();
        }
        self.net.sockets.keep(|place| {
            matches!(place, Place::Local(_)) || self.stages.values().any(|stage| stage.needs(place))
        });
        if self.stages.is_empty() {
            self.listeners.clear();
            self.net.connections.clear();
            self.net.sockets.keep(|_| false);
        }
    }

    fn accept(&mut self, place: usize) {
        let Some(listener) = self.listeners.get(place) else { return };
        let now = clock::now();
        let mut gone = Vec::new();
        let (registry, limit) = (self.poll.registry(), self.settings.max_connections);
        let again = self.net.connections.accept(listener, registry, limit, now, &mut gone);
        self.pause = again.map(|wait| now.plus(wait)).or(self.pause);
        gone.into_iter().for_each(|connection| self.rtsp.closed(connection, now));
        self.settle(now);
    }

    /// Reads reports that came in datagrams, at most so many that others have their turn.
    fn reports(&mut self, token: usize) {
        let now = clock::now();
        let mut room = [0; 1500];
        for _ in 0..REPORTS {
            let Some((length, from)) = self.net.sockets.fetch(token, &mut room) else { return };
            let heard = self.stages.values_mut().find_map(|stage| stage.heard_from(from, &room[..length]));
            if let Some(session) = heard {
                self.rtsp.heard(session, now);
            }
        }
        self.unread.insert(token);
    }

    /// Reads from a connection and writes to it.
    fn served(&mut self, number: u64) {
        let now = clock::now();
        let Self { net, rtsp, poll, stages, .. } = self;
        let secret = net.connections.are_secret();
        let mut opening = Opening { sockets: &mut net.sockets, registry: poll.registry(), secret };
        let lives = net.connections.read(number, now, |peer, incoming| match incoming {
            Incoming::Request(request) => {
                let response = rtsp.answer(peer, &request, &mut opening, now);
                let mut octets = Vec::new();
                // A vector takes everything.
                let _ = response.write(&mut octets);
                Some(Answer { octets, proves: lets_in(&request, &response) })
            }
            Incoming::Data { channel, packet } => {
                let connection = peer.connection;
                let heard = stages.values_mut().find_map(|it| it.heard_on(connection, channel, &packet));
                if let Some(session) = heard {
                    rtsp.heard(session, now);
                }
                None
            }
            Incoming::Response => None,
        });
        if !lives {
            self.net.broken.push(number);
        }
        self.settle(now);
    }

    /// Does what requests and losses of connections have led to.
    fn settle(&mut self, now: Mono) {
        loop {
            for connection in std::mem::take(&mut self.net.broken) {
                self.net.connections.remove(connection);
                self.rtsp.closed(connection, now);
            }
            let Some(event) = self.rtsp.next_event() else { return };
            match event {
                Event::Started { session, mount, routes, since } => {
                    if let Some(stage) = self.stages.values_mut().find(|stage| stage.name == mount) {
                        stage.start(session, routes, since, &self.net.connections);
                        stage.tick(&mut self.net, now);
                    }
                }
                Event::Stopped { session } => self.stop(session, false, now),
                Event::Dismissed { session, connection } => {
                    self.stop(session, true, now);
                    self.net.connections.close_soon(connection);
                    if !self.net.connections.write(connection, now) {
                        self.net.broken.push(connection);
                    }
                }
            }
        }
    }

    fn stop(&mut self, session: u64, farewell: bool, now: Mono) {
        for stage in self.stages.values_mut().filter(|stage| stage.has(session)) {
            stage.stop(session, farewell, &mut self.net, now);
        }
    }

    /// Does what is due. When there is more to do at the latest.
    fn tick(&mut self) -> Mono {
        let now = clock::now();
        if now >= self.sweep {
            self.sweep = now.plus(SWEEP);
            self.keep_up(now);
            self.net.broken.extend(self.net.connections.overdue(now));
            self.rtsp.expire(now);
            self.stages.values().for_each(Stage::publish);
        }
        if self.pause.is_some_and(|until| now >= until) {
            self.pause = None;
            (0..self.listeners.len()).for_each(|place| self.accept(place));
        }
        let mut next = self.pause.unwrap_or(self.sweep).min(self.sweep);
        for stage in self.stages.values_mut() {
            next = next.min(stage.tick(&mut self.net, now));
        }
        self.settle(now);
        next
    }

    /// Sessions on connections that take what they are sent need say nothing to be kept.
    fn keep_up(&mut self, now: Mono) {
        let playing: Vec<_> = self.stages.values().flat_map(Stage::interleaved).collect();
        for (session, connection) in playing {
            if self.net.connections.took(connection).is_some_and(|at| now.since(at) < 4 * SWEEP) {
                self.rtsp.heard(session, now);
            }
        }
    }
}
