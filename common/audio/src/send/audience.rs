//! Those who listen to a multicast group: known from what they say, each by the address that it speaks from.
//!
//! They report, ask for lost packets and ask about this machine's clock by unicast, to where the media comes from. What
//! they may say in all is bounded, however many they are: with the stream's announcement they are told how seldom each of
//! them may speak. Answers about the clock go to each by itself, and are bounded too.

use std::net::SocketAddr;

use proto::Reject;
use proto::announce::Pace;
use proto::exchange::Request;
use proto::playout::Playout;
use proto::srtp::Id;
use proto::units::Mono;

use super::member::Member;
use super::seal::{Acquaintance, Opened};
use crate::secure::{Found, Identity};

/// Listeners that are known at a time; more can listen, but are neither answered nor waited for. With a key they cannot: nobody
/// hears what is encrypted who has not been greeted.
const MOST: usize = 1024;
/// Share of the stream's octets that its receivers' reports may take (RFC 3550, 6.2 and 6.3.1): three quarters of 5 %...
const SHARE: f64 = 0.75 * 0.05;
/// ...and at most so many octets a second, which are 28 reports: whoever sends a wide stream has no more time to read.
const MOST_OCTETS: f64 = 4000.0;
/// Octets of a report, with the headers of UDP and IP (RFC 3550, 6.2 counts them in).
const REPORT: f64 = 144.0;
/// Time between two reports of a listener at least, in milliseconds: as a client by itself has it.
const LEAST_REPORT_MS: u16 = 1000;
/// Time between two questions of all listeners in the long run, and of each at least, in milliseconds.
const QUESTIONS_MS: u16 = 20;
const LEAST_QUESTION_MS: u16 = 250;
/// Answers in all: one in so many nanoseconds in the long run, which is a little more often than questions may come, and so
/// many at once: a few for each of as many as may start together.
const ANSWERS: i64 = 16_000_000;
const ANSWERS_AT_ONCE: i64 = 1024;
/// A listener that missed five intervals is gone (RFC 3550, 6.3.5), and after this long at the earliest, in nanoseconds.
const INTERVALS: i64 = 5;
const PATIENCE: i64 = 5_000_000_000;

/// The listeners of one group.
#[derive(Debug)]
pub(super) struct Audience {
    listeners: Vec<Listener>,
    /// What each new one starts with.
    member: Member,
    /// When the bucket of answers is full again.
    full: Mono,
    /// This sender's indices of SRTCP of late, and since when: who has heard nothing newer than the first is no listener but a
    /// recording of one.
    indices: ([u32; 2], Mono),
}

#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    heard: Mono,
    acquaintance: Acquaintance,
    /// It waits for a greeting.
    ungreeted: bool,
    /// It has said something that shows that a greeting has reached it.
    answers: bool,
    member: Member,
    loss: Loss,
    playout: Option<Playout>,
}

/// What a report says of the network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loss {
    pub(super) fraction: u8,
    pub(super) packets: u64,
}

impl Audience {
    pub(super) fn new() -> Self {
        let member = Member::default();
        Self {
            listeners: Vec::with_capacity(MOST),
            member,
            full: Mono(i64::MIN),
            indices: ([0; 2], Mono(i64::MIN)),
        }
    }

    /// Takes the index of this sender's next compound, with every report.
    pub(super) fn note_index(&mut self, now: Mono, next: u32) {
        let ([_, last], since) = self.indices;
        if now.since(since) >= PATIENCE {
            self.indices = ([last, next], now);
        }
    }

    /// Opens what somebody who listens sent, in place. With a key, listeners are known by their ids, wherever they speak from.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(super) fn open(
        &mut self,
        me: &Identity,
        at: Mono,
        from: SocketAddr,
        greeting: Option<&Found>,
        datagram: &mut [u8],
    ) -> Result<Opened, Reject> {
        let is = |listener: &Listener| {
            greeting.map_or(listener.address == from, |(greeting, ..)| listener.acquaintance.is(greeting.id))
        };
        if let Some(listener) = self.listeners.iter_mut().find(|listener| is(listener)) {
            let opened = listener.acquaintance.open(me, greeting, datagram)?;
            (listener.address, listener.heard) = (from, at);
            listener.answers |= matches!(opened, Opened::Compound(_));
            // Whoever greets again and says nothing else has not heard the greeting that it waits for.
            listener.ungreeted |= !listener.answers;
            return Ok(if listener.ungreeted { Opened::Newcomer } else { opened });
        }
        let mut acquaintance = Acquaintance::since(self.indices.0[0]);
        let opened = acquaintance.open(me, greeting, datagram)?;
        // Its former self.
        self.leave(from);
        let listener = self.listener(at, from).ok_or(Reject::Unknown)?;
        (listener.acquaintance, listener.ungreeted) = (acquaintance, true);
        Ok(opened)
    }

    /// Somebody who waits for a greeting, and what it answers.
    pub(super) fn next_greeting(&mut self) -> Option<(SocketAddr, (Id, u32))> {
        let waiting = self.listeners.iter_mut().find(|listener| listener.ungreeted)?;
        waiting.ungreeted = false;
        Some((waiting.address, waiting.acquaintance.answered()))
    }

    /// What each listener is to its group of clients.
    pub(super) fn belong(&mut self, member: Member) {
        self.member = member;
    }

    /// Listeners that are known.
    pub(super) fn len(&self) -> usize {
        self.listeners.len()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.listeners.iter().map(|listener| &listener.member)
    }

    pub(super) fn knows(&self, from: SocketAddr) -> bool {
        self.listeners.iter().any(|listener| listener.address == from)
    }

    /// Takes a question. Whether everybody is to be told something at once.
    pub(super) fn ask(&mut self, at: Mono, from: SocketAddr, request: &Request) -> bool {
        let Some(listener) = self.listener(at, from) else { return false };
        let news = listener.member.ask(at, from, request);
        listener.member.group.is_some() && news
    }

    /// Most that one of them needs, in microseconds.
    pub(super) fn wanted(&self, now: Mono) -> u32 {
        self.members().filter_map(|member| member.wanted(now)).max().unwrap_or(0)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.listeners.iter().any(|listener| listener.ungreeted || listener.member.is_waiting())
    }

    /// Writes an answer to somebody who waits for one, as long as there may be more. Returns whom to, and its length.
    pub(super) fn answer(&mut self, now: Mono, ssrc: u32, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            let waiting = self.listeners.iter_mut().find(|listener| listener.member.is_waiting())?;
            let (from, length) = waiting.member.answer(now, ssrc, out)?;
            let full = self.full.max(now).plus(ANSWERS);
            if full.since(now) <= ANSWERS * ANSWERS_AT_ONCE {
                self.full = full;
                return Some((from, length));
            }
        }
    }

    /// Takes what a listener reports of the network. Returns the worst of what all of them say.
    pub(super) fn note_loss(&mut self, at: Mono, from: SocketAddr, loss: Loss) -> Loss {
        if let Some(listener) = self.listener(at, from) {
            listener.loss = loss;
        }
        let all = || self.listeners.iter().map(|listener| listener.loss);
        Loss {
            fraction: all().map(|loss| loss.fraction).max().unwrap_or(0),
            packets: all().map(|loss| loss.packets).max().unwrap_or(0),
        }
    }

    /// Takes what a listener reports of its playback. Returns how many packets nothing brought back to it since its last
    /// report, and the worst of what all of them say.
    pub(super) fn note_playout(&mut self, at: Mono, from: SocketAddr, playout: Playout) -> (u32, Playout) {
        let fresh = self.listener(at, from).map_or(0, |listener| {
            let before = listener.playout.replace(playout).map_or(playout.unrepaired, |p| p.unrepaired);
            playout.unrepaired.wrapping_sub(before)
        });
        let all = || self.listeners.iter().filter_map(|listener| listener.playout);
        let furthest = |value: fn(Playout) -> i32| {
            all().map(value).max_by_key(|nanos| nanos.unsigned_abs()).unwrap_or(0)
        };
        let worst = Playout {
            latency_us: all().map(|p| p.latency_us).max().unwrap_or(0),
            depth_us: all().map(|p| p.depth_us).min().unwrap_or(0),
            unrepaired: all().map(|p| p.unrepaired).max().unwrap_or(0),
            error_ns: furthest(|p| p.error_ns),
            worst_error_ns: furthest(|p| p.worst_error_ns),
            round_trip_us: all().map(|p| p.round_trip_us).max().unwrap_or(0),
            drift_ppb: furthest(|p| p.drift_ppb),
            concealed: all().map(|p| p.concealed).max().unwrap_or(0),
            synced: all().all(|p| p.synced),
            late: all().any(|p| p.late),
        };
        (fresh, worst)
    }

    /// A listener says goodbye.
    pub(super) fn leave(&mut self, from: SocketAddr) {
        self.listeners.retain(|listener| listener.address != from);
    }

    /// Forgets those who have not been heard for long, where the stream has so many octets a second. Returns how often each
    /// of the others may speak.
    pub(super) fn pace(&mut self, now: Mono, octets: f64) -> Pace {
        let nanos = |millis: u16| INTERVALS * i64::from(millis) * 1_000_000;
        let patience = PATIENCE.max(nanos(self.interval(octets).report_ms));
        self.listeners.retain(|listener| now.since(listener.heard) < patience);
        let pace = self.interval(octets);
        for member in self.listeners.iter_mut().map(|listener| &mut listener.member) {
            member.patience = nanos(pace.question_ms);
        }
        pace
    }

    fn interval(&self, octets: f64) -> Pace {
        let members = self.listeners.len().min(MOST);
        let allowed = (octets * SHARE).clamp(1.0, MOST_OCTETS);
        // Casts of floats saturate.
        let report_ms = (members as f64 * REPORT * 1e3 / allowed).round() as u16;
        Pace {
            report_ms: report_ms.max(LEAST_REPORT_MS),
            question_ms: (members as u16 * QUESTIONS_MS).max(LEAST_QUESTION_MS),
        }
    }

    fn listener(&mut self, at: Mono, from: SocketAddr) -> Option<&mut Listener> {
        let known = self.listeners.iter().position(|listener| listener.address == from);
        let place = known.unwrap_or(self.listeners.len());
        if place == self.listeners.len() {
            if place == MOST {
                return None;
            }
            let (member, loss) = (self.member.clone(), Loss::default());
            let (acquaintance, ungreeted, answers) = (Acquaintance::default(), false, false);
            let heard = at;
            self.listeners.push(Listener {
                address: from,
                heard,
                acquaintance,
                ungreeted,
                answers,
                member,
                loss,
                playout: None,
            });
        }
        let listener = &mut self.listeners[place];
        listener.heard = at;
        Some(listener)
    }

    /// Takes over those who are known already; what they are to their group of clients may have changed.
    pub(super) fn inherit(&mut self, former: &mut Self) {
        std::mem::swap(&mut self.listeners, &mut former.listeners);
        (self.full, self.indices) = (former.full, former.indices);
        for listener in &mut self.listeners {
            let mut before = std::mem::replace(&mut listener.member, self.member.clone());
            listener.member.inherit(&mut before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn from(number: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 5000))
    }

    fn audience(listeners: usize) -> Audience {
        let mut audience = Audience::new();
        for n in 0..listeners {
            audience.note_loss(Mono(0), from(n), Loss::default());
        }
        audience
    }

    #[test]
    fn the_more_they_are_the_less_each_may_say() {
        let wide = 1_500_000.0;
        let paces: Vec<_> = [0, 1, 12, 28, 200, 4000].map(|n| audience(n).pace(Mono(0), wide)).into();
        let report: Vec<_> = paces.iter().map(|pace| pace.report_ms).collect();
        let question: Vec<_> = paces.iter().map(|pace| pace.question_ms).collect();
        assert_eq!(report, [1000, 1000, 1000, 1008, 7200, 36_864]);
        assert_eq!(question, [250, 250, 250, 560, 4000, 20_480]);
        // Three quarters of 5 % of 10 kB/s are 2.6 reports a second.
        assert_eq!(audience(26).pace(Mono(0), 10_000.0).report_ms, 9984);
    }

    #[test]
    fn who_says_nothing_for_five_intervals_is_gone_and_who_says_goodbye_at_once() {
        let mut audience = audience(3);
        audience.note_loss(Mono(4 * SECOND), from(0), Loss::default());
        audience.leave(from(1));
        assert_eq!((audience.len(), audience.knows(from(1))), (2, false));
        audience.pace(Mono(5 * SECOND - 1), 1e6);
        assert_eq!(audience.len(), 2);
        audience.pace(Mono(5 * SECOND), 1e6);
        assert!(audience.len() == 1 && audience.knows(from(0)));
    }

    #[test]
    fn answers_are_bounded_in_all() {
        let mut audience = Audience::new();
        let mut answers = 0;
        for ms in (0..10_000).step_by(20) {
            let now = Mono(ms * 1_000_000);
            for n in 0..200 {
                audience.ask(now, from(n), &Request::default());
            }
            let mut out = [0; 128];
            while audience.answer(now, 7, &mut out).is_some() {
                answers += 1;
            }
            assert!(!audience.is_waiting());
        }
        assert!((1024 + 600..=1024 + 640).contains(&answers), "{answers}");
    }

    #[test]
    fn the_worst_of_them_is_told() {
        let mut audience = Audience::new();
        let playout =
            |error_ns, unrepaired, synced| Playout { error_ns, unrepaired, synced, ..Playout::default() };
        assert_eq!(audience.note_playout(Mono(0), from(0), playout(10, 5, true)).0, 0, "what was before");
        let (fresh, worst) = audience.note_playout(Mono(0), from(0), playout(10, 7, true));
        assert!(fresh == 2 && worst.synced);
        let (fresh, worst) = audience.note_playout(Mono(0), from(1), playout(-30, 3, false));
        assert_eq!((fresh, worst.error_ns, worst.unrepaired, worst.synced), (0, -30, 7, false));
        let loss = |fraction| Loss { fraction, packets: u64::from(fraction) };
        audience.note_loss(Mono(0), from(0), loss(9));
        assert_eq!(audience.note_loss(Mono(0), from(1), loss(3)).fraction, 9);
    }
}
