use super::*;

const MS: i64 = 1_000_000;
const SOURCE: u32 = 0x1234_5678;

fn at(network: u8) -> SocketAddr {
    ([10, 0, network, 1], 4000).into()
}

/// Of the stream, by its number.
fn packet(number: u16) -> Vec<u8> {
    let header = rtp::Header {
        marker: false,
        payload_type: proto::payload_type::L16_MONO,
        sequence: proto::units::Sequence(number),
        timestamp: proto::units::RtpTime(u32::from(number) * 128),
        ssrc: SOURCE,
    };
    [&header.to_bytes()[..], &[number as u8; 64]].concat()
}

struct Bench {
    paths: Paths,
    counters: Arc<ReceiveCounters>,
    now: i64,
}

impl Bench {
    fn new() -> Self {
        let counters = Arc::new(ReceiveCounters::default());
        let mut paths = Paths::new(7, counters.clone());
        paths.begin(Mono(0), at(1));
        Self { paths, counters, now: 0 }
    }

    /// A datagram comes, and is taken where it is the first.
    fn bring(&mut self, network: u8, datagram: &[u8]) -> Sifted {
        self.now += MS;
        let now = Mono(self.now);
        let sifted = self.paths.sift(now, at(network), datagram, Some(SOURCE), true);
        if let Sifted::First(_) | Sifted::Other = sifted {
            self.paths.take(now, datagram);
        }
        self.paths.handle_timeout(now);
        sifted
    }

    /// One with two paths, after so many packets.
    fn of_two() -> (Self, u16) {
        let mut bench = Self::new();
        for number in 0..10 {
            bench.bring(1, &packet(number));
            bench.bring(2, &packet(number));
        }
        assert_eq!(bench.news(), [(0, at(1), true), (1, at(2), true)]);
        (bench, 10)
    }

    fn news(&mut self) -> Vec<(usize, SocketAddr, bool)> {
        std::iter::from_fn(|| self.paths.poll_news()).map(|p| (p.number, p.address, p.lives)).collect()
    }

    fn counts(&self) -> [(u64, u64); PATHS] {
        self.counters.paths.each_ref().map(|path| (path.packets.get(), path.lost.get()))
    }
}

#[test]
fn an_address_is_a_path_once_it_has_brought_three_datagrams_of_the_stream_first_or_last() {
    for first in [1, 2] {
        let mut bench = Bench::new();
        let mut unproven = 0;
        for number in 0..10 {
            let brought = [first, 3 - first].map(|network| bench.bring(network, &packet(number)));
            unproven += brought.iter().filter(|sifted| **sifted == Sifted::Unproven).count();
            if number > 5 {
                assert_eq!(brought, [Sifted::First(at(1)), Sifted::Copy]);
            }
        }
        assert!((3..6).contains(&unproven), "{unproven}");
        assert_eq!(bench.counters.unproven.get(), unproven as u64);
    }
}

#[test]
fn who_only_knows_the_source_never_becomes_a_path() {
    let mut bench = Bench::new();
    for number in 0..1000 {
        bench.bring(1, &packet(number));
        let mut guess = packet(number);
        guess[40] ^= 1;
        assert_eq!(bench.bring(2, &guess), Sifted::Unproven);
    }
    assert_eq!(bench.news(), []);
    let mut other = packet(5);
    other[11] ^= 1;
    assert_eq!(bench.bring(2, &other), Sifted::Other, "another stream is another sender's");
}

#[test]
fn what_is_of_no_path_keeps_none_alive() {
    let (mut bench, next) = Bench::of_two();
    let mut other = packet(0);
    other[11] ^= 1;
    for number in next..next + 2000 {
        bench.bring(2, &packet(number));
        assert_eq!(bench.bring(9, &other), Sifted::Other);
    }
    assert_eq!(bench.news(), [(0, at(1), false)]);
}

#[test]
fn of_a_path_that_takes_the_place_of_another_it_alone_is_told() {
    let (mut bench, next) = Bench::of_two();
    for number in next..next + 2000 {
        bench.bring(2, &packet(number));
    }
    assert_eq!(bench.news(), [(0, at(1), false)]);
    for number in next + 2000..next + 2010 {
        bench.bring(2, &packet(number));
        bench.bring(3, &packet(number));
    }
    assert_eq!(bench.news(), [(0, at(3), true)]);
}

#[test]
fn one_datagram_again_and_again_proves_no_path() {
    let mut bench = Bench::new();
    bench.bring(2, &packet(1));
    bench.bring(1, &packet(1));
    for _ in 0..2000 {
        assert_eq!(bench.bring(2, &packet(1)), Sifted::Unproven);
    }
    assert_eq!(bench.news(), []);
}

#[test]
fn what_comes_twice_by_one_path_is_no_copy() {
    let (mut bench, next) = Bench::of_two();
    assert_eq!(bench.bring(2, &packet(next)), Sifted::First(at(1)));
    assert_eq!(bench.bring(2, &packet(next)), Sifted::First(at(1)));
    assert_eq!(bench.bring(1, &packet(next)), Sifted::Copy);
}

#[test]
fn what_a_path_did_not_bring_within_a_quarter_of_a_second_is_its_loss() {
    let (mut bench, next) = Bench::of_two();
    let before = bench.counts();
    for number in next..next + 100 {
        bench.bring(1, &packet(number));
        if number % 4 > 0 {
            bench.bring(2, &packet(number));
        }
    }
    bench.paths.handle_timeout(Mono(bench.now + SKEW + 1));
    let lost = [0, 1].map(|path| bench.counts()[path].1 - before[path].1);
    assert_eq!((bench.counts()[0].0 - before[0].0, lost), (100, [0, 25]));
}

#[test]
fn what_is_said_goes_by_the_path_that_lives_and_silence_is_told() {
    let (mut bench, mut next) = Bench::of_two();
    let reports = |network| SocketAddr::new(at(network).ip(), 4001);
    let route = |bench: &Bench, to| bench.paths.route(to, Some(reports(1)));
    assert_eq!((route(&bench, at(1)), route(&bench, reports(1))), (at(1), reports(1)));
    let mut only = |bench: &mut Bench, network: u8| {
        for _ in 0..2000 {
            bench.bring(network, &packet(next));
            next += 1;
        }
    };
    only(&mut bench, 2);
    assert_eq!(bench.news(), [(0, at(1), false)]);
    assert_eq!((route(&bench, at(1)), route(&bench, reports(1))), (at(2), reports(2)));
    let restarted = SocketAddr::new(at(1).ip(), 4999);
    assert_eq!(route(&bench, restarted), restarted, "another sender is where it speaks from");
    only(&mut bench, 1);
    // By then the other one is silent.
    assert_eq!(bench.news(), [(0, at(1), true), (1, at(2), false)]);
    assert_eq!(route(&bench, at(1)), at(1));
    assert_eq!(route(&bench, at(9)), at(9), "others are where they are");
}
