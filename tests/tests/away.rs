//! Devices that go away and come back: sound servers are ended, stopped and started again under a running pair of programs.
//!
//! `RESTARTS=10 cargo test -p tests --test away -- --nocapture` is the long form.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tests::program::{Program, alone, number, skip};
use tests::recorder::Recorder;
use tests::servers::{Place, Server};
use tests::sound::Sound;

const RATE: u32 = 44_100;
/// Sound is there again this soon after the server is.
const WITHIN: Duration = Duration::from_secs(2);
/// Memory that all further restarts may take after the first, in KiB.
const GROWTH: u64 = 1024;

/// A sender and the receiver that it sends to.
struct Pair {
    sender: Program,
    receiver: Program,
    /// Memory of both after the first restart, in KiB.
    resident: Option<[u64; 2]>,
}

impl Pair {
    fn start(place: &Place, capture: &[&str], playback: &[&str]) -> Self {
        let often = ["--status-interval", "100ms"];
        let (receiver, address) = place.receiver(&[playback, &["--latency", "60ms"], &often].concat());
        let client = format!("a={address}/0,1");
        let sender = place.program("sender", &[capture, &["--client", &client], &often].concat());
        let mut pair = Self { sender, receiver, resident: None };
        pair.sender.wait_for("source");
        // Sound, not only its announcement.
        pair.receiver.wait_until("status", |status| status["frames"].as_u64() > Some(0));
        pair
    }

    fn both(&mut self) -> [&mut Program; 2] {
        [&mut self.sender, &mut self.receiver]
    }

    fn wait_for(&mut self, kind: &str) {
        for program in self.both() {
            program.wait_for(kind);
        }
    }

    /// Nothing has ended, and memory does not grow; how much it has grown since the first restart, in KiB.
    fn check(&mut self) -> [i64; 2] {
        assert!(!self.sender.has_ended() && !self.receiver.has_ended());
        let resident = [self.sender.resident(), self.receiver.resident()];
        let first = *self.resident.get_or_insert(resident);
        for (now, first) in resident.iter().zip(first) {
            assert!(*now < first + GROWTH, "memory has grown from {first} to {now} KiB");
        }
        [resident[0] as i64 - first[0] as i64, resident[1] as i64 - first[1] as i64]
    }

    /// Both end as asked, and have counted so many streams that were built anew, or more.
    fn finish(self, rebuilt: usize) {
        for (program, counts) in [(self.sender, "source"), (self.receiver, "playback")] {
            let ended = program.interrupt();
            assert!(ended.status.success(), "{}", ended.stderr);
            let counted = ended.last("summary")[counts]["rebuilt"].as_u64();
            assert!(counted >= Some(rebuilt as u64), "{counted:?}");
        }
    }
}

/// Ends the server `RESTARTS` times, by turns as it likes to be ended and as it does not, and starts it again, at once and
/// after a while. `listen` waits for sound and says how long that took, from the server's return. Its ear is ended after
/// the server: JACK takes it badly when clients die first, and one that is left over from a server that was killed takes
/// the next server's signals away from a client of the same name.
fn restart<E>(
    server: &mut Server,
    pair: &mut Pair,
    mut listen: impl FnMut(&Server) -> (Duration, E),
) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut ear = None;
    for round in 0..number("RESTARTS", 2) {
        server.end(if round % 2 == 0 { libc::SIGTERM } else { libc::SIGKILL });
        drop(ear.take());
        pair.wait_for("device_lost");
        if round % 4 > 1 {
            // By then the attempts come at their slowest.
            for _ in 0..20 {
                pair.receiver.wait_for("status");
            }
        }
        server.restart();
        let (time, listening) = listen(server);
        ear = Some(listening);
        pair.wait_for("device_back");
        let grown = pair.check();
        println!("  restart {round}: sound after {} ms; memory +{grown:?} KiB", time.as_millis());
        assert!(time < WITHIN, "{time:?}");
        times.push(time);
    }
    times
}

/// The sender captures what is played to the null sink `stage`, the receiver plays to the null sink `hall`.
fn pulse() -> Result<(Server, Pair), String> {
    let server = Server::pulse(&["stage", "hall"])?;
    let capture = ["--capture", "stage_mon", "--period", "441"];
    let pair = Pair::start(&server.place, &capture, &["--playback", "hall", "--period", "441"]);
    Ok((server, pair))
}

#[test]
fn pulse_comes_back() {
    let _alone = alone();
    let (mut server, mut pair) = match pulse() {
        Ok(both) => both,
        Err(reason) => return skip(&reason),
    };
    let tone = server.place.path().join("tone.wav");
    let frames = RATE as usize * 60;
    let sample = |index: usize| ((index / 2) as f64 * 0.05).sin() * 16_000.0 + 1.0;
    let samples = (0..frames * 2).map(|index| sample(index) as i16).collect();
    Sound { channels: 2, rate: RATE, samples }.write(&tone);
    let times = restart(&mut server, &mut pair, |server| {
        let up = Instant::now();
        let mut ear = PulseEar::start(server, &tone);
        ear.wait();
        (up.elapsed(), ear)
    });
    report("PulseAudio", &times);
    pair.finish(times.len());
}

/// `aplay` plays into the sender's source, and what the receiver plays is recorded.
struct PulseEar {
    recorder: Recorder,
    player: Child,
}

impl PulseEar {
    fn start(server: &Server, tone: &std::path::Path) -> Self {
        let recorder = Recorder::start(server, "hall_mon", 441);
        let mut player = server.place.command("aplay");
        player.args(["-q", "-D", "stage"]).arg(tone).stderr(Stdio::null());
        Self { recorder, player: player.spawn().expect("aplay starts") }
    }

    fn wait(&mut self) {
        self.recorder.wait_until("sound", |heard| {
            heard.iter().rev().take(882).any(|sample| sample.unsigned_abs() > 300)
        });
    }
}

impl Drop for PulseEar {
    fn drop(&mut self) {
        let _ = self.player.kill();
        let _ = self.player.wait();
    }
}

const JACK_PERIOD: &str = "256";

fn jack() -> Result<(Server, Pair), String> {
    let server = Server::jack(RATE, 256)?;
    let capture = ["--capture", "jack", "--period", JACK_PERIOD, "--channels", "2"];
    let playback = ["--playback", "jack", "--period", JACK_PERIOD];
    let pair = Pair::start(&server.place, &capture, &playback);
    Ok((server, pair))
}

/// A client that plays to the sender and listens to the receiver.
fn jack_ear(server: &Server, pair: [u32; 2]) -> Program {
    let mut command = server.place.command(env!("CARGO_BIN_EXE_jack_ear"));
    command.arg(format!("cpal_client_{}_in:in_0", pair[0]));
    command.arg(format!("cpal_client_{}_out:out_0", pair[1]));
    Program::spawn(command)
}

#[test]
fn jack_comes_back() {
    let _alone = alone();
    let (mut server, mut pair) = match jack() {
        Ok(both) => both,
        Err(reason) => return skip(&reason),
    };
    let ids = [pair.sender.id(), pair.receiver.id()];
    let times = restart(&mut server, &mut pair, |server| {
        let mut ear = jack_ear(server, ids);
        let time = ear.wait_for("heard")["ms"].as_f64().expect("it is a number");
        (Duration::from_secs_f64(time / 1e3), ear)
    });
    report("JACK", &times);
    pair.finish(times.len());
}

#[test]
fn jack_comes_back_at_another_rate() {
    let _alone = alone();
    let (mut server, mut pair) = match jack() {
        Ok(both) => both,
        Err(reason) => return skip(&reason),
    };
    server.end(libc::SIGTERM);
    pair.wait_for("device_lost");
    server.restart_at(48_000);
    // The receiver resamples to what the device takes; the sender's streams have the rate that they were given.
    pair.receiver.wait_for("device_back");
    let warning = pair.sender.wait_for("warning");
    let words = warning["message"].as_str().expect("it is text");
    assert!(words.contains("does not take 44100 Hz") && words.contains("it takes 48000 Hz"), "{words}");
    // Several attempts later, nothing more has been said.
    let before = pair.sender.said.len();
    for _ in 0..20 {
        pair.sender.wait_for("status");
    }
    assert!(
        pair.sender.said[before..].iter().all(|said| said["type"] != "warning"),
        "{:?}",
        pair.sender.said
    );
    server.end(libc::SIGTERM);
    server.restart_at(RATE);
    pair.wait_for("device_back");
    pair.check();
    pair.finish(1);
}

/// A server that hangs answers nobody: the programs see that their device has stopped, and can still be ended.
#[test]
fn servers_that_hang_hold_nobody() {
    let _alone = alone();
    for start in [jack, pulse] {
        let (mut server, mut pair) = match start() {
            Ok(both) => both,
            Err(reason) => return skip(&reason),
        };
        server.signal(libc::SIGSTOP);
        for program in pair.both() {
            assert_eq!(program.wait_for("device_lost")["reason"], "stopped");
        }
        server.signal(libc::SIGCONT);
        pair.wait_for("device_back");
        server.signal(libc::SIGSTOP);
        pair.wait_for("device_lost");
        pair.check();
        pair.finish(1);
        server.signal(libc::SIGCONT);
    }
}

fn report(what: &str, times: &[Duration]) {
    let times: Vec<_> = times.iter().map(Duration::as_millis).collect();
    println!("{what}: {} restarts, sound after {times:?} ms", times.len());
}
