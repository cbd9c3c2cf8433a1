//! What a sender does so that clients get back what the network lost: keeps what was sent for those that ask, and sends
//! parity ahead to those that cannot wait for an answer.

use std::fmt;
use std::str::FromStr;

use proto::payload_type;
use proto::rtcp::Lost;
use proto::units::{Mono, Sequence};

use crate::counters::ClientCounters;
use crate::repair::advance::{Guard, OVERHEAD, Spec};
use crate::repair::request::{History, Limits, Requests};

/// How much parity a client is sent ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Advance {
    /// None.
    Off,
    /// Always this.
    Fixed(Spec),
    /// None as long as requests get everything back in time; else what the reported loss calls for.
    #[default]
    Auto,
}

/// How a client's losses are repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The client may ask for lost packets.
    pub requests: bool,
    /// Parity that is sent ahead.
    pub advance: Advance,
}

impl Default for Repair {
    fn default() -> Self {
        Self { requests: true, advance: Advance::Auto }
    }
}

impl Repair {
    /// No repair at all.
    pub const OFF: Self = Self { requests: false, advance: Advance::Off };
    /// Only what clients ask for.
    pub const REQUEST: Self = Self { requests: true, advance: Advance::Off };
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.advance {
            Advance::Auto => f.write_str("auto"),
            Advance::Off if self.requests => f.write_str("request"),
            Advance::Off => f.write_str("off"),
            Advance::Fixed(Spec::DUPLICATE) => f.write_str("duplicate"),
            Advance::Fixed(spec) => write!(f, "{}+{}x{}", spec.k(), spec.m(), spec.spread()),
        }
    }
}

/// `off`, `request` (on request only), `auto`, or on request and with parity: `duplicate`, `K+M` or `K+MxSPREAD`.
impl FromStr for Repair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::OFF),
            "request" => Ok(Self::REQUEST),
            "auto" => Ok(Self::default()),
            _ => {
                let spec = text.parse().map_err(|_| {
                    "repair is off, request, auto, duplicate, or parity like 8+3 or 8+3x2 (packets + rows x spread)"
                })?;
                Ok(Self { requests: true, advance: Advance::Fixed(spec) })
            }
        }
    }
}

/// What `auto` chooses from, weakest first: 13 %, 33 % and 50 % of parity, in bursts of up to 2, 4 and 6 packets.
const LADDER: [(u8, u8, u8); 3] = [(8, 1, 2), (6, 2, 2), (4, 2, 3)];
/// Packets that are kept for requests: 0.7 s of the usual ones.
const HISTORY: usize = 256;
/// Packets that a client may ask for at once.
const BURST: u32 = 64;
/// For this long a packet that was sent again is not sent once more, in nanoseconds.
const PAUSE: i64 = 900_000;
/// Reports without unrepaired loss before `auto` takes a step back.
const CALM_REPORTS: u32 = 20;

/// The part of an encoding.
#[derive(Debug)]
pub(super) struct Keeper {
    history: History,
    guards: Vec<(Spec, Guard)>,
    ssrc: u32,
    /// Packets a second.
    rate: u32,
}

/// The part of a client.
#[derive(Debug)]
pub(super) struct Mender {
    requests: Option<Requests>,
    advance: Advance,
    level: Option<Spec>,
    calm: u32,
    /// As last reported; the first report says what was before.
    unrepaired: Option<u32>,
}

impl Keeper {
    /// For packets of at most `max_packet` octets, `rate` of them a second, and clients whose parity this is.
    pub(super) fn new(
        ssrc: u32,
        sequence: Sequence,
        max_packet: usize,
        rate: u32,
        clients: impl Iterator<Item = Repair>,
    ) -> Self {
        let mut specs: Vec<Spec> = Vec::new();
        for repair in clients {
            match repair.advance {
                Advance::Off => {}
                Advance::Fixed(spec) => specs.push(spec),
                Advance::Auto => specs.extend(ladder()),
            }
        }
        specs.sort_by_key(|spec| (spec.k(), spec.m(), spec.spread()));
        specs.dedup();
        let guard = |spec| {
            let ssrc = parity_ssrc(ssrc);
            (spec, Guard::new(spec, ssrc, payload_type::PARITY, sequence, max_packet))
        };
        Self {
            history: History::new(HISTORY, max_packet),
            guards: specs.into_iter().map(guard).collect(),
            ssrc,
            rate,
        }
    }

    pub(super) fn mender(&self, repair: Repair, sequence: Sequence) -> Mender {
        let limits = Limits { rate: self.rate, burst: BURST, pause: PAUSE };
        let ssrc = retransmission_ssrc(self.ssrc);
        let requests = || Requests::new(limits, payload_type::RETRANSMISSION, ssrc, sequence);
        Mender {
            requests: repair.requests.then(requests),
            advance: repair.advance,
            level: if let Advance::Fixed(spec) = repair.advance { Some(spec) } else { None },
            calm: 0,
            unrepaired: None,
        }
    }

    /// Takes over what was sent before a change of the routing, and the parity of it that is under way.
    pub(super) fn inherit(&mut self, former: &mut Self) {
        std::mem::swap(&mut self.history, &mut former.history);
        for (spec, guard) in &mut self.guards {
            if let Some((_, known)) = former.guards.iter_mut().find(|(known, _)| known == spec) {
                std::mem::swap(guard, known);
            }
        }
    }

    /// Takes over what was sent to clients that leave `former`.
    pub(super) fn copy(&mut self, former: &Self) {
        self.history.copy(&former.history);
    }

    /// Takes a media packet as it is sent; `wanted` are the kinds of parity that clients get at present.
    pub(super) fn note(&mut self, packet: &[u8], wanted: impl Fn(Spec) -> bool) {
        self.history.note(packet);
        self.guards.iter_mut().filter(|(spec, _)| wanted(*spec)).for_each(|(_, guard)| guard.note(packet));
    }

    /// The next packet of parity that is due, and its kind.
    pub(super) fn poll(&mut self) -> Option<(Spec, &[u8])> {
        self.guards.iter_mut().find_map(|(spec, guard)| guard.poll().map(|packet| (*spec, packet)))
    }
}

impl Mender {
    pub(super) fn wants(&self, spec: Spec) -> bool {
        self.level == Some(spec)
    }

    pub(super) fn takes_requests(&self) -> bool {
        self.requests.is_some()
    }

    /// Takes a request, as far as it is shorter than what is kept.
    pub(super) fn ask(&mut self, now: Mono, lost: Lost<'_>) {
        if let Some(requests) = &mut self.requests {
            lost.sequences().take(HISTORY).for_each(|sequence| requests.ask(now, sequence));
        }
    }

    /// Writes the next packet that was asked for.
    pub(super) fn poll(&mut self, now: Mono, keeper: &Keeper, out: &mut [u8]) -> Option<usize> {
        self.requests.as_mut()?.poll(now, &keeper.history, out)
    }

    /// Takes what a client reports: packets that nothing brought back, in all, and its latency in nanoseconds.
    pub(super) fn note_report(&mut self, unrepaired: u32, latency: i64, packet_time: i64) {
        let before = self.unrepaired.replace(unrepaired).unwrap_or(unrepaired);
        let fresh = unrepaired.wrapping_sub(before);
        if self.advance != Advance::Auto {
            return;
        }
        let fits = |spec: &Spec| i64::from(spec.reach()) * packet_time < latency;
        let at = |level: Option<Spec>| ladder().position(|spec| Some(spec) == level);
        if fresh > 0 && fresh < 1 << 31 {
            self.calm = 0;
            let next = at(self.level).map_or(0, |level| level + 1);
            if let Some(stronger) = ladder().skip(next).find(fits) {
                self.level = Some(stronger);
            }
            return;
        }
        self.calm += 1;
        if self.calm >= CALM_REPORTS {
            self.calm = 0;
            self.level = at(self.level).and_then(|level| ladder().take(level).filter(fits).last());
        }
    }

    pub(super) fn count(&self, counters: &ClientCounters) {
        if let Some(requests) = &self.requests {
            let counts = requests.counts();
            counters.asked.set(counts.asked);
            counters.resent.set(counts.sent);
            counters.refused.set(counts.refused);
        }
    }
}

fn ladder() -> impl Iterator<Item = Spec> {
    LADDER.iter().filter_map(|&(k, m, spread)| Spec::new(k, m, spread).ok())
}

/// The synchronisation sources beside an encoding's own.
pub(super) fn retransmission_ssrc(ssrc: u32) -> u32 {
    ssrc ^ 0x8000_0000
}

pub(super) fn parity_ssrc(ssrc: u32) -> u32 {
    ssrc ^ 0x4000_0000
}

/// Octets of the longest packet that repair sends, beyond those of the longest media packet.
pub(super) const ROOM: usize = OVERHEAD;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_both_ways() {
        for name in ["off", "request", "auto", "duplicate", "8+3x2", "20+10x1"] {
            assert_eq!(name.parse::<Repair>().unwrap().to_string(), name);
        }
        for nonsense in ["", "8", "0+1", "8+3x0", "99+1", "Auto"] {
            assert!(nonsense.parse::<Repair>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn auto_adds_parity_while_loss_is_left_and_takes_it_back() {
        let keeper = Keeper::new(1, Sequence(0), 300, 345, [Repair::default()].into_iter());
        let mut mender = keeper.mender(Repair::default(), Sequence(0));
        let (latency, packet) = (100_000_000, 2_900_000);
        let mut levels = Vec::new();
        for unrepaired in [0, 0, 3, 3, 9, 10, 11].into_iter().chain(std::iter::repeat_n(11, 70)) {
            mender.note_report(unrepaired, latency, packet);
            if levels.last() != Some(&mender.level) {
                levels.push(mender.level);
            }
        }
        let ladder: Vec<_> = ladder().map(Some).collect();
        assert_eq!(levels, [None, ladder[0], ladder[1], ladder[2], ladder[1], ladder[0], None]);
        // What takes longer than the client waits is of no use to it.
        mender.note_report(99, 10_000_000, packet);
        assert_eq!(mender.level, None);
    }
}
