//! Our configuration beside ffmpeg's, for what both can say.

use std::path::Path;
use std::process::Command;

use nvenc_bridge::encode::{BitrateMode, Codec, Profile, Quality, Settings};
use nvenc_bridge::picture::{Format, Size};
use nvenc_double::Double;
use serde_json::Value;

use crate::desk::{open, settings};

const SIZE: Size = Size { width: 320, height: 240 };

/// What ffmpeg asked for, in its own words; nothing where it does not have the encoder.
fn ffmpeg(program: &Path, codec: &str, arguments: &[&str]) -> Option<Value> {
    // Newer than any ffmpeg asks for.
    let double = Double::new("api 13.9").unwrap()?;
    let output = Command::new(program)
        .env("LD_LIBRARY_PATH", double.folder())
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x240:r=30",
            "-frames:v",
            "60",
            "-pix_fmt",
            "nv12",
            "-c:v",
            codec,
        ])
        .args(arguments)
        .args(["-f", "rawvideo"])
        .arg(double.folder().join("bits"))
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("Unknown encoder") {
        println!("skipped: {} has no {codec}", program.display());
        return None;
    }
    assert!(output.status.success(), "{text}");
    assert_eq!(double.violations(), Vec::<String>::new(), "{codec} {arguments:?}");
    let pictures = double.calls("encode").iter().filter(|call| call["flags"] != 8).count();
    assert_eq!(pictures, 60, "{codec} {arguments:?}");
    Some(double.calls("initialize").swap_remove(0))
}

fn ours(settings: &Settings) -> Option<Value> {
    let double = Double::new("").unwrap()?;
    open(&double, settings, Format::Nv12).unwrap();
    Some(double.calls("initialize").swap_remove(0))
}

/// Where we mean to differ, whatever is asked for.
const MEANT: &[(&str, &str)] = &[
    ("dar", "ffmpeg reduces the fraction"),
    ("max_width", "ours lets the size change"),
    ("max_height", "as above"),
    ("maximum", "CBR ignores it: ours is the average, so that a log tells the truth"),
    ("vbv", "ours is one picture's share at low latency, ffmpeg's two seconds"),
    ("vbv_initial", "ours begins with the buffer full, as a decoder's does"),
    ("recovery", "ours marks where a refresh lets a decoder begin; ffmpeg 5.1 cannot"),
    ("single_slice", "ours keeps the one slice that was asked for"),
    ("colours", "pictures of the bridge are BT.709, and ours says so"),
    ("described", "as above"),
    ("slice_mode", "ours always says how many slices"),
    ("slices", "as above"),
    ("tiles", "as above, of AV1"),
    ("depth", "a field that came after ffmpeg's header"),
    ("refresh_count", "ffmpeg has no option for the length of a refresh: period - 1"),
    ("zero_reorder", "ours where low latency is asked for"),
    ("b_as_reference", "ffmpeg sets it only with an option of its own"),
    ("entropy", "ffmpeg's -coder; ours is CAVLC for baseline alone"),
];

#[test]
fn configurations_equal_those_of_ffmpeg_but_where_they_are_meant_to_differ() {
    let base = |codec| Settings { size: SIZE, ..settings(codec) };
    let high = Settings {
        profile: Profile::High,
        quality: Quality::HighLatencyLow,
        bitrate_mode: BitrateMode::VariableHq,
        average_bitrate: 4_000_000,
        max_bitrate: 8_000_000,
        vbv: Some(4_000_000),
        max_b_frames: 2,
        keyframe_interval: 60,
        ..base(Codec::H264)
    };
    let refresh = Settings {
        intra_refresh_period: 30,
        intra_refresh_length: 29,
        slices: 4,
        keyframe_interval: 0,
        ..base(Codec::H264)
    };
    let baseline =
        Settings { profile: Profile::Baseline, quality: Quality::LowLatencyLow, ..base(Codec::H264) };
    let hevc = Settings {
        bitrate_mode: BitrateMode::ConstantHq,
        quality: Quality::LowLatencyHigh,
        ..base(Codec::H265)
    };
    let av1 = Settings {
        bitrate_mode: BitrateMode::Variable,
        max_bitrate: 6_000_000,
        quality: Quality::HighLatencyLow,
        ..base(Codec::Av1)
    };
    let low = ["-tune", "ll", "-rc", "cbr", "-b:v", "2M", "-bf", "0"];
    let cases: [(&Settings, &str, Vec<&str>); 5] = [
        (&refresh, "h264_nvenc", [&low[..], &["-preset", "p4", "-profile:v", "main", "-intra-refresh", "1", "-g", "30", "-slices", "4"]].concat()),
        (&baseline, "h264_nvenc", [&low[..], &["-preset", "p1", "-profile:v", "baseline", "-g", "30"]].concat()),
        (&hevc, "hevc_nvenc", [&low[..], &["-preset", "p7", "-multipass", "qres", "-g", "30"]].concat()),
        (&av1, "av1_nvenc", "-tune hq -preset p1 -rc vbr -multipass disabled -b:v 2M -maxrate 6M -bf 0 -g 30".split(' ').collect()),
        (&high, "h264_nvenc", "-tune hq -preset p1 -profile:v high -rc vbr -multipass fullres -b:v 4M -maxrate 8M -bufsize 4M -bf 2 -g 60".split(' ').collect()),
    ];
    let programs = Double::ffmpegs();
    if programs.is_empty() {
        println!("skipped: no ffmpeg here");
    }
    for (program, (settings, codec, arguments)) in
        programs.iter().flat_map(|program| cases.iter().map(move |case| (program, case)))
    {
        let (Some(theirs), Some(ours)) = (ffmpeg(program, codec, arguments), ours(settings)) else {
            continue;
        };
        let fields = ours.as_object().expect("an object");
        let differ = |name: &&String| {
            theirs[name.as_str()] != ours[name.as_str()] && MEANT.iter().all(|(meant, _)| meant != name)
        };
        let differing: Vec<_> = fields
            .keys()
            .filter(differ)
            .map(|name| format!("{name}: {} here, {} there", ours[name], theirs[name]))
            .collect();
        assert!(differing.is_empty(), "{} {codec} {arguments:?}: {differing:#?}", program.display());
    }
}
