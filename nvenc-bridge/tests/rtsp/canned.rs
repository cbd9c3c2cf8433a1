//! Access units made by ffmpeg, and what they show when they are decoded.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use nvenc_bridge::encode::Codec;
use nvenc_bridge::rtp::{Access, Format};
use nvenc_bridge::serve::{Feed, Stream};

/// Pictures a second, and pictures from one key picture to the next.
pub(crate) const RATE: u32 = 30;
pub(crate) const GROUP: usize = 60;

/// A stream that can be sent again and again.
#[derive(Clone)]
pub(crate) struct Canned {
    pub(crate) format: Format,
    /// Access units; of pictures, the first is a key picture and the only one.
    pub(crate) units: Vec<Vec<u8>>,
    /// Frames of sound in each.
    pub(crate) frames: u32,
    /// The name of ffmpeg's raw format of it.
    raw: &'static str,
}

/// Whether a program can be run.
pub(crate) fn has(program: &str, argument: &str) -> bool {
    let run = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// What ffmpeg writes to its standard output.
pub(crate) fn ffmpeg(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-v", "error"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output.stdout
}

/// One group of pictures of a moving pattern with sharp noise, about `kilobits` a second.
pub(crate) fn pictures(codec: Codec, kilobits: u32) -> Canned {
    let (encoder, raw, more): (_, _, &[&str]) = match codec {
        Codec::H264 => (
            "libx264",
            "h264",
            &[
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
                "-x264-params",
                "aud=1:scenecut=0:slices=2:keyint=60",
            ],
        ),
        Codec::H265 => (
            "libx265",
            "hevc",
            &[
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
                "-x265-params",
                "aud=1:scenecut=0:keyint=60:log-level=error",
            ],
        ),
        Codec::Av1 => ("libaom-av1", "obu", &["-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0"]),
    };
    let source = format!("testsrc2=size=640x360:rate={RATE},noise=alls=12:allf=t");
    let (group, rate) = (GROUP.to_string(), format!("{kilobits}k"));
    let mut arguments = vec!["-f", "lavfi", "-i", &source, "-frames:v", &group, "-pix_fmt", "yuv420p"];
    arguments.extend(["-c:v", encoder, "-g", &group, "-b:v", &rate, "-threads", "1"]);
    arguments.extend(more);
    arguments.extend(["-f", raw, "-"]);
    let stream = ffmpeg(&arguments, &[]);
    let units = match codec {
        Codec::H264 => split(&stream, |place| stream[place..].starts_with(&[0, 0, 0, 1, 9])),
        Codec::H265 => split(&stream, |place| stream[place..].starts_with(&[0, 0, 0, 1, 0x46, 1])),
        Codec::Av1 => {
            let delimiters = temporal_delimiters(&stream);
            split(&stream, |place| delimiters.contains(&place))
        }
    };
    assert_eq!(units.len(), GROUP, "{codec:?}");
    Canned { format: Format::Video(codec), units, frames: 0, raw }
}

/// Cuts in front of each delimiter.
fn split(stream: &[u8], is_delimiter: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
    let starts: Vec<_> =
        (0..stream.len()).filter(|place| is_delimiter(*place)).chain([stream.len()]).collect();
    starts.windows(2).map(|ends| stream[ends[0]..ends[1]].to_vec()).collect()
}

/// Where the temporal delimiters of AV1 are, in a stream whose units all have a size and no extension.
fn temporal_delimiters(stream: &[u8]) -> Vec<usize> {
    let (mut found, mut place) = (Vec::new(), 0);
    while place < stream.len() {
        if stream[place] >> 3 == 2 {
            found.push(place);
        }
        place += 1;
        let mut size = 0;
        for shift in 0.. {
            let octet = stream[place];
            place += 1;
            size |= usize::from(octet & 0x7f) << (7 * shift);
            if octet & 0x80 == 0 {
                break;
            }
        }
        place += size;
    }
    found
}

/// Two seconds of a tone as MP3.
pub(crate) fn mp3() -> Canned {
    let tone = "sine=frequency=440:sample_rate=44100:duration=2";
    let arguments = ["-f", "lavfi", "-i", tone, "-c:a", "libmp3lame", "-b:a", "192k", "-reservoir", "0"];
    let stream = ffmpeg(
        &[&arguments[..], &["-write_xing", "0", "-id3v2_version", "0", "-f", "mp3", "-"]].concat(),
        &[],
    );
    let mut units = Vec::new();
    let mut rest = &stream[..];
    while rest.len() > 4 {
        let padding = usize::from(rest[2] >> 1 & 1);
        let length = (144 * 192_000 / 44_100 + padding).min(rest.len());
        units.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    Canned { format: Format::Mp3 { rate: 44_100 }, units, frames: 1152, raw: "mp3" }
}

/// Two seconds of a tone as AAC, its access units without headers.
pub(crate) fn aac() -> Canned {
    let tone = "sine=frequency=440:sample_rate=48000:duration=2";
    let stream = ffmpeg(&["-f", "lavfi", "-i", tone, "-ac", "2", "-c:a", "aac", "-f", "adts", "-"], &[]);
    let mut units = Vec::new();
    let mut rest = &stream[..];
    while rest.len() > 7 {
        let length = usize::from(rest[3] & 3) << 11 | usize::from(rest[4]) << 3 | usize::from(rest[5] >> 5);
        units.push(rest[7..length].to_vec());
        rest = &rest[length..];
    }
    // Low complexity (2), 48 kHz (3), two channels.
    let format = Format::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] };
    Canned { format, units, frames: 1024, raw: "aac" }
}

/// Ten milliseconds at a time of a saw tooth.
pub(crate) fn l16() -> Canned {
    let block = |number: u32| {
        (0..480u32).flat_map(|frame| (((number * 480 + frame) * 64) as i16).to_be_bytes().repeat(2)).collect()
    };
    let units = (0..128).map(block).collect();
    Canned { format: Format::L16 { rate: 48_000, channels: 2 }, units, frames: 480, raw: "s16be" }
}

impl Canned {
    /// From the start of one unit to that of the next.
    pub(crate) fn interval(&self) -> Duration {
        match self.frames {
            0 => Duration::from_secs(1) / RATE,
            frames => Duration::from_nanos(u64::from(frames) * 1_000_000_000 / u64::from(self.format.rate())),
        }
    }

    /// Check sums of the pictures of one group, or of a stream that was recorded.
    pub(crate) fn sums(&self) -> Vec<String> {
        sums(self.raw, &self.units.concat())
    }
}

/// Check sums of the decoded pictures of a stream.
pub(crate) fn sums(raw: &str, stream: &[u8]) -> Vec<String> {
    let text = ffmpeg(&["-f", raw, "-i", "-", "-fps_mode", "passthrough", "-f", "framemd5", "-"], stream);
    sums_in(&String::from_utf8_lossy(&text))
}

/// The last column of ffmpeg's `framemd5`.
pub(crate) fn sums_in(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.filter_map(|line| Some(line.rsplit_once(',')?.1.trim().to_owned())).collect()
}

/// Sends canned streams in real time until it is dropped.
pub(crate) struct Player {
    _stop: Sender<()>,
}

impl Player {
    /// Pictures begin anew with a key picture when one is wanted.
    pub(crate) fn new(stream: Stream, feeds: Vec<Feed>, canned: Vec<Canned>) -> Self {
        let (stop, stopped) = mpsc::channel();
        std::thread::spawn(move || {
            let start = now();
            let mut tracks: Vec<_> =
                feeds.into_iter().zip(canned).map(|(feed, canned)| (feed, canned, 0usize, start)).collect();
            loop {
                let (feed, canned, next, due) = tracks.iter_mut().min_by_key(|track| track.3).unwrap();
                if stopped.recv_timeout(due.saturating_sub(now())) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
                if canned.format.is_video() && stream.takes_key() {
                    *next = 0;
                }
                let access =
                    Access { data: &canned.units[*next], key: *next == 0, at: *due, frames: canned.frames };
                feed.send(&access);
                *next = (*next + 1) % canned.units.len();
                *due += canned.interval();
            }
        });
        Self { _stop: stop }
    }
}

/// The clock of pictures.
pub(crate) fn now() -> Duration {
    Duration::from_nanos(os::clock::now().0 as u64)
}
