//! The main job, shown: a multi-channel recording, one sender, three receivers with different maps, on this machine.
//!
//! Each receiver writes what it got to a WAV file, which is compared with the recording, sample by sample. Where the
//! machine has a sound card, a fourth one plays the first two channels to it.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use control::display::{Display, meter};
use serde_json::Value;
use tests::program::{Program, path};
use tests::sound::Sound;

const CHANNELS: u16 = 8;
const RATE: u32 = 44_100;
const SECONDS: usize = 8;

struct Speaker {
    name: &'static str,
    map: &'static str,
    /// The same as lists of source channels.
    sources: &'static [&'static [u16]],
}

const SPEAKERS: [Speaker; 3] = [
    Speaker { name: "Door", map: "0", sources: &[&[0]] },
    Speaker { name: "Window", map: "5,2", sources: &[&[5], &[2]] },
    Speaker { name: "Subwoofer", map: "0+1", sources: &[&[0, 1]] },
];

fn main() -> ExitCode {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/demo".into());
    let folder = Path::new(&folder);
    if let Err(error) = std::fs::create_dir_all(folder) {
        eprintln!("error: {}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    let (recording, kind) = Sound::recordings(CHANNELS, RATE, SECONDS * RATE as usize);
    let source = folder.join("recording.wav");
    recording.write(&source);
    println!("{SECONDS} s of {CHANNELS} channels ({kind}) in {}", source.display());

    let mut receivers: Vec<_> =
        SPEAKERS.iter().map(|speaker| start_receiver(&take(folder, speaker))).collect();
    let mut clients: Vec<_> = SPEAKERS
        .iter()
        .zip(&receivers)
        .map(|(speaker, (_, address))| format!("{}={address}/{}", speaker.name, speaker.map))
        .collect();
    let card = has_sound_card().then(|| start_receiver("default"));
    clients.extend(card.iter().map(|(_, address)| format!("Sound card={address}/0,1")));
    println!(
        "sender --capture {} {}",
        source.display(),
        clients.iter().map(|c| format!("--client '{c}' ")).collect::<String>()
    );
    let mut arguments = vec!["--capture", source.to_str().unwrap_or_default(), "--status-interval", "250ms"];
    arguments.extend(clients.iter().flat_map(|client| ["--client", client]));
    let mut sender = Program::start("sender", &arguments);

    watch(&mut sender, &mut receivers);
    let mut all_equal = sender.wait(Duration::from_secs(10)).status.success();
    for (speaker, (receiver, _)) in SPEAKERS.iter().zip(receivers) {
        let ended = receiver.wait(Duration::from_secs(10));
        all_equal &= report(folder, speaker, &recording, ended.last("summary"));
    }
    if all_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn take(folder: &Path, speaker: &Speaker) -> String {
    folder.join(format!("{}.wav", speaker.name)).to_string_lossy().into_owned()
}

fn start_receiver(sink: &str) -> (Program, std::net::SocketAddr) {
    Program::receiver(&["--playback", sink, "--exit-after-stream", "--status-interval", "250ms"])
}

fn has_sound_card() -> bool {
    let devices = Command::new(path("receiver")).args(["devices", "--json"]).output();
    let devices: Option<Value> = devices.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok());
    let devices = devices.as_ref().and_then(Value::as_array);
    devices.is_some_and(|devices| devices.iter().any(|device| device["default_playback"] == true))
}

/// A table that is alive while the sender runs.
fn watch(sender: &mut Program, receivers: &mut [(Program, std::net::SocketAddr)]) {
    let mut display = Display::new(false, true, None);
    let mut states = vec![Value::Null; receivers.len()];
    let mut progress = Value::Null;
    while !sender.has_ended() {
        while let Some(event) = sender.poll() {
            if event["type"] == "status" {
                progress = event;
            }
        }
        for ((receiver, _), state) in receivers.iter_mut().zip(&mut states) {
            while let Some(event) = receiver.poll() {
                if event["type"] == "status" {
                    *state = event;
                }
            }
        }
        if display.due() {
            display.state(&table(&progress, &states), || Value::Null);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn table(progress: &Value, states: &[Value]) -> Vec<String> {
    let seconds = |value: &Value| value.as_f64().unwrap_or(0.0) / f64::from(RATE);
    let source = &progress["source"];
    let mut lines =
        vec![format!("sent {:.1} of {:.1} s", seconds(&source["frames"]), seconds(&source["length_frames"]))];
    for (speaker, state) in SPEAKERS.iter().zip(states) {
        lines.push(format!(
            "  {:<10} channels {:<5} {}  {:>5} packets  {} lost  latency {:.1} ms",
            speaker.name,
            speaker.map,
            meter(state["level_dbfs"].as_f64().map_or(f32::NEG_INFINITY, |level| level as f32), 20),
            state["packets"].as_u64().unwrap_or(0),
            state["lost"].as_u64().unwrap_or(0),
            state["latency_ms"].as_f64().unwrap_or(0.0),
        ));
    }
    lines
}

/// Compares what a receiver wrote with the recording, and says what it got.
fn report(folder: &Path, speaker: &Speaker, recording: &Sound, summary: &Value) -> bool {
    let heard = Sound::read(take(folder, speaker).as_ref());
    let differing = |(output, sources): (usize, &&[u16])| {
        let (heard, sent) = (heard.channel(output as u16), recording.sum(sources));
        let unequal = heard.iter().zip(&sent).filter(|(heard, sent)| heard != sent).count();
        unequal + heard.len().abs_diff(sent.len())
    };
    let differences: usize = speaker.sources.iter().enumerate().map(differing).sum();
    let verdict =
        if differences == 0 { "bit-exact".to_string() } else { format!("{differences} samples differ") };
    println!(
        "{:<10} channels {:<5} {} frames of {} channels in {} packets ({} lost): {verdict}",
        speaker.name,
        speaker.map,
        heard.frames(),
        heard.channels,
        summary["packets"],
        summary["lost"]
    );
    differences == 0
}
