//! As many connections as are asked for, on a system that allows for fewer files at first.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// What it says before it serves, and the limit that it has then.
fn started(before: &str, connections: &str) -> (String, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut bridge = Command::new("sh")
        .args(["-c", &format!("{before} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_nvenc-bridge")])
        .args(["--json", "--bind", "127.0.0.1", "--port", &port, "--max-connections", connections])
        .args(["--width", "64", "--height", "64"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    for line in BufReader::new(bridge.stdout.take().unwrap()).lines() {
        said.push_str(&line.unwrap());
        if said.contains(r#""type":"serving""#) {
            break;
        }
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", bridge.id())).unwrap();
    bridge.kill().unwrap();
    bridge.wait().unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    (said, limit.split_whitespace().next().unwrap().to_owned())
}

#[test]
fn the_limit_is_raised_as_far_as_it_may_be_and_what_that_does_not_suffice_for_is_said() {
    let (said, limit) = started("ulimit -S -n 100", "400");
    assert!(limit == "656" && !said.contains("ulimit"), "{limit}: {said}");
    let (said, limit) = started("ulimit -n 300", "400");
    assert!(limit == "300" && said.contains("allows for 44 of 400; `ulimit -n 656`"), "{limit}: {said}");
}
