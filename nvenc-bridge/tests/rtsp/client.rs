//! A client that does as it is told, well or badly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to the server.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) url: String,
    sequence: u32,
    session: Option<String>,
    unread: Vec<u8>,
}

/// What came over a connection.
pub(crate) enum Came {
    Answer {
        status: u16,
        head: String,
    },
    Packet {
        channel: u8,
        packet: Vec<u8>,
    },
    /// The connection was closed.
    End,
}

impl Client {
    pub(crate) fn new(server: SocketAddr, name: &str) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let url = format!("rtsp://{server}/{name}");
        Self { stream, url, sequence: 0, session: None, unread: Vec::new() }
    }

    /// Asks; what comes before the answer is left out. The status and the head of the answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, lines: &str) -> (u16, String) {
        self.sequence += 1;
        let session = self.session.as_ref().map_or(String::new(), |id| format!("Session: {id}\r\n"));
        let request = format!(
            "{method} {}{path} RTSP/1.0\r\nCSeq: {}\r\n{session}{lines}\r\n",
            self.url, self.sequence
        );
        self.stream.write_all(request.as_bytes()).unwrap();
        loop {
            match self.next() {
                Came::Answer { status, head } => {
                    if let Some((_, rest)) = head.split_once("Session: ") {
                        self.session = rest.split([';', '\r']).next().map(str::to_owned);
                    }
                    return (status, head);
                }
                Came::Packet { .. } => {}
                Came::End => return (0, String::new()),
            }
        }
    }

    /// Sets up the first track on the connection and plays it.
    pub(crate) fn play_interleaved(&mut self) {
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
        assert_eq!(self.ask("SETUP", "/trackID=0", transport).0, 200);
        assert_eq!(self.ask("PLAY", "", "").0, 200);
    }

    /// Sets up the first track in datagrams to a port and plays it.
    pub(crate) fn play_udp(&mut self, port: u16) {
        let transport = format!("Transport: RTP/AVP;unicast;client_port={port}-{}\r\n", port + 1);
        assert_eq!(self.ask("SETUP", "/trackID=0", &transport).0, 200);
        assert_eq!(self.ask("PLAY", "", "").0, 200);
    }

    /// The next that comes.
    pub(crate) fn next(&mut self) -> Came {
        loop {
            if let Some((came, used)) = whole(&self.unread) {
                self.unread.drain(..used);
                return came;
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Came::End,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Came::End,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next packet of the first track.
    pub(crate) fn packet(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.next() {
                Came::Packet { channel: 0, packet } => return Some(packet),
                Came::End => return None,
                _ => {}
            }
        }
    }
}

/// What came first of these octets, if it is whole, and how many of them it is.
pub(crate) fn whole(octets: &[u8]) -> Option<(Came, usize)> {
    if let [b'$', channel, high, low, rest @ ..] = octets {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let packet = rest.get(..length)?.to_vec();
        return Some((Came::Packet { channel: *channel, packet }, 4 + length));
    }
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&octets[..end]).into_owned();
    let body = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: ")?.trim().parse::<usize>().ok())
        .unwrap_or(0);
    if octets.len() < end + body {
        return None;
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((Came::Answer { status, head }, end + body))
}
