//! GStreamer, by the numbers in a description.

use super::*;
use tests::program::{has, keygen, skip};

#[test]
fn gstreamer_plays_every_codec() {
    if !has("gst-launch-1.0") {
        return skip("gst-launch-1.0 is not installed");
    }
    for kind in [L16_MONO, L16, L24, OPUS] {
        let folder = tempfile::tempdir().unwrap();
        let (take, port) = (folder.path().join("x.wav"), free_ports());
        let sender = sender(folder.path(), kind, port);
        let (encoding, parts) = match kind {
            L16_MONO => ("L16,payload=11,clock-rate=44100,channels=1", "rtpL16depay"),
            L16 => ("L16,payload=10,clock-rate=44100,channels=2", "rtpL16depay"),
            L24 => ("L24,payload=97,clock-rate=44100,channels=2", "rtpL24depay"),
            _ => ("OPUS,payload=98,clock-rate=48000,sprop-stereo=(string)1", "rtpopusdepay ! opusdec"),
        };
        let mut gstreamer = Command::new("gst-launch-1.0");
        let pipeline = format!(
            "udpsrc port={port} num-buffers=800 ! application/x-rtp,media=audio,encoding-name={encoding} ! \
             {parts} ! audioconvert ! audio/x-raw,format=S16LE,channels={} ! wavenc ! filesink location={}",
            kind.channels,
            take.display()
        );
        gstreamer.arg("-q").args(pipeline.split(' '));
        assert_tones(&hear(sender, gstreamer, &take), kind);
    }
}

#[test]
fn what_gstreamer_sends_is_played() {
    if !has("gst-launch-1.0") {
        return skip("gst-launch-1.0 is not installed");
    }
    for kind in [L16_MONO, L16, L24, OPUS] {
        let folder = tempfile::tempdir().unwrap();
        let take = folder.path().join("x.wav");
        let (receiver, port) = receiver(&take, kind);
        let source = write_tones(folder.path(), kind, 3);
        let payload = match kind {
            L16_MONO => "audio/x-raw,format=S16BE ! rtpL16pay pt=11",
            L16 => "audio/x-raw,format=S16BE ! rtpL16pay pt=10",
            L24 => "audio/x-raw,format=S24BE ! rtpL24pay pt=97",
            _ => "audio/x-raw,format=S16LE ! opusenc bitrate=192000 ! rtpopuspay pt=97",
        };
        let pipeline = format!(
            "filesrc location={} ! wavparse ! audioconvert ! {payload} ! udpsink host=127.0.0.1 port={port}",
            source.display()
        );
        let mut gstreamer = Command::new("gst-launch-1.0");
        gstreamer.arg("-q").args(pipeline.split(' '));
        assert_tones(&record(receiver, gstreamer, &take), kind);
    }
}

/// The value behind `key` up to the next space or line's end.
fn word<'a>(text: &'a str, key: &str) -> &'a str {
    let rest = text.split_once(key).unwrap_or_else(|| panic!("no {key} in {text}")).1;
    rest.split_whitespace().next().unwrap_or_default()
}

#[test]
fn gstreamer_decrypts_what_is_encrypted() {
    let plugin = || Command::new("gst-inspect-1.0").args(["--exists", "srtpdec"]).status();
    if !has("gst-launch-1.0") || !plugin().is_ok_and(|status| status.success()) {
        return skip("GStreamer's srtpdec (gstreamer1.0-plugins-bad) is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let (take, port) = (folder.path().join("x.wav"), free_ports());
    let key = keygen(folder.path(), "sound.key");
    let mut sender = encrypted_sender(folder.path(), &key, port);
    let stream = sender.wait_for("encrypted")["stream"].as_str().unwrap().to_string();
    let mut describe = Command::new(tests::program::path("sender"));
    let printed = describe.arg("keygen").arg(&key).args(["--sdp", &stream]).output().unwrap();
    let line = String::from_utf8(printed.stdout).unwrap();
    let description = std::fs::read_to_string(folder.path().join("x.sdp")).unwrap();
    assert!(description.contains(line.trim_end()), "{line} is not in {description}");
    let ssrc = word(&description, "o=- ");
    let mut gstreamer = Command::new("gst-launch-1.0");
    let pipeline = format!(
        "udpsrc port={port} num-buffers=800 ! application/x-srtp,media=audio,encoding-name=L16,payload=101,\
         clock-rate=44100,channels=2,ssrc=(uint){ssrc},srtp-key=(buffer){},srtp-cipher=aes-128-gcm,srtp-auth=null,\
         srtcp-cipher=aes-128-gcm,srtcp-auth=null,roc=(uint)0 ! srtpdec name=d d.rtp_src ! rtpL16depay ! audioconvert ! \
         audio/x-raw,format=S16LE,channels=2 ! wavenc ! filesink location={} d.rtcp_src ! tee allow-not-linked=true",
        hex(word(&description, "inline:")),
        take.display()
    );
    gstreamer.arg("-q").args(pipeline.split_whitespace());
    assert_tones(&hear(sender, gstreamer, &take), L16);
}

fn encrypted_sender(folder: &Path, key: &str, port: u16) -> Program {
    let client = format!("x=127.0.0.1:{port}/0,1");
    let capture = format!("tone:{PITCH}");
    let folder = folder.to_str().unwrap();
    let arguments =
        ["--capture", &capture, "--channels", "2", "--client", &client, "--sdp", folder, "--key", key];
    Program::start("sender", &arguments)
}

/// Base64 as hexadecimal digits.
fn hex(base64: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = base64.bytes().filter_map(|digit| alphabet.iter().position(|known| *known == digit));
    let bits: String = digits.map(|digit| format!("{digit:06b}")).collect();
    let octets = bits.as_bytes().chunks_exact(8);
    octets
        .map(|octet| octet.iter().fold(0u8, |sum, bit| sum << 1 | (bit - b'0')))
        .map(|o| format!("{o:02x}"))
        .collect()
}
