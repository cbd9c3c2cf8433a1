//! A card that does not change in mid-stream what it encodes, as those see it who ask for that.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use nvenc_double::Double;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The body of an answer over HTTP.
fn asked(port: u16, line: &str, body: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn a_bitrate_that_is_refused_is_not_shown_as_the_streams_own() {
    // Invalid parameters, whenever it is to change.
    let Some(double) = Double::new("reconfigure_status 8").unwrap() else { return };
    let http = free_port();
    let mut bridge = Command::new(env!("CARGO_BIN_EXE_nvenc-bridge"))
        .args(["--json", "--bind", "127.0.0.1", "--port", &free_port().to_string(), "--encoder", "nvenc"])
        .args(["--http", &http.to_string(), "--avg-bitrate", "3", "--width", "320", "--height", "240"])
        .env("LD_LIBRARY_PATH", double.folder())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(bridge.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut wait_for =
        |kind: &str| lines.find(|line| line.contains(&format!("\"type\":\"{kind}\""))).unwrap();
    wait_for("serving");
    let before = asked(http, "PATCH /api/streams/stream", r#"{"avgbitrate": 0.5, "forceidr": true}"#);
    let refused = wait_for("refused");
    let after = asked(http, "GET /api/streams/stream", "");
    bridge.kill().unwrap();
    bridge.wait().unwrap();
    assert!(refused.contains("\"reason\""), "{refused}");
    assert_eq!((&before["active"], &after["parameters"]["avgbitrate"]), (&true.into(), &3.0.into()));
}
