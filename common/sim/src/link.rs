//! One direction of a path between two machines: which datagrams arrive, when, and how often.
//!
//! A datagram waits for the line, is lost on it or not, takes its time, and is held while the path stalls. Every kind of
//! chance has a stream of its own, and a datagram's place in it is its number: switching one kind on, or losing a
//! datagram, leaves the luck of all others as it was.

mod spec;

use std::collections::VecDeque;

use proto::units::Mono;

use crate::random::Random;
pub use spec::{Jitter, LinkSpec, Loss, Rate, Stalls};

/// IPv4 and UDP header, in octets.
const HEADER: usize = 28;

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams given to the link.
    pub sent: u64,
    /// Those that never arrive, for whatever reason.
    pub lost: u64,
    /// Those that arrive twice.
    pub duplicated: u64,
    /// Octets in the datagrams given, headers not included.
    pub octets: u64,
}

/// A link in use.
#[derive(Clone, Debug)]
pub struct Link {
    spec: LinkSpec,
    counters: Counters,
    loss: Random,
    jitter: Random,
    copy_jitter: Random,
    reorder: Random,
    duplicate: Random,
    stall: Random,
    /// The state of bursty loss.
    bad: bool,
    /// When the line has sent what waits.
    line_free: Mono,
    /// When the datagram before arrives, lost or not.
    before: Mono,
    /// Stalls that are not over, and at least one that lies ahead of all arrivals. From, until.
    stalls: VecDeque<(Mono, Mono)>,
    black_outs: Vec<(Mono, Mono)>,
}

impl Link {
    /// A link whose luck follows `seed`.
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        let root = Random::new(seed);
        Self {
            spec,
            counters: Counters::default(),
            loss: root.fork(0),
            jitter: root.fork(1),
            copy_jitter: root.fork(2),
            reorder: root.fork(3),
            duplicate: root.fork(4),
            stall: root.fork(5),
            bad: false,
            line_free: Mono(i64::MIN),
            before: Mono(i64::MIN),
            stalls: VecDeque::new(),
            black_outs: Vec::new(),
        }
    }

    /// Changes the conditions for all that is sent from now on. Other `stalls` end one under way.
    pub fn set(&mut self, spec: LinkSpec) {
        if spec.stalls != self.spec.stalls {
            self.stalls.clear();
        }
        self.spec = spec;
    }

    /// Loses everything sent from `from` on and before `until`.
    pub fn black_out(&mut self, from: Mono, until: Mono) {
        self.black_outs.push((from, until));
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// When a datagram of so many octets (headers not included) arrives, and when its copy does. Never before `now`,
    /// which never goes back.
    pub fn send(&mut self, now: Mono, octets: usize) -> [Option<Mono>; 2] {
        let number = self.counters.sent;
        self.counters.sent += 1;
        self.counters.octets += octets as u64;
        let lost = self.is_lost(number);
        let left = if self.is_black(now) { None } else { self.transmit(now, octets) };
        let arrival = left.map(|left| self.arrive(now, left, number)).filter(|_| !lost);
        let Some(arrival) = arrival else {
            self.counters.lost += 1;
            return [None, None];
        };
        let twice = self.duplicate.fork(number).unit() < self.spec.duplicate;
        self.counters.duplicated += u64::from(twice);
        let late = self.spec.jitter.draw(self.copy_jitter.fork(number));
        [Some(arrival), twice.then(|| self.release(now, arrival.plus(late)))]
    }

    fn is_lost(&mut self, number: u64) -> bool {
        let chance = match self.spec.loss {
            Loss::None => 0.0,
            Loss::Random(share) => share,
            Loss::Gilbert { burst, .. } if self.bad => 1.0 - 1.0 / burst,
            Loss::Gilbert { share, burst } => share / (burst * (1.0 - share)),
        };
        let lost = self.loss.fork(number).unit() < chance;
        self.bad = lost && matches!(self.spec.loss, Loss::Gilbert { .. });
        lost
    }

    fn is_black(&mut self, now: Mono) -> bool {
        self.black_outs.retain(|(_, until)| now < *until);
        self.black_outs.iter().any(|(from, _)| *from <= now)
    }

    /// When the line has sent it, unless the queue drops it.
    fn transmit(&mut self, now: Mono, octets: usize) -> Option<Mono> {
        let Some(rate) = self.spec.rate else { return Some(now) };
        let begins = self.line_free.max(now);
        if begins.since(now) > rate.queue {
            return None;
        }
        let bits = 8 * (octets + HEADER) as u128;
        self.line_free = begins.plus((bits * 1_000_000_000 / u128::from(rate.bits_per_second.max(1))) as i64);
        Some(self.line_free)
    }

    /// When a datagram arrives that left the line at `left`.
    fn arrive(&mut self, now: Mono, left: Mono, number: u64) -> Mono {
        let mut arrival =
            left.plus(self.spec.delay.saturating_add(self.spec.jitter.draw(self.jitter.fork(number))));
        if self.spec.in_order {
            arrival = arrival.max(self.before);
        }
        arrival = self.release(now, arrival);
        self.before = arrival;
        if self.reorder.fork(number).unit() < self.spec.reorder {
            arrival = self.release(now, arrival.plus(self.spec.reorder_by));
        }
        arrival
    }

    /// The end of the stall at `arrival`, if there is one.
    fn release(&mut self, now: Mono, arrival: Mono) -> Mono {
        let Some(spec) = self.spec.stalls else { return arrival };
        while self.stalls.len() > 1 && self.stalls[0].1 <= now {
            self.stalls.pop_front();
        }
        while self.stalls.back().is_none_or(|(from, _)| *from <= arrival) {
            let over = self.stalls.back().map_or(now, |(_, until)| *until);
            // At least 1 ns, so that the loop ends.
            let from = over.plus(((self.stall.exponential() * spec.every as f64) as i64).max(1));
            let length = spec.shortest + (self.stall.unit() * (spec.longest - spec.shortest) as f64) as i64;
            self.stalls.push_back((from, from.plus(length)));
        }
        let stall = self.stalls.iter().find(|(from, until)| (*from..*until).contains(&arrival));
        stall.map_or(arrival, |(_, until)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// Sends `count` datagrams of 172 octets (200 with headers), one each millisecond.
    fn run(link: &mut Link, count: i64) -> Vec<[Option<Mono>; 2]> {
        (0..count).map(|number| link.send(Mono(number * MS), 172)).collect()
    }

    fn arrivals(spec: LinkSpec, seed: u64, count: i64) -> Vec<Option<i64>> {
        run(&mut Link::new(spec, seed), count).iter().map(|[first, _]| first.map(|at| at.0)).collect()
    }

    fn share<T>(items: &[T], is: impl Fn(&T) -> bool) -> f64 {
        items.iter().filter(|item| is(item)).count() as f64 / items.len() as f64
    }

    /// Everything at once.
    fn rough() -> LinkSpec {
        LinkSpec {
            loss: Loss::Gilbert { share: 0.05, burst: 3.0 },
            delay: 20 * MS,
            jitter: Jitter::Pareto { scale: 2 * MS, shape: 2.5, most: 80 * MS },
            stalls: Some(Stalls { every: 500 * MS, shortest: 20 * MS, longest: 60 * MS }),
            reorder: 0.02,
            reorder_by: 5 * MS,
            duplicate: 0.03,
            rate: Some(Rate { bits_per_second: 1_700_000, queue: 50 * MS }),
            in_order: true,
        }
    }

    #[test]
    fn a_perfect_link_is_transparent() {
        let mut link = Link::new(LinkSpec::default(), 1);
        let got = run(&mut link, 1000);
        assert!(got.iter().zip(0..).all(|(got, number)| *got == [Some(Mono(number * MS)), None]));
        assert_eq!(link.counters(), Counters { sent: 1000, octets: 172_000, ..Counters::default() });
    }

    #[test]
    fn random_and_bursty_loss_have_their_share_and_length() {
        let single = |share: f64| (Loss::Random(share), share, 1.0 / (1.0 - share));
        let bursts = |share, burst| (Loss::Gilbert { share, burst }, share, burst);
        for (loss, mean, burst) in
            [single(0.01), single(0.3), bursts(0.02, 8.0), bursts(0.5, 2.0), bursts(0.1, 1.0)]
        {
            for seed in 1..4 {
                let got = arrivals(LinkSpec { loss, ..LinkSpec::default() }, seed, 1_000_000);
                let lost = share(&got, Option::is_none);
                let begun = got.windows(2).filter(|pair| pair[0].is_some() && pair[1].is_none()).count();
                assert!((lost / mean - 1.0).abs() < 0.05, "{loss:?}: {lost}");
                let length = lost * 1e6 / begun as f64;
                assert!((length / burst - 1.0).abs() < 0.04, "{loss:?}: bursts of {length}");
            }
        }
    }

    #[test]
    fn jitter_has_its_shape() {
        // The share above 10 ms, from each distribution function.
        let pareto = Jitter::Pareto { scale: 5 * MS, shape: 2.0, most: 30 * MS };
        for (jitter, above) in [
            (Jitter::Uniform { most: 40 * MS }, 0.75),
            (Jitter::Normal { sigma: 10 * MS }, 0.3173),
            (pareto, 1.0 / 9.0),
        ] {
            let got = arrivals(LinkSpec { jitter, delay: 3 * MS, ..LinkSpec::default() }, 4, 100_000);
            let late: Vec<i64> =
                got.iter().zip(0..).map(|(at, number)| at.unwrap() - (number + 3) * MS).collect();
            let found = share(&late, |late| *late > 10 * MS);
            assert!((found - above).abs() < 0.005, "{jitter:?}: {found}");
            let most = late.iter().max().unwrap();
            assert!(late.iter().all(|late| *late >= 0) && (jitter != pareto || *most == 30 * MS));
        }
    }

    #[test]
    fn one_kind_of_chance_leaves_the_others_alone() {
        let full = LinkSpec { rate: None, ..rough() };
        let all = run(&mut Link::new(full, 5), 20_000);
        let lossless = run(&mut Link::new(LinkSpec { loss: Loss::None, ..full }, 5), 20_000);
        let single = run(&mut Link::new(LinkSpec { duplicate: 0.0, ..full }, 5), 20_000);
        let steady = LinkSpec { jitter: Jitter::None, stalls: None, reorder: 0.0, ..full };
        let steady = run(&mut Link::new(steady, 5), 20_000);
        for (index, all) in all.iter().enumerate() {
            assert!(*all == [None, None] || *all == lossless[index]);
            assert_eq!(all[0], single[index][0]);
            assert_eq!(all.map(|copy| copy.is_some()), steady[index].map(|copy| copy.is_some()));
        }
    }

    #[test]
    fn a_copy_follows_of_its_share_of_what_arrives() {
        let spec = LinkSpec { loss: Loss::Random(0.2), duplicate: 0.2, ..LinkSpec::default() };
        let mut got = run(&mut Link::new(spec, 13), 100_000);
        got.retain(|[first, _]| first.is_some());
        let twice = share(&got, |[_, copy]| copy.is_some());
        assert!((twice - 0.2).abs() < 0.01, "{twice}");
    }

    #[test]
    fn same_seed_same_run() {
        let [one, same, other] = [6, 6, 7].map(|seed| run(&mut Link::new(rough(), seed), 10_000));
        assert!(one == same && one != other);
    }

    #[test]
    fn a_stall_releases_together_and_in_order() {
        let stalls = Some(Stalls { every: 1000 * MS, shortest: 50 * MS, longest: 150 * MS });
        let jitter = Jitter::Uniform { most: 5 * MS };
        let got = arrivals(LinkSpec { stalls, jitter, in_order: true, ..LinkSpec::default() }, 8, 200_000);
        let got: Vec<i64> = got.into_iter().flatten().collect();
        assert!(got.is_sorted());
        let releases: Vec<&[i64]> = got.chunk_by(|a, b| a == b).filter(|group| group.len() > 20).collect();
        // One in 1.1 s, and 100 ms in the mean.
        assert!((150..215).contains(&releases.len()), "{} stalls", releases.len());
        let gap = |release: &&[i64]| release[0] - got[got.partition_point(|at| *at < release[0]) - 1];
        let gaps: Vec<i64> = releases.iter().map(gap).collect();
        assert!(gaps.iter().all(|gap| (50 * MS..160 * MS).contains(gap)));
        let mean = gaps.iter().sum::<i64>() / gaps.len() as i64;
        assert!((90 * MS..115 * MS).contains(&mean), "{mean}");
    }

    #[test]
    fn only_without_in_order_does_jitter_reorder() {
        let spec = LinkSpec { jitter: Jitter::Normal { sigma: 5 * MS }, ..LinkSpec::default() };
        assert!(!arrivals(spec, 9, 10_000).is_sorted());
        let spec = LinkSpec { in_order: true, ..spec };
        assert!(arrivals(spec, 9, 10_000).is_sorted());
        let spec = LinkSpec { jitter: Jitter::None, reorder: 0.1, reorder_by: 2 * MS + 1, ..spec };
        let late: Vec<_> = arrivals(spec, 9, 10_000).into_iter().flatten().map(|at| at % MS == 1).collect();
        assert!((share(&late, |late| *late) - 0.1).abs() < 0.01);
    }

    #[test]
    fn a_rate_limits_and_drops_what_waits_too_long() {
        // 1.6 Mbit/s of datagrams into 1 Mbit/s.
        let rate = Some(Rate { bits_per_second: 1_000_000, queue: 30 * MS });
        let mut link = Link::new(LinkSpec { rate, ..LinkSpec::default() }, 10);
        let got = run(&mut link, 10_000);
        assert_eq!(got[0][0], Some(Mono(1_600_000)));
        let through: Vec<i64> = got.iter().filter_map(|[first, _]| first.map(|at| at.0)).collect();
        assert!(through.windows(2).all(|pair| pair[1] - pair[0] == 1_600_000));
        assert_eq!(through.len() as u64, 10_000 - link.counters().lost);
        let waits = got.iter().zip(0..).filter_map(|([first, _], number)| first.map(|at| at.0 - number * MS));
        assert!((31 * MS..=31_600_000).contains(&waits.max().unwrap()));
    }

    #[test]
    fn conditions_change_and_black_outs_lose_everything() {
        let mut link = Link::new(LinkSpec { duplicate: 1.0, ..LinkSpec::default() }, 11);
        link.black_out(Mono(3 * MS), Mono(6 * MS));
        let seen: Vec<usize> =
            run(&mut link, 8).iter().map(|copies| copies.iter().flatten().count()).collect();
        assert_eq!(seen, [2, 2, 2, 0, 0, 0, 2, 2]);
        link.set(LinkSpec { delay: 7, ..LinkSpec::default() });
        assert_eq!(link.send(Mono(8 * MS), 1), [Some(Mono(8 * MS + 7)), None]);
        assert_eq!(link.counters(), Counters { sent: 9, lost: 3, duplicated: 5, octets: 8 * 172 + 1 });
    }

    #[test]
    fn other_stalls_end_one_under_way_and_begin_anew() {
        let stalls = Some(Stalls { every: 0, shortest: 10 * MS, longest: 10 * MS });
        let stalled = LinkSpec { stalls, delay: 1, ..LinkSpec::default() };
        let mut link = Link::new(stalled, 12);
        assert_eq!(link.send(Mono(0), 1)[0], Some(Mono(10 * MS + 1)));
        link.set(LinkSpec { loss: Loss::Random(0.0), ..stalled });
        assert_eq!(link.send(Mono(MS), 1)[0], Some(Mono(10 * MS + 1)));
        link.set(LinkSpec::default());
        assert_eq!(link.send(Mono(2 * MS), 1)[0], Some(Mono(2 * MS)));
        link.set(stalled);
        assert_eq!(link.send(Mono(3 * MS), 1)[0], Some(Mono(13 * MS + 1)));
    }
}
