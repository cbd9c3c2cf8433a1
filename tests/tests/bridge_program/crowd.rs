//! Many who watch, and many who do not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tests::program::alone;

use super::bridge::{Bridge, becomes};
use super::reference::PATTERN;
use super::watcher::Watcher;

const STREAMS: [&str; 4] = ["north", "east", "south", "west"];
/// Of each stream, at a time.
const WATCHERS: usize = 25;
/// Times that all of them come and go.
const ROUNDS: usize = 10;

/// Descriptors and threads of a program.
fn held(bridge: &Bridge) -> (usize, usize) {
    let count =
        |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", bridge.program.id())).unwrap().count();
    (count("fd"), count("task"))
}

#[test]
fn a_thousand_who_come_and_go_from_four_streams_leave_nothing_behind() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.toml");
    let streams = STREAMS.map(|name| format!("[[stream]]\nstreamname = \"{name}\"\n"));
    std::fs::write(&file, format!("resolution = [320, 240]\n{}", streams.concat())).unwrap();
    let mut bridge = Bridge::start(&["--config", file.to_str().unwrap()]);
    (1..STREAMS.len()).for_each(|_| drop(bridge.program.wait_for("serving")));
    let empty = |bridge: &Bridge| {
        becomes("somebody is left", || STREAMS.iter().all(|name| bridge.state(name)["sent"]["clients"] == 0));
    };
    // All encode by now, and nobody has asked for anything yet.
    bridge.program.wait_until("status", |status| {
        STREAMS.iter().all(|name| status["streams"][name]["pictures"]["encoded"].as_u64() > Some(10))
    });
    let (descriptors, threads) = held(&bridge);
    // The sockets for packets and reports stay for those who come next.
    let expected = (descriptors + 2, threads);
    let mut memory = 0;
    for round in 0..ROUNDS {
        let mut watchers: Vec<_> = (0..STREAMS.len() * WATCHERS)
            .map(|n| Watcher::start(bridge.port, STREAMS[n % STREAMS.len()], (n + round) % 2 == 0))
            .collect();
        watchers.iter_mut().for_each(Watcher::picture);
        for (n, watcher) in watchers.into_iter().enumerate() {
            // Sessions of datagrams stay for a while where nobody ends them, since they may come back by another connection.
            if n % 3 == 0 || (n + round) % 2 == 0 {
                watcher.leave();
            }
        }
        if round == 1 {
            empty(&bridge);
            memory = bridge.program.resident();
        }
    }
    empty(&bridge);
    let grown = bridge.program.resident().saturating_sub(memory);
    println!(
        "after {} clients: {:?} descriptors and threads became {:?}, {grown} KiB more",
        ROUNDS * STREAMS.len() * WATCHERS,
        (descriptors, threads),
        held(&bridge)
    );
    // Connections that have ended are closed soon, also those of requests over HTTP.
    becomes("descriptors or threads are left", || held(&bridge) == expected);
    assert!(grown < 4096, "{grown} KiB more");
}

#[test]
fn ten_thousand_who_say_nothing_make_way_for_who_does() {
    let _alone = alone();
    let bridge = Bridge::start(&[&PATTERN[..], &["--max-connections", "300"]].concat());
    let mut watcher = Watcher::start(bridge.port, "stream", false);
    watcher.picture();
    let before = bridge.program.resident();
    let mut crowd = std::collections::VecDeque::new();
    for n in 0..10_000 {
        let mut stream = TcpStream::connect(("127.0.0.1", bridge.port)).unwrap();
        if n % 3 == 0 {
            // Some begin to ask, and never end. One may have had to make way already.
            let _ = stream.write_all(b"DESCRIBE rtsp://");
        }
        crowd.push_back(stream);
        if crowd.len() > 600 {
            crowd.pop_front();
        }
    }
    watcher.picture();
    let mut stream = TcpStream::connect(("127.0.0.1", bridge.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"RTSP/1.0 200");
    watcher.leave();
    let grown = bridge.program.resident().saturating_sub(before);
    let (descriptors, _) = held(&bridge);
    println!("after 10 000 connections: {descriptors} descriptors, {grown} KiB more");
    assert!(descriptors < 350 && grown < 16 << 10, "{descriptors} descriptors, {grown} KiB");
}
