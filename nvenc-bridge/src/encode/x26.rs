//! What x264 and x265 have in common: the later took its options from the earlier.

use super::shim::Choices;
use super::{BitrateMode, Quality, Settings};

/// From quick to thorough, as far as `quality` and the two-pass modes reach.
const PRESETS: [&str; 8] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"];

/// Preset and look-ahead. A second pass over each picture becomes the next slower preset, with more look-ahead where there is
/// any. Whether pictures are looked ahead at.
pub(super) fn effort(settings: &Settings, choices: &mut Choices) -> bool {
    let (preset, ahead) = match settings.quality {
        Quality::LowLatencyLow => (0, None),
        Quality::LowLatencyMedium => (1, None),
        Quality::LowLatencyHigh => (3, None),
        Quality::HighLatencyLow => (1, Some(10)),
        Quality::HighLatencyHigh => (4, Some(40)),
        Quality::HighLatencyUltraHigh => (6, Some(50)),
    };
    let thorough = matches!(settings.bitrate_mode, BitrateMode::ConstantHq | BitrateMode::VariableHq);
    choices.set("quality", "preset", PRESETS[preset + usize::from(thorough)]);
    match ahead {
        None => choices.set("quality", "tune", "zerolatency"),
        Some(pictures) => {
            choices.set("quality", "rc-lookahead", if thorough { pictures.max(40) } else { pictures });
        }
    }
    if thorough {
        let ahead = if ahead.is_some() { ", rc-lookahead=40 at least" } else { "" };
        choices.mapping.note("bitratemode", format!("the next slower preset{ahead}"));
    }
    ahead.is_some()
}

/// Key pictures, or gradual refresh in their place; `infinite` is what the library calls an interval without an end.
pub(super) fn key_pictures(settings: &Settings, infinite: &str, choices: &mut Choices) {
    choices.fix("open-gop", 0);
    // A cut in the pictures makes no key picture: they come when they are due or asked for.
    choices.fix("scenecut", 0);
    match (settings.intra_refresh_period, settings.keyframe_interval) {
        (0, 0) => choices.set("keyframeinterval", "keyint", infinite),
        (0, interval) => {
            choices.set("keyframeinterval", "keyint", interval);
            choices.set("keyframeinterval", "min-keyint", interval);
        }
        (period, _) => {
            choices.set("intrarefreshperiod", "intra-refresh", 1);
            choices.set("intrarefreshperiod", "keyint", period);
        }
    }
}

/// Bit rates and the decoder's buffer. Whether the mode is a constant one.
pub(super) fn bits(settings: &Settings, choices: &mut Choices) -> bool {
    let kilobits = |bits: u32| bits.div_ceil(1000);
    let constant = matches!(settings.bitrate_mode, BitrateMode::Constant | BitrateMode::ConstantHq);
    let (reason, most) = match constant {
        true => ("bitratemode", settings.average_bitrate),
        false => ("maxbitrate", settings.max_bitrate),
    };
    choices.set("avgbitrate", "bitrate", kilobits(settings.average_bitrate));
    choices.set(reason, "vbv-maxrate", kilobits(most));
    choices.set("vbvbufsize", "vbv-bufsize", kilobits(settings.buffer(most)));
    constant
}

/// Shape of the picture, and its colours as we make them; `range` is the library's option for limited range.
pub(super) fn look(settings: &Settings, range: (&'static str, &str), choices: &mut Choices) {
    let rate = settings.rate;
    choices.mapping.note("fps", format!("fps={}/{}", rate.pictures, rate.seconds));
    if let Some((width, height)) = settings.pixel() {
        choices.set("outputaspect", "sar", format!("{width}:{height}"));
    }
    for name in ["colorprim", "transfer", "colormatrix"] {
        choices.fix(name, "bt709");
    }
    choices.fix(range.0, range.1);
}
