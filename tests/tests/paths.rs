//! One stream by two paths: between simulated links, and between separate hosts that are joined by two switches. The latter need
//! root; else it is said that nothing was tested.

use std::path::Path;
use std::time::Duration;

use audio::send::{Policy, Repair};
use serde_json::Value;
use sim::link::{LinkSpec, Loss};
use tests::hosts::{Hosts, interface, v4};
use tests::program::{Program, alone};
use tests::sound::{Sound, assert_same};
use tests::world::{Ear, Receiver, Scenario, SecondPath, card, run, wired};

const RATE: u32 = 44_100;

/// A receiver behind two paths, which differ in what they take.
fn behind(first: LinkSpec, second: SecondPath) -> Receiver {
    let link = LinkSpec { delay: second.link.delay + 2_000_000, ..second.link };
    let second = SecondPath { link, ..second };
    Receiver { second: Some(second), ..Receiver::default().over(first) }
}

#[test]
fn of_two_paths_that_lose_a_tenth_each_a_hundredth_is_lost() {
    let lossy = LinkSpec { loss: Loss::Random(0.1), ..wired() };
    let scenario = Scenario { seconds: 60.0, repair: Repair::OFF, ..Scenario::default() };
    let scenario = scenario.heard_by(behind(lossy, SecondPath { link: lossy, ..SecondPath::default() }));
    for seed in 1..4 {
        let outcome = run(&scenario, seed);
        let share = outcome.counters.lost.get() as f64 / outcome.sent as f64;
        assert!((0.008..0.012).contains(&share), "seed {seed}: {share}");
        for path in &outcome.counters.paths {
            let (packets, lost) = (path.packets.get() as f64, path.lost.get() as f64);
            // What neither brought is not known to have been sent.
            let share = lost / (packets + lost);
            assert!((0.08..0.1).contains(&share), "seed {seed}: {share} of a path");
        }
    }
}

/// Blackouts of either path, and of the other one after it.
fn blackouts() -> Receiver {
    let first = Receiver { blackouts: vec![(5.0, 8.0), (14.0, 14.3)], ..Receiver::default() };
    let second = SecondPath { link: wired(), blackouts: vec![(10.0, 13.0), (16.0, 19.0)] };
    Receiver { blackouts: first.blackouts, ..behind(wired(), second) }
}

#[test]
fn a_blackout_of_either_path_loses_no_sample() {
    let scenario = Scenario { seconds: 20.0, repair: Repair::OFF, ..Scenario::default() };
    let scenario = scenario.heard_by(blackouts());
    for seed in 1..4 {
        let outcome = run(&scenario, seed);
        assert_eq!((outcome.counters.lost.get(), outcome.wrong), (0, 0), "seed {seed}");
        assert!(outcome.judged > 19 * u64::from(RATE), "{} frames", outcome.judged);
        assert_eq!(outcome.counters.streams.get(), 1);
    }
}

#[test]
fn a_blackout_of_either_path_leaves_a_card_in_time() {
    let receiver = Receiver { ear: Ear::Card(card(50.0), 128), trim: Some(0), ..blackouts() };
    let scenario =
        Scenario { seconds: 20.0, settle: 3.0, delay: Some(Policy::Auto(200_000)), ..Scenario::default() };
    for seed in 1..4 {
        let outcome = run(&scenario.heard_by(receiver.clone()), seed);
        assert_eq!((outcome.counters.lost.get(), outcome.wrong), (0, 0), "seed {seed}");
        let latencies = outcome.latencies();
        let spread = latencies[latencies.len() - 1] - latencies[0];
        assert!(spread < 0.5, "seed {seed}: wanders by {spread} ms");
    }
}

/// What the paths have brought, as a status has it.
fn brought(status: &Value) -> Vec<u64> {
    let paths = status["paths"].as_array();
    paths.into_iter().flatten().filter_map(|path| path["packets"].as_u64()).collect()
}

/// Streams a file from host 0 to host 1 over two networks and takes each of them away in the middle, by `change`.
fn either_goes(
    client: &str,
    listen: &[&str],
    sending: &[&str],
    key: Option<&Path>,
    change: impl Fn(&Hosts, usize, bool),
) {
    let _alone = alone();
    let Some(hosts) = Hosts::make(2, 2) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (source, take) = (folder.path().join("source.wav"), folder.path().join("take.wav"));
    let sound = Sound::ramp(2, RATE, RATE as usize * 9);
    sound.write(&source);
    let key: Vec<&str> = key.iter().flat_map(|path| ["--key", path.to_str().unwrap()]).collect();
    let usual = ["--playback", take.to_str().unwrap(), "--exit-after-stream", "--status-interval", "100ms"];
    let mut receiver = hosts.start(1, "receiver", &[listen, &usual, &key].concat());
    receiver.wait_for("listening");
    if listen.iter().any(|address| address.starts_with("239.")) {
        // In the order of the interfaces.
        for network in [0, 1] {
            receiver.wait_until("joined", |joined| joined["interface"] == interface(network).as_str());
        }
    }
    // What is lost is not sent again: the paths alone have to do.
    let arguments = ["--capture", source.to_str().unwrap(), "--client", client, "--repair", "off"];
    let sender = hosts.start(0, "sender", &[&arguments, sending, &key].concat());
    let both = |status: &Value| brought(status).len() == 2;
    receiver.wait_until("status", both);
    for network in [0, 1] {
        change(&hosts, network, false);
        receiver.wait_until("path", |path| path["state"] == "silent");
        change(&hosts, network, true);
        receiver.wait_until("path", |path| path["state"] == "back");
    }
    let ended = sender.wait(Duration::from_secs(30));
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_whole(receiver, &take, &sound, !key.is_empty());
}

fn assert_whole(receiver: Program, take: &Path, sound: &Sound, keyed: bool) {
    let ended = receiver.wait(Duration::from_secs(20));
    assert!(ended.status.success(), "{}", ended.stderr);
    let summary = ended.last("summary");
    for count in ["lost", "late", "overflowed", "concealed_frames", "conflicts"] {
        assert_eq!(summary[count], 0, "{count} in {summary}");
    }
    assert_eq!(summary["streams"], 1, "{summary}");
    for path in summary["paths"].as_array().unwrap() {
        assert!(path["lost"].as_u64() > Some(100), "{summary}");
    }
    let heard = Sound::read(take).samples;
    // With a key, what goes by before the ends know each other is missed.
    let missed = if keyed { sound.samples.len() - heard.len() } else { 0 };
    assert!(missed < RATE as usize / 5, "{missed} samples went by");
    assert_same(&heard, &sound.samples[missed..], "what was recorded");
}

fn cable(hosts: &Hosts, network: usize, plugged: bool) {
    hosts.set_cable(1, network, plugged);
}

#[test]
fn a_client_at_two_addresses_loses_nothing_when_either_network_fails() {
    let client = format!("a={},{}:57001/0,1", v4(0, 1), v4(1, 1));
    either_goes(&client, &[], &[], None, cable);
}

#[test]
fn two_addresses_that_are_listened_to_are_one_stream() {
    let (one, other) = (format!("{}:57001", v4(0, 1)), format!("{}:57001", v4(1, 1)));
    let client = format!("a={},{}:57001/0,1", v4(0, 1), v4(1, 1));
    // The sender's own links: what it sends there has nowhere to go.
    let link = |hosts: &Hosts, network: usize, up: bool| hosts.set_link(0, network, up);
    either_goes(&client, &["--listen", &one, "--listen", &other], &[], None, link);
}

#[test]
fn a_group_over_two_interfaces_loses_nothing_when_either_network_fails() {
    let interfaces = [interface(0), interface(1)];
    let sending = ["--interface", &interfaces[0], "--interface", &interfaces[1]];
    either_goes("a=239.77.2.1:5004/0,1", &["--listen", "239.77.2.1:5004"], &sending, None, cable);
}

#[test]
fn what_is_encrypted_goes_by_two_paths_too() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("sound.key");
    control::key::generate(&key).unwrap();
    let client = format!("a={},{}:57001/0,1", v4(0, 1), v4(1, 1));
    either_goes(&client, &[], &[], Some(&key), cable);
}

#[test]
fn an_encrypted_group_over_two_interfaces_loses_nothing_when_either_network_fails() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("sound.key");
    control::key::generate(&key).unwrap();
    let interfaces = [interface(0), interface(1)];
    let sending = ["--interface", &interfaces[0], "--interface", &interfaces[1]];
    either_goes("a=239.77.2.2:5004/0,1", &["--listen", "239.77.2.2:5004"], &sending, Some(&key), cable);
}
