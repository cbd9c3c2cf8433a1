//! A player of a few lines, for many of them at a time.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

/// A session that plays the first track.
pub(crate) struct Watcher {
    stream: TcpStream,
    url: String,
    session: String,
    unread: Vec<u8>,
    /// Where packets come, where that is not the connection.
    socket: Option<UdpSocket>,
}

impl Watcher {
    /// Connects to the bridge, sets up the first track on the connection or in datagrams, and plays it.
    pub(crate) fn start(port: u16, name: &str, datagrams: bool) -> Self {
        Self::begin(port, name, "/trackID=0", datagrams)
    }

    /// The same with any server.
    pub(crate) fn begin(port: u16, name: &str, track: &str, datagrams: bool) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        let socket = datagrams.then(|| UdpSocket::bind("127.0.0.1:0").unwrap());
        let transport = match &socket {
            None => "RTP/AVP/TCP;unicast;interleaved=0-1".to_owned(),
            Some(socket) => {
                socket.set_read_timeout(patience).unwrap();
                let port = socket.local_addr().unwrap().port();
                format!("RTP/AVP;unicast;client_port={port}-{}", port.saturating_add(1))
            }
        };
        let url = format!("rtsp://127.0.0.1:{port}/{name}");
        let mut watcher = Self { stream, url, session: String::new(), unread: Vec::new(), socket };
        let answer = watcher.ask("SETUP", track, &format!("Transport: {transport}\r\n"));
        let session = answer.split("Session: ").nth(1).unwrap_or_else(|| panic!("{answer}"));
        watcher.session = format!("Session: {}\r\n", session.split([';', '\r']).next().unwrap());
        watcher.ask("PLAY", "", "");
        watcher
    }

    /// Asks for something that is answered without a body; what comes before the answer is left out.
    fn ask(&mut self, method: &str, path: &str, lines: &str) -> String {
        let request =
            format!("{method} {}{path} RTSP/1.0\r\nCSeq: 1\r\n{}{lines}\r\n", self.url, self.session);
        self.stream.write_all(request.as_bytes()).unwrap();
        loop {
            if let [b'$', ..] = self.unread[..] {
                self.packet();
            } else if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let answer = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
                assert!(answer.starts_with("RTSP/1.0 200 "), "{method}: {answer}");
                return answer;
            } else {
                self.read();
            }
        }
    }

    fn read(&mut self) {
        let mut room = [0; 65_536];
        let count = self.stream.read(&mut room).unwrap();
        assert!(count > 0, "the bridge has hung up");
        self.unread.extend_from_slice(&room[..count]);
    }

    /// The next packet on the connection, with its channel.
    fn packet(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [b'$', channel, high, low, rest @ ..] = &self.unread[..] {
                let (channel, length) = (*channel, usize::from(u16::from_be_bytes([*high, *low])));
                if let Some(packet) = rest.get(..length) {
                    let packet = packet.to_vec();
                    self.unread.drain(..4 + length);
                    return (channel, packet);
                }
            }
            self.read();
        }
    }

    /// Waits until a whole picture has come.
    pub(crate) fn picture(&mut self) {
        loop {
            let (channel, packet) = match &self.socket {
                None => self.packet(),
                Some(socket) => {
                    let mut room = vec![0; 2000];
                    let length = socket.recv(&mut room).unwrap();
                    room.truncate(length);
                    (0, room)
                }
            };
            // The marker ends a picture; reports have other payload types.
            if channel == 0 && packet[1] == 0x80 | 96 {
                return;
            }
        }
    }

    /// Has all that comes fetched, or dropped by the system where it comes in datagrams, until what is returned is dropped.
    pub(crate) fn drain(self) -> Drained {
        if let (None, Ok(mut stream)) = (&self.socket, self.stream.try_clone()) {
            std::thread::spawn(move || {
                let mut room = vec![0; 1 << 16];
                while stream.read(&mut room).is_ok_and(|count| count > 0) {}
            });
        }
        Drained(Some(self))
    }

    /// Says that it goes.
    pub(crate) fn leave(mut self) {
        self.ask("TEARDOWN", "", "");
    }
}

/// A session that takes what comes.
pub(crate) struct Drained(Option<Watcher>);

impl Drop for Drained {
    fn drop(&mut self) {
        match self.0.take() {
            // A session of datagrams outlives its connection.
            Some(watcher) if watcher.socket.is_some() => watcher.leave(),
            // Ends the thread that reads, too.
            Some(watcher) => drop(watcher.stream.shutdown(std::net::Shutdown::Both)),
            None => {}
        }
    }
}
