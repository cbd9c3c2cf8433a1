//! The paths that one stream comes by: a sender may send the same datagrams, octet by octet, over two networks (as SMPTE
//! ST 2022-7 has it).
//!
//! Of each datagram what comes first is taken, by whichever path; what comes again by the other one is counted and dropped before
//! anything else looks at it. To all that stands behind, the sender has one address, that of the path that was there first; what
//! is said to it goes by a path that lives.
//!
//! An address becomes a path by proof: it brings datagrams that were taken from the stream's source too, or are taken later. Who
//! does not hear the stream cannot know a single one of them. With a key, only what is authentic is taken.

use std::hash::{DefaultHasher, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;

use proto::rtp;
use proto::units::Mono;

use crate::counters::{PATHS, ReceiveCounters};

/// Datagrams that prove that an address is a path.
const PROOF: u8 = 3;
/// A copy that comes later than this counts as lost, in nanoseconds.
const SKEW: i64 = 250_000_000;
/// Datagrams that are kept in mind: those of this time, of a stream of 2000 a second.
const RECENT: usize = 512;
/// Datagrams of strangers that nobody else has brought yet.
const STRANGE: usize = 64;
/// For so long after a stranger brought something of the stream, what is taken is kept in mind, in nanoseconds.
const WATCH: i64 = 1_000_000_000;
/// Nothing more is said by a path that has been silent for so long, in nanoseconds: five packets of the longest kind.
const LULL: i64 = 100_000_000;
/// A path that has been silent for so long is said to be, and its place may be taken, in nanoseconds.
const SILENT: i64 = 1_000_000_000;

/// What is to become of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sifted {
    /// It is of no path.
    Other,
    /// It is of a path, and to be taken as if it came from this address.
    First(SocketAddr),
    /// It came already, by another path.
    Copy,
    /// It may be of a path that has to prove itself.
    Unproven,
}

/// What is told of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Its place among the counters.
    pub number: usize,
    /// Where the sender is by it.
    pub address: SocketAddr,
    /// Whether it brings anything.
    pub lives: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    address: SocketAddr,
    /// What was taken before this is not missed.
    since: Mono,
    heard: Mono,
    lives: bool,
}

/// A datagram that was taken.
#[derive(Clone, Copy, Debug)]
struct Taken {
    at: Mono,
    /// The paths that brought it, a bit for each.
    by: u8,
    /// Answers go by one path alone; media do not.
    everywhere: bool,
    /// For whom it has vouched: no datagram proves anything twice.
    proves: Option<SocketAddr>,
}

/// The paths of one source.
#[derive(Debug)]
pub(super) struct Paths {
    counters: Arc<ReceiveCounters>,
    seed: u32,
    /// How the source is called by all that stands behind.
    name: Option<SocketAddr>,
    paths: [Option<Known>; PATHS],
    /// By which one to speak.
    spoken: usize,
    prints: [u64; RECENT],
    taken: [Taken; RECENT],
    /// Datagrams taken so far, and those of them of which it is settled by which paths they came.
    count: u64,
    settled: u64,
    strangers: [(u64, Option<SocketAddr>); STRANGE],
    strange: usize,
    /// Who has proved how much, and when it last did.
    candidate: Option<(SocketAddr, u8, Mono)>,
    watched: Mono,
    /// The path of the datagram at hand, where it is of one, and its print, where it is kept in mind.
    at_hand: Option<(usize, Option<u64>)>,
    news: [Option<Path>; PATHS],
}

impl Paths {
    /// None yet; `seed` is to be random.
    pub(super) fn new(seed: u32, counters: Arc<ReceiveCounters>) -> Self {
        Self {
            counters,
            seed,
            name: None,
            paths: [None; PATHS],
            spoken: 0,
            prints: [0; RECENT],
            taken: [Taken { at: Mono(0), by: 0, everywhere: false, proves: None }; RECENT],
            count: 0,
            settled: 0,
            strangers: [(0, None); STRANGE],
            strange: 0,
            candidate: None,
            watched: Mono(i64::MIN),
            at_hand: None,
            news: [None; PATHS],
        }
    }

    /// Another source is listened to, unless it is called as the one before.
    pub(super) fn begin(&mut self, at: Mono, name: SocketAddr) {
        if self.name == Some(name) {
            return;
        }
        self.forget();
        self.name = Some(name);
        self.paths[0] = Some(Known { address: name, since: at, heard: at, lives: true });
    }

    /// Nobody is listened to who could have paths.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.seed, self.counters.clone());
        self.counters.paths.iter().for_each(|path| path.reset());
    }

    /// The path that an address belongs to.
    pub(super) fn of(&self, address: SocketAddr) -> Option<usize> {
        self.paths.iter().position(|path| path.is_some_and(|path| path.address == address))
    }

    /// Where to send what is meant for this address. `reports` is where the source takes its reports; another port of its machine
    /// may be that of the next source, which is nowhere else yet.
    pub(super) fn route(&self, to: SocketAddr, reports: Option<SocketAddr>) -> SocketAddr {
        match (self.name, self.paths[self.spoken]) {
            (Some(name), Some(path)) if name == to => path.address,
            (Some(name), Some(path)) if name.ip() == to.ip() && reports == Some(to) => {
                SocketAddr::new(path.address.ip(), to.port())
            }
            _ => to,
        }
    }

    /// Looks at a datagram before anything else does. `source` is that of the stream at hand; while nobody is listened to, or
    /// somebody who is silent, strangers are no paths but may be the next sender.
    pub(super) fn sift(
        &mut self,
        at: Mono,
        from: SocketAddr,
        datagram: &[u8],
        source: Option<u32>,
        engaged: bool,
    ) -> Sifted {
        self.at_hand = None;
        let Some(name) = self.name else { return Sifted::Other };
        match self.of(from) {
            Some(path) => self.sift_known(at, path, datagram, name),
            // Reports of other programs come from a port of their own.
            None if !engaged || from.ip() == name.ip() || !is_of(source, datagram) => Sifted::Other,
            None => self.sift_stranger(at, from, datagram),
        }
    }

    fn sift_known(&mut self, at: Mono, path: usize, datagram: &[u8], name: SocketAddr) -> Sifted {
        self.at_hand = Some((path, None));
        if !self.is_several() && at > self.watched {
            return Sifted::First(name);
        }
        let print = self.print(datagram);
        self.at_hand = Some((path, Some(print)));
        let bit = 1 << path;
        match self.find(print).map(|place| &mut self.taken[place]) {
            Some(taken) if taken.by & bit == 0 => {
                taken.by |= bit;
                let counts = taken.everywhere;
                self.hear(at, path, counts);
                self.counters.duplicates.add(1);
                self.counters.copies.add(1);
                Sifted::Copy
            }
            _ => Sifted::First(name),
        }
    }

    fn sift_stranger(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) -> Sifted {
        self.watched = at.plus(WATCH);
        let print = self.print(datagram);
        if let Some(place) = self.find(print) {
            self.vouch(at, from, place);
        } else {
            self.strangers[self.strange % STRANGE] = (print, Some(from));
            self.strange += 1;
        }
        self.counters.unproven.add(1);
        Sifted::Unproven
    }

    /// The datagram that was sifted last has been taken.
    pub(super) fn take(&mut self, at: Mono, datagram: &[u8]) {
        let Some((path, print)) = self.at_hand else { return };
        let everywhere = !rtp::is_rtcp(datagram);
        self.hear(at, path, everywhere);
        let Some(print) = print else { return };
        let place = self.count as usize % RECENT;
        if self.count - self.settled >= RECENT as u64 {
            self.settle_next();
        }
        self.prints[place] = print;
        self.taken[place] = Taken { at, by: 1 << path, everywhere, proves: None };
        self.count += 1;
        if let Some(early) = self.strangers.iter_mut().find(|early| early.0 == print)
            && let Some(address) = early.1.take()
        {
            self.vouch(at, address, place);
        }
    }

    fn hear(&mut self, at: Mono, number: usize, counts: bool) {
        let several = self.is_several();
        let Some(path) = &mut self.paths[number] else { return };
        path.heard = at;
        if !std::mem::replace(&mut path.lives, true) {
            self.news[number] = Some(Path { number, address: path.address, lives: true });
        }
        if several && counts {
            self.counters.paths[number].packets.add(1);
        }
    }

    /// An address has brought what was taken at this place, too.
    fn vouch(&mut self, at: Mono, from: SocketAddr, place: usize) {
        let proves = &mut self.taken[place].proves;
        let count = match &mut self.candidate {
            _ if *proves == Some(from) => return,
            Some((address, count, last)) if *address == from => {
                (*count, *last) = (count.saturating_add(1), at);
                *count
            }
            Some((_, _, last)) if at.since(*last) < WATCH => return,
            candidate => {
                *candidate = Some((from, 1, at));
                1
            }
        };
        *proves = Some(from);
        let free = |path: &Option<Known>| path.is_none_or(|path| at.since(path.heard) > SILENT);
        let place = self.paths.iter().position(free).filter(|_| count >= PROOF);
        let Some(number) = place else { return };
        self.candidate = None;
        // Where there is but one, nothing has been told of it.
        let alone = !self.is_several();
        for path in self.paths.iter_mut().flatten() {
            path.since = path.since.max(at);
        }
        self.paths[number] = Some(Known { address: from, since: at, heard: at, lives: true });
        self.counters.paths.iter().for_each(|path| path.reset());
        for (n, path) in self.paths.iter().enumerate().filter(|(n, _)| alone || *n == number) {
            self.news[n] = path.map(|path| Path { number: n, address: path.address, lives: path.lives });
        }
    }

    /// Takes the time: what is missing by now is lost, and who is silent is no longer spoken to. Whether what is said goes by another
    /// path from now on.
    pub(super) fn handle_timeout(&mut self, now: Mono) -> bool {
        while self.settled < self.count && now.since(self.taken[self.settled as usize % RECENT].at) > SKEW {
            self.settle_next();
        }
        if !self.is_several() {
            return false;
        }
        let before = self.spoken;
        let silence = |path: &Known| now.since(path.heard);
        let newest = self.paths.iter().flatten().map(|path| path.heard).max().unwrap_or(now);
        let spoken = self.paths[self.spoken];
        if spoken.is_none_or(|path| silence(&path) > LULL && newest.since(path.heard) > LULL) {
            self.spoken = self.paths.iter().position(|p| p.is_some_and(|p| p.heard == newest)).unwrap_or(0);
        }
        for (number, path) in self.paths.iter_mut().enumerate() {
            let Some(path) = path else { continue };
            // Where all of them are silent, it is the stream that has ended.
            if path.lives && newest.since(path.heard) > SILENT {
                path.lives = false;
                self.news[number] = Some(Path { number, address: path.address, lives: false });
            }
        }
        self.spoken != before
    }

    /// Of the oldest datagram that is not settled, by which paths it did not come.
    fn settle_next(&mut self) {
        let taken = self.taken[self.settled as usize % RECENT];
        self.settled += 1;
        for (number, path) in self.paths.iter().enumerate() {
            let missed = path.is_some_and(|path| taken.everywhere && path.since < taken.at);
            if missed && taken.by & (1 << number) == 0 {
                self.counters.paths[number].lost.add(1);
            }
        }
    }

    /// Whether more than one path brings something.
    pub(super) fn several_live(&self, now: Mono) -> bool {
        self.paths.iter().flatten().filter(|path| now.since(path.heard) < LULL).count() > 1
    }

    /// The next path of which there is something to tell.
    pub(super) fn poll_news(&mut self) -> Option<Path> {
        self.news.iter_mut().find_map(Option::take)
    }

    fn is_several(&self) -> bool {
        self.paths.iter().flatten().count() > 1
    }

    fn find(&self, print: u64) -> Option<usize> {
        let kept = self.count.min(RECENT as u64) as usize;
        self.prints[..kept].iter().position(|known| *known == print)
    }

    fn print(&self, datagram: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u32(self.seed);
        hasher.write(datagram);
        hasher.finish()
    }
}

/// The source that a datagram names, encrypted or not.
pub(super) fn named(datagram: &[u8]) -> Option<u32> {
    let at = if rtp::is_rtcp(datagram) { 4 } else { 8 };
    datagram.get(at..)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

/// Whether a datagram may be of a stream, as far as its source tells; what repairs a stream of ours differs from it in the upper
/// two bits. While there is no stream, whatever may be RTP is.
fn is_of(source: Option<u32>, datagram: &[u8]) -> bool {
    let named = named(datagram).filter(|_| datagram[0] >> 6 == 2);
    named.is_some_and(|named| source.is_none_or(|source| (named ^ source) << 2 == 0))
}

#[cfg(test)]
mod tests;
