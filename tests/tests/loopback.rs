//! The programs over loopback: what is sent is what arrives, to the sample.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::program::{Ended, Program, keygen, number};
use tests::sound::{Sound, assert_same};

/// A file receiver that ends with its stream, and the address to send to.
fn recorder(path: &Path) -> (Program, std::net::SocketAddr) {
    let path = path.to_str().expect("temporary names are text");
    Program::receiver(&["--playback", path, "--exit-after-stream"])
}

fn assert_clean(ended: &Ended) {
    assert!(ended.status.success(), "{}", ended.stderr);
    let summary = ended.last("summary");
    for count in ["lost", "late", "duplicates", "overflowed", "concealed_frames", "conflicts"] {
        assert_eq!(summary[count], 0, "{count} in {summary}");
    }
}

/// Streams a file to recorders with these maps; returns what each recorded.
fn stream_file(sound: &Sound, maps: &[&str], options: &[&str]) -> Vec<Sound> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.wav");
    sound.write(&source);
    let takes: Vec<_> = (0..maps.len()).map(|n| folder.path().join(format!("take{n}.wav"))).collect();
    let recorders: Vec<_> = takes.iter().map(|path| recorder(path)).collect();
    let clients: Vec<_> = recorders
        .iter()
        .zip(maps)
        .enumerate()
        .map(|(n, ((_, address), map))| format!("client {n}={address}/{map}"))
        .collect();
    let mut arguments = vec!["--capture", source.to_str().unwrap()];
    arguments.extend(clients.iter().flat_map(|client| ["--client", client]));
    arguments.extend(options);
    let length = Duration::from_secs(20 + sound.frames() as u64 / u64::from(sound.rate));
    let ended = Program::start("sender", &arguments).wait(length);
    assert!(ended.status.success(), "{}", ended.stderr);
    for (recorder, _) in recorders {
        assert_clean(&recorder.wait(Duration::from_secs(20)));
    }
    takes.iter().map(|path| Sound::read(path)).collect()
}

/// How long the long tests stream, in seconds.
fn long() -> usize {
    number("LONG_SECONDS", 60) as usize
}

#[test]
fn sixteen_receivers_get_their_channel_sample_by_sample() {
    let (sound, kind) = Sound::recordings(16, 44_100, long() * 44_100 + 77);
    let maps: Vec<_> = (0..16).map(|channel: u16| channel.to_string()).collect();
    let maps: Vec<_> = maps.iter().map(String::as_str).collect();
    let heard = stream_file(&sound, &maps, &[]);
    for (channel, heard) in heard.iter().enumerate() {
        assert_eq!((heard.channels, heard.rate), (1, 44_100));
        assert_same(&heard.samples, &sound.channel(channel as u16), &format!("channel {channel}"));
    }
    println!("16 receivers, {} frames of {kind} each, all equal", sound.frames());
}

#[test]
fn maps_repeat_reorder_and_sum() {
    let sound = Sound::ramp(4, 44_100, 60_000);
    let heard = stream_file(&sound, &["3,0,3", "1+2", "0,1,2,3"], &[]);
    assert_eq!(heard[0].channels, 3);
    assert_same(&heard[0].channel(0), &sound.channel(3), "first of 3,0,3");
    assert_same(&heard[0].channel(1), &sound.channel(0), "second of 3,0,3");
    assert_same(&heard[0].channel(2), &sound.channel(3), "third of 3,0,3");
    assert_same(&heard[1].samples, &sound.sum(&[1, 2]), "1+2");
    assert_same(&heard[2].samples, &sound.samples, "all four");
}

#[test]
fn other_rates_and_packet_sizes_arrive_whole() {
    let sound = Sound::ramp(2, 48_000, 50_000);
    for options in [["--rate", "48000", "--frames", "32"], ["--rate", "48000", "--frames", "1024"]] {
        let heard = stream_file(&sound, &["0,1"], &[&options[..], &["--period", "441"]].concat());
        assert_eq!(heard[0].rate, 48_000);
        assert_same(&heard[0].samples, &sound.samples, &format!("{options:?}"));
    }
}

#[test]
fn headerless_pcm_arrives_whole_where_it_is_expected() {
    let sound = Sound::ramp(1, 44_100, 70_000);
    let folder = tempfile::tempdir().unwrap();
    let (source, take) = (folder.path().join("a.wav"), folder.path().join("b.wav"));
    sound.write(&source);
    let take_name = take.to_str().unwrap();
    let (receiver, address) =
        Program::receiver(&["--playback", take_name, "--exit-after-stream", "--wire", "plain"]);
    let client = format!("a={address}/0");
    let arguments = ["--capture", source.to_str().unwrap(), "--client", &client, "--wire", "plain"];
    assert!(Program::start("sender", &arguments).wait(Duration::from_secs(20)).status.success());
    // Nothing in this format says goodbye: two seconds of silence end the stream.
    assert_clean(&receiver.wait(Duration::from_secs(20)));
    assert_same(&Sound::read(&take).samples, &sound.samples, "headerless PCM");
}

#[test]
fn vban_of_both_widths_arrives_whole_under_the_name_of_its_client() {
    let sound = Sound::ramp(2, 48_000, 70_000);
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("a.wav");
    sound.write(&source);
    for codec in ["pcm16", "pcm24"] {
        let take = folder.path().join(format!("{codec}.wav"));
        let (mut receiver, address) = recorder(&take);
        let client = format!("Bad={address}/1,0");
        let arguments = ["--capture", source.to_str().unwrap(), "--rate", "48000", "--client", &client];
        let vban = ["--wire", "vban", "--codec", codec];
        let mut sender = Program::start("sender", &[&arguments[..], &vban].concat());
        let stream = receiver.wait_for("stream");
        assert_eq!((&stream["wire"], &stream["name"]), (&"vban".into(), &"Bad".into()));
        sender.wait_for("summary");
        assert!(sender.wait(Duration::from_secs(20)).status.success());
        // Nothing in this format says goodbye: two seconds of silence end the stream.
        assert_clean(&receiver.wait(Duration::from_secs(20)));
        let heard = Sound::read(&take);
        assert_same(&heard.channel(0), &sound.channel(1), codec);
        assert_same(&heard.channel(1), &sound.channel(0), codec);
    }
}

#[test]
fn standard_input_and_output_are_pipes_for_sound() {
    let sound = Sound::ramp(2, 44_100, 40_000);
    let octets: Vec<u8> = sound.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let folder = tempfile::tempdir().unwrap();
    let (raw_in, raw_out) = (folder.path().join("in.raw"), folder.path().join("out.raw"));
    std::fs::write(&raw_in, &octets).unwrap();
    let port = free_port();
    let shell = |name: &str, line: String| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &line]).env("PROGRAM", tests::program::path(name));
        command.spawn().unwrap()
    };
    let listen = format!(
        "exec \"$PROGRAM\" --listen 127.0.0.1:{port} --playback - --exit-after-stream 2>/dev/null >'{}'",
        raw_out.display()
    );
    let mut receiver = shell("receiver", listen);
    while UdpSocket::bind(("127.0.0.1", port)).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let send = format!(
        "exec \"$PROGRAM\" --capture - --channels 2 --client a=127.0.0.1:{port}/0,1 2>/dev/null <'{}'",
        raw_in.display()
    );
    assert!(shell("sender", send).wait().unwrap().success());
    assert!(receiver.wait().unwrap().success());
    assert!(std::fs::read(&raw_out).unwrap() == octets, "the octets differ");
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_receiver_survives_a_sender_that_starts_again() {
    let (mut receiver, address) = Program::receiver(&["--playback", "null", "--status-interval", "100ms"]);
    let client = format!("a={address}/0");
    for number in 1..=2 {
        // The first is killed without a goodbye, so its place is free after a second of silence.
        let sender = Program::start("sender", &["--capture", "tone", "--client", &client]);
        receiver.wait_for("stream");
        receiver.wait_until("status", |status| status["streams"] == number);
        drop(sender);
        receiver.wait_for("ended");
    }
    assert_eq!(receiver.interrupt().last("summary")["streams"], 2);
}

#[test]
fn a_second_sender_is_refused_while_the_first_one_plays() {
    let (mut receiver, address) = Program::receiver(&["--playback", "null", "--status-interval", "100ms"]);
    let client = format!("a={address}/0");
    let first = Program::start("sender", &["--capture", "tone", "--client", &client]);
    let playing = receiver.wait_for("stream")["from"].clone();
    let second = Program::start("sender", &["--capture", "silence", "--client", &client]);
    let warning = receiver.wait_for("warning");
    assert!(warning["message"].as_str().unwrap().contains("another sender (127.0.0.1:"), "{warning}");
    let status = receiver.wait_until("status", |status| status["conflicts"].as_u64() > Some(50));
    assert_eq!((&status["stream"]["from"], &status["streams"]), (&playing, &1.into()));
    drop(first);
    receiver.wait_until("stream", |stream| stream["from"] != playing);
    drop(second);
}

#[test]
fn the_sender_shows_what_its_receivers_report() {
    let (_receiver, address) = Program::receiver(&["--playback", "null", "--latency", "40ms"]);
    let client = format!("a={address}/0");
    let mut sender =
        Program::start("sender", &["--capture", "tone", "--client", &client, "--status-interval", "100ms"]);
    let status = sender.wait_until("status", |status| {
        status["clients"][0]["latency_ms"].as_f64() > Some(0.0)
            && status["clients"][0]["round_trip_ms"].as_f64() > Some(0.0)
    });
    let client = &status["clients"][0];
    assert_eq!(
        (&client["latency_ms"], &client["loss"], &client["lost"]),
        (&40.0.into(), &0.0.into(), &0.into())
    );
    assert!(client["round_trip_ms"].as_f64().unwrap() < 1000.0);
    // A sine at a quarter of full scale.
    assert!((client["level_dbfs"].as_f64().unwrap() + 12.04).abs() < 0.1);
}

/// Changes of the list while it is sent: others are not disturbed, those that leave are told.
#[test]
fn the_list_changes_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (source, list, saved) =
        (folder.path().join("a.wav"), folder.path().join("list.json"), folder.path().join("saved.json"));
    let sound = Sound::ramp(2, 44_100, 6 * 44_100);
    sound.write(&source);
    let (stays_take, leaves_take) = (folder.path().join("stays.wav"), folder.path().join("leaves.wav"));
    let (stays, stays_at) = recorder(&stays_take);
    let (leaves, leaves_at) = recorder(&leaves_take);
    let (mut comes, comes_at) = Program::receiver(&["--playback", "null"]);
    let entry = |address: std::net::SocketAddr, channel: u16| serde_json::json!({ "ip": address.ip().to_string(), "port": address.port(), "channel": channel });
    let write = |value: Value| std::fs::write(&list, value.to_string()).unwrap();
    write(serde_json::json!({ "stays": entry(stays_at, 0), "leaves": entry(leaves_at, 1) }));
    let arguments = ["--capture", source.to_str().unwrap(), "--clients", list.to_str().unwrap()];
    let arguments =
        [&arguments[..], &["--save", saved.to_str().unwrap(), "--status-interval", "50ms"]].concat();
    let mut sender = Program::start("sender", &arguments);
    sender.wait_until("status", |status| status["clients"][1]["packets"].as_u64() > Some(100));

    std::fs::write(&list, "{ broken").unwrap();
    sender.signal(libc::SIGHUP);
    let warning = sender.wait_for("warning");
    assert!(warning["message"].as_str().unwrap().contains("line 1 column"), "{warning}");

    write(serde_json::json!({ "stays": entry(stays_at, 0), "comes": entry(comes_at, 1) }));
    sender.signal(libc::SIGHUP);
    sender.wait_for("reloaded");
    comes.wait_for("stream");
    let left = leaves.wait(Duration::from_secs(10));
    assert_eq!(left.last("ended")["reason"], "bye");

    assert!(sender.wait(Duration::from_secs(20)).status.success());
    assert_clean(&stays.wait(Duration::from_secs(10)));
    assert_same(&Sound::read(&stays_take).samples, &sound.channel(0), "the client that stays");
    let heard = Sound::read(&leaves_take).samples;
    assert!(heard.len() > 12_800 && heard.len() < sound.frames(), "{} frames", heard.len());
    assert_same(&heard, &sound.channel(1)[..heard.len()], "the client that leaves");
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&saved).unwrap()).unwrap();
    let expected = serde_json::json!({ "stays": entry(stays_at, 0), "comes": entry(comes_at, 1) });
    assert_eq!(saved, expected);
}

#[test]
fn a_device_with_a_clock_of_its_own_is_followed() {
    const PERIOD: u64 = 128;
    let (mut receiver, address) = Program::receiver(&[
        "--playback",
        "virtual:ppm=300,jitter=0.3",
        "--latency",
        "40ms",
        "--status-interval",
        "100ms",
    ]);
    let client = format!("a={address}/0");
    // By the arrivals alone: a group counts from the capture.
    let _sender =
        Program::start("sender", &["--capture", "virtual:ppm=-100", "--client", &client, "--delay", "off"]);
    let settled = |status: &Value| (status["drift_ppm"].as_f64().unwrap() + 400.0).abs() < 60.0;
    let status =
        receiver.wait_until("status", |status| status["frames"].as_u64() > Some(300_000) && settled(status));
    // Placed once, and again only where the machine stood still for so long that the card went without.
    let starved = status["playback"]["missing_frames"].as_u64().unwrap();
    let again = status["realigned"].as_u64().unwrap() - 1;
    assert!(again <= starved.div_ceil(PERIOD), "{status}");
    let latency = status["latency_ms"].as_f64().unwrap();
    assert!((latency - 40.0).abs() < 1.5, "{status}");
}

/// A receiver that is given a port it never gets a stream on still answers a signal at once.
#[test]
fn both_end_at_once_when_told() {
    let (receiver, address) = Program::receiver(&["--playback", "null"]);
    let client = format!("a={address}/0");
    let mut sender = Program::start("sender", &["--capture", "silence", "--client", &client]);
    sender.wait_for("client");
    for program in [sender, receiver] {
        let start = Instant::now();
        program.signal(libc::SIGTERM);
        assert!(program.wait(Duration::from_secs(5)).status.success());
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[test]
fn a_group_has_one_delay_and_its_sender_says_how_each_client_keeps_it() {
    let start = |card: &str, latency: &str| Program::receiver(&["--playback", card, "--latency", latency]);
    let (_quick, quick_at) = start("virtual:ppm=100", "30ms");
    let (_slow, slow_at) = start("virtual:ppm=-200", "60ms");
    let (_late, late_at) = start("virtual", "300ms");
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("clients.json");
    let entry = |at: std::net::SocketAddr, delay: f64| {
        let (ip, port) = (at.ip().to_string(), at.port());
        serde_json::json!({ "ip": ip, "port": port, "channel": 0, "delay_ms": delay })
    };
    let write = |delay| {
        let clients = serde_json::json!({
            "quick": entry(quick_at, delay), "slow": entry(slow_at, 0.0), "late": entry(late_at, 0.0)
        });
        std::fs::write(&list, clients.to_string()).unwrap();
    };
    write(0.0);
    let mut sender =
        Program::start("sender", &["--capture", "virtual:ppm=50", "--clients", list.to_str().unwrap()]);
    let flagged = sender.wait_for("cannot_keep_up");
    assert_eq!((&flagged["name"], flagged["most_ms"].as_f64()), (&Value::from("late"), Some(200.0)));
    assert!(flagged["needs_ms"].as_f64() > Some(300.0), "{flagged}");

    let clients = |status: &Value| ["quick", "slow", "late"].map(|name| client(status, name));
    let states = |status: &Value| clients(status).map(|client| client["state"].clone());
    let settled =
        sender.wait_until("status", |status| states(status) == ["in sync", "in sync", "cannot keep up"]);
    let delay = settled["groups"][0]["delay_ms"].as_f64().unwrap();
    assert!((60.0..70.0).contains(&delay), "one delay for both, and not for the third: {settled}");
    let beyond = |status: &Value| clients(status).map(|c| c["latency_ms"].as_f64().unwrap() - delay);
    let off = beyond(&settled);
    assert!(off[0].abs() < 1.0 && off[1].abs() < 1.0, "{off:?}: {settled}");

    write(5.0);
    sender.signal(libc::SIGHUP);
    sender.wait_until("status", |status| {
        let [quick, slow, _] = beyond(status);
        (quick - 5.0).abs() < 0.5 && slow.abs() < 0.5
    });
}

fn client(status: &Value, name: &str) -> Value {
    let clients = status["clients"].as_array().expect("a list");
    clients.iter().find(|client| client["name"] == name).expect("it is in the list").clone()
}

#[test]
fn what_is_encrypted_arrives_sample_by_sample_once_the_ends_know_each_other() {
    let sound = Sound::ramp(2, 44_100, 100_000);
    let folder = tempfile::tempdir().unwrap();
    let (source, take, key) =
        (folder.path().join("a.wav"), folder.path().join("b.wav"), keygen(folder.path(), "sound.key"));
    sound.write(&source);
    let record =
        ["--playback", take.to_str().unwrap(), "--exit-after-stream", "--key", &key, "--from", "127.0.0.1"];
    let (receiver, address) = Program::receiver(&record);
    let client = format!("a={address}/0,1");
    let arguments = ["--capture", source.to_str().unwrap(), "--client", &client, "--key", &key];
    let sent = Program::start("sender", &arguments).wait(Duration::from_secs(20));
    assert!(sent.status.success(), "{}", sent.stderr);
    assert_eq!(sent.last("secrecy")["secrecy"], "encrypted");
    let ended = receiver.wait(Duration::from_secs(20));
    assert_clean(&ended);
    assert_eq!(ended.last("secrecy")["secrecy"], "encrypted");
    let heard = Sound::read(&take).samples;
    let missed = sound.samples.len() - heard.len();
    assert!(missed < 2 * 4410, "{missed} samples went by before the ends knew each other");
    assert_same(&heard, &sound.samples[missed..], "encrypted");
}

#[test]
fn a_wrong_key_and_a_sender_that_is_not_welcome_are_named_and_not_heard() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (keygen(folder.path(), "one.key"), keygen(folder.path(), "other.key"));
    let (mut receiver, address) = Program::receiver(&["--playback", "null", "--key", &one]);
    let (mut choosy, choosy_address) = Program::receiver(&["--playback", "null", "--from", "192.0.2.1"]);
    let clients = [format!("a={address}/0"), format!("b={choosy_address}/0")];
    let arguments = ["--capture", "tone", "--client", &clients[0], "--key", &other];
    let mut sender = Program::start("sender", &arguments);
    for program in [&mut receiver, &mut sender] {
        assert_eq!(program.wait_for("secrecy")["secrecy"], "wrong_key");
    }
    let mut plain = Program::start("sender", &["--capture", "tone", "--client", &clients[1]]);
    choosy.wait_until("status", |status| status["unwelcome"].as_u64() > Some(100));
    plain.wait_for("status");
    for receiver in [receiver, choosy] {
        assert_eq!(receiver.interrupt().last("summary")["packets"], 0);
    }
}
