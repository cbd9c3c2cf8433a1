//! Speakers measured and tested one by one, with real processes: PulseAudio's null sink stands for the room, its monitor for
//! the microphone.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::program::{self, Ended, Program, skip};
use tests::servers::{Place, Server};

/// Start, two turns to settle, and a turn for each of a few speakers.
const PATIENCE: Duration = Duration::from_secs(40);

fn receiver(place: &Place, arguments: &[&str]) -> (Program, u16) {
    let mut program = place.program("receiver", &[&["--listen", "127.0.0.1:0"], arguments].concat());
    let listening = program.wait_for("listening");
    let port = listening["address"].as_str().and_then(|address| address.rsplit_once(':')?.1.parse().ok());
    (program, port.expect("it says its port"))
}

fn tool(place: &Place, arguments: &[&str]) -> Program {
    let mut command = place.command(program::path("sender"));
    command.args(arguments).arg("--json");
    Program::spawn(command)
}

fn list(path: &Path, clients: &[(&str, u16)]) {
    let entry = |port| json!({ "ip": "127.0.0.1", "port": port, "channel": 0 });
    let list: serde_json::Map<_, _> =
        clients.iter().map(|(name, port)| (name.to_string(), entry(*port))).collect();
    std::fs::write(path, Value::Object(list).to_string()).expect("the folder is writable");
}

fn row<'a>(ended: &'a Ended, name: &str) -> &'a Value {
    let found = ended.said.iter().find(|said| said["type"] == "speaker" && said["name"] == name);
    found.unwrap_or_else(|| panic!("no row for {name} in {:#?}; {}", ended.said, ended.stderr))
}

/// One receiver plays 10 ms later than the other, as if it stood 3.43 m further away.
#[test]
fn speakers_in_a_room_are_measured_and_one_that_is_off_is_told() {
    let server = match Server::pulse(&["hall"]) {
        Ok(server) => server,
        Err(reason) => return skip(&reason),
    };
    let place = &server.place;
    let playback = |latency| ["--playback", "hall", "--channels", "2", "--latency", latency];
    let (near, near_at) = receiver(place, &playback("150ms"));
    let (far, far_at) = receiver(place, &playback("160ms"));
    // A socket that nobody reads.
    let off = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let clients = place.path().join("clients.json");
    let off_at = off.local_addr().expect("it is bound").port();
    list(&clients, &[("near", near_at), ("off", off_at), ("far", far_at)]);
    let path = clients.to_str().expect("a path of plain characters");
    let ended = tool(place, &["align", "--microphone", "hall_mon", "--clients", path]).wait(PATIENCE);
    println!("{:#?}", ended.said);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(row(&ended, "off")["heard"], false);
    let number = |name: &str, key: &str| {
        row(&ended, name)[key].as_f64().unwrap_or_else(|| panic!("{:#?}", ended.said))
    };
    let apart = number("far", "arrival_ms") - number("near", "arrival_ms");
    println!("{apart:.2} ms apart, {:.2} m", number("far", "metres"));
    // How exactly PulseAudio mixes two streams.
    assert!((apart - 10.0).abs() < 3.0, "{apart} ms");
    near.interrupt();
    far.interrupt();
}
