//! Each parameter, with each of its values, in its field of the driver's log, or with a warning.

use nvenc_bridge::encode::nvenc::mapping::foreseen;
use nvenc_bridge::encode::{BitrateMode, Codec, Encoder, Profile, Quality, Settings};
use nvenc_bridge::picture::{Format, Rate, Size};
use nvenc_double::Double;
use serde_json::{Value, json};

use crate::desk::{clean, open, settings};

const CODECS: [Codec; 3] = [Codec::H264, Codec::H265, Codec::Av1];
const SIZE: Size = Size { width: 1280, height: 720 };

/// What the driver was asked, and the parameters of which there are warnings.
fn asked(script: &str, settings: &Settings) -> Option<(Value, Vec<&'static str>)> {
    let double = Double::new(script).unwrap()?;
    let encoder = open(&double, settings, Format::Nv12).unwrap();
    let warnings = encoder.warnings().iter().map(|warning| warning.parameter).collect();
    // What people are told is what would be told without a session, and what the driver was asked.
    let mapping = encoder.mapping();
    assert_eq!(mapping.becomes.len(), 14);
    let told = foreseen(settings, encoder.caps());
    if script != "uhq 0" {
        assert_eq!(told, mapping);
    }
    drop(encoder);
    clean(&double);
    Some((double.calls("initialize").swap_remove(0), warnings))
}

fn expect(script: &str, settings: &Settings, fields: Value, warnings: &[&str]) {
    let Some((log, warned)) = asked(script, settings) else { return };
    for (name, value) in fields.as_object().expect("an object") {
        assert_eq!(&log[name], value, "{name} of {settings:?} with {script:?}");
    }
    assert_eq!(warned, warnings, "warnings of {settings:?} with {script:?}");
}

fn base(codec: Codec) -> Settings {
    Settings { size: SIZE, ..settings(codec) }
}

#[test]
fn videocodec_and_profile() {
    for (codec, profile, name, warnings) in [
        (Codec::H264, Profile::Baseline, "baseline", &[][..]),
        (Codec::H264, Profile::Main, "main", &[]),
        (Codec::H264, Profile::High, "high", &[]),
        (Codec::H265, Profile::Main, "hevc main", &[]),
        (Codec::H265, Profile::Baseline, "hevc main", &["profile"]),
        (Codec::H265, Profile::High, "hevc main", &["profile"]),
        (Codec::Av1, Profile::Main, "av1 main", &[]),
        (Codec::Av1, Profile::High, "av1 main", &["profile"]),
    ] {
        let entropy = if profile == Profile::Baseline && codec == Codec::H264 { 2 } else { 0 };
        let label = match codec {
            Codec::H264 => "h264",
            Codec::H265 => "hevc",
            Codec::Av1 => "av1",
        };
        expect(
            "",
            &Settings { profile, ..base(codec) },
            json!({"codec": label, "profile": name, "entropy": entropy}),
            warnings,
        );
    }
}

#[test]
fn quality() {
    use Quality::*;
    for (quality, preset, tuning, lookahead) in [
        (LowLatencyLow, 1, 2, 0),
        (LowLatencyMedium, 4, 2, 0),
        (LowLatencyHigh, 7, 2, 0),
        (HighLatencyLow, 1, 1, 0),
        (HighLatencyHigh, 6, 1, 16),
        (HighLatencyUltraHigh, 7, 5, 28),
    ] {
        for codec in CODECS {
            let wanted = Settings { quality, ..base(codec) };
            let tuning = if codec == Codec::H264 { tuning.min(1 + u8::from(tuning == 2)) } else { tuning };
            let high = lookahead > 0;
            let fields = json!({
                "preset": preset, "tuning": tuning, "lookahead": lookahead, "lookahead_on": u8::from(high), "aq": u8::from(high),
                "temporal_aq": u8::from(quality == HighLatencyUltraHigh), "zero_reorder": u8::from(tuning == 2), "filter": 0,
            });
            // What presets of high quality turn on of themselves is the driver's to know.
            let fields = if quality == HighLatencyLow {
                json!({"preset": preset, "tuning": tuning, "lookahead": 0})
            } else {
                fields
            };
            expect("", &wanted, fields, &[]);
        }
    }
    let ultra = Settings { quality: HighLatencyUltraHigh, ..base(Codec::Av1) };
    expect("uhq 0", &ultra, json!({"tuning": 1, "preset": 7}), &["quality"]);
    expect("cap 37 0", &ultra, json!({"lookahead": 0, "lookahead_on": 0}), &["quality"]);
    let most = Settings { max_b_frames: 4, ..ultra };
    expect("", &most, json!({"interval": 5, "lookahead": 27}), &[]);
    let filtered = Settings { codec: Codec::H265, profile: Profile::Main, ..most };
    expect("", &filtered, json!({"filter": 4}), &[]);
}

#[test]
fn keyframeinterval() {
    for codec in CODECS {
        for (interval, gop) in [(0, u32::MAX), (1, 1), (30, 30), (600, 600)] {
            let wanted = Settings { keyframe_interval: interval, ..base(codec) };
            expect("", &wanted, json!({"gop": gop, "idr": gop, "repeat": 1}), &[]);
        }
    }
}

#[test]
fn maxbframes() {
    for codec in CODECS {
        for (b, interval, warnings) in [(0, 1, &[][..]), (1, 2, &[]), (4, 5, &[]), (5, 5, &["maxbframes"])] {
            let wanted = Settings { max_b_frames: b, quality: Quality::HighLatencyLow, ..base(codec) };
            expect("", &wanted, json!({"interval": interval}), warnings);
        }
        expect(
            "cap 0 0",
            &Settings { max_b_frames: 2, ..base(codec) },
            json!({"interval": 1, "b_as_reference": 0}),
            &["maxbframes"],
        );
        let short = Settings { max_b_frames: 4, keyframe_interval: 3, ..base(codec) };
        expect("", &short, json!({"interval": 3, "gop": 3}), &["maxbframes"]);
        // B-pictures wait for others, whatever the latency asked for.
        expect(
            "",
            &Settings { max_b_frames: 2, ..base(codec) },
            json!({"interval": 3, "zero_reorder": 0}),
            &[],
        );
    }
    let baseline = Settings { max_b_frames: 2, profile: Profile::Baseline, ..base(Codec::H264) };
    expect("", &baseline, json!({"interval": 1}), &["maxbframes"]);
}

#[test]
fn intrarefreshperiod_and_intrarefreshlength() {
    for codec in CODECS {
        let with = |period, length, interval| Settings {
            intra_refresh_period: period,
            intra_refresh_length: length,
            keyframe_interval: interval,
            ..base(codec)
        };
        let on = |period: u32, length: u32| {
            let bit = u8::from(codec != Codec::Av1);
            json!({"refresh": 1, "refresh_period": period, "refresh_count": length, "gop": u32::MAX, "idr": u32::MAX, "recovery": bit, "single_slice": bit})
        };
        let off =
            json!({"refresh": 0, "refresh_period": 0, "refresh_count": 0, "recovery": 0, "single_slice": 0});
        expect("", &with(0, 0, 30), off.clone(), &[]);
        expect("", &with(30, 10, 0), on(30, 10), &[]);
        expect("", &with(30, 10, 60), on(30, 10), &["keyframeinterval"]);
        expect("", &with(30, 30, 0), on(30, 29), &["intrarefreshlength"]);
        expect("", &with(30, 0, 30), off.clone(), &["intrarefreshperiod"]);
        expect("", &with(0, 10, 30), off.clone(), &["intrarefreshlength"]);
        expect("", &with(1, 1, 30), off.clone(), &["intrarefreshperiod"]);
        expect("cap 25 0", &with(30, 10, 30), off, &["intrarefreshperiod"]);
        expect("cap 50 0", &with(30, 10, 0), json!({"refresh": 1, "single_slice": 0}), &[]);
        let b = Settings { max_b_frames: 2, ..with(30, 10, 0) };
        expect("", &b, json!({"refresh": 1, "interval": 1}), &["maxbframes"]);
    }
    let sliced = Settings {
        intra_refresh_period: 30,
        intra_refresh_length: 10,
        slices: 4,
        keyframe_interval: 0,
        ..base(Codec::H264)
    };
    expect("", &sliced, json!({"single_slice": 0, "slices": 4}), &[]);
}

#[test]
fn bitratemode_avgbitrate_and_maxbitrate() {
    use BitrateMode::*;
    for codec in CODECS {
        for (mode, latency, number, passes) in [
            (Constant, Quality::LowLatencyMedium, 2, 0),
            (Variable, Quality::LowLatencyMedium, 1, 0),
            (ConstantHq, Quality::LowLatencyMedium, 2, 1),
            (VariableHq, Quality::LowLatencyMedium, 1, 1),
            (ConstantHq, Quality::HighLatencyLow, 2, 2),
            (VariableHq, Quality::HighLatencyLow, 1, 2),
            (Constant, Quality::HighLatencyLow, 2, 0),
            (Variable, Quality::HighLatencyLow, 1, 0),
        ] {
            let constant = number == 2;
            let wanted = Settings {
                bitrate_mode: mode,
                quality: latency,
                average_bitrate: 3_000_000,
                max_bitrate: 5_000_000,
                ..base(codec)
            };
            let maximum = if constant { 3_000_000 } else { 5_000_000 };
            let warnings: &[_] = if constant { &["maxbitrate"] } else { &[] };
            expect(
                "",
                &wanted,
                json!({"mode": number, "passes": passes, "average": 3_000_000, "maximum": maximum}),
                warnings,
            );
        }
        let less = Settings {
            bitrate_mode: Variable,
            average_bitrate: 3_000_000,
            max_bitrate: 1_000_000,
            ..base(codec)
        };
        expect("", &less, json!({"average": 3_000_000, "maximum": 3_000_000}), &["maxbitrate"]);
        let most = Settings { average_bitrate: 4_000_000_000, ..base(codec) };
        expect("", &most, json!({"average": 4_000_000_000_u32}), &[]);
    }
}

#[test]
fn forcevbvbufsize_and_vbvbufsize() {
    for codec in CODECS {
        let with = |vbv, quality| Settings { vbv, quality, ..base(codec) };
        let fields = |vbv: u32| json!({"vbv": vbv, "vbv_initial": vbv});
        // 2 Mb/s at 30 pictures a second.
        expect("", &with(None, Quality::LowLatencyHigh), fields(66_666), &[]);
        expect("", &with(None, Quality::HighLatencyLow), fields(0), &[]);
        expect("", &with(Some(4_000_000), Quality::LowLatencyHigh), fields(4_000_000), &[]);
        expect("", &with(Some(4_000_000), Quality::HighLatencyHigh), fields(4_000_000), &[]);
        expect("cap 26 0", &with(Some(4_000_000), Quality::LowLatencyHigh), fields(0), &["vbvbufsize"]);
        expect("cap 26 0", &with(None, Quality::LowLatencyHigh), fields(0), &[]);
    }
}

#[test]
fn numslices() {
    for codec in [Codec::H264, Codec::H265] {
        for slices in [1, 2, 5, 8] {
            expect("", &Settings { slices, ..base(codec) }, json!({"slice_mode": 3, "slices": slices}), &[]);
        }
    }
    expect("", &Settings { slices: 99, ..base(Codec::H264) }, json!({"slices": 45}), &["numslices"]);
    expect("", &Settings { slices: 99, ..base(Codec::H265) }, json!({"slices": 23}), &["numslices"]);
    for (slices, tiles, warnings) in [
        (1, [1, 1], &[][..]),
        (2, [1, 2], &[]),
        (3, [1, 2], &["numslices"]),
        (8, [1, 8], &[]),
        (32, [4, 8], &[]),
        (64, [4, 8], &["numslices"]),
    ] {
        expect("", &Settings { slices, ..base(Codec::Av1) }, json!({"tiles": tiles}), warnings);
    }
}

#[test]
fn fps_resolution_and_aspect() {
    for codec in CODECS {
        let television = Settings { rate: Rate { pictures: 30_000, seconds: 1001 }, ..base(codec) };
        expect("", &television, json!({"rate": [30_000, 1001], "vbv": 66_733}), &[]);
        let fields =
            json!({"width": 1280, "height": 720, "max_width": 1280, "max_height": 720, "dar": [1280, 720]});
        expect("", &base(codec), fields, &[]);
        expect("", &Settings { aspect: Some((4, 3)), ..base(codec) }, json!({"dar": [4, 3]}), &[]);
        // BT.709 in its narrow range, whatever the codec.
        expect(
            "",
            &base(codec),
            json!({"colours": [1, 1, 1], "full_range": 0, "described": 1, "depth": 8}),
            &[],
        );
    }
}
