//! To and from programs that are not ours, by standards alone. What is heard is compared with what was sent: a tone in each
//! channel, at its level, and next to nothing else.
//!
//! Tests that announce are [`alone`]: PipeWire takes whatever is announced, and its port too.

mod ffmpeg;
mod gstreamer;
mod pipewire;
mod vlc;
mod wireshark;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::program::{Program, alone};
use tests::sound::Sound;

const PATIENCE: Duration = Duration::from_secs(40);
const PITCH: f64 = 997.0;

/// What goes from one program to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    codec: &'static str,
    channels: u16,
    /// Frames a second of what is heard.
    rate: u32,
}

const L16_MONO: Kind = Kind { codec: "pcm16", channels: 1, rate: 44_100 };
const L16: Kind = Kind { codec: "pcm16", channels: 2, rate: 44_100 };
const L24: Kind = Kind { codec: "pcm24", channels: 2, rate: 44_100 };
const OPUS: Kind = Kind { codec: "opus", channels: 2, rate: 48_000 };

impl Kind {
    /// The payload type under which strangers send it here.
    fn payload_type(self) -> u8 {
        match self {
            L16_MONO => 11,
            L16 => 10,
            _ => 97,
        }
    }

    /// How our receiver is told of it, where the payload type does not say it.
    fn rtpmap(self) -> Option<String> {
        let encoding = if self == OPUS { "opus" } else { "L24" };
        let rtpmap = format!("97 {encoding}/{}/{}", self.rate, self.channels);
        (self.payload_type() == 97).then_some(rtpmap)
    }
}

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
fn sender(folder: &Path, kind: Kind, port: u16) -> Program {
    let channels = if kind.channels == 1 { "0" } else { "0,1" };
    let (client, folder) = (format!("x=127.0.0.1:{port}/{channels}"), folder.to_str().unwrap());
    let capture = format!("tone:{PITCH}");
    let codec = kind.codec;
    let arguments =
        ["--capture", &capture, "--channels", "2", "--codec", codec, "--client", &client, "--sdp", folder];
    let mut sender = Program::start("sender", &arguments);
    let said = sender.wait_for("client");
    assert_eq!((&said["codec"], &said["wire"]), (&codec.into(), &"rtp".into()));
    sender
}

/// Runs a stranger while `sender` plays, and returns what it has written to `take`.
fn hear(sender: Program, stranger: Command, take: &Path) -> Sound {
    finish(stranger);
    assert!(sender.interrupt().status.success());
    Sound::read(take)
}

/// Runs a stranger to its end. Where it has none by itself, `timeout` makes one.
fn finish(mut stranger: Command) {
    /// What `timeout` says where it ended the program.
    const ENDED: Option<i32> = Some(124);
    stranger.env("LC_ALL", "C");
    let ended = Program::spawn(stranger).wait(PATIENCE);
    assert!(ended.status.success() || ended.status.code() == ENDED, "{}", ended.stderr);
}

/// Our receiver, recording into `take`.
fn receiver(take: &Path, kind: Kind) -> (Program, u16) {
    let take = take.to_str().unwrap();
    let rtpmap = kind.rtpmap();
    let mut arguments = vec!["--playback", take, "--exit-after-stream"];
    arguments.extend(rtpmap.iter().flat_map(|rtpmap| ["--rtpmap", rtpmap]));
    let (receiver, address) = Program::receiver(&arguments);
    (receiver, address.port())
}

/// Runs a stranger that sends for a while, and returns what our receiver has recorded.
fn record(receiver: Program, stranger: Command, take: &Path) -> Sound {
    finish(stranger);
    let ended = receiver.wait(PATIENCE);
    assert!(ended.status.success(), "{}", ended.stderr);
    Sound::read(take)
}

/// Asserts that each channel holds its tone, at the level of `Tone`, and next to nothing else.
fn assert_tones(sound: &Sound, kind: Kind) {
    // 25 dB below, for what Opus leaves out; linear PCM is 60 dB better than that.
    assert_tones_within(sound, kind, kind.rate, if kind == OPUS { 3e-3 } else { 1e-6 });
}

/// The same in so many frames, with another share of the power that need not be the tone.
fn assert_tones_within(sound: &Sound, kind: Kind, frames: u32, most: f64) {
    assert_eq!((sound.channels, sound.rate), (kind.channels, kind.rate), "{kind:?}");
    let (rate, frames) = (kind.rate as usize, frames as usize);
    for channel in 0..sound.channels {
        let samples = sound.channel(channel);
        // Away from the beginning, which may be a fade, and from the end, which may be another.
        let start = samples.len().checked_sub(rate + 4800);
        let start = start.unwrap_or_else(|| panic!("{kind:?}: only {} frames were heard", samples.len()));
        let second = &samples[start..start + frames];
        let step = std::f64::consts::TAU * PITCH * f64::from(channel + 1) / rate as f64;
        let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
        for (n, sample) in second.iter().enumerate() {
            let (s, c) = (step * n as f64).sin_cos();
            let sample = f64::from(*sample) / 32_768.0;
            (sine, cosine, power) = (sine + s * sample, cosine + c * sample, power + sample * sample);
        }
        let frames = frames as f64;
        let amplitude = 2.0 * sine.hypot(cosine) / frames;
        assert!((amplitude - 0.25).abs() < 0.005, "{kind:?}, channel {channel}: amplitude {amplitude}");
        let rest = power / frames / (amplitude * amplitude / 2.0) - 1.0;
        assert!(rest < most, "{kind:?}, channel {channel}: {rest} of the tone's power is not the tone");
    }
}

/// Some seconds of the tones that are listened for, in `folder`/tones.wav.
fn write_tones(folder: &Path, kind: Kind, seconds: u32) -> PathBuf {
    let path = folder.join("tones.wav");
    let (channels, rate) = (u32::from(kind.channels), kind.rate);
    let sample = |index: u32| {
        let (n, channel) = (index / channels, index % channels + 1);
        let phase = std::f64::consts::TAU * PITCH * f64::from(channel * n) / f64::from(rate);
        (phase.sin() * 0.25 * 32_768.0).round() as i16
    };
    let samples = (0..seconds * rate * channels).map(sample).collect();
    Sound { channels: kind.channels, rate, samples }.write(&path);
    path
}

/// The same assertions hold between the two programs of our own.
#[test]
fn our_own_receiver_plays_every_codec() {
    for kind in [L16_MONO, L16, L24, OPUS] {
        let folder = tempfile::tempdir().unwrap();
        let take = folder.path().join("x.wav");
        let (receiver, port) = receiver(&take, L16);
        let mut sender = sender(folder.path(), kind, port);
        // One comes each second.
        (0..3).for_each(|_| drop(sender.wait_for("status")));
        assert!(sender.interrupt().status.success());
        let ended = receiver.wait(PATIENCE);
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_tones(&Sound::read(&take), kind);
    }
}

/// What the sender describes in a file, the receiver plays from it; and what it announces, from the announcement.
#[test]
fn our_own_receiver_plays_what_is_described_and_what_is_announced() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let takes = ["file.wav", "sap.wav"].map(|name| folder.path().join(name));
    let ports = [free_ports(), free_ports()];
    // Strangers' ways: no announcement of ours reaches a receiver that goes by the port after the media's.
    let list = folder.path().join("list.json");
    let text = format!(
        r#"{{"file {}": {{"ip": "127.0.0.1", "port": {}, "channels": [0, 1], "codec": "opus", "rtcp": "next"}},
            "sap {}": {{"ip": "127.0.0.1", "port": {}, "channels": [0, 1], "codec": "pcm24", "rtcp": "next"}}}}"#,
        ports[0], ports[0], ports[1], ports[1]
    );
    std::fs::write(&list, text).unwrap();
    let name = format!("sap {}", ports[1]);
    let play = |option: &str, value: &str, take: &Path| {
        let take = take.to_str().unwrap();
        Program::start("receiver", &[option, value, "--playback", take, "--exit-after-stream"])
    };
    let mut announced = play("--sap", &name, &takes[1]);
    announced.wait_for("waiting");
    let capture = format!("tone:{PITCH}");
    let (list, path) = (list.to_str().unwrap(), folder.path().to_str().unwrap());
    let mut sender = Program::start(
        "sender",
        &["--capture", &capture, "--channels", "2", "--clients", list, "--sdp", path, "--sap"],
    );
    sender.wait_for("client");
    let mut described =
        play("--sdp", folder.path().join(format!("file {}.sdp", ports[0])).to_str().unwrap(), &takes[0]);
    announced.wait_for("stream");
    described.wait_for("stream");
    (0..3).for_each(|_| drop(sender.wait_for("status")));
    assert!(sender.interrupt().status.success());
    for (receiver, (take, kind)) in [described, announced].into_iter().zip(takes.iter().zip([OPUS, L24])) {
        let ended = receiver.wait(PATIENCE);
        assert!(ended.status.success(), "{}", ended.stderr);
        // The goodbye comes to the port for reports.
        assert_eq!(ended.last("ended")["reason"], "bye");
        assert_tones(&Sound::read(take), kind);
    }
}
