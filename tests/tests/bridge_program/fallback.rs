//! NVENC that fails, on a stand-in for the driver: the stream goes on in software.

use std::time::{Duration, Instant};

use nvenc_double::Double;
use tests::program::{alone, skip};

use super::bridge::{Bridge, becomes};
use super::ffmpeg::{Watched, watch};
use super::reference::{self, OCTETS, PATTERN};

/// Longest that players may miss pictures, in seconds.
const LONGEST: f64 = 1.0;

#[test]
fn a_card_that_is_lost_in_mid_stream_is_followed_by_software_within_a_second() {
    let _alone = alone();
    let Some(ffmpeg) = Double::ffmpegs().into_iter().next() else { return skip("there is no ffmpeg") };
    // The driver says that the device is lost; that its encoder is busy for ever.
    for script in ["fail_at 150", "fail_at 150\nfail_status 18"] {
        let Some(double) = Double::new(script).unwrap() else { return };
        let mut bridge = Bridge::start_with(Some(double.folder()), &PATTERN);
        assert!(bridge.state("stream")["encoder"].as_str().unwrap().starts_with("NVENC on "));
        let watched = Watched { pictures: 200, sound: 0.0 };
        let seen = watch(&ffmpeg, &bridge.url("stream"), "tcp", watched);
        assert_eq!(seen.pictures.len(), 200 * OCTETS);
        let longest = seen.times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        println!("{script:?}: {longest:.3} s from one picture to the next at most");
        assert!(longest < LONGEST, "{longest} s without pictures");
        let told = bridge.program.wait_until("warning", |said| {
            said["message"].as_str().unwrap().ends_with("openh264 encodes instead")
        });
        println!("{told}");
        assert_eq!(bridge.state("stream")["encoder"], "openh264");
        // What software makes of the pattern is the pattern, to the last picture.
        let (number, likeness) = reference::judge(&seen.pictures[199 * OCTETS..]).expect("a number");
        assert!(number >= 199 && likeness > 32.0, "{number}: {likeness} dB");
        assert!(bridge.program.interrupt().status.success());
        assert_eq!(double.violations(), Vec::<String>::new());
    }
}

#[test]
fn each_reason_not_to_have_a_card_is_said_and_software_encodes() {
    let _alone = alone();
    for (script, words) in [
        ("open_status 2", "no NVENC engine"),
        ("open_status 1", "no NVENC engine"),
        ("open_status 10", "session"),
        ("api 12.1", "12.2 is needed"),
        ("codecs hevc", "no H264"),
    ] {
        let Some(double) = Double::new(script).unwrap() else { return };
        let begun = Instant::now();
        let mut bridge = Bridge::start_with(Some(double.folder()), &PATTERN);
        let said = bridge.program.wait_until("warning", |said| {
            said["message"].as_str().unwrap().contains("openh264 encodes instead")
        });
        let message = said["message"].as_str().unwrap();
        assert!(message.contains(words) && !message.contains('\n'), "{script:?}: {message}");
        becomes("pictures are encoded", || bridge.state("stream")["pictures"]["encoded"].as_u64() > Some(3));
        assert!(begun.elapsed() < Duration::from_secs(10), "{script:?}");
        assert_eq!(double.violations(), Vec::<String>::new());
        // Where software is not asked for, the same line ends the bridge.
        let strict = Bridge::spawn(Some(double.folder()), &["--encoder", "nvenc"]);
        let ended = strict.program.wait(Duration::from_secs(20));
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.stderr.contains(words), "{script:?}: {}", ended.stderr);
    }
}
