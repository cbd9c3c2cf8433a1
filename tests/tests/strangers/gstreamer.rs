//! GStreamer, by the numbers in a description.

use super::*;
use tests::program::{has, skip};

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
