//! A sender's sound by itself.

use nvenc_double::Double;
use tests::program::{Program, alone, has, skip};

use super::bridge::{Bridge, free_port};
use super::ffmpeg::{Watched, watch};
use super::gstreamer;
use super::reference::{self, RATE};

#[test]
fn a_senders_sound_is_heard_alone_in_ffmpeg_and_gstreamer() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let recording = reference::record(folder.path());
    let port = free_port();
    let client = format!("bridge=127.0.0.1:{port}/0");
    let _sender = Program::start("sender", &["--capture", &recording, "--loop", "--client", &client]);
    let source = format!("rtp://127.0.0.1:{port}");
    let sound = ["--operator", "audiostreamout", "--mode", "rtsp", "--audio", &source];
    for codec in ["mp3", "aac", "opus", "l16"] {
        let bridge = Bridge::start(&[&sound[..], &["--audio-codec", codec]].concat());
        for ffmpeg in Double::ffmpegs() {
            let seen = watch(&ffmpeg, &bridge.url("stream"), "udp", Watched { pictures: 0, sound: 2.0 });
            // What comes before the sender's clock is known may be moved by a little.
            let likeness = reference::likeness(&seen.sound[seen.sound.len().saturating_sub(RATE)..]);
            println!("{codec} in {}: {likeness:.3}", ffmpeg.display());
            assert!(seen.sound.len() > RATE && likeness > 0.9, "{codec}: {likeness}");
        }
    }
    if !has("gst-launch-1.0") {
        return skip("there is no gst-launch-1.0");
    }
    let bridge = Bridge::start(&[&sound[..], &["--audio-codec", "l16"]].concat());
    let seen =
        gstreamer::watch(&bridge.url("stream"), "tcp", ("", "l16"), Watched { pictures: 0, sound: 2.0 });
    let likeness = reference::likeness(&seen.sound[seen.sound.len().saturating_sub(RATE)..]);
    println!("l16 in GStreamer: {likeness:.3}");
    assert!(likeness > 0.9, "{likeness}");
}
