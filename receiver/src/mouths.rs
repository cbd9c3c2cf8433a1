//! What a receiver hears by its sockets, and by which of them it speaks.

use std::net::IpAddr;

use audio::counters::PATHS;
use audio::receive::ReceivePipeline;
use audio::send::Transmit;
use os::udp::{Inbox, Socket};

/// Those that speak, and what they hear.
#[derive(Debug)]
pub struct Mouths {
    /// The first so many are for media, others for reports.
    media: usize,
    /// Which of them speak, and whether they have addresses of IPv6.
    speaking: Vec<(usize, bool)>,
    /// The sender's address by each path, and the socket that hears it; and those of one that may become the sender.
    hearing: [Option<(IpAddr, usize)>; PATHS + 1],
}

impl Mouths {
    /// Of these sockets, of which the first `media` are for media.
    pub fn new(sockets: &[Socket], media: usize) -> Self {
        let first = if media < sockets.len() { media } else { 0 };
        let v6 = |socket: &Socket| socket.local_addr().is_ok_and(|address| address.is_ipv6());
        let speaking = sockets.iter().enumerate().skip(first).map(|(n, socket)| (n, v6(socket)));
        Self { media, speaking: speaking.collect(), hearing: [None; PATHS + 1] }
    }

    /// Hands all that has come to the pipeline. How many datagrams that were.
    pub fn hear(&mut self, sockets: &[Socket], inbox: &mut Inbox, pipeline: &mut ReceivePipeline) -> u32 {
        let mut count = 0;
        for (n, socket) in sockets.iter().enumerate() {
            inbox.receive(socket, |at, from, datagram| {
                count += 1;
                if n < self.media {
                    pipeline.handle_datagram(at, from, datagram);
                    let path = pipeline.path_of(from);
                    if path.is_some() || pipeline.awaits(from) {
                        self.note(n, from.ip(), path);
                    }
                } else {
                    pipeline.handle_report(at, from, datagram);
                }
            });
        }
        count
    }

    /// A socket has heard something of a path, or of one that may become the sender and has none yet.
    fn note(&mut self, socket: usize, from: IpAddr, path: Option<usize>) {
        self.hearing[path.unwrap_or(PATHS)] = Some((from, socket));
    }

    /// Sends by the socket that hears that address; a client is known by where it speaks from.
    pub fn send(&self, sockets: &[Socket], transmit: &Transmit<'_>) {
        for address in transmit.to.addresses() {
            let same = |(_, v6): &&(usize, bool)| *v6 == address.is_ipv6();
            let fitting = || self.speaking.iter().filter(same).map(|(n, _)| *n);
            let hears = |n: &usize| self.hearing.iter().flatten().any(|known| *known == (address.ip(), *n));
            let mouth = fitting().find(hears).or_else(|| fitting().next());
            if let Some(socket) = mouth.and_then(|n| sockets.get(n)) {
                // A report that does not go out is made up for by the next.
                socket.send(transmit.bytes, address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use audio::send::Recipients;

    use super::*;

    #[test]
    fn one_that_has_no_path_yet_is_answered_where_it_is_heard() {
        let sockets = [1, 2].map(|n| Socket::bind(([127, 0, 0, n], 0).into()).unwrap());
        let sender = Socket::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = sender.local_addr().unwrap();
        let mut mouths = Mouths::new(&sockets, sockets.len());
        mouths.note(1, address.ip(), None);
        mouths.send(&sockets, &Transmit { bytes: b"hark", to: Recipients::One(address) });
        let mut heard = Vec::new();
        Inbox::default().receive(&sender, |_, from, _| heard.push(from));
        assert_eq!(heard, [sockets[1].local_addr().unwrap()]);
    }
}
