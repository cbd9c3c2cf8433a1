//! The same datagrams to many: one system call for many destinations, and many datagrams of one length for each of them.

use std::net::SocketAddr;

use socket2::SockAddr;

use crate::udp::Socket;

#[cfg(all(target_os = "linux", not(feature = "fallback")))]
#[path = "fan/linux.rs"]
mod system;
#[cfg(not(all(target_os = "linux", not(feature = "fallback"))))]
#[path = "fan/fallback.rs"]
mod system;

/// Datagrams in a [`Run`] at most: what every kernel with segmentation takes.
pub const MAX_DATAGRAMS: usize = 64;
/// Octets of a [`Run`] at most: it passes through the kernel as one IPv4 datagram.
pub const MAX_OCTETS: usize = 65_507;

/// Datagrams back to back. All have `length` octets, but for the last, which may have fewer.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// At most [`MAX_DATAGRAMS`] datagrams and [`MAX_OCTETS`] octets.
    pub octets: &'a [u8],
    /// Of a datagram; not 0.
    pub length: usize,
}

/// A destination, in the form that the system wants.
#[derive(Clone, Debug)]
pub struct Destination(SockAddr);

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self(address.into())
    }
}

/// Sends runs to destinations.
#[derive(Debug, Default)]
pub struct Fan {
    /// The system does not cut runs into datagrams, as where a network card cannot compute check sums.
    uncut: bool,
}

/// Why a destination did not get all of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The socket has no room.
    Full,
    /// The system would not send there.
    Other,
}

/// Why nothing was sent to the first destination of several.
enum Failure {
    Uncut,
    Refused(Refusal),
}

impl Fan {
    /// Sends a run to each destination. `refused` gets the place in `to` of each one that did not get all of it, perhaps more
    /// than once.
    pub fn send(
        &mut self,
        socket: &Socket,
        run: Run<'_>,
        to: &[Destination],
        mut refused: impl FnMut(usize, Refusal),
    ) {
        let mut next = 0;
        if !self.uncut && run.octets.len() > run.length {
            next = self.spread(socket, run, to, &mut refused);
        }
        if next < to.len() {
            for datagram in run.octets.chunks(run.length) {
                let run = Run { octets: datagram, length: run.length };
                self.spread(socket, run, &to[next..], |place, why| refused(next + place, why));
            }
        }
    }

    /// Sends a run to each destination, in as few calls as it takes. Ends early, with the place it came to, where the system does
    /// not cut.
    fn spread(
        &mut self,
        socket: &Socket,
        run: Run<'_>,
        to: &[Destination],
        mut refused: impl FnMut(usize, Refusal),
    ) -> usize {
        let mut next = 0;
        while next < to.len() {
            match system::send(socket, run, &to[next..]) {
                Ok(sent) => next += sent,
                Err(Failure::Uncut) => {
                    self.uncut = true;
                    return next;
                }
                Err(Failure::Refused(Refusal::Full)) => {
                    (next..to.len()).for_each(|place| refused(place, Refusal::Full));
                    return to.len();
                }
                Err(Failure::Refused(Refusal::Other)) => {
                    refused(next, Refusal::Other);
                    next += 1;
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::Inbox;

    fn bound() -> Socket {
        Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    fn arrived(socket: &Socket) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        Inbox::default().receive(socket, |_, _, datagram| datagrams.push(datagram.to_vec()));
        datagrams
    }

    #[test]
    fn a_run_arrives_at_everyone_cut_or_not() {
        let octets: Vec<u8> = (0..250).collect();
        for uncut in [false, true] {
            let (from, ears) = (bound(), (0..70).map(|_| bound()).collect::<Vec<_>>());
            let to: Vec<Destination> = ears.iter().map(|ear| ear.local_addr().unwrap().into()).collect();
            let mut fan = Fan { uncut };
            fan.send(&from, Run { octets: &octets, length: 100 }, &to, |_, why| panic!("{why:?}"));
            for ear in &ears {
                assert_eq!(arrived(ear), [&octets[..100], &octets[100..200], &octets[200..]]);
            }
        }
    }

    #[test]
    fn a_destination_that_cannot_be_reached_is_named_and_the_others_get_theirs() {
        let (from, ears) = (bound(), [bound(), bound()]);
        let [first, last] = ears.each_ref().map(|ear| Destination::from(ear.local_addr().unwrap()));
        // An IPv4 socket cannot send to an IPv6 address.
        let impossible: Destination = "[::1]:9".parse::<SocketAddr>().unwrap().into();
        let mut refused = Vec::new();
        Fan::default().send(
            &from,
            Run { octets: b"abc", length: 2 },
            &[first, impossible, last],
            |place, why| refused.push((place, why)),
        );
        assert!(!refused.is_empty() && refused.iter().all(|it| *it == (1, Refusal::Other)), "{refused:?}");
        for ear in &ears {
            assert_eq!(arrived(ear), [b"ab".to_vec(), b"c".to_vec()]);
        }
    }
}
