//! The command `params`, as people and programs use it.

use std::process::{Command, Output};

use serde_json::Value;

fn bridge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nvenc-bridge")).args(arguments).output().unwrap()
}

fn rows(arguments: &[&str]) -> Vec<Value> {
    let output = bridge(&[&["params", "--json", "--encoder", "openh264"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let streams: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(streams[0]["encoder"], "openh264");
    streams[0]["parameters"].as_array().unwrap().clone()
}

fn row<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    rows.iter().find(|row| row["name"] == name).unwrap()
}

#[test]
fn flags_and_the_pages_names_say_the_same() {
    for flag in ["--keyframe-interval", "--keyframeinterval"] {
        let rows = rows(&[flag, "90", "--multicast"]);
        let interval = row(&rows, "keyframeinterval");
        assert_eq!((&interval["value"], &interval["given"]), (&"90".into(), &true.into()));
        assert_eq!(interval["becomes"], "uiIntraPeriod 90");
        assert_eq!(row(&rows, "multicast")["value"], "on");
    }
}

#[test]
fn what_an_encoder_does_not_honour_stands_beside_it() {
    let rows = rows(&["--max-b-frames", "2"]);
    assert!(row(&rows, "maxbframes")["warning"].as_str().unwrap().contains("no B-pictures"));
    assert_eq!(row(&rows, "avgbitrate")["warning"], Value::Null);
}

#[test]
fn what_is_refused_is_named_in_one_line_with_status_2() {
    for (arguments, words) in [
        (&["params", "--mode", "srt"][..], "error: mode: this version does not speak srt"),
        (&["params", "--url", "rtmp://a/b"], "error: url: it is for RTMP and SRT"),
        (&["--streamname", "a b"], "error: streamname: `a b`"),
    ] {
        let output = bridge(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with(words) && said.lines().count() == 1, "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}
