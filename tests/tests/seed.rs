//! Against a stand-in for the audioStreamUDP programs: headerless mono PCM, 1024 frames a datagram, in both directions.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tests::program::{Program, has, skip};
use tests::sound::{Sound, assert_same};

fn peer(arguments: &[&str]) -> Child {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/plain.py");
    let mut command = Command::new("python3");
    command.arg(script).args(arguments).stdout(Stdio::piped()).spawn().expect("python3 is installed")
}

fn octets(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn samples(octets: &[u8]) -> Vec<i16> {
    octets.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
}

#[test]
fn our_sender_feeds_the_seeds_client() {
    if !has("python3") {
        return skip("python3 is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let sound = Sound::ramp(2, 44_100, 100 * 1024);
    let (source, list, take) =
        (folder.path().join("a.wav"), folder.path().join("list.json"), folder.path().join("b.raw"));
    sound.write(&source);
    let frames = sound.frames().to_string();
    let mut client = peer(&["receive", "0", &frames, take.to_str().unwrap()]);
    let mut ready = String::new();
    BufReader::new(client.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let port = ready.trim().strip_prefix("ready ").expect("the peer is ready");
    // The list as the seed writes it, with this port.
    std::fs::write(&list, format!(r#"{{"Node 1": {{"ip": "127.0.0.1", "port": {port}, "channel": 1}}}}"#))
        .unwrap();
    let arguments =
        ["--capture", source.to_str().unwrap(), "--clients", list.to_str().unwrap(), "--wire", "plain"];
    assert!(Program::start("sender", &arguments).wait(Duration::from_secs(20)).status.success());
    assert!(client.wait().unwrap().success());
    assert_same(&samples(&std::fs::read(&take).unwrap()), &sound.channel(1), "what the seed's client got");
}

#[test]
fn the_seeds_server_feeds_our_receiver() {
    if !has("python3") {
        return skip("python3 is not installed");
    }
    let sound = Sound::ramp(1, 44_100, 100 * 1024);
    for (options, skipped) in [(["--wire", "plain"], 0), (["--wire", "auto"], 2 * 1024)] {
        let folder = tempfile::tempdir().unwrap();
        let (raw, take) = (folder.path().join("a.raw"), folder.path().join("b.wav"));
        std::fs::write(&raw, octets(&sound.samples)).unwrap();
        let playback = ["--playback", take.to_str().unwrap(), "--exit-after-stream"];
        let (mut receiver, address) = Program::receiver(&[&playback[..], &options].concat());
        let mut server = peer(&["send", "127.0.0.1", &address.port().to_string(), raw.to_str().unwrap()]);
        let stream = receiver.wait_for("stream");
        assert_eq!((&stream["wire"], &stream["channels"]), (&"plain".into(), &1.into()));
        assert!(server.wait().unwrap().success());
        let ended = receiver.wait(Duration::from_secs(20));
        assert_eq!(ended.last("ended")["reason"], "silent");
        // Two datagrams go by before a third one vouches that this is headerless PCM.
        assert_same(&Sound::read(&take).samples, &sound.samples[skipped..], options[1]);
    }
}
