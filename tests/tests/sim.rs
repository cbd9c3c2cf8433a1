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

    let lossy = |share| LinkSpec {
        loss: Loss::Random(share),
        delay: 1_500_000,
        jitter: Jitter::Uniform { most: 500_000 },
        in_order: true,
        ..LinkSpec::default()
    };
    show(
        "T4 5.25",
        &Scenario {
            frames: 64,
            capture: (card(0.0), 64),
            ear: Ear::Card(card(50.0), 64),
            latency: 5_250_000,
            ..base.clone()
        },
    );
    show(
        "T5 1%",
        &Scenario {
            frames: 64,
            capture: (card(0.0), 64),
            ear: Ear::Card(card(50.0), 64),
            forward: vec![(0.0, LinkSpec { loss: Loss::Random(0.01), ..wired })],
            latency: 9_500_000,
            ..base.clone()
        },
    );
    show(
        "T7 5% 20ms",
        &Scenario {
            seconds: 1000.0,
            forward: vec![(0.0, lossy(0.05))],
            back: lossy(0.05),
            latency: 20 * MS,
            ..base.clone()
        },
    );
    show(
        "T7 10% 40ms",
        &Scenario {
            seconds: 1000.0,
            forward: vec![(0.0, lossy(0.1))],
            back: lossy(0.1),
            latency: 40 * MS,
            ..base.clone()
        },
    );
    let burst = LinkSpec { loss: Loss::Gilbert { share: 0.1, burst: 4.0 }, ..lossy(0.0) };
    show(
        "T8 60ms",
        &Scenario {
            seconds: 1000.0,
            forward: vec![(0.0, burst)],
            back: burst,
            latency: 60 * MS,
            ..base.clone()
        },
    );
    show(
        "T8 60ms 64",
        &Scenario {
            seconds: 1000.0,
            frames: 64,
            capture: (card(0.0), 64),
            forward: vec![(0.0, burst)],
            back: burst,
            latency: 60 * MS,
            ..base.clone()
        },
    );
    use audio::depth::Preset;
    use audio::receive::Adapt;
    let pareto = |scale| LinkSpec {
        delay: MS,
        jitter: Jitter::Pareto { scale, shape: 2.5, most: 100 * MS },
        ..LinkSpec::default()
    };
    let adapt = |preset| Some(Adapt { preset, least: 0, most: 200 * MS });
    for preset in [Preset::Live, Preset::Normal, Preset::Safe] {
        show(
            "T13 steady pareto 0.8",
            &Scenario {
                seconds: 300.0,
                forward: vec![(0.0, pareto(800_000))],
                back: wired,
                ear: Ear::Card(card(20.0), 64),
                adapt: adapt(preset),
                ..base.clone()
            },
        );
    }
    show(
        "T13 step",
        &Scenario {
            seconds: 120.0,
            forward: vec![(0.0, pareto(800_000)), (40.0, pareto(3 * MS)), (80.0, pareto(800_000))],
            back: wired,
            ear: Ear::Card(card(20.0), 64),
            adapt: adapt(Preset::Live),
            ..base.clone()
        },
    );
    show(
        "stall",
        &Scenario {
            seconds: 120.0,
            forward: vec![
                (0.0, wired),
                (
                    60.0,
                    LinkSpec {
                        stalls: Some(Stalls { every: 1, shortest: 60 * MS, longest: 60 * MS }),
                        ..wired
                    },
                ),
                (60.01, wired),
            ],
            back: wired,
            ear: Ear::Card(card(20.0), 64),
            adapt: adapt(Preset::Normal),
            ..base.clone()
        },
    );
    let wifi = LinkSpec {
        delay: MS,
        jitter: Jitter::Pareto { scale: 800_000, shape: 2.5, most: 15 * MS },
        in_order: true,
        stalls: Some(Stalls { every: 1500 * MS, shortest: 20 * MS, longest: 80 * MS }),
        ..LinkSpec::default()
    };
    for preset in [Preset::Live, Preset::Normal, Preset::Safe] {
        show(
            "wifi",
            &Scenario {
                seconds: 120.0,
                forward: vec![(0.0, wifi)],
                back: wifi,
                ear: Ear::Card(card(20.0), 128),
                adapt: adapt(preset),
                settle: 20.0,
                ..base.clone()
            },
        );
    }
}
