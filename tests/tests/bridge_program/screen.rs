//! A screen, shown by a player of its stream; a camera where there is none.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nvenc_double::Double;
use tests::program::{alone, skip};

use super::bridge::Bridge;
use super::ffmpeg::{Watched, watch};

/// Width and height of the screen, in pixels.
const SCREEN: (usize, usize) = (320, 240);
/// What is painted on it, and that colour by BT.709 in video range.
const COLOUR: &str = "#20a0e0";
const YUV: [u8; 3] = [134, 169, 69];
/// What encoding may change of it.
const TOLERANCE: u8 = 3;

/// An X server without a screen. Dropping it ends it.
struct Xvfb {
    child: Child,
    display: String,
}

impl Xvfb {
    /// Starts it with one colour all over; `None` without the programs for it.
    fn start() -> Option<Self> {
        let size = format!("{}x{}x24", SCREEN.0, SCREEN.1);
        // Between two programs, it would forget the colour.
        let arguments = ["-displayfd", "1", "-noreset", "-nolisten", "tcp", "-screen", "0", &size];
        let mut command = Command::new("Xvfb");
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let output = child.stdout.take().unwrap();
        let mut xvfb = Self { child, display: String::new() };
        let mut number = String::new();
        BufReader::new(output).read_line(&mut number).unwrap();
        xvfb.display = format!(":{}", number.trim());
        let painted = Command::new("xsetroot").args(["-display", &xvfb.display, "-solid", COLOUR]).status();
        painted.ok()?.success().then_some(xvfb)
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_screen_is_streamed_as_it_is_or_in_the_size_and_at_the_rate_that_are_asked_for() {
    let _alone = alone();
    let Some(ffmpeg) = Double::ffmpegs().into_iter().next() else { return skip("there is no ffmpeg") };
    let Some(xvfb) = Xvfb::start() else { return skip("there is no Xvfb or xsetroot") };
    let name = format!("screen:{}", xvfb.display);
    let smaller = ["--width", "160", "--height", "96", "--fps", "10"];
    for (asked, (width, height), interval) in
        [(&[][..], SCREEN, 1001.0 / 30_000.0), (&smaller, (160, 96), 0.1)]
    {
        let bridge = Bridge::start(&[&["--pictures", &name], asked].concat());
        let watched = Watched { pictures: 10, sound: 0.0 };
        let seen = watch(&ffmpeg, &bridge.url("stream"), "tcp", watched);
        let luma = width * height;
        assert_eq!(seen.pictures.len(), 10 * luma * 3 / 2);
        let last = &seen.pictures[9 * luma * 3 / 2..];
        // The pointer is in the middle, far from the first rows.
        for (plane, at, wanted) in [("y", 0, YUV[0]), ("u", luma, YUV[1]), ("v", luma * 5 / 4, YUV[2])] {
            let found = &last[at..at + width * 8];
            assert!(
                found.iter().all(|value| value.abs_diff(wanted) <= TOLERANCE),
                "{plane}: {:?}",
                &found[..8]
            );
        }
        let even = (seen.times[9] - seen.times[0]) / 9.0;
        println!("{asked:?}: a picture each {:.1} ms", even * 1e3);
        assert!((even / interval - 1.0).abs() < 0.25, "a picture each {even} s");
        assert!(bridge.program.interrupt().status.success());
    }
}

#[test]
fn a_camera_that_is_not_there_ends_the_bridge_with_a_line_that_says_what_to_do() {
    let _alone = alone();
    if Double::ffmpegs().is_empty() {
        return skip("there is no ffmpeg");
    }
    let bridge = Bridge::spawn(None, &["--pictures", "camera:/nonexistent"]);
    let ended = bridge.program.wait(Duration::from_secs(20));
    assert!(!ended.status.success());
    let line = ended.stderr.trim_end().lines().last().unwrap_or_default();
    assert!(line.contains("name a camera that is there"), "{}", ended.stderr);
}
