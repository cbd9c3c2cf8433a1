//! Pictures in, bits out.

use std::collections::VecDeque;
use std::io::Write;
use std::process::{Command, Stdio};

use nvenc_bridge::encode::{Codec, EncodedPicture, Encoder, Error, Quality, Settings};
use nvenc_bridge::picture::{Format, Rate, Size};
use nvenc_double::Double;

use crate::desk::{SIZE, clean, open, picture, run, settings};

/// Luma of the middle of each row of each picture, as ffmpeg decodes them.
fn decode(bits: &[EncodedPicture], size: Size) -> Option<Vec<Vec<u8>>> {
    let decoder = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "h264",
            "-i",
            "-",
            "-fps_mode",
            "passthrough",
            "-pix_fmt",
            "yuv420p",
            "-f",
            "rawvideo",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut decoder) = decoder else {
        println!("skipped: no ffmpeg here");
        return None;
    };
    let mut input = decoder.stdin.take().expect("a pipe");
    let stream = bits.iter().flat_map(|unit| unit.data.clone()).collect::<Vec<_>>();
    let writer = std::thread::spawn(move || input.write_all(&stream));
    let output = decoder.wait_with_output().expect("it ends").stdout;
    writer.join().expect("no panic").expect("all is taken");
    let (width, height) = (size.width as usize, size.height as usize);
    let pictures = output.chunks_exact(Format::I420.octets(size));
    Some(pictures.map(|picture| (0..height).map(|y| picture[y * width + width / 2]).collect()).collect())
}

/// Mean difference of luma from the picture that was handed in.
fn error(decoded: &[u8], number: u64, size: Size) -> f64 {
    let original = picture(number, Format::I420, size);
    let rows = original.data.chunks_exact(size.width as usize);
    let sum: f64 = decoded.iter().zip(rows).map(|(&is, row)| (f64::from(is) - f64::from(row[0])).abs()).sum();
    sum / decoded.len() as f64
}

#[test]
fn pictures_of_each_format_come_out_as_they_went_in() {
    for (opened, format) in [
        (Format::I420, Format::I420),
        (Format::Nv12, Format::Nv12),
        (Format::Nv12, Format::I420),
        (Format::P010, Format::P010),
    ] {
        let Some(double) = Double::new("").unwrap() else { return };
        let mut encoder = open(&double, &settings(Codec::H264), opened).unwrap();
        let bits = run(&mut encoder, 40, format, SIZE).unwrap();
        drop(encoder);
        clean(&double);
        assert_eq!(bits.iter().map(|unit| unit.number).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
        assert_eq!(bits.iter().filter(|unit| unit.key).map(|unit| unit.number).collect::<Vec<_>>(), [0, 30]);
        assert!(bits.iter().all(|unit| unit.at.as_millis() as u64 == 1000 + 33 * unit.number));
        let Some(decoded) = decode(&bits, SIZE) else { return };
        assert_eq!(decoded.len(), 40);
        for (number, rows) in decoded.iter().enumerate() {
            let error = error(rows, number as u64, SIZE);
            assert!(error < 4.0, "{format:?}, picture {number}: luma is off by {error}");
        }
    }
}

#[test]
fn without_b_pictures_and_lookahead_each_picture_comes_at_once() {
    let Some(double) = Double::new("").unwrap() else { return };
    let mut encoder = open(&double, &settings(Codec::H264), Format::Nv12).unwrap();
    let mut out = VecDeque::new();
    for number in 0..10 {
        encoder.encode(&picture(number, Format::Nv12, SIZE), false, &mut out).unwrap();
        assert_eq!(out.pop_front().map(|unit| unit.number), Some(number));
    }
    drop(encoder);
    clean(&double);
}

#[test]
fn b_pictures_and_lookahead_keep_back_no_more_than_they_must() {
    for (quality, b_frames, kept) in [
        (Quality::LowLatencyMedium, 2, 2),
        (Quality::HighLatencyHigh, 0, 16),
        (Quality::HighLatencyHigh, 3, 19),
        (Quality::HighLatencyUltraHigh, 4, 31),
    ] {
        let Some(double) = Double::new("").unwrap() else { return };
        let wanted = Settings { quality, max_b_frames: b_frames, ..settings(Codec::H265) };
        let mut encoder = open(&double, &wanted, Format::Nv12).unwrap();
        let mut out = VecDeque::new();
        for number in 0..90 {
            encoder.encode(&picture(number, Format::Nv12, SIZE), false, &mut out).unwrap();
            assert!(out.len() as u64 + kept > number, "{quality:?}: {} of {number} came", out.len());
        }
        encoder.finish(&mut out).unwrap();
        drop(encoder);
        clean(&double);
        let mut numbers: Vec<_> = out.iter().map(|unit| unit.number).collect();
        let reordered = !numbers.is_sorted();
        assert_eq!(reordered, b_frames > 0, "{quality:?}: the order is that of decoding");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..90).collect::<Vec<_>>(), "{quality:?}");
    }
}

#[test]
fn a_key_picture_comes_when_asked_for_and_a_stream_goes_on_after_its_end() {
    for codec in [Codec::H264, Codec::H265, Codec::Av1] {
        let Some(double) = Double::new("").unwrap() else { return };
        let wanted = Settings { keyframe_interval: 0, ..settings(codec) };
        let mut encoder = open(&double, &wanted, Format::Nv12).unwrap();
        let mut out = VecDeque::new();
        for number in 0..20 {
            encoder.encode(&picture(number, Format::Nv12, SIZE), number == 7, &mut out).unwrap();
        }
        encoder.finish(&mut out).unwrap();
        encoder.encode(&picture(20, Format::Nv12, SIZE), false, &mut out).unwrap();
        let keys: Vec<_> = out.iter().filter(|unit| unit.key).map(|unit| unit.number).collect();
        assert_eq!(keys, [0, 7, 20], "{codec:?}");
        drop(encoder);
        clean(&double);
        assert_eq!(double.calls("encode")[7]["flags"], 2 | 4);
    }
}

#[test]
fn temporal_units_of_av1_begin_with_their_sequence_and_not_with_a_delimiter() {
    let Some(double) = Double::new("").unwrap() else { return };
    let mut encoder = open(&double, &settings(Codec::Av1), Format::Nv12).unwrap();
    let bits = run(&mut encoder, 3, Format::Nv12, SIZE).unwrap();
    // The type of an OBU is in bits 3 to 6: 1 is a sequence's header, 6 a frame.
    let types: Vec<_> = bits.iter().map(|unit| unit.data[0] >> 3 & 15).collect();
    assert_eq!(types, [1, 6, 6]);
}

#[test]
fn bitrate_and_rate_change_in_mid_stream_without_a_key_picture() {
    let Some(double) = Double::new("").unwrap() else { return };
    let before = settings(Codec::H264);
    let mut encoder = open(&double, &before, Format::Nv12).unwrap();
    let after = Settings {
        average_bitrate: 500_000,
        rate: Rate { pictures: 60_000, seconds: 1001 },
        ..before.clone()
    };
    let mut out = VecDeque::new();
    for number in 0..20 {
        if number == 10 {
            encoder.change(&after).unwrap();
        }
        encoder.encode(&picture(number, Format::Nv12, SIZE), false, &mut out).unwrap();
    }
    assert_eq!(out.iter().filter(|unit| unit.key).count(), 1);
    let other = Settings { keyframe_interval: 60, ..after };
    assert!(matches!(encoder.change(&other), Err(Error::Unavailable(_))));
    drop(encoder);
    clean(&double);
    let [change] = &double.calls("reconfigure")[..] else { panic!("one change") };
    assert_eq!((change["average"].as_u64(), change["reset"].as_u64()), (Some(500_000), Some(0)));
    assert_eq!(change["rate"], serde_json::json!([60_000, 1001]));
    // One picture's share at 59.94 pictures a second.
    assert_eq!(change["vbv"], 8341);
}

#[test]
fn size_changes_in_mid_stream_with_a_key_picture_and_without_loss() {
    let smaller = Size { width: 160, height: 90 };
    let larger = Size { width: 640, height: 360 };
    for (script, size, sessions) in
        [("", smaller, 1), ("cap 19 0", smaller, 2), ("reconfigure_status 8", smaller, 2), ("", larger, 2)]
    {
        let Some(double) = Double::new(script).unwrap() else { return };
        let before = Settings { max_b_frames: 2, ..settings(Codec::H264) };
        let mut encoder = open(&double, &before, Format::Nv12).unwrap();
        let mut out = VecDeque::new();
        for number in 0..20 {
            if number == 10 {
                encoder.change(&Settings { size, ..before.clone() }).unwrap();
            }
            let size = if number < 10 { SIZE } else { size };
            encoder.encode(&picture(number, Format::Nv12, size), false, &mut out).unwrap();
        }
        encoder.finish(&mut out).unwrap();
        drop(encoder);
        clean(&double);
        assert_eq!(double.calls("open").len(), sessions, "{script}");
        let keys: Vec<_> = out.iter().filter(|unit| unit.key).map(|unit| unit.number).collect();
        assert_eq!(keys, [0, 10], "{script}");
        assert_eq!(out.len(), 20, "{script}");
    }
}

#[test]
fn ten_bit_pictures_go_to_codecs_that_have_them() {
    let Some(double) = Double::new("").unwrap() else { return };
    let mut encoder = open(&double, &settings(Codec::H265), Format::P010).unwrap();
    assert_eq!(run(&mut encoder, 3, Format::P010, SIZE).unwrap().len(), 3);
    let [start] = &double.calls("initialize")[..] else { panic!("one session") };
    assert_eq!((start["profile"].as_str(), start["depth"].as_u64()), (Some("hevc main10"), Some(10)));
    drop(encoder);
    let mut narrow = open(&double, &settings(Codec::H264), Format::P010).unwrap();
    assert_eq!(narrow.warnings()[0].parameter, "format");
    assert_eq!(run(&mut narrow, 3, Format::P010, SIZE).unwrap().len(), 3);
    drop(narrow);
    clean(&double);
    assert_eq!(double.calls("initialize")[1]["depth"], 8);
}

#[test]
fn two_encoders_in_two_threads_share_a_card() {
    let Some(double) = Double::new("").unwrap() else { return };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut encoder = open(&double, &settings(Codec::H264), Format::Nv12).unwrap();
                assert_eq!(run(&mut encoder, 20, Format::Nv12, SIZE).unwrap().len(), 20);
            });
        }
    });
    clean(&double);
}

/// A stream of AV1 without its temporal delimiters.
fn without_delimiters(stream: &[u8]) -> Vec<u8> {
    let (mut rest, mut kept) = (stream, Vec::new());
    while let [header, ..] = *rest {
        let mut at = 1 + usize::from(header >> 2 & 1);
        let mut length = 0;
        for shift in (0..).step_by(7) {
            length |= usize::from(rest[at] & 127) << shift;
            at += 1;
            if rest[at - 1] < 128 {
                break;
            }
        }
        let (unit, after) = rest.split_at(at + length);
        if header >> 3 & 15 != 2 {
            kept.extend_from_slice(unit);
        }
        rest = after;
    }
    kept
}

#[test]
fn bits_of_hevc_and_av1_pass_unchanged_but_for_delimiters() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [("hevc", Codec::H265), ("av1", Codec::Av1)] {
        let size = format!("{}x{}", SIZE.width, SIZE.height);
        let Some(path) = Double::bits(folder.path(), name, &size) else { return };
        let Some(double) = Double::new(&format!("{name} {}", path.display())).unwrap() else { return };
        let mut encoder = open(&double, &settings(codec), Format::Nv12).unwrap();
        let bits = run(&mut encoder, 30, Format::Nv12, SIZE).unwrap();
        drop(encoder);
        clean(&double);
        assert_eq!(bits.iter().filter(|unit| unit.key).map(|unit| unit.number).collect::<Vec<_>>(), [0]);
        let ours: Vec<_> = bits.iter().flat_map(|unit| unit.data.clone()).collect();
        let file = std::fs::read(path).unwrap();
        let file = if codec == Codec::Av1 { without_delimiters(&file) } else { file };
        assert!(ours == file, "{name}: {} octets of {}", ours.len(), file.len());
    }
}
