//! Pictures and sound at the same time, and sound alone.

use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
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

/// A thread that does something until it is dropped.
struct Device {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    fn start(mut step: impl FnMut() -> bool + Send + 'static) -> Self {
        let end = Arc::<AtomicBool>::default();
        let ended = end.clone();
        let thread = std::thread::spawn(move || while !ended.load(Ordering::Relaxed) && step() {});
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sleep_until(at: f64) {
    std::thread::sleep(Duration::from_secs_f64((at - wall()).max(0.0)));
}

/// Writes the picture of number n at n / [`HERTZ`] seconds of the wall clock, counted from `epoch`.
fn camera(fifo: &Path, epoch: f64) -> Device {
    let path = std::ffi::CString::new(fifo.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a string that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let (path, mut file, mut picture) = (fifo.to_owned(), None, Vec::new());
    Device::start(move || {
        let file = file.get_or_insert_with(|| {
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all(b"YUV4MPEG2 W320 H240 F25:1 Ip C420\n").unwrap();
            file
        });
        let number = ((wall() - epoch) * HERTZ).ceil();
        pattern::draw(SIZE, number as u64, &mut picture);
        sleep_until(epoch + number / HERTZ);
        file.write_all(b"FRAME\n").and_then(|()| file.write_all(&picture)).is_ok()
    })
}

/// Sends what [`reference::sound`] is now, as L16 of one channel (RFC 3551, payload type 11), in packets of 10 ms.
fn microphone(port: u16) -> Device {
    const FRAMES: u64 = RATE as u64 / 100;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut number = (wall() * 100.0).ceil() as u64;
    Device::start(move || {
        let at = number as f64 / 100.0;
        let mut packet = vec![0x80, 11];
        packet.extend((number as u16).to_be_bytes());
        packet.extend(((number * FRAMES) as u32).to_be_bytes());
        packet.extend(0x5eed_u32.to_be_bytes());
        for frame in 0..FRAMES {
            let sample = reference::sound(at.fract() + frame as f64 / RATE as f64);
            packet.extend(((sample * 32_767.0) as i16).to_be_bytes());
        }
        number += 1;
        sleep_until(at);
        // Nobody may listen yet.
        let _ = socket.send_to(&packet, ("127.0.0.1", port));
        true
    })
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
    let port = free_port();
    let _microphone = microphone(port);
    let mut off = Vec::new();
    for (codec, transport) in [("mp3", "udp"), ("aac", "tcp"), ("opus", "udp"), ("l16", "tcp")] {
        let fifo = folder.path().join(codec);
        let epoch = wall().floor();
        let _camera = camera(&fifo, epoch);
        let fifo = fifo.to_str().unwrap().to_owned();
        let source = format!("rtp://127.0.0.1:{port}");
        let bridge = Bridge::start(&["--pictures", &fifo, "--audio", &source, "--audio-codec", codec]);
        for ffmpeg in &ffmpegs {
            let watched = Watched { pictures: 60, sound: 2.5 };
            let seen = watch(ffmpeg, &bridge.url("stream"), transport, watched);
            // By how much later than it was taken each picture is shown; what players do before the first report is left out.
            let shown = seen.pictures.chunks_exact(OCTETS).zip(&seen.times).skip(25);
            let shown = median(
                shown
                    .map(|(picture, time)| time - epoch - f64::from(reference::judge(picture).0) / HERTZ)
                    .collect(),
            );
            let (time, place) = seen.heard.iter().find(|(_, place)| *place > RATE + RATE / 4).unwrap();
            let sound = &seen.sound[*place..][..RATE];
            let (lag, likeness) = reference::nearby(sound, time - shown);
            let what =
                format!("{codec} over {transport} to {}", ffmpeg.file_name().unwrap().to_string_lossy());
            println!(
                "{what}: sound {:+.1} ms after pictures, like what was sent by {likeness:.3}",
                1e3 * lag
            );
            assert!(likeness > 0.9, "{what}: {likeness}");
            off.extend((lag.abs() > 0.020).then_some(what));
        }
    }
    assert!(off.is_empty(), "more than 20 ms apart: {off:?}");
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
