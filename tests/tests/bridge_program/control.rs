//! What is asked of the bridge while it runs, how it ends, and what it says where it cannot start.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use nvenc_double::Double;
use tests::program::{self, alone};

use super::bridge::{Bridge, becomes};
use super::reference::PATTERN;

#[test]
fn a_stream_that_is_not_active_frees_its_port_and_comes_back() {
    let _alone = alone();
    let mut bridge = Bridge::start(&PATTERN);
    let bind = || TcpListener::bind(("127.0.0.1", bridge.port));
    assert!(bind().is_err(), "it holds its port");
    bridge.change("stream", r#"{"active": false}"#);
    becomes("the port is free", || bind().is_ok());
    assert_eq!(bridge.state("stream")["active"], false);
    bridge.program.wait_for("inactive");
    bridge.change("stream", r#"{"active": true}"#);
    bridge.program.wait_for("serving");
    assert_eq!(bridge.state("stream")["active"], true);
    // Somebody else may take the port meanwhile: that is said, and it stays as it was.
    bridge.change("stream", r#"{"active": false}"#);
    bridge.program.wait_for("inactive");
    let other = bind().unwrap();
    bridge.change("stream", r#"{"active": true}"#);
    let refused = bridge.program.wait_for("refused");
    assert!(refused["reason"].as_str().unwrap().contains("choose another port"), "{refused}");
    assert_eq!(bridge.state("stream")["active"], false);
    drop(other);
    bridge.change("stream", r#"{"active": true}"#);
    bridge.program.wait_for("serving");
    let ended = bridge.program.interrupt();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.last("summary")["streams"]["stream"]["pictures"]["encoded"].as_u64() > Some(0));
}

#[test]
fn what_is_asked_while_it_runs_is_done_and_shown() {
    let _alone = alone();
    let Some(double) = Double::new("").unwrap() else { return };
    let arguments = [&PATTERN[..], &["--keyframe-interval", "100000", "--audio", "tone"]].concat();
    let bridge = Bridge::start_with(Some(double.folder()), &arguments);
    let count = |what: &str| bridge.state("stream")["pictures"][what].as_u64().unwrap();
    becomes("pictures are encoded", || count("encoded") > 10);
    assert_eq!(count("keys"), 1);
    assert_eq!(bridge.ask("POST /api/streams/stream/forceidr", "").0, 200);
    becomes("there is a key picture more", || count("keys") == 2);
    bridge.change("stream", r#"{"avgbitrate": 0.2}"#);
    becomes("the encoder is asked for fewer bits", || {
        double.calls("reconfigure").iter().any(|call| call["average"] == 200_000)
    });
    bridge.change("stream", r#"{"fps": 10}"#);
    becomes("the rate is another", || bridge.state("stream")["fps"] == 10.0);
    for (line, body, status, words) in [
        (
            "PATCH /api/streams/stream",
            r#"{"videocodec": "av1"}"#,
            400,
            "it cannot change while the stream runs",
        ),
        ("PATCH /api/streams/stream", r#"{"avgbitrate": -1}"#, 400, "avgbitrate: "),
        ("PATCH /api/streams/other", r#"{"active": false}"#, 404, "there is no streams/other"),
    ] {
        let (answered, text) = bridge.ask(line, body);
        assert!(answered == status && text.contains(words), "{line}: {answered} {text}");
    }
    let (status, page) = bridge.ask("GET /metrics", "");
    assert_eq!(status, 200);
    for figure in ["bridge_active", "bridge_key_pictures_total", "bridge_sound_units_total"] {
        let line = page.lines().find(|line| line.starts_with(&format!("{figure}{{stream=\"stream\"}}")));
        let value: f64 =
            line.unwrap_or_else(|| panic!("{page}")).rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value >= 1.0, "{figure} {value}");
    }
    let state = bridge.state("stream");
    assert_eq!((&state["info"]["resx"], &state["info"]["resy"]), (&320.0.into(), &240.0.into()));
    assert!(state["info"]["last_encode_time"].as_f64() > Some(0.0), "{state}");
    assert_eq!(state["parameters"]["fps"], 10.0);
}

#[test]
fn several_streams_of_a_file_share_a_port_and_one_that_is_watched_says_by_whom() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.toml");
    let text = r#"
        resolution = [320, 240]
        [[stream]]
        streamname = "left"
        [[stream]]
        streamname = "hall/right"
        audiochop = "tone"
        audiocodec = "opus"
        [[stream]]
        operator = "audiostreamout"
        streamname = "sound"
        audiochop = "silence"
    "#;
    std::fs::write(&file, text).unwrap();
    let mut bridge = Bridge::start(&["--config", file.to_str().unwrap()]);
    bridge.program.wait_for("serving");
    bridge.program.wait_for("serving");
    for name in ["left", "hall.right", "sound"] {
        assert_eq!(bridge.state(name)["active"], true, "{name}");
    }
    let url = bridge.url("hall/right");
    let mut player = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "quiet", "-rtsp_transport", "tcp", "-i", &url, "-f", "null", "-"])
        .spawn()
        .unwrap();
    let client = bridge.program.wait_for("client");
    assert!(client["client"].as_str().unwrap().ends_with("by tcp") && client["stream"] == "hall/right");
    becomes("packets go out", || bridge.state("hall.right")["sent"]["packets"].as_u64() > Some(50));
    assert_eq!(bridge.state("left")["sent"]["clients"], 0);
    player.kill().unwrap();
    player.wait().unwrap();
    bridge.program.wait_for("client_gone");
}

#[test]
fn what_cannot_start_ends_with_a_line_that_says_what_to_do() {
    let _alone = alone();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(program::path("nvenc-bridge")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, words) in [
        (&["--bind", "127.0.0.1", "--port", &port][..], "choose another port"),
        (&["--encoder", "nvenc"], "no NVIDIA driver"),
        (&["--video-codec", "av1", "--bind", "127.0.0.1"], "--features svtav1"),
        (&["--audio", "no such card", "--bind", "127.0.0.1"], "audio: "),
        (&["--login", "/nonexistent"], "--login /nonexistent: "),
        (&["--http", "0.0.0.0:0"], "--http-token"),
    ] {
        let (status, said) = run(arguments);
        let last = said.trim_end().lines().last().unwrap_or_default();
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(last.starts_with("error: ") && last.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn a_source_that_fails_while_running_ends_the_bridge_with_status_1() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("short.y4m");
    let mut text = b"YUV4MPEG2 W64 H64 F10:1\n".to_vec();
    for _ in 0..5 {
        text.extend_from_slice(b"FRAME\n");
        text.resize(text.len() + 64 * 64 * 3 / 2, 128);
    }
    std::fs::write(&file, &text).unwrap();
    let played = Bridge::spawn(None, &["--pictures", file.to_str().unwrap()]);
    let ended = played.program.wait(Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    text.extend_from_slice(b"nonsense\n");
    std::fs::write(&file, &text).unwrap();
    let broken = Bridge::spawn(None, &["--pictures", file.to_str().unwrap()]);
    let ended = broken.program.wait(Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.last("failed")["reason"].as_str().unwrap().contains("no YUV4MPEG2"));
}

#[test]
fn who_may_watch_is_asked_for_a_password() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let login = folder.path().join("login");
    std::fs::write(&login, "guest:a secret\n").unwrap();
    let bridge = Bridge::start(&[&PATTERN[..], &["--login", login.to_str().unwrap()]].concat());
    let plays = |url: &str| {
        let player = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "quiet", "-rtsp_transport", "tcp", "-i", url, "-frames:v", "1"])
            .args(["-f", "null", "-"])
            .status();
        player.unwrap().success()
    };
    assert!(!plays(&bridge.url("stream")));
    assert!(plays(&format!("rtsp://guest:a%20secret@127.0.0.1:{}/stream", bridge.port)));
}

#[test]
fn a_machine_without_a_driver_is_told_so_by_each_command() {
    let _alone = alone();
    for (command, status) in [("probe", 0), ("caps", 0), ("selftest", 1)] {
        let output = Command::new(program::path("nvenc-bridge")).arg(command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{command}: {said}");
        assert!(said.contains("NVIDIA driver"), "{command}: {said}");
    }
}
