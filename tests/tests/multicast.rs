//! Multicast between separate hosts: network namespaces that are joined by a switch. Needs root; else it is said that nothing
//! was tested.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::hosts::{Hosts, interface, v4, v6};
use tests::program::{Program, alone};
use tests::sound::{Sound, assert_same};

const RATE: u32 = 44_100;

/// A receiver on a host that records what it picks from a group, once it has joined it.
fn recorder(hosts: &Hosts, host: usize, group: &str, path: &Path, options: &[&str]) -> Program {
    let path = path.to_str().unwrap();
    let usual = ["--listen", group, "--playback", path, "--exit-after-stream"];
    let mut receiver = hosts.start(host, "receiver", &[&usual, options].concat());
    receiver.wait_for("joined");
    receiver
}

fn assert_whole(program: Program) {
    let ended = program.wait(Duration::from_secs(20));
    assert!(ended.status.success(), "{}", ended.stderr);
    let summary = ended.last("summary");
    for count in ["lost", "late", "overflowed", "concealed_frames", "conflicts"] {
        assert_eq!(summary[count], 0, "{count} in {summary}");
    }
}

/// One sender, two receivers with maps of their own.
fn two_receivers_pick(group: &str, options: &[&str]) {
    let _alone = alone();
    let Some(hosts) = Hosts::make(3, 1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let sound = Sound::ramp(4, RATE, RATE as usize * 3);
    sound.write(&file("source.wav"));
    let pick =
        |host, name, map| recorder(&hosts, host, group, &file(name), &[options, &["--map", map]].concat());
    let (one, two) = (pick(1, "one.wav", "3,0+1"), pick(2, "two.wav", "2"));
    let (source, wire) = (file("source.wav"), interface(0));
    let client = format!("all={group}/0,1,2,3");
    let arguments = ["--capture", source.to_str().unwrap(), "--client", &client, "--interface", &wire];
    let ended = hosts.start(0, "sender", &arguments).wait(Duration::from_secs(30));
    assert!(ended.status.success(), "{}", ended.stderr);
    let listeners = ended.said.iter().filter_map(|event| event["clients"][0]["listeners"].as_u64()).max();
    assert_eq!(listeners, Some(2));
    assert_whole(one);
    assert_whole(two);
    let (one, two) = (Sound::read(&file("one.wav")), Sound::read(&file("two.wav")));
    assert_same(&one.channel(0), &sound.channel(3), "channel 3 on the first");
    assert_same(&one.channel(1), &sound.sum(&[0, 1]), "channels 0 and 1 on the first");
    assert_same(&two.samples, &sound.channel(2), "channel 2 on the second");
}

#[test]
fn two_receivers_of_an_ipv4_group_pick_their_channels() {
    two_receivers_pick("239.77.1.2:5004", &[]);
}

#[test]
fn two_receivers_of_an_ipv6_group_pick_their_channels() {
    two_receivers_pick("[ff15::77:1]:5004", &[]);
}

/// What each of two receivers with the sender's key has recorded is the source, from a moment after its beginning on.
#[test]
fn two_receivers_of_a_group_with_a_key_hear_it() {
    let _alone = alone();
    let Some(hosts) = Hosts::make(4, 1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let keys = ["sound.key", "other.key"].map(|name| {
        control::key::generate(&file(name)).unwrap();
        file(name).to_str().unwrap().to_string()
    });
    let sound = Sound::ramp(2, RATE, RATE as usize * 4);
    sound.write(&file("source.wav"));
    let group = "239.77.1.6:5004";
    let record = |host, name| recorder(&hosts, host, group, &file(name), &["--key", &keys[0]]);
    let right = [record(1, "one.wav"), record(2, "two.wav")];
    let mut wrong = recorder(&hosts, 3, group, &file("three.wav"), &["--key", &keys[1]]);
    let (source, wire) = (file("source.wav"), interface(0));
    let client = format!("all={group}/0,1");
    let arguments = ["--capture", source.to_str().unwrap(), "--client", &client, "--interface", &wire];
    let sender = hosts.start(0, "sender", &[&arguments[..], &["--key", &keys[0]]].concat());
    assert_eq!(wrong.wait_for("secrecy")["secrecy"], "wrong_key");
    let ended = sender.wait(Duration::from_secs(30));
    assert!(ended.status.success(), "{}", ended.stderr);
    let listeners = ended.said.iter().filter_map(|event| event["clients"][0]["listeners"].as_u64()).max();
    assert_eq!((listeners, &ended.last("secrecy")["secrecy"]), (Some(2), &"encrypted".into()));
    for (receiver, name) in right.into_iter().zip(["one.wav", "two.wav"]) {
        assert_whole(receiver);
        let heard = Sound::read(&file(name)).samples;
        let missed = sound.samples.len() - heard.len();
        assert!(missed < RATE as usize / 2, "{missed} samples went by before the ends knew each other");
        assert_same(&heard, &sound.samples[missed..], name);
    }
    assert_eq!(wrong.interrupt().last("summary")["packets"], 0);
}

#[test]
fn who_has_the_key_hears_a_group_that_is_described_or_announced() {
    let _alone = alone();
    let Some(hosts) = Hosts::make(3, 1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("sound.key");
    control::key::generate(&key).unwrap();
    let (key, folder) = (key.to_str().unwrap(), folder.path().to_str().unwrap());
    let play = |host, found: [&str; 2]| {
        let usual = ["--key", key, "--playback", "null", "--status-interval", "100ms"];
        hosts.start(host, "receiver", &[&found[..], &usual].concat())
    };
    let mut announced = play(1, ["--sap", "all"]);
    announced.wait_for("waiting");
    let wire = interface(0);
    let arguments = ["--capture", "tone", "--client", "all=239.77.1.8:5004/0", "--interface", &wire];
    let address = v4(0, 0);
    let described = ["--key", key, "--bind", &address, "--sdp", folder, "--sap"];
    let _sender = hosts.start(0, "sender", &[&arguments[..], &described].concat());
    let plays = |status: &Value| status["packets"].as_u64() > Some(300);
    announced.wait_until("status", plays);
    let description = format!("{folder}/all.sdp");
    play(2, ["--sdp", &description]).wait_until("status", plays);
    let keyless = hosts.start(2, "receiver", &["--sdp", &description, "--playback", "null"]);
    let refused = keyless.wait(Duration::from_secs(10));
    assert!(refused.stderr.contains("name the sender's key with --key FILE"), "{}", refused.stderr);
}

#[test]
fn a_wrong_key_of_a_group_is_named_on_both_ends() {
    let _alone = alone();
    let Some(hosts) = Hosts::make(2, 1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let keys = ["sound.key", "other.key"].map(|name| {
        let path = folder.path().join(name);
        control::key::generate(&path).unwrap();
        path.to_str().unwrap().to_string()
    });
    let listen = ["--listen", "239.77.1.7:5004", "--playback", "null", "--key", &keys[1]];
    let mut receiver = hosts.start(1, "receiver", &listen);
    receiver.wait_for("joined");
    let wire = interface(0);
    let arguments = ["--capture", "tone", "--client", "all=239.77.1.7:5004/0", "--interface", &wire];
    let mut sender = hosts.start(0, "sender", &[&arguments[..], &["--key", &keys[0]]].concat());
    for program in [&mut receiver, &mut sender] {
        assert_eq!(program.wait_for("secrecy")["secrecy"], "wrong_key");
    }
}

#[test]
fn a_source_that_is_asked_for_is_heard() {
    two_receivers_pick("232.77.1.2:5004", &["--source", &v4(0, 0)]);
    two_receivers_pick("[ff35::77:1]:5004", &["--source", &v6(0, 0)]);
}

#[test]
fn another_source_than_the_one_that_is_asked_for_is_not_heard() {
    let _alone = alone();
    let Some(hosts) = Hosts::make(3, 1) else { return };
    let listen = |source: &str| {
        let arguments = ["--listen", "232.77.1.3:5004", "--source", source, "--playback", "null"];
        let status = ["--status-interval", "100ms"];
        let mut receiver = hosts.start(1, "receiver", &[&arguments[..], &status].concat());
        receiver.wait_for("joined");
        receiver
    };
    let (mut wrong, mut right) = (listen(&v4(0, 2)), listen(&v4(0, 0)));
    let arguments = ["--capture", "virtual", "--client", "all=232.77.1.3:5004/0", "--interface", &v4(0, 0)];
    let _sender = hosts.start(0, "sender", &arguments);
    right.wait_until("status", |status| status["packets"].as_u64() > Some(300));
    while let Some(event) = wrong.poll() {
        assert!(event["type"] != "stream", "{event}");
    }
}

fn packets(status: &Value) -> u64 {
    status["packets"].as_u64().unwrap_or(0)
}

/// Takes a receiver's network away in the middle of a stream and gives it back; `change` does both.
fn comes_back(group: &str, change: impl Fn(&Hosts, bool), told: bool) {
    let _alone = alone();
    let Some(hosts) = Hosts::make(3, 1) else { return };
    let status = ["--status-interval", "100ms", "--latency", "60ms"];
    let listen = |host| {
        let arguments = ["--listen", group, "--playback", "virtual"];
        let mut receiver = hosts.start(host, "receiver", &[&arguments[..], &status].concat());
        receiver.wait_for("joined");
        receiver
    };
    let (mut steady, mut cut) = (listen(1), listen(2));
    let (client, wire) = (format!("all={group}/0,1"), interface(0));
    let arguments = ["--capture", "virtual", "--client", &client, "--interface", &wire];
    let _sender = hosts.start(0, "sender", &arguments);
    let in_sync = |status: &Value| status["state"] == "in sync";
    cut.wait_until("status", in_sync);
    steady.wait_until("status", in_sync);
    change(&hosts, false);
    if told {
        cut.wait_for("link_lost");
    } else {
        std::thread::sleep(Duration::from_millis(300));
    }
    change(&hosts, true);
    let back = Instant::now();
    let before = packets(&cut.wait_for("status"));
    cut.wait_until("status", |status| packets(status) > before + 300 && in_sync(status));
    println!("{group}: plays in time {} ms after its link was back", back.elapsed().as_millis());
    let status = steady.wait_for("status");
    assert_eq!(
        (&status["lost"], &status["streams"]),
        (&0.into(), &1.into()),
        "the other hears nothing of it"
    );
}

#[test]
fn a_receiver_whose_interface_goes_down_and_up_hears_its_group_again() {
    comes_back("239.77.1.4:5004", |hosts, up| hosts.set_link(2, 0, up), true);
    comes_back("[ff15::77:4]:5004", |hosts, up| hosts.set_link(2, 0, up), true);
}

#[test]
fn a_receiver_whose_cable_is_pulled_for_a_moment_hears_its_group_again() {
    comes_back("239.77.1.5:5004", |hosts, plugged| hosts.set_cable(2, 0, plugged), false);
}
