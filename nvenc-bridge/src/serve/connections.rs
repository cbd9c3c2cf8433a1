//! The connections of clients: accepted, read, written to, and closed when they waste what others need.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use proto::units::Mono;

use super::queue::Queue;
use crate::rtsp::{Incoming, Malformed, Peer, Reader};

/// Below it, tokens are of other sockets.
pub(super) const FIRST_TOKEN: usize = 1024;
const SECOND: i64 = 1_000_000_000;
/// In which a first request has to come, and in which each has to be whole.
const PATIENCE: i64 = 10 * SECOND;
/// Without a request and with nothing to send, after which a connection is closed: longer than sessions last.
const IDLE: i64 = 90 * SECOND;
/// Room in the kernel for what a client does not fetch: half a second of 4 Mb/s, so that pictures are left out here, where it is
/// known which ones can be.
const KERNEL_ROOM: usize = 256 << 10;
/// Octets that wait besides: what is more is left out.
const QUEUE_ROOM: usize = 1 << 20;
/// Octets read at a time, and times in a row, before others have their turn.
const CHUNK: usize = 4096;
const TURNS: usize = 4;

pub(super) struct Connection {
    stream: TcpStream,
    reader: Reader,
    queue: Queue,
    pub peer: Peer,
    /// When it was opened, and then when the last request came.
    spoke: Mono,
    /// Whether a request has come.
    proven: bool,
    /// Since when a request has begun that is not whole.
    begun: Option<Mono>,
    /// When it last took something, or had nothing to take.
    took: Mono,
    /// It is closed as soon as its queue is empty.
    closing: bool,
}

/// Room on a connection for an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It is queued or written.
    Taken,
    /// Too much waits already.
    None,
}

#[derive(Default)]
pub(super) struct Connections {
    all: BTreeMap<u64, Connection>,
    next: u64,
    /// Those that may have more to read although no event will say so.
    unread: Vec<u64>,
}

impl Connections {
    /// Whether a read is owed.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    pub(super) fn take_unread(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unread)
    }

    /// The other end of a connection.
    pub(super) fn remote(&self, number: u64) -> Option<SocketAddr> {
        self.all.get(&number)?.stream.peer_addr().ok()
    }

    /// Accepts who waits, at most some at a time. Whether all were accepted. `limit` is how many there may be; beyond it, who came
    /// first and has not asked for anything has to go, and stands in `gone`.
    pub(super) fn accept(
        &mut self,
        listener: &TcpListener,
        registry: &Registry,
        limit: usize,
        now: Mono,
        gone: &mut Vec<u64>,
    ) -> bool {
        for _ in 0..64 {
            match listener.accept() {
                Ok((stream, remote)) => {
                    if self.all.len() >= limit && !self.evict(gone) {
                        continue;
                    }
                    // One that is refused here is closed by going out of scope.
                    let _ = self.add(stream, remote, registry, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // No descriptors are left, most likely.
                Err(_) => {
                    self.evict(gone);
                    return false;
                }
            }
        }
        false
    }

    fn add(
        &mut self,
        mut stream: TcpStream,
        remote: SocketAddr,
        registry: &Registry,
        now: Mono,
    ) -> io::Result<()> {
        let local = stream.local_addr()?.ip().to_canonical();
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_send_buffer_size(KERNEL_ROOM);
        let mut secret = [0; 16];
        os::random::secret(&mut secret)?;
        let number = self.next;
        registry.register(
            &mut stream,
            Token(FIRST_TOKEN + number as usize),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.next += 1;
        let peer = Peer {
            connection: number,
            remote: remote.ip().to_canonical(),
            local,
            nonce: format!("{:032x}", u128::from_be_bytes(secret)),
        };
        let new = Connection {
            stream,
            reader: Reader::default(),
            queue: Queue::default(),
            peer,
            spoke: now,
            proven: false,
            begun: None,
            took: now,
            closing: false,
        };
        self.all.insert(number, new);
        Ok(())
    }

    /// Closes the oldest connection on which nothing was asked. Whether there was one.
    fn evict(&mut self, gone: &mut Vec<u64>) -> bool {
        let oldest = self.all.iter().find(|(_, connection)| !connection.proven).map(|(number, _)| *number);
        let found = oldest.is_some_and(|number| self.all.remove(&number).is_some());
        gone.extend(oldest);
        found
    }

    /// Reads what has come in over a connection, at most so much that others have their turn, and hands each thing over. Whether the
    /// connection lives on.
    pub(super) fn read(
        &mut self,
        number: u64,
        now: Mono,
        mut handle: impl FnMut(&Peer, Incoming) -> Option<Vec<u8>>,
    ) -> bool {
        let Some(connection) = self.all.get_mut(&number) else { return true };
        let mut chunk = [0; CHUNK];
        for _ in 0..TURNS {
            let count = match connection.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return connection.write(now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            if connection.closing {
                continue;
            }
            connection.reader.push(&chunk[..count]);
            connection.take_apart(now, &mut handle);
        }
        self.unread.push(number);
        connection.write(now)
    }

    /// Writes what waits. Whether the connection lives on.
    pub(super) fn write(&mut self, number: u64, now: Mono) -> bool {
        self.all.get_mut(&number).is_none_or(|connection| connection.write(now))
    }

    /// Queues what must not be left out, such as reports.
    pub(super) fn push(&mut self, number: u64, octets: Vec<u8>, now: Mono) {
        if let Some(connection) = self.all.get_mut(&number).filter(|it| it.queue.len() < QUEUE_ROOM) {
            connection.push(octets.into(), false, now);
        }
    }

    /// Queues an access unit if there is room.
    pub(super) fn push_media(&mut self, number: u64, octets: &Arc<[u8]>, now: Mono) -> Room {
        let Some(connection) = self.all.get_mut(&number) else { return Room::None };
        let room = QUEUE_ROOM.saturating_sub(connection.queue.len());
        // What is larger than all the room there is goes where nothing waits.
        if connection.closing || (octets.len() > room && !connection.queue.is_empty()) {
            return Room::None;
        }
        connection.push(octets.clone(), true, now);
        Room::Taken
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self, number: u64) -> bool {
        self.all.get(&number).is_some_and(|connection| connection.queue.is_empty())
    }

    /// When a connection last took something, or had nothing to take.
    pub(super) fn took(&self, number: u64) -> Option<Mono> {
        self.all.get(&number).map(|connection| connection.took)
    }

    /// Closes a connection once what waits is written.
    pub(super) fn close_soon(&mut self, number: u64) {
        if let Some(connection) = self.all.get_mut(&number) {
            connection.queue.clear_media();
            connection.closing = true;
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.all.remove(&number);
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.unread.clear();
    }

    /// Those whose time is over.
    pub(super) fn overdue(&self, now: Mono) -> Vec<u64> {
        let over = |connection: &Connection| {
            let since = |then: Mono| now.since(then);
            let patient = if connection.proven { IDLE } else { PATIENCE };
            connection.begun.is_some_and(|begun| since(begun) > PATIENCE)
                || (connection.queue.is_empty() && since(connection.spoke.max(connection.took)) > patient)
                || (!connection.queue.is_empty() && since(connection.took) > PATIENCE)
        };
        self.all.iter().filter(|(_, connection)| over(connection)).map(|(number, _)| *number).collect()
    }
}

impl Connection {
    fn push(&mut self, octets: Arc<[u8]>, media: bool, now: Mono) {
        if self.queue.is_empty() {
            self.took = now;
        }
        self.queue.push(octets, media);
    }

    fn take_apart(&mut self, now: Mono, handle: &mut impl FnMut(&Peer, Incoming) -> Option<Vec<u8>>) {
        loop {
            match self.reader.fetch() {
                Ok(Some(incoming)) => {
                    self.spoke = now;
                    self.proven = true;
                    self.begun = None;
                    if let Some(answer) = handle(&self.peer, incoming) {
                        self.push(answer.into(), false, now);
                    }
                    // Who asks without fetching the answers is not served.
                    if self.queue.len() > 2 * QUEUE_ROOM {
                        self.closing = true;
                        return;
                    }
                }
                Ok(None) => {
                    self.begun = self.reader.is_within().then(|| self.begun.unwrap_or(now));
                    return;
                }
                Err(reason) => {
                    let status = match reason {
                        Malformed::Broken => "400 Bad Request",
                        Malformed::TooLong => "413 Request Entity Too Large",
                    };
                    let answer = format!("RTSP/1.0 {status}\r\nConnection: close\r\n\r\n");
                    self.push(answer.into_bytes().into(), false, now);
                    self.closing = true;
                    return;
                }
            }
        }
    }

    fn write(&mut self, now: Mono) -> bool {
        if self.queue.is_empty() {
            return !self.closing;
        }
        match self.queue.write(&mut self.stream) {
            Ok(octets) => {
                if octets > 0 {
                    self.took = now;
                }
                !(self.closing && self.queue.is_empty())
            }
            Err(_) => false,
        }
    }
}
