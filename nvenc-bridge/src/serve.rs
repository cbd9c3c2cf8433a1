//! The server: one thread that sends every access unit to all who are to have it, and answers what they ask.
//!
//! Packets are made once, by whoever feeds a track. Each run of them goes to all clients in one system call, or once to a group, or
//! in one piece to each connection. A client that is too slow loses its own pictures up to the next key picture.

mod connections;
mod engine;
mod info;
mod key;
mod ports;
mod queue;
mod stage;
mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mio::{Poll, Waker};

pub use info::{Client, Info, Watcher};

use crate::rtp::{Access, Format, Parameters, Track};
use crate::rtsp::{Credentials, Group, Mount, MountedTrack};
use engine::{Command, Engine, WAKER};
use info::Figures;

/// Commands that may wait: some seconds of pictures and sound.
const COMMANDS: usize = 256;

/// Addresses that a server listens on at most.
pub const MAX_LISTENERS: usize = engine::MAX_LISTENERS;

/// How a server serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens while there is something to serve; at most [`MAX_LISTENERS`]. Port 0 has the system choose one.
    pub listen: Vec<SocketAddr>,
    /// Who may watch; everybody where there are none.
    pub credentials: Option<Credentials>,
    /// Where there is a certificate, connections speak TLS and nothing else, and tracks go over them alone.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Connections at a time; one address has a quarter of them at most, or 8 where that is more.
    pub max_connections: usize,
}

/// Why something is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}; choose another port, or end the program that has it")]
    Listen(SocketAddr, #[source] io::Error),
    /// The name is that of another stream.
    #[error("there is a stream `{0}` already; give this one another name")]
    Taken(String),
    /// Nothing can be sent to the group.
    #[error("cannot send to the group {0}: {1}")]
    Group(IpAddr, #[source] io::Error),
    /// The serving thread cannot be started or has ended.
    #[error("the server cannot run: {0}")]
    Ended(String),
}

/// Serves streams until it is dropped.
#[derive(Debug)]
pub struct Server {
    line: Line,
    next: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// To the serving thread.
#[derive(Clone, Debug)]
struct Line {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
}

impl Line {
    fn send(&self, command: Command) -> Result<(), Error> {
        let ended = || Error::Ended("it has ended".into());
        self.commands.send(command).map_err(|_| ended())?;
        self.waker.wake().map_err(|error| Error::Ended(error.to_string()))
    }
}

impl Server {
    /// Starts the thread. It listens as soon as there is a stream.
    ///
    /// # Errors
    /// Where the system has no descriptors or threads left.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let ended = |error: io::Error| Error::Ended(error.to_string());
        let poll = Poll::new().map_err(ended)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(ended)?);
        let (commands, fetched) = mpsc::sync_channel(COMMANDS);
        let engine = Engine::new(settings, poll, fetched);
        let thread =
            std::thread::Builder::new().name("rtsp".into()).spawn(move || engine.run()).map_err(ended)?;
        Ok(Self { line: Line { commands, waker }, next: AtomicU64::new(0), thread: Mutex::new(Some(thread)) })
    }

    /// Serves tracks under a name, to a group where one is given. Each feed takes the access units of one track.
    ///
    /// # Errors
    /// Where the name is taken, or the address or the group cannot be used.
    pub fn mount(
        &self,
        name: &str,
        formats: Vec<Format>,
        group: Option<Group>,
    ) -> Result<(Stream, Vec<Feed>), Error> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let figures = Arc::new(Figures::default());
        let random = || [os::random::bits(), os::random::bits()];
        let tracks: Vec<_> = formats.into_iter().map(|format| Track::new(format, random())).collect();
        let described = |track: &Track| MountedTrack {
            format: track.format().clone(),
            ssrc: track.ssrc(),
            origin: track.origin(),
            parameters: Parameters::default(),
        };
        let name = name.trim_matches('/').to_owned();
        let mount = Mount { name, tracks: tracks.iter().map(described).collect(), group, version: 1 };
        let (answer, answered) = mpsc::sync_channel(1);
        self.line.send(Command::Mount { id, mount, figures: figures.clone(), answer })?;
        let addresses = answered.recv().map_err(|_| Error::Ended("it has ended".into()))??;
        let feed = |(place, track)| Feed {
            id,
            place,
            track,
            line: self.line.clone(),
            figures: figures.clone(),
            broken: false,
        };
        let feeds = tracks.into_iter().enumerate().map(feed).collect();
        Ok((Stream { id, addresses, line: self.line.clone(), figures }, feeds))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.line.send(Command::Stop);
        if let Ok(mut thread) = self.thread.lock()
            && let Some(thread) = thread.take()
        {
            // A panic in it has been shown when it happened.
            let _ = thread.join();
        }
    }
}

/// A stream that is served until this is dropped. The last one that is dropped frees the port.
#[derive(Debug)]
pub struct Stream {
    id: u64,
    addresses: Vec<SocketAddr>,
    line: Line,
    figures: Arc<Figures>,
}

impl Stream {
    /// Where it is served.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether the next picture has to be a key picture; asked before each one is encoded, it says so once for each that is wanted.
    pub fn takes_key(&self) -> bool {
        self.figures.take_key()
    }

    /// What is known of it.
    pub fn info(&self) -> Info {
        self.figures.info()
    }

    /// Tells what is known of it, to whom it does not belong.
    pub fn watcher(&self) -> Watcher {
        Watcher::new(self.figures.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Where the thread has ended, nothing is served anyway.
        let _ = self.line.send(Command::Unmount { id: self.id });
    }
}

/// Takes the access units of one track.
#[derive(Debug)]
pub struct Feed {
    id: u64,
    place: usize,
    track: Track,
    line: Line,
    figures: Arc<Figures>,
    /// Something was lost: what follows is of no use until decoding can start anew.
    broken: bool,
}

impl Feed {
    /// Sends an access unit to all who are to have it. Never waits: whether there was room.
    pub fn send(&mut self, access: &Access<'_>) -> bool {
        let unit = self.track.pack(access);
        if self.broken && !unit.key {
            self.figures.overrun.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let sent = self.line.commands.try_send(Command::Unit { id: self.id, track: self.place, unit });
        self.broken = matches!(sent, Err(TrySendError::Full(_)));
        if self.broken {
            self.figures.overrun.fetch_add(1, Ordering::Relaxed);
            self.figures.want_key();
        }
        // Where it cannot be woken, it is awake four times a second.
        let _ = self.line.waker.wake();
        sent.is_ok()
    }
}
