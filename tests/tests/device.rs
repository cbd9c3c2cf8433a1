//! The programs on real sound servers, through cpal, ALSA and JACK.
//!
//! A server that loses sound itself proves nothing about the programs: such a run is inconclusive and made again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::canary::Canaries;
use tests::figures::sorted;
use tests::program::{Ended, Program, alone, has, number, skip};
use tests::recorder::Recorder;
use tests::servers::{Place, Server};
use tests::sound::{Sound, assert_same};

const RATE: u32 = 44_100;
/// Longest that a server or a tool may take to do what it has to do.
const PATIENCE: Duration = Duration::from_secs(20);

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Where the machine, a device or a program of ours lost sound, by name.
type Losses = Vec<(&'static str, u64)>;

/// Everything in which the programs tell of lost sound, so far.
fn losses(sender: &Value, receiver: &Value) -> Losses {
    let playback = &receiver["playback"];
    let counts = [
        ("capture xruns", &sender["source"]["xruns"]),
        ("frames dropped", &sender["source"]["dropped_frames"]),
        ("datagrams unsent", &sender["unsent"]),
        ("packets lost", &receiver["lost"]),
        ("packets late", &receiver["late"]),
        ("frames concealed", &receiver["concealed_frames"]),
        ("playback xruns", &playback["xruns"]),
        ("frames missing", &playback["missing_frames"]),
    ];
    counts.into_iter().map(|(what, value)| (what, count(value))).collect()
}

/// What was lost between two looks.
fn lost_since(before: &Losses, after: &Losses) -> Losses {
    let grown = before.iter().zip(after).map(|((what, before), (_, after))| (*what, after - before));
    grown.filter(|(_, growth)| *growth > 0).collect()
}

const PULSE_SECONDS: usize = 20;
/// A wake-up this late is the machine's fault: a null sink that renders late lets its clock slip and says nothing of it, and a
/// sender whose source loses time makes up for that.
const PULSE_STALL: Duration = Duration::from_millis(1);

/// Sink `stage` stands for what the sender captures, sink `hall` for the receiver's sound card. Each sample of the ramp
/// is its own number, and the samples before and after it are zeros.
#[test]
fn pulse_carries_every_sample() {
    let _alone = alone();
    let mut ours_alone = 0;
    for attempt in 1..=3 {
        let server = match Server::pulse(&["stage", "hall"]) {
            Ok(server) => server,
            Err(reason) => return skip(&reason),
        };
        let canaries = Canaries::start(PULSE_STALL);
        let carried = carry(&server);
        if carried.xruns.is_empty() && carried.server_xruns == 0 {
            carried.assert_exact();
            println!("PulseAudio: {PULSE_SECONDS} s of two channels, all equal, no xrun (attempt {attempt})");
            return;
        }
        let whole = carried.whole();
        assert!(whole > 0.9, "{whole} of the frames follow on the one before as they should");
        let stalls = canaries.stalls();
        println!("INCONCLUSIVE: attempt {attempt}: {}; the machine stalled {stalls} times", carried.tell());
        ours_alone += usize::from(carried.server_xruns == 0 && stalls == 0);
    }
    assert!(ours_alone < 3, "three times sound was lost of which neither the server nor the machine know");
}

/// What became of the ramp.
struct Carried {
    sent: Sound,
    heard: Vec<i16>,
    /// By the programs and by the tools that play and record.
    xruns: Losses,
    server_xruns: usize,
}

impl Carried {
    fn assert_exact(&self) {
        let start = first_sound(&self.heard).expect("something was heard");
        let (before, from) = self.heard.split_at(start);
        let (content, after) = from.split_at(self.sent.samples.len().min(from.len()));
        assert_same(content, &self.sent.samples, "what the sink played");
        assert!(before.iter().chain(after).all(|sample| *sample == 0), "there was sound beside the ramp");
    }

    /// The share of frames that follow on the one before as those of the ramp do: where the server's clock slips, all but a few.
    fn whole(&self) -> f64 {
        let content = &self.heard[first_sound(&self.heard).expect("something was heard")..];
        let content = &content[..self.sent.samples.len().min(content.len())];
        let follows = |two: &&[i16]| two[2].wrapping_sub(two[0]) == 1 && two[3].wrapping_sub(two[1]) == 1;
        let frames = content.windows(4).step_by(2);
        let count = frames.len() as f64;
        frames.filter(follows).count() as f64 / count
    }

    fn tell(&self) -> String {
        let equal = first_sound(&self.heard).map_or(0, |start| {
            self.heard[start..]
                .iter()
                .zip(&self.sent.samples)
                .take_while(|(heard, sent)| heard == sent)
                .count()
        });
        let seconds = equal as f64 / f64::from(2 * RATE);
        format!("{:?}, and {} by the server; equal for {seconds:.1} s", self.xruns, self.server_xruns)
    }
}

/// Index of the first sample of the first frame that is not silent.
fn first_sound(samples: &[i16]) -> Option<usize> {
    samples.chunks(2).position(|frame| frame != [0, 0]).map(|frame| frame * 2)
}

fn carry(server: &Server) -> Carried {
    let sent = Sound::ramp(2, RATE, PULSE_SECONDS * RATE as usize);
    let file = server.place.path().join("ramp.wav");
    sent.write(&file);
    // A period of whole microseconds is the only one at which a null sink keeps good time.
    let playback = ["--playback", "hall", "--drift", "off", "--channels", "2", "--period", "1323"];
    let (mut receiver, address) = server.place.receiver(&[&playback[..], &["--latency", "200ms"]].concat());
    let client = format!("a={address}/0,1");
    let capture = ["--capture", "stage_mon", "--period", "1323", "--client", &client];
    let mut sender = server.place.program("sender", &capture);
    let mut recorder = Recorder::start(server, "hall_mon", 882);
    // The stream flows, and so does the recording: what was lost in starting does not count.
    let playing = receiver.wait_until("status", |status| count(&status["frames"]) > u64::from(RATE));
    recorder.wait_until("the first samples", |heard| !heard.is_empty());
    let before = losses(&sender.wait_for("status"), &playing);

    let mut player = server.place.command("aplay");
    player.args(["-q", "-D", "stage"]).arg(&file).stderr(Stdio::piped());
    let player = player.spawn().expect("aplay starts");
    recorder.wait_until("the ramp", |heard| first_sound(heard).is_some());
    let server_before = server.xruns();
    recorder.wait_until("silence after the ramp", |heard| {
        let start = first_sound(heard).unwrap_or(heard.len());
        heard.len() - start > sent.samples.len() + RATE as usize / 2
    });
    let server_xruns = server.xruns() - server_before;
    let played = player.wait_with_output().expect("aplay ends");
    let (heard, overruns) = recorder.finish();
    let after = losses(sender.interrupt().last("summary"), receiver.interrupt().last("summary"));
    let mut xruns = lost_since(&before, &after);
    let underruns = String::from_utf8_lossy(&played.stderr).matches("underrun").count() as u64;
    xruns.extend([("underruns of aplay", underruns), ("overruns of arecord", overruns)]);
    xruns.retain(|(_, count)| *count > 0);
    Carried { sent, heard, xruns, server_xruns }
}

const JACK_PERIOD: u32 = 64;
/// What two threads on a general-purpose machine may take to pass a packet on, in milliseconds.
const PASSING_ON: f64 = 0.5;

/// How long the JACK test plays without the server's losing anything.
fn seconds() -> Duration {
    Duration::from_secs(number("TEST_SECONDS", 60))
}

/// jack_iodelay → sender → UDP → receiver → jack_iodelay, all clients of one server. An attempt ends when the server loses
/// sound, or when a thread that does nothing but wake up, one on each processor, was late itself: on a busy machine a period of 1.5 ms is easily
/// missed, whoever is to blame. The time between counts.
#[test]
fn jack_at_64_frames() {
    let _alone = alone();
    if !has("jack_iodelay") {
        return skip("not installed: jack_iodelay");
    }
    let wanted = seconds();
    let give_up = Instant::now() + 3 * wanted;
    let (mut clean, mut longest) = (Duration::ZERO, Duration::ZERO);
    while clean < wanted && Instant::now() < give_up {
        let server = match Server::jack(RATE, JACK_PERIOD) {
            Ok(server) => server,
            Err(reason) => return skip(&reason),
        };
        let figures = play_on_jack(&server, wanted - clean);
        clean += figures.clean;
        longest = longest.max(figures.clean);
        figures.report();
    }
    let (clean, longest) = (clean.as_secs_f64(), longest.as_secs_f64());
    println!(
        "JACK at {JACK_PERIOD} frames: {clean:.1} s in all without xruns of our own, {longest:.1} s at a stretch"
    );
    if clean < wanted.as_secs_f64() {
        println!("INCONCLUSIVE: this machine's stalls left too little of the {wanted:?} that were wanted");
    }
}

/// What was seen while the server lost nothing.
struct Figures {
    clean: Duration,
    /// From one of the probe's ports to the other, as the receiver's figures have it, in milliseconds.
    shown: Vec<f64>,
    /// The same by the probe.
    measured: Vec<f64>,
    /// The receiver's last status.
    status: Value,
}

impl Figures {
    fn report(&self) {
        let seconds = self.clean.as_secs_f64();
        if self.shown.is_empty() || self.measured.len() < 2 {
            return println!("JACK at {JACK_PERIOD} frames: {seconds:.1} s, too short for figures");
        }
        let (shown, measured) = (Spread::of(&self.shown), Spread::of(&self.measured));
        println!(
            "JACK at {JACK_PERIOD} frames: {seconds:.1} s, 0 xruns, 0 frames missing; latency to the DAC {} ms; \
             from port to port shown {shown} ms, measured {measured} ms",
            self.status["latency_ms"]
        );
        let period = f64::from(JACK_PERIOD) * 1e3 / f64::from(RATE);
        let apart = (shown.median - measured.median).abs();
        assert!(apart < period + PASSING_ON, "{apart} ms between what is shown and what is measured");
    }
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let sorted = sorted(values.iter().copied());
        Self { least: sorted[0], median: sorted[sorted.len() / 2], most: sorted[sorted.len() - 1] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.least, self.most)
    }
}

fn play_on_jack(server: &Server, wanted: Duration) -> Figures {
    let often = ["--status-interval", "250ms"];
    let playback = ["--playback", "jack", "--period", "64", "--latency", "10ms", "--channels", "1"];
    let (mut receiver, address) = server.place.receiver(&[&playback[..], &often].concat());
    let client = format!("a={address}/0");
    let capture = ["--capture", "jack", "--period", "64", "--frames", "64", "--channels", "1"];
    let mut sender = server.place.program("sender", &[&capture[..], &["--client", &client], &often].concat());
    assert_eq!(sender.wait_for("source")["name"], "JACK Input");
    let mut probe = Probe::start(server);
    server.connect("jack_delay:out", &format!("cpal_client_{}_in:in_0", sender.id()));
    server.connect(&format!("cpal_client_{}_out:out_0", receiver.id()), "jack_delay:in");
    probe.wait();

    let canaries = Canaries::start(STALL);
    let server_before = server.xruns();
    let mut last = (fresh_status(&mut sender), fresh_status(&mut receiver));
    let mut look = || (sender.wait_for("status"), receiver.wait_for("status"));
    let start = Instant::now();
    let before = losses(&last.0, &last.1);
    let mut figures =
        Figures { clean: Duration::ZERO, shown: Vec::new(), measured: Vec::new(), status: Value::Null };
    while figures.clean < wanted {
        let (now, next) = (start.elapsed(), look());
        if server.xruns() > server_before || canaries.stalls() > 0 {
            break;
        }
        // What the programs said is judged once the server had time to say that the fault was its own.
        let lost = lost_since(&before, &losses(&last.0, &last.1));
        assert!(lost.is_empty(), "after {now:?}, while the server lost nothing: {lost:?}");
        figures.clean = now;
        figures.shown.push(port_to_port(&last.1));
        figures.measured.extend(probe.readings());
        figures.status = last.1;
        last = next;
    }
    // JACK takes it badly when clients die.
    drop(probe);
    let _ = (sender.interrupt(), receiver.interrupt());
    figures
}

/// A wake-up this late is the machine's fault: half a period.
const STALL: Duration = Duration::from_micros(725);

/// A status that is said after the call; those said before it may still be waiting.
fn fresh_status(program: &mut Program) -> Value {
    loop {
        let asked = Instant::now();
        let status = program.wait_for("status");
        if asked.elapsed() > Duration::from_millis(50) {
            return status;
        }
    }
}

/// What the receiver shows goes from the ADC to the DAC. The probe sits on JACK's ports, so that the devices' shares are
/// not part of what it sees: JACK's capture latency is the period that passes until a block of samples is there.
fn port_to_port(status: &Value) -> f64 {
    let milliseconds = |value: &Value| value.as_f64().expect("it is a number");
    assert_eq!(status["state"], "in sync");
    let capture = f64::from(JACK_PERIOD) * 1e3 / f64::from(RATE);
    milliseconds(&status["latency_ms"]) - milliseconds(&status["playback"]["device_latency_ms"]) - capture
}

/// `jack_iodelay`, which sends a mixture of tones and tells by their phases when they come back.
struct Probe {
    child: Child,
    found: Receiver<f64>,
}

impl Probe {
    fn start(server: &Server) -> Self {
        // It would keep its lines back in a pipe.
        let mut command = server.place.command("stdbuf");
        command.args(["-oL", "jack_iodelay"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("jack_iodelay starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, found) = channel();
        let (ready_sender, ready) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = ready_sender.send(());
                if let Some(delay) = reading(&line) {
                    let _ = sender.send(delay);
                }
            }
        });
        let probe = Self { child, found };
        ready.recv_timeout(PATIENCE).expect("jack_iodelay has its ports");
        probe
    }

    fn wait(&mut self) {
        match self.found.recv_timeout(PATIENCE) {
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => panic!("nothing came back to jack_iodelay"),
            Err(RecvTimeoutError::Disconnected) => panic!("jack_iodelay has ended"),
        }
    }

    /// What it has told since the last time, in milliseconds.
    fn readings(&self) -> impl Iterator<Item = f64> {
        self.found.try_iter()
    }
}

/// From a line like `   407.706 frames      9.245 ms total roundtrip latency`; question marks say that it is not sure.
fn reading(line: &str) -> Option<f64> {
    let (frames, rest) = line.trim().split_once(" frames ")?;
    let certain = rest.contains("total roundtrip") && !rest.contains("??");
    frames.parse::<f64>().ok().filter(|_| certain).map(|frames| frames * 1e3 / f64::from(RATE))
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program that is to refuse, and returns the one line in which it says why.
fn refusal(place: &Place, name: &str, arguments: &[&str]) -> String {
    let Ended { status, stderr, .. } = place.program(name, arguments).wait(PATIENCE);
    assert_eq!(status.code(), Some(2), "{stderr}");
    // The audio system's libraries may have their say as well.
    let mut lines = stderr.lines().filter(|line| line.starts_with("error: "));
    let line = lines.next().unwrap_or_else(|| panic!("no word of ours in {stderr:?}")).to_string();
    assert_eq!(lines.next(), None, "{stderr}");
    line
}

#[test]
fn an_unknown_device_is_answered_with_those_that_exist() {
    let _alone = alone();
    let place = Place::new("pcm.parlour { type null hint { show on description \"Parlour speakers\" } }\n");
    let captured = refusal(&place, "sender", &["--capture", "nosuch", "--client", "a=127.0.0.1:9/0"]);
    let played = refusal(&place, "receiver", &["--listen", "127.0.0.1:0", "--playback", "nosuch"]);
    for (line, direction) in [(captured, "capture"), (played, "playback")] {
        let words = format!("no {direction} device is called `nosuch`");
        for part in [words.as_str(), "`Parlour speakers` (alsa:parlour)"] {
            assert!(line.contains(part), "no `{part}` in {line}");
        }
    }
    for program in ["sender", "receiver"] {
        let mut command = place.command(tests::program::path(program));
        let output = command.args(["devices", "--json"]).output().expect("it starts");
        let listed: Vec<Value> = serde_json::from_slice(&output.stdout).expect("it prints a list");
        let found = listed.iter().find(|device| device["id"] == "alsa:parlour").expect("it is listed");
        assert_eq!(found["name"], "Parlour speakers");
        assert!(count(&found["capture_channels"]) >= 2 && count(&found["playback_channels"]) >= 2, "{found}");
        for rate in [44_100, 48_000] {
            assert!(found["rates"].as_array().is_some_and(|rates| rates.contains(&rate.into())), "{found}");
        }
    }
}

#[test]
fn a_rate_that_the_device_does_not_take() {
    let _alone = alone();
    let server = match Server::jack(RATE, 256) {
        Ok(server) => server,
        Err(reason) => return skip(&reason),
    };
    let asked = ["--rate", "191999", "--period", "256"];
    let capture = ["--capture", "jack", "--client", "a=127.0.0.1:9/0"];
    let line = refusal(&server.place, "sender", &[&capture[..], &asked].concat());
    for part in ["does not take 191999 Hz", "it takes 44100 Hz"] {
        assert!(line.contains(part), "no `{part}` in {line}");
    }
    // What comes in at another rate is resampled.
    let playback = ["--listen", "127.0.0.1:0", "--playback", "jack", "--channels", "2", "--json"];
    let mut command = server.place.command(tests::program::path("receiver"));
    command.args(playback).args(asked);
    let mut receiver = Program::spawn(command);
    let name = receiver.wait_for("output")["name"].to_string();
    assert!(name.contains("resampled to 44100 Hz"), "{name}");
    assert!(receiver.interrupt().status.success());
}
