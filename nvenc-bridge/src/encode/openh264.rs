//! H.264 by openh264, which is built in: always there, quick, without B-pictures, gradual refresh or look-ahead.

#[allow(unsafe_code, reason = "openh264 is a library in C++ behind a table of functions")]
mod raw;

use std::collections::VecDeque;
use std::time::Instant;

use super::mapping::Mapping;
use super::{BitrateMode, EncodedPicture, Encoder, Error, Profile, Quality, Settings, Warning};
use crate::convert;
use crate::picture::{Picture, Rate, Size};

/// What its name is.
pub const NAME: &str = "openh264";
/// Threads at most, as the library has it.
const THREADS: u32 = 4;
/// Slices at most, as the library has it.
const SLICES: u32 = 35;

/// Effort for each picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complexity {
    Low,
    Medium,
    High,
}

/// What the library is given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    size: Size,
    rate: Rate,
    profile: Profile,
    complexity: Complexity,
    /// Whether the quality of pictures stands before the bits of each.
    variable: bool,
    bitrate: i32,
    max_bitrate: i32,
    intra_period: u32,
    slices: u32,
    threads: u16,
    /// Shape of a pixel, where it is not square.
    pixel: Option<(u16, u16)>,
}

/// An encoder that is open.
pub struct Openh264 {
    raw: raw::Raw,
    settings: Settings,
    warnings: Vec<Warning>,
    scratch: Vec<u8>,
}

/// What becomes of these settings.
pub fn mapping(settings: &Settings) -> Mapping {
    configure(settings).1
}

/// Opens an encoder of H.264, whatever codec the settings name: [`Software`](super::software::Software) looks at that.
///
/// # Errors
/// Where the library refuses.
pub fn open(settings: &Settings) -> Result<Openh264, Error> {
    let (config, mapping) = configure(settings);
    let raw = raw::Raw::open(&config)?;
    let mut warnings = mapping.warnings;
    let slices = raw.slices()?;
    if slices != config.slices {
        let message = format!("{NAME} makes {slices} of pictures of this size, not {}", config.slices);
        warnings.push(Warning { parameter: "numslices", message });
    }
    Ok(Openh264 { raw, settings: settings.clone(), warnings, scratch: Vec::new() })
}

fn configure(settings: &Settings) -> (Config, Mapping) {
    let mut mapping = Mapping::default();
    let complexity = match settings.quality {
        Quality::LowLatencyLow => Complexity::Low,
        Quality::LowLatencyMedium => Complexity::Medium,
        Quality::LowLatencyHigh => Complexity::High,
        Quality::HighLatencyLow => Complexity::Low,
        Quality::HighLatencyHigh | Quality::HighLatencyUltraHigh => Complexity::High,
    };
    let background = u8::from(complexity != Complexity::High);
    mapping
        .note("quality", format!("iComplexityMode {complexity:?}, bEnableBackgroundDetection {background}"));
    if !settings.quality.is_low_latency() {
        mapping.warn(
            "quality",
            format!("{NAME} never looks ahead: this is as low-latency, with effort {complexity:?}"),
        );
    }
    let (idc, cabac) = match settings.profile {
        Profile::Baseline => (66, false),
        Profile::Main => (77, true),
        Profile::High => (100, true),
    };
    mapping.note("profile", format!("uiProfileIdc {idc}, iEntropyCodingModeFlag {}", u8::from(cabac)));

    let variable = matches!(settings.bitrate_mode, BitrateMode::Variable | BitrateMode::VariableHq);
    mapping.note("bitratemode", if variable { "RC_QUALITY_MODE" } else { "RC_BITRATE_MODE" });
    if matches!(settings.bitrate_mode, BitrateMode::ConstantHq | BitrateMode::VariableHq) {
        let plain = if variable { "variable" } else { "constant" };
        mapping.warn("bitratemode", format!("{NAME} has one pass over each picture: this is as {plain}"));
    }
    let bits = |bits: u32| i32::try_from(bits).unwrap_or(i32::MAX);
    mapping.note("avgbitrate", format!("iTargetBitrate {}", settings.average_bitrate));
    // With a maximum that is the average, the library stays below both.
    let max_bitrate = if variable { bits(settings.max_bitrate) } else { 0 };
    mapping.note("maxbitrate", format!("iMaxBitrate {max_bitrate}"));
    if settings.vbv.is_some() {
        mapping.warn(
            "vbvbufsize",
            format!("{NAME} has no such buffer: bitratemode and maxbitrate alone bound its bits"),
        );
    }

    let mut intra_period = settings.keyframe_interval;
    if settings.intra_refresh_period > 0 {
        intra_period = settings.intra_refresh_period;
        let message = format!(
            "{NAME} cannot refresh gradually: a whole key picture comes every {intra_period} pictures"
        );
        mapping.warn("intrarefreshperiod", message);
        mapping.warn("intrarefreshlength", format!("{NAME} cannot refresh gradually"));
    }
    mapping.note("keyframeinterval", format!("uiIntraPeriod {intra_period}"));
    if settings.max_b_frames > 0 {
        mapping.warn("maxbframes", format!("{NAME} makes no B-pictures: there are none"));
    }
    let slices = settings.slices.clamp(1, SLICES);
    let threads = slices.min(THREADS) as u16;
    mapping.note(
        "numslices",
        format!("SM_FIXEDSLCNUM_SLICE, uiSliceNum {slices}, iMultipleThreadIdc {threads}"),
    );
    let Rate { pictures, seconds } = settings.rate;
    mapping.note("fps", format!("fMaxFrameRate {pictures}/{seconds}"));
    let pixel = settings.pixel();
    if let Some((width, height)) = pixel {
        mapping.note("outputaspect", format!("pixels of {width}:{height}"));
    }
    let config = Config {
        size: settings.size,
        rate: settings.rate,
        profile: settings.profile,
        complexity,
        variable,
        bitrate: bits(settings.average_bitrate),
        max_bitrate,
        intra_period,
        slices,
        threads,
        pixel,
    };
    (config, mapping)
}

impl Encoder for Openh264 {
    fn name(&self) -> &str {
        NAME
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn encode(
        &mut self,
        picture: &Picture,
        key: bool,
        out: &mut VecDeque<EncodedPicture>,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let size = self.settings.size;
        let data = convert::i420(picture, size, &mut self.scratch);
        let data = data.map_err(|error| Error::Failed(format!("{NAME}: {error}")))?;
        if key {
            self.raw.force_key()?;
        }
        let mut bits = Vec::new();
        let key = self.raw.encode(size, data, picture.at, &mut bits)?;
        if !bits.is_empty() {
            let (at, number) = (picture.at, picture.number);
            out.push_back(EncodedPicture { data: bits, key, at, number, took: begun.elapsed() });
        }
        Ok(())
    }

    fn change(&mut self, settings: &Settings) -> Result<(), Error> {
        let (config, mapping) = configure(settings);
        self.raw.change(&config)?;
        self.settings = settings.clone();
        self.warnings = mapping.warnings;
        Ok(())
    }

    fn finish(&mut self, _: &mut VecDeque<EncodedPicture>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
