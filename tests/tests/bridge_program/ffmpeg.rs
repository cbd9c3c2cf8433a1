//! What ffmpeg shows, and when.

use std::path::Path;
use std::process::{Command, Stdio};

use super::reference::RATE;

/// What came out of a player.
#[derive(Default)]
pub(crate) struct Seen {
    /// Pictures of I420, one after another.
    pub(crate) pictures: Vec<u8>,
    /// When each is to be shown, in seconds.
    pub(crate) times: Vec<f64>,
    /// The first channel at [`RATE`].
    pub(crate) sound: Vec<f32>,
    /// When its blocks are to be heard, with the place of their first samples.
    pub(crate) heard: Vec<(f64, usize)>,
}

/// What is asked of a player.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// Pictures to wait for; none where there are none.
    pub(crate) pictures: usize,
    /// Seconds of sound; none where there is none.
    pub(crate) sound: f64,
}

/// Plays a stream.
pub(crate) fn watch(ffmpeg: &Path, url: &str, transport: &str, watched: Watched) -> Seen {
    play(ffmpeg, &["-rtsp_transport", transport, "-i", url], watched)
}

/// Plays what these arguments name.
pub(crate) fn play(ffmpeg: &Path, input: &[&str], watched: Watched) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (pictures, sound) = (path("pictures"), path("sound"));
    let mut command = Command::new("timeout");
    command.arg("60").arg(ffmpeg).args(["-hide_banner", "-nostdin", "-nostats"]).args(input);
    if watched.pictures > 0 {
        command.args(["-map", "0:v", "-fps_mode", "passthrough", "-vf", "showinfo=checksum=0"]);
        command.args(["-frames:v", &watched.pictures.to_string(), "-pix_fmt", "yuv420p"]);
        command.args(["-f", "rawvideo", &pictures]);
    }
    if watched.sound > 0.0 {
        // Before the resampler, blocks are those of the stream.
        command.args(["-map", "0:a", "-af", "ashowinfo", "-t", &watched.sound.to_string(), "-ac", "1"]);
        command.args(["-ar", &RATE.to_string(), "-f", "s16le", &sound]);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    // Two filters may speak at a time: what one says of a frame in one piece can stand on another's line. Each such piece has one time.
    let number = |text: &str| -> Option<f64> { text.trim_start().split(' ').next()?.parse().ok() };
    let value = |piece: &str, key: &str| number(piece.split_once(key)?.1);
    let (mut times, mut heard, mut place) = (Vec::new(), Vec::new(), 0.0);
    for piece in said.split(" pts_time:").skip(1) {
        let time = number(piece).unwrap_or_else(|| panic!("{piece}"));
        match (value(piece, " nb_samples:"), value(piece, " rate:")) {
            (Some(count), Some(rate)) => {
                heard.push((time, (place * RATE as f64).round() as usize));
                place += count / rate;
            }
            _ => times.push(time),
        }
    }
    let read = |path: &str| std::fs::read(path).unwrap_or_default();
    let samples = read(&sound);
    let samples =
        samples.as_chunks::<2>().0.iter().map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0);
    Seen { pictures: read(&pictures), times, sound: samples.collect(), heard }
}
