//! To and from programs that are not ours, by RTP alone: FFmpeg by SDP files, GStreamer by the numbers in them.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::program::{Program, has, skip};
use tests::sound::Sound;

const PATIENCE: Duration = Duration::from_secs(30);
const CODECS: [&str; 3] = ["pcm16", "pcm24", "opus"];
const PITCH: f64 = 997.0;

/// A port that is free together with the next one, which RTCP has where it is not multiplexed.
fn free_ports() -> u16 {
    let free = |port: u16| UdpSocket::bind(("127.0.0.1", port)).and_then(|socket| socket.local_addr()).ok();
    let pair = || {
        let port = free(0)?.port();
        (port % 2 == 0 && free(port + 1).is_some()).then_some(port)
    };
    (0..1000).find_map(|_| pair()).expect("some ports are free")
}

/// Our sender: a tone, an octave higher in the second channel, described in `folder`/x.sdp.
fn sender(folder: &Path, codec: &str, port: u16) -> Program {
    let (client, folder) = (format!("x=127.0.0.1:{port}/0,1"), folder.to_str().unwrap());
    let capture = format!("tone:{PITCH}");
    let arguments =
        ["--capture", &capture, "--channels", "2", "--codec", codec, "--client", &client, "--sdp", folder];
    let mut sender = Program::start("sender", &arguments);
    let said = sender.wait_for("client");
    assert_eq!((&said["codec"], &said["wire"]), (&codec.into(), &"rtp".into()));
    sender
}

/// Runs a stranger while `sender` plays, and returns what it has written to `take`.
fn hear(sender: Program, mut stranger: Command, take: &Path) -> Sound {
    stranger.env("LC_ALL", "C");
    let ended = Program::spawn(stranger).wait(PATIENCE);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(sender.interrupt().status.success());
    Sound::read(take)
}

/// Asserts that each channel holds its tone, at the level of `Tone`, and next to nothing else.
fn assert_tones(sound: &Sound, codec: &str) {
    let rate = if codec == "opus" { 48_000 } else { 44_100 };
    assert_eq!((sound.channels, sound.rate), (2, rate));
    for channel in 0..2 {
        let samples = sound.channel(channel);
        // Away from the beginning, which may be a fade, for a whole second.
        let start = samples.len().checked_sub(rate as usize + 4800).expect("more than a second was heard");
        let second = &samples[start..start + rate as usize];
        let step = std::f64::consts::TAU * PITCH * f64::from(channel + 1) / f64::from(rate);
        let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
        for (n, sample) in second.iter().enumerate() {
            let (s, c) = (step * n as f64).sin_cos();
            let sample = f64::from(*sample) / 32_768.0;
            (sine, cosine, power) = (sine + s * sample, cosine + c * sample, power + sample * sample);
        }
        let frames = f64::from(rate);
        let amplitude = 2.0 * sine.hypot(cosine) / frames;
        assert!((amplitude - 0.25).abs() < 0.005, "{codec}, channel {channel}: amplitude {amplitude}");
        let rest = power / frames / (amplitude * amplitude / 2.0) - 1.0;
        // 25 dB below, for what Opus leaves out; linear PCM is 60 dB better than that.
        let most = if codec == "opus" { 3e-3 } else { 1e-6 };
        assert!(rest < most, "{codec}, channel {channel}: {rest} of the tone's power is not the tone");
    }
}

#[test]
fn ffmpeg_plays_every_codec() {
    if !has("ffmpeg") {
        return skip("ffmpeg is not installed");
    }
    for codec in CODECS {
        let folder = tempfile::tempdir().unwrap();
        let (description, take) = (folder.path().join("x.sdp"), folder.path().join("x.wav"));
        let sender = sender(folder.path(), codec, free_ports());
        let mut ffmpeg = Command::new("ffmpeg");
        // The description says all that FFmpeg would look for in five seconds of sound.
        ffmpeg
            .args(["-v", "error", "-analyzeduration", "100000", "-protocol_whitelist", "file,udp,rtp", "-i"])
            .arg(&description);
        ffmpeg.args(["-t", "2", "-c:a", "pcm_s16le"]).arg(&take);
        assert_tones(&hear(sender, ffmpeg, &take), codec);
    }
}

#[test]
fn gstreamer_plays_every_codec() {
    if !has("gst-launch-1.0") {
        return skip("gst-launch-1.0 is not installed");
    }
    for codec in CODECS {
        let folder = tempfile::tempdir().unwrap();
        let (take, port) = (folder.path().join("x.wav"), free_ports());
        let sender = sender(folder.path(), codec, port);
        let (encoding, parts) = match codec {
            "pcm16" => ("L16,payload=10,clock-rate=44100,channels=2", "rtpL16depay"),
            "pcm24" => ("L24,payload=97,clock-rate=44100,channels=2", "rtpL24depay"),
            _ => ("OPUS,payload=98,clock-rate=48000,sprop-stereo=(string)1", "rtpopusdepay ! opusdec"),
        };
        let mut gstreamer = Command::new("gst-launch-1.0");
        let pipeline = format!(
            "udpsrc port={port} num-buffers=800 ! application/x-rtp,media=audio,encoding-name={encoding} ! \
             {parts} ! audioconvert ! audio/x-raw,format=S16LE,channels=2 ! wavenc ! filesink location={}",
            take.display()
        );
        gstreamer.arg("-q").args(pipeline.split(' '));
        assert_tones(&hear(sender, gstreamer, &take), codec);
    }
}

/// The same assertions hold between the two programs of our own.
#[test]
fn our_own_receiver_plays_every_codec() {
    for codec in CODECS {
        let folder = tempfile::tempdir().unwrap();
        let take = folder.path().join("x.wav");
        let (receiver, port) = receiver(&take, None);
        let mut sender = sender(folder.path(), codec, port);
        // One comes each second.
        (0..3).for_each(|_| drop(sender.wait_for("status")));
        assert!(sender.interrupt().status.success());
        let ended = receiver.wait(PATIENCE);
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_tones(&Sound::read(&take), codec);
    }
}

/// Our receiver, recording into `take`.
fn receiver(take: &Path, rtpmap: Option<&str>) -> (Program, u16) {
    let take = take.to_str().unwrap();
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--playback", take, "--exit-after-stream"];
    arguments.extend(rtpmap.iter().flat_map(|rtpmap| ["--rtpmap", *rtpmap]));
    let mut receiver = Program::start("receiver", &arguments);
    let address = receiver.wait_for("listening")["address"].as_str().unwrap().to_string();
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    (receiver, port)
}

/// Runs a stranger that sends for a while, and returns what our receiver has recorded.
fn record(receiver: Program, mut stranger: Command, take: &Path) -> Sound {
    stranger.env("LC_ALL", "C");
    let sent = Program::spawn(stranger).wait(PATIENCE);
    assert!(sent.status.success(), "{}", sent.stderr);
    let ended = receiver.wait(PATIENCE);
    assert!(ended.status.success(), "{}", ended.stderr);
    Sound::read(take)
}

/// The codec of the assertions, FFmpeg's encoder and its rate, and the payload type's meaning where it has none by itself.
const SENT: [(&str, &str, &str, Option<&str>); 3] = [
    ("pcm16", "pcm_s16be", "44100", None),
    ("pcm24", "pcm_s24be", "44100", Some("97 L24/44100/2")),
    ("opus", "libopus", "48000", Some("97 opus/48000/2")),
];

#[test]
fn what_ffmpeg_sends_is_played() {
    if !has("ffmpeg") {
        return skip("ffmpeg is not installed");
    }
    for (codec, encoder, rate, rtpmap) in SENT {
        let folder = tempfile::tempdir().unwrap();
        let take = folder.path().join("x.wav");
        let (receiver, port) = receiver(&take, rtpmap);
        let mut ffmpeg = Command::new("ffmpeg");
        let tones = format!("aevalsrc=0.25*sin({PITCH}*2*PI*t)|0.25*sin(2*{PITCH}*2*PI*t):s={rate}:d=3");
        ffmpeg.args(["-v", "error", "-re", "-f", "lavfi", "-i", &tones, "-c:a", encoder, "-b:a", "192k"]);
        if rtpmap.is_some() {
            ffmpeg.args(["-payload_type", "97"]);
        }
        ffmpeg.args(["-f", "rtp", &format!("rtp://127.0.0.1:{port}?pkt_size=1200")]);
        assert_tones(&record(receiver, ffmpeg, &take), codec);
    }
}

/// Three seconds of the tones that are listened for.
fn write_tones(path: &Path, rate: u32) {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..3 * rate {
        for channel in 1..=2 {
            let phase = std::f64::consts::TAU * PITCH * f64::from(channel * n) / f64::from(rate);
            file.write_sample((phase.sin() * 0.25 * 32_768.0).round() as i16).unwrap();
        }
    }
    file.finalize().unwrap();
}

#[test]
fn what_gstreamer_sends_is_played() {
    if !has("gst-launch-1.0") {
        return skip("gst-launch-1.0 is not installed");
    }
    for (codec, _, rate, rtpmap) in SENT {
        let folder = tempfile::tempdir().unwrap();
        let take = folder.path().join("x.wav");
        let (receiver, port) = receiver(&take, rtpmap);
        let source = folder.path().join("tones.wav");
        write_tones(&source, rate.parse().unwrap());
        let payload = match codec {
            "pcm16" => "audio/x-raw,format=S16BE ! rtpL16pay pt=10",
            "pcm24" => "audio/x-raw,format=S24BE ! rtpL24pay pt=97",
            _ => "audio/x-raw,format=S16LE ! opusenc bitrate=192000 ! rtpopuspay pt=97",
        };
        let pipeline = format!(
            "filesrc location={} ! wavparse ! audioconvert ! {payload} ! udpsink host=127.0.0.1 port={port}",
            source.display()
        );
        let mut gstreamer = Command::new("gst-launch-1.0");
        gstreamer.arg("-q").args(pipeline.split(' '));
        assert_tones(&record(receiver, gstreamer, &take), codec);
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
    let (take, key, port) = (folder.path().join("x.wav"), folder.path().join("sound.key"), free_ports());
    let made = Command::new(tests::program::path("sender")).arg("keygen").arg(&key).status().unwrap();
    assert!(made.success());
    let mut sender = encrypted_sender(folder.path(), &key, port);
    let stream = sender.wait_for("encrypted")["stream"].as_str().unwrap().to_string();
    let mut keygen = Command::new(tests::program::path("sender"));
    let printed = keygen.arg("keygen").arg(&key).args(["--sdp", &stream]).output().unwrap();
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
    assert_tones(&hear(sender, gstreamer, &take), "pcm16");
}

fn encrypted_sender(folder: &Path, key: &Path, port: u16) -> Program {
    let client = format!("x=127.0.0.1:{port}/0,1");
    let capture = format!("tone:{PITCH}");
    let (folder, key) = (folder.to_str().unwrap(), key.to_str().unwrap());
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
