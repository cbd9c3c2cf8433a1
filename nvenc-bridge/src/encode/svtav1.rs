//! AV1 by SVT-AV1.

use super::shim::{Choices, Kind, Library, Shim};
use super::{BitrateMode, Codec, Error, Quality, Settings};

/// What its name is.
pub const NAME: &str = "SVT-AV1";

const KIND: Kind = Kind {
    name: NAME,
    codec: Codec::Av1,
    choose,
    // Versions before 2 make none in a mode with a bit rate.
    forces_keys: false,
    live: &[],
    library: Library::svtav1,
};

/// Opens an encoder.
///
/// # Errors
/// As [`Kind::open`].
pub fn open(settings: &Settings) -> Result<Shim, Error> {
    KIND.open(settings)
}

/// What SVT-AV1 is given.
pub fn choose(settings: &Settings) -> Choices {
    let mut choices = Choices::default();
    let low = settings.quality.is_low_latency();
    // Every picture from those before it, or from those after it as well.
    let structure = if low { 1 } else { 2 };
    let thorough = matches!(settings.bitrate_mode, BitrateMode::ConstantHq | BitrateMode::VariableHq);
    let preset = match settings.quality {
        Quality::LowLatencyLow => 13,
        Quality::LowLatencyMedium | Quality::HighLatencyLow => 12,
        Quality::LowLatencyHigh => 10,
        Quality::HighLatencyHigh => 8,
        Quality::HighLatencyUltraHigh => 6,
    };
    choices.set("quality", "preset", preset - i32::from(thorough));
    choices.set("quality", "pred-struct", structure);
    if low {
        choices.warn(
            "quality",
            "SVT-AV1 gives each picture when the next is handed in: one picture more of latency",
        );
    }
    if thorough {
        choices.mapping.note("bitratemode", "the next slower preset");
    }
    bits(settings, low, &mut choices);
    key_pictures(settings, &mut choices);
    if settings.max_b_frames > 0 {
        let message = if low {
            "the low-latency qualities of SVT-AV1 refer to no later pictures: there are none"
        } else {
            "SVT-AV1 chooses itself how many pictures refer to later ones"
        };
        choices.warn("maxbframes", message);
    }
    // Half of the tiles' exponent each way, columns first: they are the quicker to decode.
    let tiles = settings.slices.max(1).ilog2();
    choices.set("numslices", "tile-columns", tiles.div_ceil(2));
    choices.set("numslices", "tile-rows", tiles / 2);
    let rate = settings.rate;
    choices.mapping.note("fps", format!("frame_rate {}/{}", rate.pictures, rate.seconds));
    if settings.aspect.is_some() {
        choices.warn("outputaspect", "AV1 has no shape of pixels: players show them square");
    }
    for (name, value) in [
        ("color-primaries", "1"),
        ("transfer-characteristics", "1"),
        ("matrix-coefficients", "1"),
        ("color-range", "0"),
    ] {
        choices.fix(name, value);
    }
    choices
}

fn key_pictures(settings: &Settings, choices: &mut Choices) {
    let mut interval = settings.keyframe_interval;
    if settings.intra_refresh_period > 0 {
        interval = settings.intra_refresh_period;
        let message =
            format!("{NAME} cannot refresh gradually: a whole key picture comes every {interval} pictures");
        choices.warn("intrarefreshperiod", message);
        choices.warn("intrarefreshlength", format!("{NAME} cannot refresh gradually"));
    }
    choices.set("keyframeinterval", "keyint", if interval == 0 { -1 } else { i64::from(interval) });
    choices.fix("irefresh-type", 2);
    choices.fix("scd", 0);
}

fn bits(settings: &Settings, low: bool, choices: &mut Choices) {
    let constant = matches!(settings.bitrate_mode, BitrateMode::Constant | BitrateMode::ConstantHq);
    // Its constant mode is for pictures that refer to earlier ones alone, its variable mode for the others.
    let (mode, name) = if low { (2, "constant") } else { (1, "variable") };
    choices.set("bitratemode", "rc", mode);
    if constant != low {
        let order = if low { "low" } else { "high" };
        choices.warn(
            "bitratemode",
            format!("{NAME} has the {name} mode alone with the {order}-latency qualities"),
        );
    }
    choices.set("avgbitrate", "tbr", settings.average_bitrate.div_ceil(1000));
    if !constant {
        choices.warn("maxbitrate", format!("{NAME} has no maximum beside its average"));
    }
    if settings.vbv.is_some() && low {
        let millis = u64::from(settings.buffer(settings.average_bitrate)) * 1000
            / u64::from(settings.average_bitrate.max(1));
        choices.set("vbvbufsize", "buf-sz", millis.clamp(20, 10_000));
    } else if settings.vbv.is_some() {
        choices.warn("vbvbufsize", format!("{NAME} has such a buffer with the low-latency qualities alone"));
    }
}
