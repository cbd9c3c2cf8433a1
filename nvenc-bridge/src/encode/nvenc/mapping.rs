//! What becomes of settings, in the words of NVENC's header.

use super::abi::{self, Config, Plain, multi_pass, rate_control, tuning};
use super::caps::Caps;
use super::config::{self, Plan};
use crate::encode::mapping::Mapping;
use crate::encode::{Codec, Settings};

/// As a card with these capabilities would have it, without opening a session there.
#[must_use]
pub fn foreseen(settings: &Settings, caps: &Caps) -> Mapping {
    let preset = config::preset(settings);
    of(settings, &config::plan(settings, caps, false, &preset, preset.tuning, Config::zeroed()))
}

/// As it is planned.
#[must_use]
pub fn of(settings: &Settings, plan: &Plan) -> Mapping {
    let mut mapping = Mapping::default();
    let (config, start) = (&plan.config, &plan.initialize);
    let rate = &config.rate_control;
    let codec = match settings.codec {
        Codec::H264 => "NV_ENC_CODEC_H264_GUID",
        Codec::H265 => "NV_ENC_CODEC_HEVC_GUID",
        Codec::Av1 => "NV_ENC_CODEC_AV1_GUID",
    };
    mapping.note("videocodec", codec);
    mapping.note("profile", profile(config.profile));
    let lookahead = match rate.lookahead_depth {
        0 => String::new(),
        depth => format!(", lookaheadDepth {depth}"),
    };
    mapping.note("quality", format!("{}, {}{lookahead}", preset(start.preset), tuning_name(start.tuning)));
    mapping.note("keyframeinterval", format!("gopLength and idrPeriod {}", length(config.gop_length)));
    mapping.note("maxbframes", format!("frameIntervalP {}", config.p_interval));
    let fields = Fields::of(settings.codec, config);
    mapping.note(
        "intrarefreshperiod",
        format!("enableIntraRefresh {}, intraRefreshPeriod {}", u8::from(fields.period > 0), fields.period),
    );
    mapping.note("intrarefreshlength", format!("intraRefreshCnt {}", fields.count));
    let mode = if rate.mode == rate_control::CBR { "NV_ENC_PARAMS_RC_CBR" } else { "NV_ENC_PARAMS_RC_VBR" };
    mapping.note("bitratemode", format!("{mode}, {}", passes(rate.multi_pass)));
    mapping.note("avgbitrate", format!("averageBitRate {}", rate.average_bitrate));
    mapping.note("maxbitrate", format!("maxBitRate {}", rate.max_bitrate));
    mapping.note("vbvbufsize", format!("vbvBufferSize and vbvInitialDelay {}", rate.vbv_size));
    mapping.note("numslices", fields.slices);
    mapping.note(
        "fps",
        format!("frameRateNum {}, frameRateDen {}", start.rate_numerator, start.rate_denominator),
    );
    mapping.note("outputaspect", format!("darWidth {}, darHeight {}", start.dar_width, start.dar_height));
    mapping.warnings.extend(plan.warnings.iter().cloned());
    mapping
}

/// What the codecs have in different places.
struct Fields {
    period: u32,
    count: u32,
    slices: String,
}

impl Fields {
    fn of(codec: Codec, config: &Config) -> Self {
        let mut part = config.codec;
        let counted = |slices| format!("sliceMode 3, sliceModeData {slices}");
        match codec {
            Codec::H264 => {
                let fields = part.h264();
                Self {
                    period: fields.intra_refresh_period,
                    count: fields.intra_refresh_count,
                    slices: counted(fields.slice_data),
                }
            }
            Codec::H265 => {
                let fields = part.hevc();
                Self {
                    period: fields.intra_refresh_period,
                    count: fields.intra_refresh_count,
                    slices: counted(fields.slice_data),
                }
            }
            Codec::Av1 => {
                let fields = part.av1();
                let slices =
                    format!("numTileColumns {}, numTileRows {}", fields.tile_columns, fields.tile_rows);
                Self { period: fields.intra_refresh_period, count: fields.intra_refresh_count, slices }
            }
        }
    }
}

fn profile(guid: abi::Guid) -> &'static str {
    match guid {
        abi::profile::H264_BASELINE => "NV_ENC_H264_PROFILE_BASELINE_GUID",
        abi::profile::H264_MAIN => "NV_ENC_H264_PROFILE_MAIN_GUID",
        abi::profile::H264_HIGH => "NV_ENC_H264_PROFILE_HIGH_GUID",
        abi::profile::HEVC_MAIN => "NV_ENC_HEVC_PROFILE_MAIN_GUID",
        abi::profile::HEVC_MAIN10 => "NV_ENC_HEVC_PROFILE_MAIN10_GUID",
        _ => "NV_ENC_AV1_PROFILE_MAIN_GUID",
    }
}

fn preset(guid: abi::Guid) -> &'static str {
    match guid {
        abi::preset::P1 => "NV_ENC_PRESET_P1_GUID",
        abi::preset::P4 => "NV_ENC_PRESET_P4_GUID",
        abi::preset::P6 => "NV_ENC_PRESET_P6_GUID",
        _ => "NV_ENC_PRESET_P7_GUID",
    }
}

fn tuning_name(number: u32) -> &'static str {
    match number {
        tuning::LOW_LATENCY => "NV_ENC_TUNING_INFO_LOW_LATENCY",
        tuning::HIGH_QUALITY => "NV_ENC_TUNING_INFO_HIGH_QUALITY",
        _ => "NV_ENC_TUNING_INFO_ULTRA_HIGH_QUALITY",
    }
}

fn passes(number: u32) -> &'static str {
    match number {
        multi_pass::DISABLED => "NV_ENC_MULTI_PASS_DISABLED",
        multi_pass::QUARTER_RESOLUTION => "NV_ENC_TWO_PASS_QUARTER_RESOLUTION",
        _ => "NV_ENC_TWO_PASS_FULL_RESOLUTION",
    }
}

fn length(pictures: u32) -> String {
    if pictures == Config::INFINITE { "NVENC_INFINITE_GOPLENGTH".to_owned() } else { pictures.to_string() }
}
