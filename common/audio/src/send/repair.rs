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
/// A packet that goes to a whole group again is asked for by several, who do not hear of its loss at the same time.
const GROUP_PAUSE: i64 = 10_000_000;
/// Of what a group is sent, so much may be sent again, one packet in four: those who lost nothing get it, too.
const GROUP_SHARE: u32 = 4;
/// Time without unrepaired loss before `auto` takes a step back, in nanoseconds.
const CALM: i64 = 20_000_000_000;
/// Between two steps, in nanoseconds: what a step brings is reported within a second, by however many.
const SETTLE: i64 = 900_000_000;

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
    /// When the level was changed last, and when loss was reported last.
    stepped: Mono,
    disturbed: Option<Mono>,
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

    /// The part of a client, or of a whole group of them.
    pub(super) fn mender(&self, repair: Repair, sequence: Sequence, group: bool) -> Mender {
        let limits = if group {
            Limits { rate: self.rate / GROUP_SHARE, burst: BURST, pause: GROUP_PAUSE }
        } else {
            Limits { rate: self.rate, burst: BURST, pause: PAUSE }
        };
        let ssrc = retransmission_ssrc(self.ssrc);
        let requests = || Requests::new(limits, payload_type::RETRANSMISSION, ssrc, sequence);
        Mender {
            requests: repair.requests.then(requests),
            advance: repair.advance,
            level: if let Advance::Fixed(spec) = repair.advance { Some(spec) } else { None },
            stepped: Mono(i64::MIN),
            disturbed: None,
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

    /// How many packets nothing brought back since the last report, of so many in all.
    pub(super) fn fresh(&mut self, unrepaired: u32) -> u32 {
        unrepaired.wrapping_sub(self.unrepaired.replace(unrepaired).unwrap_or(unrepaired))
    }

    /// Takes a report: packets that nothing brought back since the one before, and the reporter's latency in nanoseconds.
    pub(super) fn note_unrepaired(&mut self, now: Mono, fresh: u32, latency: i64, packet_time: i64) {
        if self.advance != Advance::Auto {
            return;
        }
        let fits = |spec: &Spec| i64::from(spec.reach()) * packet_time < latency;
        let at = |level: Option<Spec>| ladder().position(|spec| Some(spec) == level);
        let disturbed = *self.disturbed.get_or_insert(now);
        if fresh > 0 && fresh < 1 << 31 {
            self.disturbed = Some(now);
            let next = at(self.level).map_or(0, |level| level + 1);
            if now.0.saturating_sub(self.stepped.0) >= SETTLE
                && let Some(stronger) = ladder().skip(next).find(fits)
            {
                self.level = Some(stronger);
                self.stepped = now;
            }
        } else if now.since(disturbed) >= CALM {
            self.disturbed = Some(now);
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
        let mut mender = keeper.mender(Repair::default(), Sequence(0), false);
        let (latency, packet) = (100_000_000, 2_900_000);
        let mut levels = Vec::new();
        let counts = [0, 0, 3, 3, 9, 10, 11].into_iter().chain(std::iter::repeat_n(11, 70));
        for (second, unrepaired) in counts.enumerate() {
            let fresh = mender.fresh(unrepaired);
            mender.note_unrepaired(Mono(second as i64 * 1_000_000_000), fresh, latency, packet);
            if levels.last() != Some(&mender.level) {
                levels.push(mender.level);
            }
        }
        let ladder: Vec<_> = ladder().map(Some).collect();
        assert_eq!(levels, [None, ladder[0], ladder[1], ladder[2], ladder[1], ladder[0], None]);
        // What takes longer than the client waits is of no use to it.
        mender.note_unrepaired(Mono(99_000_000_000), 88, 10_000_000, packet);
        assert_eq!(mender.level, None);
    }

    #[test]
    fn a_loss_that_many_report_is_one_step() {
        let keeper = Keeper::new(1, Sequence(0), 300, 345, [Repair::default()].into_iter());
        let mut mender = keeper.mender(Repair::default(), Sequence(0), true);
        for listener in 0..200 {
            mender.note_unrepaired(Mono(listener * 4_000_000), 1, 100_000_000, 2_900_000);
        }
        assert_eq!(mender.level, ladder().next());
    }

    #[test]
    fn what_many_of_a_group_ask_for_is_sent_once_and_not_without_end() {
        let mut keeper = Keeper::new(1, Sequence(0), 300, 400, [Repair::default()].into_iter());
        let header = proto::rtp::Header {
            marker: false,
            payload_type: payload_type::L16_MONO,
            sequence: Sequence(5),
            timestamp: proto::units::RtpTime(0),
            ssrc: 1,
        };
        keeper.note(&header.to_bytes(), |_| false);
        let mut mender = keeper.mender(Repair::default(), Sequence(0), true);
        let (mut nack, mut out) = ([0; 64], [0; 400]);
        let mut builder = proto::rtcp::Builder::new(&mut nack);
        builder.nack(2, 1, [Sequence(5)].into_iter());
        let length = builder.finish().unwrap();
        let mut sent = 0;
        let mut ask = |micros: i64, sent: &mut u32| {
            let now = Mono(micros * 1000);
            for packet in proto::rtcp::packets(&nack[..length]) {
                let Ok(proto::rtcp::Packet::Nack { lost, .. }) = packet else { panic!("{packet:?}") };
                mender.ask(now, lost);
            }
            *sent += u32::from(mender.poll(now, &keeper, &mut out).is_some());
        };
        (0..200).for_each(|listener| ask(listener * 40, &mut sent));
        assert_eq!(sent, 1);
        // 20 s of requests by everybody: a quarter of 400 packets a second, and those at once.
        (0..200_000).for_each(|n| ask(10_000 + n * 100, &mut sent));
        assert!(sent <= 20 * 100 + BURST + 2, "{sent}");
    }
}
