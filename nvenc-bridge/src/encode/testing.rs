//! What the tests of encoders share.

use std::collections::VecDeque;
use std::time::Duration;

use super::{BitrateMode, Codec, EncodedPicture, Encoder, Profile, Quality, Settings};
use crate::picture::{Format, Picture, Rate, Size};
use crate::source::pattern;

/// Plain settings of a small picture.
pub(crate) fn settings() -> Settings {
    Settings {
        codec: Codec::H264,
        profile: Profile::High,
        quality: Quality::LowLatencyMedium,
        size: Size { width: 320, height: 240 },
        rate: Rate { pictures: 30, seconds: 1 },
        aspect: None,
        keyframe_interval: 10,
        max_b_frames: 0,
        intra_refresh_period: 0,
        intra_refresh_length: 0,
        bitrate_mode: BitrateMode::Constant,
        average_bitrate: 1_000_000,
        max_bitrate: 2_000_000,
        vbv: None,
        slices: 1,
    }
}

/// The pattern's pictures of these numbers.
pub(crate) fn pictures(size: Size, numbers: std::ops::Range<u64>) -> impl Iterator<Item = Picture> {
    numbers.map(move |number| {
        let mut data = Vec::new();
        pattern::draw(size, number, &mut data);
        Picture { format: Format::I420, size, data, at: Duration::from_millis(33 * number), number }
    })
}

/// Encodes so many pictures, key pictures where asked, and gives all that came.
pub(crate) fn encode(encoder: &mut dyn Encoder, size: Size, count: u64, keys: &[u64]) -> Vec<EncodedPicture> {
    let mut out = VecDeque::new();
    for picture in pictures(size, 0..count) {
        encoder.encode(&picture, keys.contains(&picture.number), &mut out).unwrap();
    }
    encoder.finish(&mut out).unwrap();
    out.into()
}

/// Types of the NAL units of H.264 in what is behind start codes.
pub(crate) fn nal_types(data: &[u8]) -> Vec<u8> {
    let starts = data.windows(4).filter(|four| four[..3] == [0, 0, 1]);
    starts.map(|four| four[3] & 0x1F).collect()
}

/// Luma of every picture that an installed ffmpeg decodes; `None`, with a line that says so, where there is none.
pub(crate) fn decode(codec: Codec, size: Size, pictures: &[EncodedPicture]) -> Option<Vec<Vec<u8>>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bits");
    let (format, before): (_, &[u8]) = match codec {
        Codec::H264 => ("h264", &[]),
        Codec::H265 => ("hevc", &[]),
        // Files of AV1 need the temporal delimiters that we leave out.
        Codec::Av1 => ("obu", &[0x12, 0x00]),
    };
    let bits: Vec<u8> = pictures.iter().flat_map(|picture| [before, &picture.data].concat()).collect();
    std::fs::write(&path, bits).unwrap();
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "error", "-f", format, "-i"]).arg(&path);
    command.args(["-vsync", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]);
    let Ok(output) = command.output() else {
        eprintln!("there is no ffmpeg to decode with: left out");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    let luma = (size.width * size.height) as usize;
    Some(output.stdout.chunks_exact(luma * 3 / 2).map(|picture| picture[..luma].to_vec()).collect())
}

/// Asserts that what comes is every picture once, in the order in which it is shown, as a decoder sees it.
pub(crate) fn assert_unbroken(codec: Codec, size: Size, pictures: &[EncodedPicture]) {
    let Some(decoded) = decode(codec, size, pictures) else { return };
    let counters: Vec<_> = decoded.iter().map(|luma| pattern::read_counter(size, luma)).collect();
    let expected: Vec<_> = (0..pictures.len() as u32).map(Some).collect();
    assert_eq!(counters, expected);
}

/// Settings that differ in one parameter from those beside them, one for each parameter and value.
pub(crate) fn table(codec: Codec) -> Vec<(&'static str, Settings, Settings)> {
    let base = Settings { codec, ..settings() };
    let variable = Settings { bitrate_mode: BitrateMode::Variable, ..base.clone() };
    let mut table = Vec::new();
    for profile in [Profile::Baseline, Profile::Main] {
        table.push(("profile", base.clone(), Settings { profile, ..base.clone() }));
    }
    for quality in [
        Quality::LowLatencyLow,
        Quality::LowLatencyHigh,
        Quality::HighLatencyLow,
        Quality::HighLatencyHigh,
        Quality::HighLatencyUltraHigh,
    ] {
        table.push(("quality", base.clone(), Settings { quality, ..base.clone() }));
    }
    for bitrate_mode in [BitrateMode::Variable, BitrateMode::ConstantHq, BitrateMode::VariableHq] {
        table.push(("bitratemode", base.clone(), Settings { bitrate_mode, ..base.clone() }));
    }
    table.extend([
        ("fps", base.clone(), Settings { rate: Rate { pictures: 60, seconds: 1 }, ..base.clone() }),
        ("outputaspect", base.clone(), Settings { aspect: Some((16, 9)), ..base.clone() }),
        ("keyframeinterval", base.clone(), Settings { keyframe_interval: 7, ..base.clone() }),
        ("keyframeinterval", base.clone(), Settings { keyframe_interval: 0, ..base.clone() }),
        ("maxbframes", base.clone(), Settings { max_b_frames: 2, ..base.clone() }),
        ("avgbitrate", base.clone(), Settings { average_bitrate: 300_000, ..base.clone() }),
        ("maxbitrate", variable.clone(), Settings { max_bitrate: 1_000_000, ..variable.clone() }),
        ("vbvbufsize", base.clone(), Settings { vbv: Some(2_000_000), ..base.clone() }),
        ("numslices", base.clone(), Settings { slices: 4, ..base.clone() }),
    ]);
    let refresh =
        Settings { intra_refresh_period: 10, intra_refresh_length: 9, keyframe_interval: 0, ..base.clone() };
    table.push((
        "intrarefreshlength",
        refresh.clone(),
        Settings { intra_refresh_length: 4, ..refresh.clone() },
    ));
    table.push(("intrarefreshperiod", base, refresh));
    table
}

/// Asserts that each parameter's each value changes the bits, or is warned of.
pub(crate) fn assert_nothing_is_ignored(codec: Codec, mut open: impl FnMut(&Settings) -> Box<dyn Encoder>) {
    let mut bits = |settings: &Settings| {
        let mut encoder = open(settings);
        let warned: Vec<_> = encoder.warnings().iter().map(|warning| warning.parameter).collect();
        let mut out = VecDeque::new();
        for picture in pictures(settings.size, 0..24) {
            encoder.encode(&with_noise(picture), false, &mut out).unwrap();
        }
        encoder.finish(&mut out).unwrap();
        (out.into_iter().flat_map(|picture| picture.data).collect::<Vec<_>>(), warned)
    };
    for (parameter, base, changed) in table(codec) {
        if codec != Codec::H264 && parameter == "profile" {
            continue;
        }
        let (before, _) = bits(&base);
        let (after, warned) = bits(&changed);
        let honoured = before != after;
        assert!(honoured || warned.contains(&parameter), "{parameter} is ignored: {changed:?}");
    }
}

/// The same picture with noise below the counter, so that bits are scarce.
pub(crate) fn with_noise(mut picture: Picture) -> Picture {
    let mut seed = picture.number as u32 + 1;
    let rows = (picture.size.height / 8 * picture.size.width) as usize;
    let luma = (picture.size.width * picture.size.height) as usize;
    for sample in &mut picture.data[rows..luma] {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *sample = sample.saturating_add((seed >> 27) as u8);
    }
    picture
}
