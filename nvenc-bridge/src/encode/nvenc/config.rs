//! From settings to NVENC's configuration: each setting in its field, or a warning.
//!
//! The preset's configuration comes from the driver, and only what a setting says is changed in it.

use super::abi::{
    Av1Config, Config, Guid, H264Config, HevcConfig, Initialize, Plain, Vui, av1, h264, hevc, multi_pass,
    preset, profile, rate_control, tuning,
};
use super::caps::{self, Caps};
use crate::encode::{BitrateMode, Codec, Profile, Quality, Settings, Warning};

/// A preset and what it is tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Speed against quality.
    pub preset: Guid,
    /// [`tuning`].
    pub tuning: u32,
    /// What to use where the card does not have the tuning.
    pub otherwise: Option<u32>,
    /// Pictures that are looked at ahead.
    lookahead: u16,
    spatial_aq: bool,
    temporal_aq: bool,
}

/// What `quality` becomes.
#[must_use]
pub fn preset(settings: &Settings) -> Preset {
    let low = |preset| Preset {
        preset,
        tuning: tuning::LOW_LATENCY,
        otherwise: None,
        lookahead: 0,
        spatial_aq: false,
        temporal_aq: false,
    };
    let high = |preset, lookahead| Preset { tuning: tuning::HIGH_QUALITY, lookahead, ..low(preset) };
    match settings.quality {
        Quality::LowLatencyLow => low(preset::P1),
        Quality::LowLatencyMedium => low(preset::P4),
        Quality::LowLatencyHigh => low(preset::P7),
        Quality::HighLatencyLow => high(preset::P1, 0),
        Quality::HighLatencyHigh => Preset { spatial_aq: true, ..high(preset::P6, 16) },
        Quality::HighLatencyUltraHigh => {
            // H.264 has no tuning above high quality.
            let above = settings.codec != Codec::H264;
            Preset {
                tuning: if above { tuning::ULTRA_HIGH_QUALITY } else { tuning::HIGH_QUALITY },
                otherwise: above.then_some(tuning::HIGH_QUALITY),
                spatial_aq: true,
                temporal_aq: true,
                ..high(preset::P7, 28)
            }
        }
    }
}

/// A session's configuration.
pub struct Plan {
    /// All but the codec's part. Its pointer to [`Plan::config`] is left for the call.
    pub initialize: Initialize,
    /// The codec's part, and rate control.
    pub config: Config,
    /// Pictures that the encoder keeps back at most: those looked at ahead, and B-pictures.
    pub kept: usize,
    /// B-pictures in a row.
    pub b_frames: usize,
    /// What is done otherwise than asked.
    pub warnings: Vec<Warning>,
}

struct Planner<'a> {
    settings: &'a Settings,
    caps: &'a Caps,
    warnings: Vec<Warning>,
}

/// Decides everything. `base` is the driver's configuration of the preset under the tuning that it took, `ten_bit` the depth of
/// the pictures.
#[must_use]
pub fn plan(
    settings: &Settings,
    caps: &Caps,
    ten_bit: bool,
    preset: &Preset,
    tuned: u32,
    base: Config,
) -> Plan {
    let mut planner = Planner { settings, caps, warnings: Vec::new() };
    if tuned != preset.tuning {
        planner.warn(
            "quality",
            "this card has no ultra-high quality for this codec: high quality is used".to_owned(),
        );
    }
    let mut config = base;
    config.version = Config::VERSION;
    config.profile = planner.profile(ten_bit);
    let refresh = planner.refresh();
    let b_frames = planner.b_frames(refresh.is_some());
    let gop = planner.gop(refresh.is_some());
    config.gop_length = gop;
    config.p_interval = b_frames as i32 + 1;
    let lookahead = planner.lookahead(preset, b_frames);
    planner.rate_control(&mut config, preset, lookahead, b_frames);
    let codec =
        Coding { gop, refresh, b_frames, depth: if ten_bit { 10 } else { 8 }, slices: planner.slices() };
    match settings.codec {
        Codec::H264 => planner.h264(config.codec.h264(), &codec),
        Codec::H265 => planner.hevc(config.codec.hevc(), &codec),
        Codec::Av1 => planner.av1(config.codec.av1(), &codec),
    }
    Plan {
        initialize: initialize(settings, preset.preset, tuned),
        config,
        kept: usize::from(lookahead) + b_frames as usize,
        b_frames: b_frames as usize,
        warnings: planner.warnings,
    }
}

fn initialize(settings: &Settings, preset: Guid, tuned: u32) -> Initialize {
    let (width, height) = (settings.size.width, settings.size.height);
    let (dar_width, dar_height) = settings.aspect.unwrap_or((width, height));
    let mut initialize = Initialize::zeroed();
    initialize.version = Initialize::VERSION;
    initialize.codec = caps::guid(settings.codec);
    initialize.preset = preset;
    initialize.tuning = tuned;
    (initialize.width, initialize.height) = (width, height);
    (initialize.max_width, initialize.max_height) = (width, height);
    (initialize.dar_width, initialize.dar_height) = (dar_width, dar_height);
    initialize.rate_numerator = settings.rate.pictures;
    initialize.rate_denominator = settings.rate.seconds;
    initialize.decides_types = 1;
    initialize
}

/// Decisions that the codecs write into fields of their own.
struct Coding {
    gop: u32,
    /// Period and length.
    refresh: Option<(u32, u32)>,
    b_frames: u32,
    depth: u32,
    slices: u32,
}

impl Planner<'_> {
    fn warn(&mut self, parameter: &'static str, message: String) {
        self.warnings.push(Warning { parameter, message });
    }

    fn profile(&mut self, ten_bit: bool) -> Guid {
        let wanted = self.settings.profile;
        if self.settings.codec != Codec::H264 && wanted != Profile::Main {
            self.warn(
                "profile",
                "the menu is H.264's: H.265 and AV1 are coded in their main profile".to_owned(),
            );
        }
        match (self.settings.codec, wanted) {
            (Codec::H264, Profile::Baseline) => profile::H264_BASELINE,
            (Codec::H264, Profile::Main) => profile::H264_MAIN,
            (Codec::H264, Profile::High) => profile::H264_HIGH,
            (Codec::H265, _) if ten_bit => profile::HEVC_MAIN10,
            (Codec::H265, _) => profile::HEVC_MAIN,
            (Codec::Av1, _) => profile::AV1_MAIN,
        }
    }

    fn refresh(&mut self) -> Option<(u32, u32)> {
        let (period, length) = (self.settings.intra_refresh_period, self.settings.intra_refresh_length);
        match (period, length) {
            (0, 0) => return None,
            (0, _) => {
                self.warn(
                    "intrarefreshlength",
                    "without intrarefreshperiod there is no refresh: set both".to_owned(),
                );
                return None;
            }
            (1, _) => {
                self.warn(
                    "intrarefreshperiod",
                    "a refresh takes one picture at least, and fewer than the period: set 2 or more"
                        .to_owned(),
                );
                return None;
            }
            (_, 0) => {
                self.warn(
                    "intrarefreshperiod",
                    "without intrarefreshlength there is no refresh: set both".to_owned(),
                );
                return None;
            }
            _ => {}
        }
        if !self.caps.intra_refresh {
            self.warn(
                "intrarefreshperiod",
                "this card has no intra-refresh for this codec: key pictures come at the keyframe interval"
                    .to_owned(),
            );
            return None;
        }
        if self.settings.keyframe_interval > 0 {
            self.warn(
                "keyframeinterval",
                "intra-refresh takes the place of regular key pictures: one comes only when asked for"
                    .to_owned(),
            );
        }
        let longest = period - 1;
        if length > longest {
            self.warn(
                "intrarefreshlength",
                format!("must be less than intrarefreshperiod: {longest} is used"),
            );
        }
        Some((period, length.min(longest)))
    }

    fn b_frames(&mut self, refresh: bool) -> u32 {
        let wanted = self.settings.max_b_frames;
        let baseline = self.settings.codec == Codec::H264 && self.settings.profile == Profile::Baseline;
        let interval = self.settings.keyframe_interval;
        let limits = [
            (refresh, 0, "intra-refresh excludes them"),
            (baseline, 0, "the baseline profile has none"),
            // A GOP holds an I-picture and one row of them at least.
            (
                interval > 0 && !refresh,
                interval.saturating_sub(1),
                "the keyframe interval leaves no room for more",
            ),
            (true, self.caps.max_b_frames, "this card makes no more in a row for this codec"),
        ];
        let mut allowed = wanted;
        for (applies, limit, why) in limits {
            if applies && allowed > limit {
                allowed = limit;
                self.warn("maxbframes", format!("{limit} instead of {wanted}: {why}"));
            }
        }
        allowed
    }

    fn gop(&self, refresh: bool) -> u32 {
        match self.settings.keyframe_interval {
            _ if refresh => Config::INFINITE,
            0 => Config::INFINITE,
            interval => interval,
        }
    }

    fn lookahead(&mut self, preset: &Preset, b_frames: u32) -> u16 {
        if preset.lookahead == 0 {
            return 0;
        }
        if !self.caps.lookahead {
            self.warn("quality", "this card does not look ahead: pictures are coded as they come".to_owned());
            return 0;
        }
        // The driver keeps 32 pictures at most, B-pictures and the one in work among them.
        preset.lookahead.min(31u16.saturating_sub(b_frames as u16))
    }

    fn rate_control(&mut self, config: &mut Config, preset: &Preset, lookahead: u16, b_frames: u32) {
        let low_latency = preset.tuning == tuning::LOW_LATENCY;
        let settings = self.settings;
        let (constant, passes) = match settings.bitrate_mode {
            BitrateMode::Constant => (true, multi_pass::DISABLED),
            BitrateMode::Variable => (false, multi_pass::DISABLED),
            BitrateMode::ConstantHq => (true, two_passes(low_latency)),
            BitrateMode::VariableHq => (false, two_passes(low_latency)),
        };
        let (average, maximum) = (settings.average_bitrate, self.maximum(constant));
        let vbv = self.vbv(low_latency);
        let temporal_aq = preset.temporal_aq && self.caps.temporal_aq;
        let rate = &mut config.rate_control;
        rate.mode = if constant { rate_control::CBR } else { rate_control::VBR };
        rate.multi_pass = passes;
        (rate.average_bitrate, rate.max_bitrate) = (average, maximum);
        (rate.vbv_size, rate.vbv_initial) = (vbv, vbv);
        rate.lookahead_depth = lookahead;
        if lookahead == 0 {
            rate.lookahead_level = 0;
        }
        // The preset turns it on where it is worth its time.
        let spatial_aq = preset.spatial_aq || rate.flags & rate_control::ENABLE_AQ != 0;
        for (bit, on) in [
            (rate_control::ENABLE_LOOKAHEAD, lookahead > 0),
            (rate_control::ENABLE_AQ, spatial_aq),
            (rate_control::ENABLE_TEMPORAL_AQ, temporal_aq),
            (rate_control::ZERO_REORDER_DELAY, low_latency && b_frames == 0),
        ] {
            set(&mut rate.flags, bit, on);
        }
    }

    fn maximum(&mut self, constant: bool) -> u32 {
        let (average, maximum) = (self.settings.average_bitrate, self.settings.max_bitrate);
        if constant {
            if maximum != average && maximum != 0 {
                self.warn(
                    "maxbitrate",
                    "a constant rate is its own maximum: set bitratemode to variable or variablehq for one"
                        .to_owned(),
                );
            }
            return average;
        }
        if maximum != 0 && maximum < average {
            self.warn("maxbitrate", "is less than avgbitrate, which is used instead".to_owned());
        }
        maximum.max(average)
    }

    /// Bits; 0 leaves them to the driver.
    fn vbv(&mut self, low_latency: bool) -> u32 {
        let settings = self.settings;
        if !self.caps.custom_vbv {
            if settings.vbv.is_some() {
                self.warn("vbvbufsize", "this card chooses its own for this codec".to_owned());
            }
            return 0;
        }
        // One picture's share: then no picture takes much longer on its way than another.
        let share = || {
            u64::from(settings.average_bitrate) * u64::from(settings.rate.seconds)
                / u64::from(settings.rate.pictures.max(1))
        };
        match settings.vbv {
            Some(bits) => bits,
            None if low_latency => u32::try_from(share()).unwrap_or(u32::MAX),
            None => 0,
        }
    }

    fn slices(&mut self) -> u32 {
        let wanted = self.settings.slices.max(1);
        // A row of blocks each: 16 pixels of H.264, 32 of HEVC, whose units may be so large.
        let rows = match self.settings.codec {
            Codec::H264 => self.settings.size.height.div_ceil(16),
            Codec::H265 => self.settings.size.height.div_ceil(32),
            Codec::Av1 => return wanted,
        };
        if wanted > rows {
            self.warn(
                "numslices",
                format!("{rows} instead of {wanted}: a slice is a row of blocks at least"),
            );
        }
        wanted.min(rows)
    }

    fn h264(&self, fields: &mut H264Config, coding: &Coding) {
        fields.idr_period = coding.gop;
        (fields.slice_mode, fields.slice_data) = (h264::SLICES_COUNTED, coding.slices);
        fields.chroma_format = 1;
        (fields.output_depth, fields.input_depth) = (coding.depth, coding.depth);
        let baseline = self.settings.profile == Profile::Baseline;
        fields.entropy_coding = if baseline { h264::ENTROPY_CAVLC } else { h264::ENTROPY_AUTO };
        if coding.b_frames < 2 {
            fields.b_as_reference = 0;
        }
        let (period, length) = coding.refresh.unwrap_or_default();
        (fields.intra_refresh_period, fields.intra_refresh_count) = (period, length);
        let single = self.caps.single_slice_intra_refresh && coding.slices == 1;
        for (bit, on) in [
            (h264::REPEAT_PARAMETER_SETS, true),
            (h264::ENABLE_INTRA_REFRESH, period > 0),
            (h264::OUTPUT_RECOVERY_POINT, period > 0),
            (h264::SINGLE_SLICE_INTRA_REFRESH, period > 0 && single),
        ] {
            set(&mut fields.flags, bit, on);
        }
        colours(&mut fields.vui);
    }

    fn hevc(&self, fields: &mut HevcConfig, coding: &Coding) {
        fields.idr_period = coding.gop;
        (fields.slice_mode, fields.slice_data) = (h264::SLICES_COUNTED, coding.slices);
        fields.flags = fields.flags & !hevc::CHROMA_MASK | hevc::CHROMA_420;
        (fields.output_depth, fields.input_depth) = (coding.depth, coding.depth);
        if coding.b_frames < 2 {
            fields.b_as_reference = 0;
        }
        if coding.b_frames < 4 {
            fields.temporal_filter = 0;
        }
        let (period, length) = coding.refresh.unwrap_or_default();
        (fields.intra_refresh_period, fields.intra_refresh_count) = (period, length);
        let single = self.caps.single_slice_intra_refresh && coding.slices == 1;
        for (bit, on) in [
            (hevc::REPEAT_PARAMETER_SETS, true),
            (hevc::ENABLE_INTRA_REFRESH, period > 0),
            (hevc::OUTPUT_RECOVERY_POINT, period > 0),
            (hevc::SINGLE_SLICE_INTRA_REFRESH, period > 0 && single),
        ] {
            set(&mut fields.flags, bit, on);
        }
        colours(&mut fields.vui);
    }

    fn av1(&mut self, fields: &mut Av1Config, coding: &Coding) {
        fields.idr_period = coding.gop;
        (fields.tile_columns, fields.tile_rows) = self.tiles(coding.slices);
        fields.flags = fields.flags & !av1::CHROMA_MASK | av1::CHROMA_420;
        (fields.output_depth, fields.input_depth) = (coding.depth, coding.depth);
        if coding.b_frames < 2 {
            fields.b_as_reference = 0;
        }
        let (period, length) = coding.refresh.unwrap_or_default();
        (fields.intra_refresh_period, fields.intra_refresh_count) = (period, length);
        set(&mut fields.flags, av1::REPEAT_SEQUENCE_HEADER, true);
        set(&mut fields.flags, av1::ENABLE_INTRA_REFRESH, period > 0);
        (fields.primaries, fields.transfer, fields.matrix) = (BT709, BT709, BT709);
        fields.full_range = 0;
    }

    /// Columns and rows, powers of two both: rows first, which a decoder gets through as they come.
    fn tiles(&mut self, wanted: u32) -> (u32, u32) {
        let (width, height) = (self.settings.size.width, self.settings.size.height);
        let power = |most: u32| most.max(1).ilog2();
        let wanted_power = power(wanted);
        // The engine's tiles are 256 pixels wide at least, and a superblock is 64 high.
        let rows = wanted_power.min(power(height / 64));
        let columns = (wanted_power - rows).min(power(width / 256));
        let made = 1 << (rows + columns);
        if made != wanted {
            self.warn(
                "numslices",
                format!("AV1 has tiles instead, in powers of two: {made} of them are used"),
            );
        }
        (1 << columns, 1 << rows)
    }
}

/// In all three lists of ITU-T H.273.
const BT709: u32 = 1;

/// Pictures come in as BT.709 in its narrow range: see [`crate::picture`].
fn colours(vui: &mut Vui) {
    vui.signal_type_present = 1;
    // "Unspecified": of the formats of analogue television it is none.
    vui.video_format = 5;
    vui.full_range = 0;
    vui.description_present = 1;
    (vui.primaries, vui.transfer, vui.matrix) = (BT709, BT709, BT709);
}

fn two_passes(low_latency: bool) -> u32 {
    if low_latency { multi_pass::QUARTER_RESOLUTION } else { multi_pass::FULL_RESOLUTION }
}

fn set(flags: &mut u32, bit: u32, on: bool) {
    *flags = if on { *flags | bit } else { *flags & !bit };
}
