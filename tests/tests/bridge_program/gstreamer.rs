//! What GStreamer shows, and when.

use std::path::Path;
use std::process::{Command, Stdio};

use super::bridge::becomes;
use super::ffmpeg::{self, Seen, Watched};
use super::reference::{OCTETS, RATE};

/// Its elements for pictures of a codec.
pub(crate) fn pictures(codec: &str) -> &'static str {
    match codec {
        "h264" => "rtph264depay ! h264parse ! openh264dec",
        _ => "rtph265depay ! h265parse ! libde265dec",
    }
}

/// Its elements for sound of a codec.
fn sound(codec: &str) -> &'static str {
    match codec {
        "mp3" => "rtpmpadepay ! mpegaudioparse ! mpg123audiodec",
        "aac" => "rtpmp4gdepay ! aacparse ! faad",
        "opus" => "rtpopusdepay ! opusdec",
        _ => "rtpL16depay",
    }
}

/// Plays a stream of these codecs. What it decodes is kept with its times and read again by ffmpeg.
pub(crate) fn watch(url: &str, transport: &str, codecs: (&str, &str), watched: Watched) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seen.mkv");
    // By the stream's own times: how a busy machine delays packets moves nothing. What a pad carries is told by the depayloaders:
    // for caps of our own, gst-launch makes and drops an element for each try of each pad, on several threads at once.
    let mut line =
        format!("-q rtspsrc name=from location={url} protocols={transport} latency=200 buffer-mode=synced ");
    if watched.pictures > 0 {
        line += &format!(
            "from. ! {} ! videoconvert ! video/x-raw,format=I420 ! queue ! into. ",
            pictures(codecs.0)
        );
    }
    if watched.sound > 0.0 {
        line += &format!(
            "from. ! {} ! audioconvert ! audioresample \
             ! audio/x-raw,format=S16LE,channels=1,rate={RATE} ! queue ! into. ",
            sound(codecs.1)
        );
    }
    line += &format!("matroskamux name=into ! filesink location={}", path.display());
    let mut child =
        Command::new("gst-launch-1.0").args(line.split_whitespace()).stdout(Stdio::null()).spawn().unwrap();
    // Half a second more than is wanted, since what is written last may be in pieces.
    let enough = (watched.pictures + 13) * OCTETS * usize::from(watched.pictures > 0)
        + (2.0 * RATE as f64 * (watched.sound + 0.5)) as usize * usize::from(watched.sound > 0.0);
    becomes("GStreamer plays", || {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::fs::metadata(&path).is_ok_and(|file| file.len() > enough as u64)
    });
    let _ = child.kill();
    child.wait().unwrap();
    let mut seen = ffmpeg::play(Path::new("ffmpeg"), &["-i", path.to_str().unwrap()], watched);
    if codecs.1 == "aac" {
        // Its faad gives nothing for the first access unit and all others the times of those before, of files as well.
        seen.heard.iter_mut().for_each(|(time, _)| *time += 1024.0 / RATE as f64);
    }
    seen
}
