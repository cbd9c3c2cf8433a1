//! What can go wrong with a driver, and the line that says so.

use std::collections::VecDeque;
use std::fs;
use std::time::{Duration, Instant};

use nvenc_bridge::encode::nvenc::library::{Driver, Paths};
use nvenc_bridge::encode::{Codec, Encoder, Error};
use nvenc_bridge::picture::{Format, Size};
use nvenc_double::Double;

use crate::desk::{SIZE, clean, driver, open, picture, run, settings};

fn refusal(double: &Double, codec: Codec) -> String {
    match open(double, &settings(codec), Format::Nv12) {
        Err(Error::Unavailable(line)) => line,
        Err(Error::Failed(line)) => panic!("failed: {line}"),
        Ok(_) => panic!("it opened"),
    }
}

#[test]
fn each_reason_why_there_is_no_encoder_has_its_line() {
    for (script, words) in [
        ("cards 0", "sees no card"),
        ("api 11.1", "NVENC 11.1, and 12.2 is needed: install driver 550.54.14"),
        ("open_status 2", "has no NVENC engine"),
        ("open_status 1", "has no NVENC engine"),
        ("open_status 10", "as many sessions are open as the card may have"),
        ("open_status 21", "as many sessions are open as the card may have"),
        ("open_status 15", "install driver 550.54.14"),
        ("codecs hevc,av1", "has no H264 on this card"),
        ("initialize_status 12", "this card cannot do that"),
        ("cap 16 300", "from 145 × 49 to 300 × 4096, not 322 × 182"),
    ] {
        let Some(double) = Double::new(script).unwrap() else { return };
        let line = refusal(&double, Codec::H264);
        assert!(line.contains(words), "{script}: {line}");
        assert!(!line.contains('\n'), "{script}: {line}");
        clean(&double);
    }
}

#[test]
fn libraries_that_are_absent_or_not_nvidias_have_their_lines() {
    let Some(double) = Double::new("").unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let all = Paths::within(double.folder());
    let other = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6"];
    let other = other.into_iter().find(|path| fs::exists(path).unwrap_or(false));
    let mut cases = vec![
        (Paths { cuda: absent.clone(), ..all.clone() }, "no NVIDIA driver on this machine"),
        (Paths { nvenc: absent, ..all.clone() }, "its encoder's library is not"),
    ];
    if let Some(other) = other {
        cases.push((Paths { cuda: other.into(), ..all.clone() }, "has no cuInit"));
        cases.push((Paths { nvenc: other.into(), ..all }, "has no NvEncodeAPIGetMaxSupportedVersion"));
    }
    for (paths, words) in cases {
        let Err(Error::Unavailable(line)) = Driver::open(&paths) else { panic!("{words}: it opened") };
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn a_card_without_engine_is_passed_over_for_one_that_has_it_only_when_none_is_named() {
    let Some(double) = Double::new("cards 2").unwrap() else { return };
    let driver = driver(&double).unwrap();
    let named =
        |card| nvenc_bridge::encode::nvenc::Nvenc::open(&driver, card, &settings(Codec::H264), Format::Nv12);
    assert_eq!(named(None).unwrap().name(), "NVENC on Double 0");
    assert_eq!(named(Some(1)).unwrap().name(), "NVENC on Double 1");
    let Err(Error::Unavailable(line)) = named(Some(2)) else { panic!("it opened") };
    assert!(line.contains("no card 2"), "{line}");
}

#[test]
fn the_ninth_session_is_refused_and_one_that_ends_makes_room() {
    let Some(double) = Double::new("sessions 8").unwrap() else { return };
    let driver = driver(&double).unwrap();
    let one =
        || nvenc_bridge::encode::nvenc::Nvenc::open(&driver, None, &settings(Codec::H265), Format::Nv12);
    let mut eight: Vec<_> = (0..8).map(|_| one().unwrap()).collect();
    let Err(Error::Unavailable(line)) = one() else { panic!("it opened") };
    assert!(line.contains("GeForce: 8"), "{line}");
    eight.pop();
    one().unwrap();
    drop(eight);
    assert_eq!(double.violations(), Vec::<String>::new());
}

#[test]
fn a_busy_card_is_waited_for() {
    let Some(double) = Double::new("busy 3\nlock_busy 3").unwrap() else { return };
    let mut encoder = open(&double, &settings(Codec::H264), Format::Nv12).unwrap();
    assert_eq!(run(&mut encoder, 5, Format::Nv12, SIZE).unwrap().len(), 5);
    drop(encoder);
    clean(&double);
}

#[test]
fn a_card_that_stays_busy_is_given_up_in_less_than_a_second() {
    let Some(double) = Double::new("busy 1000000").unwrap() else { return };
    let mut encoder = open(&double, &settings(Codec::H264), Format::Nv12).unwrap();
    let begun = Instant::now();
    let Err(Error::Failed(line)) = run(&mut encoder, 1, Format::Nv12, SIZE) else { panic!("it went on") };
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(line.contains("the card is busy"), "{line}");
}

#[test]
fn a_card_that_is_lost_in_mid_stream_fails_once_and_for_good() {
    let Some(double) = Double::new("fail_at 5").unwrap() else { return };
    let mut encoder = open(&double, &settings(Codec::H264), Format::Nv12).unwrap();
    let mut out = VecDeque::new();
    for number in 0..5 {
        encoder.encode(&picture(number, Format::Nv12, SIZE), false, &mut out).unwrap();
    }
    for _ in 0..2 {
        let Err(Error::Failed(line)) = encoder.encode(&picture(5, Format::Nv12, SIZE), false, &mut out)
        else {
            panic!("it went on")
        };
        assert!(line.contains("Double 0") && line.contains("failed"), "{line}");
    }
    assert!(encoder.finish(&mut out).is_err() && encoder.change(&settings(Codec::H264)).is_err());
    assert_eq!((out.len(), double.calls("encode").len()), (5, 6));
    drop(encoder);
    clean(&double);
}

#[test]
fn a_picture_that_is_too_small_or_cut_short_is_refused_and_a_larger_one_is_cut() {
    let Some(double) = Double::new("").unwrap() else { return };
    let mut encoder = open(&double, &settings(Codec::H264), Format::Nv12).unwrap();
    let mut out = VecDeque::new();
    let mut short = picture(0, Format::Nv12, SIZE);
    short.data.pop();
    let smaller = Size { width: 320, height: 180 };
    for wrong in [picture(0, Format::Nv12, smaller), short] {
        assert!(encoder.encode(&wrong, false, &mut out).is_err());
    }
    let larger = Size { width: SIZE.width + 1, height: SIZE.height + 1 };
    encoder.encode(&picture(0, Format::Nv12, larger), false, &mut out).unwrap();
    encoder.encode(&picture(1, Format::Bgra, SIZE), false, &mut out).unwrap();
    assert_eq!(out.len(), 2);
    drop(encoder);
    clean(&double);
}
