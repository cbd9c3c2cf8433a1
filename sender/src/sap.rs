//! Announces the streams, so that programs of other make find them (SAP, RFC 2974).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use audio::send::Wire;
use os::multicast;
use os::udp::Socket;
use proto::sap;

use crate::book::Book;
use crate::sdp;

/// Each change is told so many times, a second apart: one may be lost.
const REPEATS: u32 = 3;
const REPEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A stream that is being announced.
#[derive(Debug)]
struct Session {
    /// Its description without the version, to see whether it has changed.
    text: String,
    origin: IpAddr,
    announcement: Vec<u8>,
    deletion: Vec<u8>,
    to: SocketAddr,
}

/// Announces every RTP stream again and again, and takes back those that end. Dropping it takes back all.
pub(crate) struct Announcer {
    /// Least time between two rounds, but for those after a change.
    least: Duration,
    sessions: Vec<Session>,
    /// By the address that is sent from.
    mouths: Vec<(IpAddr, Socket)>,
    due: Instant,
    repeats: u32,
}

impl Announcer {
    pub(crate) fn new(least: Duration) -> Self {
        Self { least, sessions: Vec::new(), mouths: Vec::new(), due: Instant::now(), repeats: 0 }
    }

    /// Takes the streams as they are from now on, whose descriptions have this version. What is new is announced by
    /// [`poll`](Self::poll), what is over is taken back at once.
    pub(crate) fn update(&mut self, book: &Book, version: u64) {
        let mut former = std::mem::take(&mut self.sessions);
        for active in book.active().iter().filter(|active| active.spec.wire == Wire::Rtp) {
            let origin = sdp::origin(book.bind(), active);
            let text = sdp::text(active, book, origin, 0, None);
            let same = former.iter().position(|session| session.text == text && session.origin == origin);
            let session = match same {
                Some(index) => former.swap_remove(index),
                None => {
                    self.repeats = REPEATS;
                    self.due = Instant::now();
                    let whole = sdp::text(active, book, origin, version, None);
                    let group = sap::group_of(active.address.ip());
                    let to = SocketAddr::new(group, sap::PORT);
                    let [announcement, deletion] =
                        [false, true].map(|deletion| packet(deletion, origin, &whole));
                    Session { text, origin, announcement, deletion, to }
                }
            };
            self.sessions.push(session);
        }
        former.iter().for_each(|session| self.say(session.origin, &session.deletion, session.to));
    }

    /// Announces what is due.
    pub(crate) fn poll(&mut self) {
        if Instant::now() < self.due || self.sessions.is_empty() {
            return;
        }
        let sessions = std::mem::take(&mut self.sessions);
        sessions.iter().for_each(|session| self.say(session.origin, &session.announcement, session.to));
        self.sessions = sessions;
        self.due = Instant::now() + self.pause();
    }

    fn pause(&mut self) -> Duration {
        if let Some(left) = self.repeats.checked_sub(1) {
            self.repeats = left;
            return REPEAT_INTERVAL;
        }
        let octets = self.sessions.iter().map(|session| session.announcement.len()).max().unwrap_or(0);
        let interval = self.least.max(Duration::from_secs(sap::least_interval(self.sessions.len(), octets)));
        // A third more or less, so that senders do not fall into step (RFC 2974, 3.1).
        let share = f64::from(os::random::bits() as u32) / f64::from(u32::MAX);
        interval.mul_f64((2.0 + 2.0 * share) / 3.0)
    }

    /// An announcement that does not go out is made up for by the next.
    fn say(&mut self, from: IpAddr, bytes: &[u8], to: SocketAddr) {
        let known = self.mouths.iter().position(|(address, _)| *address == from);
        let index = known.or_else(|| {
            self.mouths.push((from, multicast::speak(from).ok()?));
            Some(self.mouths.len() - 1)
        });
        if let Some((_, mouth)) = index.and_then(|index| self.mouths.get(index)) {
            mouth.send(bytes, to);
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        for session in std::mem::take(&mut self.sessions) {
            self.say(session.origin, &session.deletion, session.to);
        }
    }
}

fn packet(deletion: bool, origin: IpAddr, description: &str) -> Vec<u8> {
    let payload = description.as_bytes();
    let packet = sap::Packet { deletion, hash: sap::hash(payload), origin, payload_type: sap::SDP, payload };
    let mut octets = vec![0; sap::MAX_HEADER + payload.len()];
    let length = packet.write(&mut octets).unwrap_or(0);
    octets.truncate(length);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Settings;
    use crate::packets::Packets;

    #[test]
    fn what_changes_is_announced_and_what_stays_keeps_its_hash() {
        let packets = Packets::new(&Settings::default()).unwrap();
        let mut book = Book::new(packets, (44_100, 4), "test".into(), Some([127, 0, 0, 1].into()));
        let mut announcer = Announcer::new(Duration::ZERO);
        let update = |book: &mut Book, announcer: &mut Announcer, clients: &[&str], version| {
            book.update(&clients.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
            announcer.update(book, version);
            let sessions = announcer.sessions.iter();
            sessions.map(|session| session.announcement.clone()).collect::<Vec<_>>()
        };
        let first = update(&mut book, &mut announcer, &["a=127.0.0.1:5000/0", "b=127.0.0.1:6000/0"], 1);
        let parsed = sap::Packet::parse(&first[0]).unwrap();
        assert!(parsed.payload.ends_with(b"a=recvonly\r\n"));
        assert_eq!((parsed.origin, parsed.deletion), ([127, 0, 0, 1].into(), false));
        let second = update(&mut book, &mut announcer, &["b=127.0.0.1:6000/0,1", "a=127.0.0.1:5000/0"], 2);
        assert_eq!(second[1], first[0]);
        assert_ne!(second[0], first[1]);
        assert_eq!(announcer.sessions[0].to, "239.255.255.255:9875".parse().unwrap());
    }
}
