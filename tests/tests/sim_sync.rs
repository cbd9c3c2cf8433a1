//! Receivers against each other on simulated networks, clocks and cards: how far apart they play the same frame, in one
//! table that is kept under review in `tests/sim/sync.txt`. A change in behaviour is a changed number there.
//!
//! `cargo test` runs each scenario shortly and checks it against its target; `tests/sim/run` runs them at length, writes the
//! table, and says what has changed. `SYNC_ROW=outage` runs the rows alone that have this in their names.
//!
//! The error of a moment is the time from the first to the last of all receivers that play the same frame then: of eight, not
//! two.

use std::fmt::Write as _;

use audio::opus::{FrameTime, Spec};
use audio::send::{Codec, Policy};
use sim::card::CardSpec;
use sim::clock::ClockSpec;
use sim::link::{Jitter, LinkSpec, Loss, Stalls};
use tests::figures::{assert_none, complain, keep, quantile, sorted, table};
use tests::pilot::{HIGH, LOW};
use tests::world::{Ear, Outcome, Receiver, Scenario, Sound, card, run_all, sync, wired};

const MS: i64 = 1_000_000;
const SEEDS: std::ops::Range<u64> = 1..6;
/// In seconds.
const HOUR: f64 = 3600.0;
/// What counts as in sync, in microseconds.
const IN_SYNC: f64 = 100.0;

/// A row of the table.
struct Row {
    name: &'static str,
    /// The target that it stands for, in words.
    target: &'static str,
    /// Length at full length and in the quick run, in seconds.
    seconds: (f64, f64),
    scenario: Scenario,
    /// What befalls them every [`EVERY`] seconds.
    event: Event,
    /// What has to be met.
    limits: Limits,
    /// How many of the receivers, from the first on, are to be in sync.
    together: usize,
    /// What else is wrong; empty where nothing is.
    check: fn(&[Outcome]) -> String,
}

/// From the first event to the next, in seconds.
const EVERY: f64 = 12.0;

#[derive(Clone, Copy)]
enum Event {
    None,
    /// The first receiver's paths are dead for so many seconds.
    Outage(f64),
    /// The first receiver ends, and starts so many seconds later.
    Restart(f64),
    /// The sender ends, and starts so many seconds later.
    SenderRestart(f64),
    /// The cards of the first two receivers lose a period at the same time.
    Xruns,
    /// The clock of the first receiver's machine jumps by so many nanoseconds.
    Step(i64),
    /// The clock of the sender's machine jumps by so many nanoseconds.
    SenderStep(i64),
}

/// Most microseconds apart, and most seconds until all are in sync after an event.
#[derive(Clone, Copy)]
struct Limits {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
    back: f64,
}

const FREE: f64 = f64::INFINITY;
const LIMITS: Limits = Limits { p50: FREE, p95: FREE, p99: FREE, max: FREE, back: FREE };

impl Event {
    /// Makes it happen at `at`. Returns from when on all are to be in sync again.
    fn befall(self, at: f64, scenario: &mut Scenario) -> f64 {
        let nanos = (at * 1e9) as i64;
        let first = &mut scenario.receivers[0];
        match self {
            Self::None | Self::Xruns => at,
            Self::Outage(length) => {
                first.blackouts.push((at, at + length));
                at + length
            }
            Self::Restart(length) => {
                first.away.push((at, at + length));
                at + length
            }
            Self::SenderRestart(length) => {
                scenario.away.push((at, at + length));
                at + length
            }
            Self::Step(by) => {
                first.clock.steps.push((nanos, by));
                at
            }
            Self::SenderStep(by) => {
                scenario.clock.steps.push((nanos, by));
                at
            }
        }
    }
}

/// A card whose times are as good as those that drivers tell.
fn blurred(ppm: f64, seed: u64) -> CardSpec {
    CardSpec { blur: 50_000, seed, ..card(ppm) }
}

/// Receivers whose machines started at other times than the sender's, with clocks and cards of their own, each behind a path
/// a little longer than the one before.
fn receivers(ppm: &[f64], path: LinkSpec, latency: i64) -> Vec<Receiver> {
    let receiver = |(index, &ppm): (usize, &f64)| {
        let number = index as i64;
        let path = LinkSpec { delay: path.delay + number * 70_000, ..path };
        let clock = ClockSpec {
            ppm: [35.0, -20.0, 60.0, -45.0][index % 4],
            wander: 0.05,
            steps: vec![(0, (number + 1) * 1_000_000 * MS)],
        };
        // Cards of either kind play together.
        let ear = if index % 2 == 0 { Ear::DeepCard } else { Ear::Card };
        let ear = ear(blurred(ppm, index as u64), 128);
        Receiver { ear, clock, latency, trim: Some(0), ..Receiver::default().over(path) }
    };
    ppm.iter().enumerate().map(receiver).collect()
}

fn base() -> Scenario {
    let delay = Some(Policy::Auto(200_000));
    let clock = ClockSpec { ppm: 25.0, wander: 0.05, steps: vec![(0, 5_000_000 * MS)] };
    Scenario { capture: (blurred(-40.0, 99), 128), clock, delay, settle: 10.0, ..Scenario::default() }
}

fn rough() -> LinkSpec {
    LinkSpec {
        loss: Loss::Random(0.01),
        delay: 100_000,
        jitter: Jitter::Pareto { scale: 500_000, shape: 2.5, most: 2_900_000 },
        in_order: true,
        stalls: Some(Stalls { every: 2000 * MS, shortest: 20 * MS, longest: 20 * MS }),
        ..LinkSpec::default()
    }
}

/// Latency and playout error as the receivers show them, against what is heard: T21.
fn honest(outcomes: &[Outcome]) -> String {
    let (latency, error) = shown(outcomes);
    complain(&[
        (latency > 200.0, format!("latency shown wrong by {latency:.0} us")),
        (error > 20.0, format!("playout error shown wrong by {error:.1} us")),
    ])
}

/// By how much latencies and errors are shown wrong at most, in microseconds, where the group's delay is steady.
fn shown(outcomes: &[Outcome]) -> (f64, f64) {
    let (mut latency, mut error) = (0.0f64, 0.0f64);
    for outcome in outcomes {
        let delay = outcome.group.delay_us.get() as f64 * 1e3;
        let mut heard = outcome.heard.iter().peekable();
        let first = outcome.heard.first().map_or(f64::INFINITY, |heard| heard.at);
        for shown in outcome.shown.iter().filter(|shown| shown.at > first + 1.1) {
            while heard.next_if(|heard| heard.at < shown.at - 1.0).is_some() {}
            let second: Vec<f64> =
                heard.clone().take_while(|heard| heard.at < shown.at).map(|heard| heard.latency).collect();
            let mean = second.iter().sum::<f64>() / second.len() as f64;
            latency = latency.max((shown.latency - second.last().copied().unwrap_or(f64::NAN)).abs());
            error = error.max((shown.error - (mean - delay)).abs());
        }
    }
    (latency / 1e3, error / 1e3)
}

/// The latency at the end, in microseconds.
fn at_last(outcome: &Outcome) -> f64 {
    outcome.heard.last().map_or(f64::NAN, |heard| heard.latency / 1e3)
}

fn rows() -> Vec<Row> {
    let row = |name, target, seconds, scenario: Scenario, limits| Row {
        name,
        target,
        seconds,
        together: scenario.receivers.len(),
        scenario,
        event: Event::None,
        limits,
        check: |_| String::new(),
    };
    let [wired, rough] = [(wired(), 30 * MS), (rough(), 60 * MS)];
    let steady = |name, target, (path, latency), limits| {
        let ppm = [100.0, -100.0, 60.0, -60.0, 30.0, -100.0, 0.0, 300.0];
        let scenario = Scenario { settle: 15.0, receivers: receivers(&ppm, path, latency), ..base() };
        row(name, target, (HOUR, 30.0), scenario, limits)
    };
    let three = |(path, latency)| Scenario {
        sound: Sound::Pilot(LOW),
        receivers: receivers(&[100.0, -200.0, 20.0], path, latency),
        ..base()
    };
    let after = |name, event, target, path, back| Row {
        event,
        ..row(name, target, (240.0, 50.0), three(path), Limits { back, ..LIMITS })
    };
    const BACK: &str = "T3: back below 100 us within 2 s, no click";
    let mut trimmed = three(wired);
    (trimmed.receivers[1].trim_ns, trimmed.receivers[2].trim) = (2_915_452, Some(-4 * MS));
    let mut mixed = three(wired);
    mixed.receivers.extend(receivers(&[-50.0, 70.0], wired.0, wired.1));
    mixed.receivers[1].codec = Codec::Pcm24;
    mixed.receivers[2].codec = opus(FrameTime::Ms5);
    mixed.receivers[3].codec = opus(FrameTime::Ms20);
    mixed.receivers[4].card_rate = 48_000;
    let mut late = three(wired);
    (late.receivers[2].latency, late.receivers[2].away) = (60 * MS, vec![(0.0, 12.0)]);
    let far = LinkSpec { delay: 70 * MS, ..wired.0 };
    let mut beyond = three(wired);
    beyond.delay = Some(Policy::Auto(50_000));
    beyond.receivers[2] = beyond.receivers[2].over(far);
    vec![
        Row {
            check: honest,
            ..steady(
                "8 receivers, wired",
                "T1: p50 <= 10 us, p99 <= 50 us, max <= 200 us; T21: shown within 200 and 20 us",
                wired,
                Limits { p50: 10.0, p99: 50.0, max: 200.0, ..LIMITS },
            )
        },
        steady(
            "8 receivers, jitter, loss, stalls",
            "T2: p95 <= 100 us, p99 <= 200 us",
            rough,
            Limits { p95: 100.0, p99: 200.0, ..LIMITS },
        ),
        after("outage of 500 ms", Event::Outage(0.5), BACK, wired, 2.0),
        after(
            "a receiver restarts",
            Event::Restart(0.3),
            "T18: below 100 us within 1 s, no click",
            wired,
            1.0,
        ),
        after("the sender restarts", Event::SenderRestart(0.5), BACK, wired, 2.0),
        after("two cards lose a period at once", Event::Xruns, BACK, wired, 2.0),
        after("the same, 120 ms", Event::Xruns, BACK, (wired.0, 120 * MS), 2.0),
        after("a receiver's clock jumps on", Event::Step(40 * MS), BACK, wired, 2.0),
        after("a receiver's clock stands still", Event::Step(-15 * MS), BACK, wired, 2.0),
        after("the sender's clock jumps on", Event::SenderStep(40 * MS), BACK, wired, 2.0),
        after("a receiver restarts, stalls", Event::Restart(0.3), BACK, rough, 2.0),
        after("outage of 500 ms, stalls", Event::Outage(0.5), BACK, rough, 2.0),
        row(
            "PCM, Opus, a card of 48 kHz",
            "in sync, whatever the codec",
            (240.0, 30.0),
            Scenario { sound: Sound::Pilot(HIGH), ..mixed.clone() },
            Limits { p50: 20.0, p99: 50.0, max: 200.0, ..LIMITS },
        ),
        row(
            "the same, no cycle off",
            "in sync, whatever the codec",
            (60.0, 30.0),
            mixed,
            Limits { max: 200.0, ..LIMITS },
        ),
        Row {
            together: 2,
            check: |outcomes| {
                let [first, _, last] = outcomes else { return "who?".into() };
                let (all, late) = (at_last(first), at_last(last));
                complain(&[
                    (all < 60_000.0, format!("all at {all:.0} us")),
                    ((all - late).abs() > IN_SYNC, format!("{all:.0} us and {late:.0} us at last")),
                ])
            },
            ..row(
                "a late receiver needs more",
                "the delay grows for all, in step",
                (60.0, 60.0),
                late,
                Limits { max: 200.0, ..LIMITS },
            )
        },
        Row {
            together: 2,
            check: |outcomes| {
                let [first, _, last] = outcomes else { return "who?".into() };
                let (all, late) = (at_last(first), at_last(last));
                complain(&[
                    (all > 40_000.0, format!("dragged to {all:.0} us")),
                    (late < 90_000.0, format!("plays at {late:.0} us, which it cannot")),
                    (last.client.late.get() == 0, "not flagged".into()),
                ])
            },
            ..row(
                "one needs more than --delay-max",
                "it is flagged and drags nobody",
                (60.0, 40.0),
                beyond,
                Limits { p99: 50.0, max: 200.0, ..LIMITS },
            )
        },
        Row {
            together: 1,
            check: |outcomes| {
                let [first, second, third] = outcomes else { return "who?".into() };
                let later = [second, third].map(|other| at_last(other) - at_last(first));
                let off = (later[0] - 2915.0).abs().max((later[1] + 4000.0).abs());
                complain(&[(off > IN_SYNC, format!("later by {later:.0?} us"))])
            },
            ..row("trims of 1 m of air and -4 ms", "each plays as much later", (60.0, 30.0), trimmed, LIMITS)
        },
    ]
}

fn opus(frame: FrameTime) -> Codec {
    Codec::Opus(Spec { frame, bitrate: Some(96_000), ..Spec::default() })
}

/// What came of one run.
struct Result {
    errors: Vec<f64>,
    /// The longest way back after an event, in seconds.
    back: f64,
    clicks: usize,
    concealed: u64,
    placed: u64,
    /// The first receiver's, in milliseconds.
    latency: f64,
    /// What the row's own check says.
    complaint: String,
}

fn run_row(row: &Row, seconds: f64, seed: u64) -> Result {
    let mut scenario = Scenario { seconds, ..row.scenario.clone() };
    let settle = scenario.settle;
    let times = (1..).map(|n| f64::from(n) * EVERY).take_while(|at| at + EVERY <= seconds);
    let times: Vec<f64> = if matches!(row.event, Event::None) { Vec::new() } else { times.collect() };
    let events: Vec<f64> = times.iter().map(|at| row.event.befall(*at, &mut scenario)).collect();
    if matches!(row.event, Event::Xruns) {
        for receiver in &mut scenario.receivers[..2] {
            if let Ear::Card(card, _) | Ear::DeepCard(card, _) = &mut receiver.ear {
                card.xrun_every = (EVERY * 1e9) as i64;
            }
        }
    }
    let outcomes = run_all(&scenario, seed);
    let apart = sync::apart(&outcomes[..row.together], settle, seconds - 0.1);
    let back = events.iter().zip(&times).map(|(event, at)| {
        let until = apart.partition_point(|(look, _)| *look < at + EVERY);
        sync::time_to_sync(&apart[..until], *event, IN_SYNC)
    });
    let sum = |count: fn(&Outcome) -> u64| outcomes.iter().map(count).sum::<u64>();
    Result {
        errors: sorted(apart.iter().filter_map(|(_, error)| *error)),
        back: back.fold(0.0, f64::max),
        clicks: outcomes.iter().map(|outcome| outcome.clicks.len()).sum(),
        concealed: sum(|outcome| outcome.counters.concealed_frames.get()),
        placed: sum(|outcome| outcome.counters.realigned.get()),
        latency: quantile(&outcomes[0].latencies(), 0.5),
        complaint: (row.check)(&outcomes),
    }
}

/// The results of one row over all seeds, and what is wrong with them.
fn measure(row: &Row, quick: bool) -> (String, Vec<String>) {
    let seconds = if quick { row.seconds.1 } else { row.seconds.0 };
    // The clocks of a short run are one draw of their errors, not the many that the quantiles are of.
    let allowance = if quick { 2.0 } else { 1.0 };
    let runs: Vec<Result> = SEEDS.map(|seed| run_row(row, seconds, seed)).collect();
    let mut complaints = Vec::new();
    let mut note = |seed: usize, bad: bool, text: String| {
        if bad {
            complaints.push(format!("{}, seed {}: {text} ({})", row.name, seed + 1, row.target));
        }
    };
    for (seed, run) in runs.iter().enumerate() {
        let limits = row.limits;
        let shares = [(0.5, limits.p50), (0.95, limits.p95), (0.99, limits.p99), (1.0, limits.max)];
        for (share, limit) in shares {
            let found = quantile(&run.errors, share);
            let bad = found > limit * allowance || found.is_nan();
            note(seed, bad, format!("{found:.1} us apart at {:.0} %", share * 100.0));
        }
        note(seed, run.back > limits.back, format!("back after {:.2} s", run.back));
        note(seed, run.clicks > 0, format!("{} clicks", run.clicks));
        note(seed, !run.complaint.is_empty(), run.complaint.clone());
    }
    let all = sorted(runs.iter().flat_map(|run| &run.errors).copied());
    let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|share| quantile(&all, share));
    let back = match row.event {
        Event::None => "-".to_string(),
        _ => format!("{:.2}", runs.iter().map(|run| run.back).fold(0.0, f64::max)),
    };
    let sum = |count: fn(&Result) -> u64| runs.iter().map(count).sum::<u64>();
    let (concealed, placed) = (sum(|run| run.concealed), sum(|run| run.placed));
    let latency = runs.iter().map(|run| run.latency).sum::<f64>() / runs.len() as f64;
    let mut line = String::new();
    let _ = write!(
        line,
        "{:<34} {p50:>8.1} {p95:>8.1} {p99:>8.1} {max:>9.1} {back:>7} {latency:>8.2} {:>6} {concealed:>9} {placed:>6}  {}",
        row.name,
        runs.iter().map(|run| run.clicks).sum::<usize>(),
        if complaints.is_empty() { "met" } else { "MISSED" },
    );
    (line, complaints)
}

const HEAD: &str = "\
scenario (5 seeds)                   us: p50      p95      p99       max  back s  latency clicks concealed placed  target
                                                                                       ms           frames";

fn measure_all(quick: bool) -> (String, Vec<String>) {
    let only = std::env::var("SYNC_ROW").unwrap_or_default();
    let rows = rows().into_iter().filter(|row| row.name.contains(&only));
    table(HEAD, rows.map(|row| measure(&row, quick)))
}

#[test]
fn receivers_are_in_sync_in_every_scenario() {
    assert_none(&measure_all(true).1);
}

/// The whole table, as `tests/sim/run` writes it.
#[test]
#[ignore = "takes minutes: tests/sim/run"]
fn the_table_at_full_length() {
    let (table, complaints) = measure_all(false);
    keep("SYNC_TABLE", &table);
    assert_none(&complaints);
}
