//! The programs as processes on one machine: how far apart two receivers play, from what leaves the DACs of their virtual
//! cards, which run at rates of their own.
//!
//! A recording of a virtual card begins at a whole second of the wall clock, and the tone that is captured at a whole
//! hundredth; so each recording tells by itself when it plays what.
//!
//! `SYNC_SECONDS=600 SYNC_STARTS=20` makes it long.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tests::canary::Canaries;
use tests::figures::{quantile, sorted};
use tests::pilot::{LOW, Phase, Pilot, nearest};
use tests::program::{self, Program, number, skip};
use tests::sound::Sound;

const RATE: u32 = 44_100;
/// Of the tone that the sender makes.
const AMPLITUDE: f64 = 0.25;
/// What counts as in sync, in microseconds.
const IN_SYNC: f64 = 100.0;
const SETTLE: Duration = Duration::from_secs(2);
const SECOND: i64 = 1_000_000_000;
/// A wait of a millisecond that takes this much longer is a stall: more than the cards hold.
const STALL: Duration = Duration::from_millis(3);

/// A receiver that records what it plays.
struct Recorded {
    program: Program,
    address: SocketAddr,
    file: PathBuf,
    ppm: f64,
    /// When it was started, by the wall clock, in nanoseconds.
    started: i64,
}

impl Recorded {
    /// Starts one whose card is off by so many parts per million, at a port of the system's choice where it is 0.
    fn start(file: PathBuf, ppm: f64, port: u16) -> Self {
        program::path("receiver");
        // Early in a second, so that the card starts in the same one.
        while os::clock::unix_nanos() % SECOND > SECOND / 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let started = os::clock::unix_nanos();
        let card = format!("virtual:ppm={ppm},jitter=0.2,blur=0.05,file={}", file.display());
        let listen = format!("127.0.0.1:{port}");
        let arguments = [
            "--listen",
            &listen,
            "--playback",
            &card,
            "--channels",
            "1",
            "--latency",
            "40ms",
            "--status-interval",
            "1s",
        ];
        let (program, address) = Program::start("receiver", &arguments).listening();
        let second = |time: i64| time / SECOND;
        assert_eq!(
            second(os::clock::unix_nanos()),
            second(started),
            "the machine took half a second to start a program"
        );
        Self { program, address, file, ppm, started }
    }

    /// Ends it. Returns the phases that it played, by the wall clock, and what it showed last.
    fn end(self) -> (Vec<Phase>, Value) {
        let ended = self.program.interrupt();
        assert!(ended.status.success());
        let mut pilot = Pilot::new(LOW, AMPLITUDE, RATE);
        let frame = 1e9 / (f64::from(RATE) * (1.0 + self.ppm * 1e-6));
        let begin = since_today(self.started / SECOND * SECOND);
        let samples = Sound::read(&self.file).samples.into_iter().enumerate();
        let phases = samples.filter_map(|(n, sample)| {
            pilot.push(f32::from(sample) / 32_768.0, begin + n as f64 * frame, frame)
        });
        (phases.collect(), ended.last("status").clone())
    }
}

/// By how many microseconds a receiver shows its latency and its playout error wrong, at the end. The tone began at a whole
/// hundredth of a second, which is its cycle.
fn shown_wrong(phases: &[Phase], status: &Value) -> (f64, f64) {
    let number = |key: &str| status[key].as_f64().unwrap_or(f64::NAN);
    let (latency, delay) = (number("latency_ms") * 1e3, number("group_delay_ms") * 1e3);
    let measured =
        phases.iter().rev().take(50).map(|phase| nearest(phase.at - phase.since, delay * 1e3, LOW) / 1e3);
    let measured = measured.sum::<f64>() / phases.len().min(50) as f64;
    (latency - measured, number("playout_error_us") - (measured - delay))
}

/// Of all nanoseconds since 1970, as many as are told apart.
fn since_today(unix_nanos: i64) -> f64 {
    (unix_nanos % (86_400 * SECOND)) as f64
}

/// How much later the second plays the same, in microseconds, each time that the phase of the first is known.
fn apart(first: &[Phase], second: &[Phase]) -> Vec<(f64, f64)> {
    let mut later = second.iter().peekable();
    let apart = first.iter().filter_map(|phase| {
        while later.next_if(|other| other.at < phase.at - 10e6).is_some() {}
        let other = later.peek().filter(|other| other.at < phase.at + 10e6)?;
        let delay = |phase: &Phase| phase.at - phase.since;
        Some((phase.at, nearest(delay(other) - delay(phase), 0.0, LOW) / 1e3))
    });
    apart.collect()
}

/// As many as `SYNC_SECONDS` says, or a few.
fn seconds() -> u64 {
    number("SYNC_SECONDS", 6)
}

fn start_sender(clients: &[SocketAddr]) -> Program {
    let clients: Vec<String> = clients.iter().zip(0..).map(|(at, n)| format!("{n}={at}/0")).collect();
    let clients = clients.iter().flat_map(|client| ["--client", client]);
    let arguments: Vec<&str> = ["--capture", "tone:100"].into_iter().chain(clients).collect();
    Program::start("sender", &arguments)
}

#[test]
fn two_receivers_play_together() {
    let folder = tempfile::tempdir().unwrap();
    let start = |name, ppm| Recorded::start(folder.path().join(name), ppm, 0);
    let receivers = [start("a.wav", 100.0), start("b.wav", -200.0)];
    let sender = start_sender(&receivers.each_ref().map(|receiver| receiver.address));
    std::thread::sleep(SETTLE);
    let begin = since_today(os::clock::unix_nanos());
    let canaries = Canaries::start(STALL);
    std::thread::sleep(Duration::from_secs(seconds()));
    let stalls = canaries.stalls();
    drop(canaries);
    let [first, second] = receivers.map(Recorded::end);
    drop(sender);
    let looks = apart(&first.0, &second.0).into_iter().filter(|(at, _)| *at > begin);
    let errors = sorted(looks.map(|(_, error)| error.abs()));
    let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|share| quantile(&errors, share));
    let shown = [&first, &second].map(|(phases, status)| shown_wrong(phases, status));
    println!(
        "{} looks: {p50:.1} us apart at 50 %, {p95:.1} at 95 %, {p99:.1} at 99 %, {max:.1} at most; {stalls} stalls; \
         latency and playout error shown wrong by {shown:.1?} us",
        errors.len()
    );
    let enough = errors.len() as u64 > 40 * seconds();
    let honest = shown.iter().all(|(latency, error)| latency.abs() <= 200.0 && error.abs() <= 50.0);
    if stalls > 0 && !(enough && honest && p50 <= 25.0 && p95 <= 100.0) {
        return skip(&format!("the machine stalled {stalls} times"));
    }
    assert!(enough, "heard whole only {} times", errors.len());
    assert!(p50 <= 25.0 && p95 <= 100.0);
    assert!(honest, "{:#}", first.1);
}

#[test]
fn a_receiver_is_in_sync_a_second_after_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str, port| Recorded::start(folder.path().join(name), -100.0, port);
    let steady = start("steady.wav", 0);
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
    let sender = start_sender(&[steady.address, port]);
    std::thread::sleep(SETTLE);
    let began = (0..number("SYNC_STARTS", 3)).map(|n| {
        let canaries = Canaries::start(STALL);
        let begins = start(&format!("{n}.wav"), port.port());
        std::thread::sleep(Duration::from_millis(1500));
        (begins.started, begins.end().0, canaries.stalls())
    });
    let began: Vec<_> = began.collect();
    let (steady, _) = steady.end();
    drop(sender);
    for (started, phases, stalls) in began {
        let looks = apart(&phases, &steady);
        let out = looks.iter().rposition(|(_, error)| error.abs() >= IN_SYNC).map_or(0, |last| last + 1);
        let taken = looks.get(out).map_or(f64::INFINITY, |(at, _)| (at - since_today(started)) / 1e9);
        println!("in sync after {taken:.2} s; {stalls} stalls");
        if stalls > 0 && taken > 1.0 {
            skip(&format!("the machine stalled {stalls} times"));
        } else {
            assert!(taken <= 1.0, "{looks:.0?}");
        }
    }
}
