//! The connections of clients: accepted, read, written to, and closed when they waste what others need.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use proto::units::Mono;
use rustls::ServerConfig;

use super::queue::Queue;
use super::wire::Wire;
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
/// Octets of answers that wait, from which on nothing more is read: who does not fetch them asks for no more.
const ANSWERS: usize = 32 << 10;
/// Of all connections, one address may have one in so many, and in any case a few: 250 of 1000 are an audience behind one router.
const SHARE: usize = 4;
const FEW: usize = 8;
/// How long nobody is accepted where no descriptors are left, in nanoseconds.
const PAUSE: i64 = 100_000_000;
/// Octets read at a time, and times in a row, before others have their turn.
const CHUNK: usize = 4096;
const TURNS: usize = 4;
/// Octets read of all connections before access units have their turn: some hundred requests, a few milliseconds.
const TURN: usize = 32 << 10;
/// A step of a TLS handshake stands for so many of these: it may take as long, most of a millisecond.
const HANDSHAKE: usize = 4 << 10;

pub(super) struct Connection {
    wire: Wire,
    reader: Reader,
    queue: Queue,
    pub peer: Peer,
    /// When it was opened, and then when the last request came.
    spoke: Mono,
    /// Whether a request has come.
    asked: bool,
    /// Whether it was let in, so that it need not make way for others.
    proven: bool,
    /// Since when a request has begun that is not whole.
    begun: Option<Mono>,
    /// When it last took something, or had nothing to take.
    took: Mono,
    /// It is closed as soon as its queue is empty.
    closing: bool,
    /// It stands among the unread.
    noted: bool,
}

/// What is said to what came in.
pub(super) struct Answer {
    pub octets: Vec<u8>,
    /// Whether the client is let in by it.
    pub proves: bool,
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
    /// Where there is a certificate, they speak TLS.
    tls: Option<Arc<ServerConfig>>,
    all: BTreeMap<u64, Connection>,
    next: u64,
    /// Those that may have something to read, or room for what waits, longest first.
    unread: VecDeque<u64>,
    /// Octets that may be read in this turn.
    left: usize,
}

impl Connections {
    pub(super) fn new(tls: Option<Arc<ServerConfig>>) -> Self {
        Self { tls, ..Self::default() }
    }

    /// Whether tracks go over them alone.
    pub(super) fn are_secret(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether a read is owed.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Has a connection read from, and written to, when its turn comes.
    pub(super) fn note(&mut self, number: u64) {
        if let Some(connection) = self.all.get_mut(&number).filter(|connection| !connection.noted) {
            connection.noted = true;
            self.unread.push_back(number);
        }
    }

    /// From now on, so much may be read again.
    pub(super) fn begin_turn(&mut self) {
        self.left = TURN;
    }

    /// Whose turn to be read it is, unless it is that of access units.
    pub(super) fn next_unread(&mut self) -> Option<u64> {
        let number = (self.left > 0).then(|| self.unread.pop_front())??;
        if let Some(connection) = self.all.get_mut(&number) {
            connection.noted = false;
        }
        Some(number)
    }

    /// The other end of a connection.
    pub(super) fn remote(&self, number: u64) -> Option<SocketAddr> {
        self.all.get(&number)?.wire.remote()
    }

    /// Accepts who waits, at most some at a time. `limit` is how many there may be, and a quarter of it how many of one address;
    /// beyond that, who came first and was not let in has to go, and stands in `gone`. In how many nanoseconds to accept more, where
    /// not all were.
    pub(super) fn accept(
        &mut self,
        listener: &TcpListener,
        registry: &Registry,
        limit: usize,
        now: Mono,
        gone: &mut Vec<u64>,
    ) -> Option<i64> {
        for _ in 0..64 {
            match listener.accept() {
                Ok((stream, remote)) => {
                    if !self.make_room(remote.ip().to_canonical(), limit, gone) {
                        continue;
                    }
                    // One that is refused here is closed by going out of scope.
                    let _ = self.add(stream, remote, registry, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // No descriptors are left, most likely.
                Err(_) => return Some(if self.evict(None, gone) { 0 } else { PAUSE }),
            }
        }
        Some(0)
    }

    fn add(
        &mut self,
        stream: TcpStream,
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
        let mut wire = Wire::new(stream, self.tls.as_ref())?;
        registry.register(
            &mut wire,
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
            wire,
            reader: Reader::default(),
            queue: Queue::default(),
            peer,
            spoke: now,
            asked: false,
            proven: false,
            begun: None,
            took: now,
            closing: false,
            noted: false,
        };
        self.all.insert(number, new);
        Ok(())
    }

    /// Whether there is room for one more from an address, perhaps after another has made way.
    fn make_room(&mut self, from: IpAddr, limit: usize, gone: &mut Vec<u64>) -> bool {
        let its = self.all.values().filter(|connection| connection.peer.remote == from).count();
        if its >= (limit / SHARE).max(FEW) {
            return self.evict(Some(from), gone);
        }
        self.all.len() < limit || self.evict(None, gone)
    }

    /// Closes the oldest connection, of this address where one is named, that was not let in. Whether there was one.
    fn evict(&mut self, of: Option<IpAddr>, gone: &mut Vec<u64>) -> bool {
        let goes = |it: &Connection| !it.proven && of.is_none_or(|of| it.peer.remote == of);
        let oldest = self.all.iter().find(|(_, connection)| goes(connection)).map(|(number, _)| *number);
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
        mut handle: impl FnMut(&Peer, Incoming) -> Option<Answer>,
    ) -> bool {
        let Some(connection) = self.all.get_mut(&number) else { return true };
        if !connection.write(now) {
            return false;
        }
        // What was left while answers waited.
        connection.take_apart(now, &mut handle);
        let mut chunk = [0; CHUNK];
        for _ in 0..TURNS {
            if connection.is_full() {
                break;
            }
            if connection.wire.is_beginning() {
                self.left = self.left.saturating_sub(HANDSHAKE);
            }
            let count = match connection.wire.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return connection.write(now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.left = self.left.saturating_sub(CHUNK);
                    continue;
                }
                Err(_) => return false,
            };
            // What came as records of TLS may have been many times what is left of it.
            self.left = self.left.saturating_sub(if connection.wire.is_secret() { CHUNK } else { count });
            if connection.closing {
                continue;
            }
            connection.reader.push(&chunk[..count]);
            connection.take_apart(now, &mut handle);
        }
        let lives = connection.write(now);
        // Once there is room for more of the answers, an event will say so.
        if !connection.is_full() {
            self.note(number);
        }
        lives
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
        self.all.get(&number).is_some_and(Connection::is_idle)
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
            let patient = if connection.asked { IDLE } else { PATIENCE };
            connection.begun.is_some_and(|begun| since(begun) > PATIENCE)
                || (connection.is_idle() && since(connection.spoke.max(connection.took)) > patient)
                || (!connection.is_idle() && since(connection.took) > PATIENCE)
        };
        self.all.iter().filter(|(_, connection)| over(connection)).map(|(number, _)| *number).collect()
    }
}

impl Connection {
    /// Whether nothing waits.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.wire.owes()
    }

    fn push(&mut self, octets: Arc<[u8]>, media: bool, now: Mono) {
        if self.is_idle() {
            self.took = now;
        }
        self.queue.push(octets, media);
    }

    fn take_apart(&mut self, now: Mono, handle: &mut impl FnMut(&Peer, Incoming) -> Option<Answer>) {
        while !self.closing && !self.is_full() {
            match self.reader.fetch() {
                Ok(Some(incoming)) => {
                    self.spoke = now;
                    self.begun = None;
                    if let Some(answer) = handle(&self.peer, incoming) {
                        self.asked = true;
                        self.proven |= answer.proves;
                        self.push(answer.octets.into(), false, now);
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
                }
            }
        }
    }

    /// Whether too many answers wait.
    fn is_full(&self) -> bool {
        self.queue.answers() > ANSWERS
    }

    fn write(&mut self, now: Mono) -> bool {
        if self.is_idle() && !self.closing {
            return true;
        }
        let written = self.queue.write(&mut self.wire).and_then(|octets| match self.wire.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(octets),
        });
        let Ok(octets) = written else { return false };
        if octets > 0 || self.is_idle() {
            self.took = now;
        }
        let ends = self.closing && self.is_idle();
        if ends {
            self.wire.end();
        }
        !ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_fetch_answers_is_not_read_until_they_are_fetched() {
        const REQUESTS: usize = 200;
        const ANSWER: usize = 64 << 10;
        let mut poll = mio::Poll::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut connections = Connections::default();
        while connections.all.is_empty() {
            connections.accept(&listener, poll.registry(), 1, Mono(0), &mut Vec::new());
        }
        client.write_all(&b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n".repeat(REQUESTS)).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut events = mio::Events::with_capacity(8);
        let (mut asked, mut fetched, mut room) = (0, 0, vec![0; ANSWER]);
        let mut turn = |connections: &mut Connections| {
            poll.poll(&mut events, Some(std::time::Duration::from_millis(1))).unwrap();
            events.iter().for_each(|_| connections.note(0));
            connections.begin_turn();
            while let Some(number) = connections.next_unread() {
                assert!(connections.read(number, Mono(0), |_, _| {
                    asked += 1;
                    Some(Answer { octets: vec![7; ANSWER], proves: false })
                }));
            }
            asked
        };
        let mut before = 0;
        while turn(&mut connections) > before || before == 0 {
            before = turn(&mut connections);
            assert!(connections.all[&0].queue.len() <= ANSWERS + ANSWER);
        }
        assert!(before < REQUESTS, "what the kernel holds is no test");
        while fetched < REQUESTS * ANSWER {
            turn(&mut connections);
            while let Ok(octets) = client.read(&mut room) {
                assert!(octets > 0);
                fetched += octets;
            }
        }
        assert_eq!(turn(&mut connections), REQUESTS);
    }
}
