//! From glass to glass, beside GStreamer's own chain in the same minute: a camera that numbers its pictures, H.264 by OpenH264,
//! RTSP over loopback, and GStreamer decoding it; once with the bridge in the middle and once with gst-rtsp-server. A measurement:
//! `cargo test --release -p tests --test bridge_program glass -- --ignored --nocapture`, on a quiet machine.

use std::io::Read;
use std::process::{Command, Stdio};

use nvenc_bridge::picture::Size;
use nvenc_bridge::source::pattern;
use tests::program::{Program, alone};

use super::bridge::{Bridge, free_port};
use super::devices::{Camera, wall};
use super::gstreamer;

const SIZE: Size = Size { width: 1280, height: 720 };
const HERTZ: u32 = 30;
/// Of the encoders, in Mb/s.
const MEGABITS: &str = "4";
/// Pictures that are left out while players settle, and those that are measured.
const FIRST: usize = 30;
const PICTURES: usize = 150;

/// Seconds from when each picture was taken until it is decoded, the shortest first, and how many pictures were missing.
fn watch(camera: &Camera, url: &str, transport: &str) -> (Vec<f64>, u32) {
    let line = format!(
        "-q rtspsrc location={url} protocols={transport} latency=0 ! {} ! videoconvert ! video/x-raw,format=I420 \
         ! fdsink sync=false",
        gstreamer::pictures("h264")
    );
    let mut command = Command::new("gst-launch-1.0");
    let mut child = command.args(line.split_whitespace()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = child.stdout.take().unwrap();
    let mut picture = vec![0; (SIZE.width * SIZE.height * 3 / 2) as usize];
    let (mut times, mut numbers) = (Vec::new(), Vec::new());
    for place in 0..FIRST + PICTURES {
        shown.read_exact(&mut picture).unwrap();
        let now = wall();
        let number = pattern::read_counter(SIZE, &picture).expect("a picture without its number");
        if place >= FIRST {
            times.push(now - camera.taken(number));
            numbers.push(number);
        }
    }
    let _ = child.kill();
    child.wait().unwrap();
    times.sort_by(f64::total_cmp);
    (times, numbers[PICTURES - 1] - numbers[0] + 1 - PICTURES as u32)
}

#[test]
#[ignore = "a measurement"]
fn a_picture_takes_so_long_from_the_camera_to_the_player_here_and_with_gst_rtsp_server() {
    let _alone = alone();
    for transport in ["udp", "tcp"] {
        for ours in [true, false, true] {
            let folder = tempfile::tempdir().unwrap();
            let camera = Camera::start(&folder.path().join("camera"), SIZE, HERTZ);
            let show = |who: &str, url: &str| {
                let (times, missing) = watch(&camera, url, transport);
                let at = |share: usize| 1e3 * times[(times.len() - 1) * share / 100];
                println!(
                    "{transport}, {who}: from {:.1} ms, median {:.1}, 99 % {:.1}; {missing} pictures missing",
                    at(0),
                    at(50),
                    at(99)
                );
            };
            if ours {
                // Of any other profile, its decoder keeps a picture back.
                let arguments =
                    ["--pictures", &camera.path, "--avg-bitrate", MEGABITS, "--profile", "baseline"];
                show("nvenc-bridge", &Bridge::start(&arguments).url("stream"));
            } else {
                let port = free_port().to_string();
                let mut command = Command::new("/usr/bin/python3");
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/camera.py"));
                command.args([&port, &camera.path, &format!("{MEGABITS}000")]);
                let mut rival = Program::spawn(command);
                rival.wait_for("serving");
                show("gst-rtsp-server", &format!("rtsp://127.0.0.1:{port}/stream"));
            }
        }
    }
}
