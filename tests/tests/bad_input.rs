//! What bad input gets: one clear line and a status that means something; and on the port, a counter.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use tests::program::{Program, path};

/// Runs a program that is to refuse; returns its one line.
fn refusal(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(path(name)).args(arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    errors[0].into()
}

fn assert_refused(name: &str, arguments: &[&str], words: &[&str]) {
    let line = refusal(name, arguments);
    for word in words {
        assert!(line.contains(word), "no `{word}` in: {line}");
    }
}

const CLIENT: [&str; 2] = ["--client", "a=127.0.0.1:9/0"];

#[test]
fn no_clients_no_address_no_source() {
    assert_refused("sender", &["--capture", "tone"], &["no clients", "--client"]);
    assert_refused("sender", &CLIENT, &["nothing to capture", "--capture"]);
    assert_refused("sender", &["--capture", "tone", "--client", "a=/0"], &["address is empty", "Node 1="]);
    let nowhere = ["--capture", "tone", "--client", "a=no.such.host.invalid/0"];
    assert_refused("sender", &nowhere, &["no client can be served"]);
    assert_refused("receiver", &["--listen", "nowhere"], &["ADDRESS:PORT"]);
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("empty.json");
    std::fs::write(&list, "{}").unwrap();
    assert_refused("sender", &["--capture", "tone", "--clients", list.to_str().unwrap()], &["no clients"]);
}

#[test]
fn an_unknown_device_is_answered_with_what_there_is() {
    let unknown = [&["--capture", "no such card"], &CLIENT[..]].concat();
    assert_refused("sender", &unknown, &["`no such card`", "This machine has"]);
    let unknown = ["--listen", "127.0.0.1:0", "--playback", "no such card"];
    assert_refused("receiver", &unknown, &["`no such card`", "This machine has"]);
}

#[test]
fn a_channel_that_is_not_there_is_named_and_the_others_stream() {
    let (mut receiver, address) = Program::receiver(&["--playback", "null"]);
    let good = format!("good={address}/1");
    let arguments =
        ["--capture", "tone", "--channels", "2", "--client", "deaf=127.0.0.1:9/2", "--client", &good];
    let mut sender = Program::start("sender", &arguments);
    let warning = sender.wait_for("warning");
    let text = warning["message"].as_str().unwrap();
    assert!(
        text.contains("`deaf`") && text.contains("no channel 2") && text.contains("has 2 (0 to 1)"),
        "{text}"
    );
    receiver.wait_for("stream");
}

#[test]
fn broken_lists_and_files_are_placed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_string()
    };
    let broken = write("list.json", b"{\n  \"a\": {\"ip\": 5}\n}");
    let arguments = ["--capture", "tone", "--clients", &broken];
    assert_refused("sender", &arguments, &["list.json", "line 2 column"]);
    let saving = ["--capture", "tone", "--client", CLIENT[1], "--save", &broken];
    let mut sender = Program::start("sender", &saving);
    let warning = sender.wait_for("warning");
    assert!(warning["message"].as_str().unwrap().contains("not written"), "{warning}");
    assert_eq!(std::fs::read(&broken).unwrap(), b"{\n  \"a\": {\"ip\": 5}\n}");
    drop(sender);

    let config = write("settings.toml", b"capture = \"tone\"\ncolour = 1\n");
    let arguments = ["--config", &config, "--client", CLIENT[1]];
    let line = Command::new(path("sender")).args(arguments).output().unwrap();
    let text = String::from_utf8(line.stderr).unwrap();
    assert!(text.contains("settings.toml") && text.contains("line 2") && text.contains("colour"), "{text}");

    tests::sound::Sound::ramp(1, 44_100, 1000).write(&folder.path().join("whole.wav"));
    let whole = std::fs::read(folder.path().join("whole.wav")).unwrap();
    let truncated = write("truncated.wav", &whole[..1500]);
    let arguments = [&["--capture", truncated.as_str()], &CLIENT[..]].concat();
    assert_refused("sender", &arguments, &["truncated.wav", "truncated"]);
    let arguments = [&["--capture", broken.as_str()], &CLIENT[..]].concat();
    assert_eq!(Command::new(path("sender")).args(arguments).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_port_in_use_is_named_with_its_holder() {
    let (holder, address) = Program::receiver(&["--playback", "null"]);
    let mine = format!("receiver (pid {})", holder.id());
    let words = ["in use", if cfg!(target_os = "linux") { &mine } else { "" }];
    assert_refused("receiver", &["--listen", &address.to_string(), "--playback", "null"], &words);
}

#[test]
fn impossible_numbers_are_refused_with_their_range() {
    let rate = [&["--capture", "tone", "--rate", "7"], &CLIENT[..]].concat();
    assert_refused("sender", &rate, &["--rate 7", "8000 to 192000"]);
    let frames = [&["--capture", "tone", "--frames", "5000"], &CLIENT[..]].concat();
    assert_refused("sender", &frames, &["--frames 5000", "32 to 1024"]);
    assert_refused("receiver", &["--latency", "11s", "--listen", "127.0.0.1:0"], &["--latency", "10s"]);
}

#[test]
fn any_bytes_on_the_port_are_counted_and_nothing_grows() {
    let (mut receiver, address) = Program::receiver(&["--playback", "null", "--status-interval", "50ms"]);
    let client = format!("a={address}/0");
    let sender = Program::start("sender", &["--capture", "tone", "--client", &client]);
    receiver.wait_for("stream");
    receiver.wait_until("status", |status| status["packets"].as_u64() > Some(100));
    let memory = receiver.resident();
    let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = sim::random::Random::new(7);
    let mut datagram = [0; 1500];
    for number in 0..20_000 {
        datagram.fill_with(|| random.bits() as u8);
        // Some look like RTP, some like RTCP.
        datagram[0] = if number % 3 == 0 { datagram[0] } else { 0x80 };
        let length = random.bits() as usize % datagram.len();
        flood.send_to(&datagram[..length], address).unwrap();
        if number % 50 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let status = receiver.wait_until("status", |status| status["conflicts"].as_u64() > Some(10_000));
    // The kernel may have had no room for some of the stream among them, but the stream plays on.
    assert_eq!(status["streams"], 1, "{status}");
    let packets = status["packets"].as_u64();
    receiver.wait_until("status", |status| status["packets"].as_u64() > packets);
    assert!(receiver.resident() < memory + 1_950, "memory grew from {memory} KiB");
    drop(sender);

    // With nobody else there, each is refused for a reason of its own.
    receiver.wait_for("ended");
    for bytes in
        [&[][..], &[0x80, 11], &[0x40; 20], &[0x80, 99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2], &[0xa0; 30]]
    {
        flood.send_to(bytes, address).unwrap();
    }
    let ended = receiver.wait_until("status", |status| {
        let count = |reason: &str| status["rejected"][reason].as_u64().unwrap();
        count("truncated") >= 2
            && count("version") >= 1
            && count("payload_type") >= 1
            && count("padding") >= 1
    });
    assert_eq!(ended["streams"], 1);
}
