//! scratch
use sim::card::CardSpec;
use sim::link::*;
use tests::world::*;
const MS: i64 = 1_000_000;
fn q(v: &[f64], p: f64) -> f64 {
    if v.is_empty() {
        return f64::NAN;
    }
    v[((v.len() - 1) as f64 * p) as usize]
}
fn show(name: &str, s: &Scenario) {
    for seed in 0..2 {
        let o = run(s, seed);
        let l = o.latencies();
        println!(
            "{name} seed {seed}: sent {} lost {} late {} retx {} rebuilt {} req {} wrong {}/{} extra {:.1}% lat p50 {:.3} p0 {:.3} p99 {:.3} max {:.3} realigned {} changes {:?}",
            o.sent,
            o.counters.lost.get(),
            o.counters.late.get(),
            o.counters.retransmitted.get(),
            o.counters.rebuilt.get(),
            o.counters.requested.get(),
            o.wrong,
            o.judged,
            o.octets.extra() * 100.0,
            q(&l, 0.5),
            q(&l, 0.0),
            q(&l, 0.99),
            q(&l, 1.0),
            o.counters.realigned.get(),
            o.changes
                .iter()
                .map(|(t, l)| format!("{t:.1}:{:.1}{:?}", l.nanos as f64 / 1e6, l.reason))
                .collect::<Vec<_>>()
        );
    }
}
#[test]
fn explore() {
    let wired = LinkSpec {
        delay: 100_000,
        jitter: Jitter::Normal { sigma: 50_000 },
        in_order: true,
        ..LinkSpec::default()
    };
    let card = |ppm| CardSpec { ppm, jitter: 100_000, ..CardSpec::default() };
    let base = Scenario {
        seconds: 60.0,
        forward: vec![(0.0, wired)],
        back: wired,
        settle: 10.0,
        ..Scenario::default()
    };
    show(
        "T4 5.3",
        &Scenario {
            frames: 64,
            capture: (card(0.0), 64),
            ear: Ear::Card(card(50.0), 64),
            latency: 5_400_000,
            ..base.clone()
        },
    );
    show(
        "T11 100ppm",
        &Scenario { ear: Ear::Card(card(100.0), 128), latency: 30 * MS, settle: 30.0, ..base.clone() },
    );
    show(
        "T11 500ppm",
        &Scenario {
            ear: Ear::Card(card(500.0), 128),
            capture: (card(-0.0), 128),
            latency: 30 * MS,
            settle: 30.0,
            ..base.clone()
        },
    );
    show(
        "T11 1000ppm",
        &Scenario { ear: Ear::Card(card(1000.0), 128), latency: 30 * MS, settle: 30.0, ..base.clone() },
    );
    let lossy = |share| LinkSpec {
        loss: Loss::Random(share),
        delay: 1_500_000,
        jitter: Jitter::Uniform { most: 500_000 },
        in_order: true,
        ..LinkSpec::default()
    };
    show(
        "T7 5% 20ms",
        &Scenario {
            seconds: 300.0,
            forward: vec![(0.0, lossy(0.05))],
            back: lossy(0.05),
            ear: Ear::Card(card(0.0), 128),
            latency: 20 * MS,
            ..base.clone()
        },
    );
    show(
        "T7 10% 40ms",
        &Scenario {
            seconds: 300.0,
            forward: vec![(0.0, lossy(0.1))],
            back: lossy(0.1),
            ear: Ear::Card(card(0.0), 128),
            latency: 40 * MS,
            ..base.clone()
        },
    );
    let burst = LinkSpec { loss: Loss::Gilbert { share: 0.1, burst: 4.0 }, ..lossy(0.0) };
    show(
        "T8 60ms",
        &Scenario {
            seconds: 300.0,
            forward: vec![(0.0, burst)],
            back: burst,
            ear: Ear::Card(card(0.0), 128),
            latency: 60 * MS,
            ..base.clone()
        },
    );
    show(
        "T8 blackout",
        &Scenario {
            blackouts: vec![(20.0, 20.03), (40.0, 40.03)],
            forward: vec![(0.0, lossy(0.0))],
            back: lossy(0.0),
            ear: Ear::Card(card(0.0), 128),
            latency: 60 * MS,
            ..base.clone()
        },
    );
}
