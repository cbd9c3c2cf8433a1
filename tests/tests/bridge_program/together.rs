//! Pictures and sound at the same time, and sound alone.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nvenc_bridge::source::pattern;
use nvenc_double::Double;
use tests::program::{Program, alone, has, skip};

use super::bridge::{Bridge, free_port};
use super::ffmpeg::{Watched, watch};
use super::players::samples;
use super::reference::{self, OCTETS, RATE, SIZE};

/// Pictures a second of the camera.
const HERTZ: f64 = 25.0;

fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Writes the picture of number n at n / [`HERTZ`] seconds of the wall clock, counted from `epoch`.
struct Camera {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    epoch: f64,
}

impl Camera {
    fn start(fifo: &std::path::Path) -> Self {
        let path = std::ffi::CString::new(fifo.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is a string that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        let (end, epoch) = (Arc::<AtomicBool>::default(), wall().floor());
        let (ended, path) = (end.clone(), fifo.to_owned());
        let thread = std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            let mut picture = Vec::new();
            if file.write_all(b"YUV4MPEG2 W320 H240 F25:1 Ip C420\n").is_err() {
                return;
            }
            while !ended.load(Ordering::Relaxed) {
                let number = ((wall() - epoch) * HERTZ).ceil();
                pattern::draw(SIZE, number as u64, &mut picture);
                std::thread::sleep(Duration::from_secs_f64((epoch + number / HERTZ - wall()).max(0.0)));
                if file.write_all(b"FRAME\n").and_then(|()| file.write_all(&picture)).is_err() {
                    return;
                }
            }
        });
        Self { end, thread: Some(thread), epoch }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn pictures_and_sound_that_were_taken_together_are_shown_together() {
    let _alone = alone();
    let ffmpegs = Double::ffmpegs();
    if ffmpegs.is_empty() {
        return skip("there is no ffmpeg");
    }
    let folder = tempfile::tempdir().unwrap();
    let recording = reference::record(folder.path());
    for (codec, transport) in [("mp3", "udp"), ("aac", "tcp"), ("opus", "udp"), ("l16", "tcp")] {
        let fifo = folder.path().join(codec);
        let camera = Camera::start(&fifo);
        let fifo = fifo.to_str().unwrap().to_owned();
        let bridge = Bridge::start(&["--pictures", &fifo, "--audio", &recording, "--audio-codec", codec]);
        for ffmpeg in &ffmpegs {
            let watched = Watched { pictures: 100, sound: 4.0 };
            let seen = watch(ffmpeg, &bridge.url("stream"), transport, watched);
            // By how much later than it was taken each picture is shown; what players do before the first report is left out.
            let shown = seen.pictures.chunks_exact(OCTETS).zip(&seen.times).skip(50);
            let shown = median(
                shown
                    .map(|(picture, time)| {
                        time - camera.epoch - f64::from(reference::judge(picture).0) / HERTZ
                    })
                    .collect(),
            );
            let (time, place) = seen.heard.iter().find(|(_, place)| *place > 2 * RATE).unwrap();
            let sound = &seen.sound[*place..][..RATE];
            let (lag, likeness) = reference::nearby(sound, time - shown);
            let what =
                format!("{codec} over {transport} to {}", ffmpeg.file_name().unwrap().to_string_lossy());
            println!(
                "{what}: sound {:+.1} ms after pictures, like what was sent by {likeness:.3}",
                1e3 * lag
            );
            assert!(likeness > 0.9, "{what}: {likeness}");
            assert!(lag.abs() < 0.020, "{what}: {lag} s");
        }
    }
}

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
    let heard = folder.path().join("heard");
    let line = format!(
        "-q rtspsrc location={} protocols=tcp latency=100 ! rtpL16depay ! audioconvert \
         ! audio/x-raw,format=S16LE,channels=1 ! filesink location={}",
        bridge.url("stream"),
        heard.display()
    );
    let mut child =
        Command::new("gst-launch-1.0").args(line.split_whitespace()).stdout(Stdio::null()).spawn().unwrap();
    super::bridge::becomes("GStreamer plays sound", || {
        std::fs::metadata(&heard).is_ok_and(|file| file.len() > 5 * RATE as u64)
    });
    let _ = child.kill();
    child.wait().unwrap();
    let likeness = reference::likeness(&samples(&heard));
    println!("l16 in GStreamer: {likeness:.3}");
    assert!(likeness > 0.9, "{likeness}");
}
