//! The declarations held against a header that is installed.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::process::Command;

use super::*;

/// Sizes, places, bits and numbers under the header's names, as they are here.
fn ours() -> BTreeMap<&'static str, u64> {
    let mut ours = BTreeMap::new();
    macro_rules! structs {
        ($($name:literal: $kind:ty { $($field:literal: $own:ident),* })*) => {$(
            ours.insert($name, size_of::<$kind>() as u64);
            $(ours.insert(concat!($name, ".", $field), offset_of!($kind, $own) as u64);)*
        )*};
    }
    structs! {
        "NV_ENC_CAPS_PARAM": Caps { "capsToQuery": query }
        "NV_ENC_CREATE_INPUT_BUFFER": CreateInput { "width": width, "height": height, "bufferFmt": format, "inputBuffer": input }
        "NV_ENC_CREATE_BITSTREAM_BUFFER": CreateOutput { "bitstreamBuffer": output }
        "NV_ENC_LOCK_INPUT_BUFFER": LockInput { "inputBuffer": input, "bufferDataPtr": data, "pitch": pitch }
        "NV_ENC_LOCK_BITSTREAM": LockOutput { "outputBitstream": output, "bitstreamSizeInBytes": octets, "outputTimeStamp": timestamp, "bitstreamBufferPtr": data, "pictureType": picture_type, "frameAvgQP": average_qp }
        "NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS": OpenSession { "deviceType": device_type, "device": device, "apiVersion": api }
        "NV_ENC_INITIALIZE_PARAMS": Initialize { "encodeGUID": codec, "presetGUID": preset, "encodeWidth": width, "darHeight": dar_height, "frameRateNum": rate_numerator, "frameRateDen": rate_denominator, "enablePTD": decides_types, "encodeConfig": config, "maxEncodeWidth": max_width, "maxEncodeHeight": max_height, "tuningInfo": tuning }
        "NV_ENC_RECONFIGURE_PARAMS": Reconfigure { "reInitEncodeParams": initialize }
        "NV_ENC_PRESET_CONFIG": PresetConfig { "presetCfg": config }
        "NV_ENC_CONFIG": Config { "profileGUID": profile, "gopLength": gop_length, "frameIntervalP": p_interval, "rcParams": rate_control, "encodeCodecConfig": codec }
        "NV_ENC_RC_PARAMS": RateControl { "rateControlMode": mode, "averageBitRate": average_bitrate, "maxBitRate": max_bitrate, "vbvBufferSize": vbv_size, "vbvInitialDelay": vbv_initial, "minQP": min_qp, "lookaheadDepth": lookahead_depth, "multiPass": multi_pass }
        "NV_ENC_CONFIG_H264_VUI_PARAMETERS": Vui { "videoSignalTypePresentFlag": signal_type_present, "videoFormat": video_format, "videoFullRangeFlag": full_range, "colourDescriptionPresentFlag": description_present, "colourPrimaries": primaries, "transferCharacteristics": transfer, "colourMatrix": matrix }
        "NV_ENC_CONFIG_H264": H264Config { "idrPeriod": idr_period, "entropyCodingMode": entropy_coding, "intraRefreshPeriod": intra_refresh_period, "intraRefreshCnt": intra_refresh_count, "sliceMode": slice_mode, "sliceModeData": slice_data, "h264VUIParameters": vui, "chromaFormatIDC": chroma_format, "useBFramesAsRef": b_as_reference, "outputBitDepth": output_depth, "inputBitDepth": input_depth }
        "NV_ENC_CONFIG_HEVC": HevcConfig { "idrPeriod": idr_period, "intraRefreshPeriod": intra_refresh_period, "intraRefreshCnt": intra_refresh_count, "sliceMode": slice_mode, "sliceModeData": slice_data, "hevcVUIParameters": vui, "useBFramesAsRef": b_as_reference, "tfLevel": temporal_filter, "outputBitDepth": output_depth, "inputBitDepth": input_depth }
        "NV_ENC_CONFIG_AV1": Av1Config { "idrPeriod": idr_period, "intraRefreshPeriod": intra_refresh_period, "intraRefreshCnt": intra_refresh_count, "numTileColumns": tile_columns, "numTileRows": tile_rows, "colorPrimaries": primaries, "matrixCoefficients": matrix, "colorRange": full_range, "useBFramesAsRef": b_as_reference, "outputBitDepth": output_depth, "inputBitDepth": input_depth }
        "NV_ENC_PIC_PARAMS": Picture { "inputWidth": width, "inputHeight": height, "inputPitch": pitch, "encodePicFlags": flags, "inputTimeStamp": timestamp, "inputBuffer": input, "outputBitstream": output, "bufferFmt": format, "pictureStruct": structure, "pictureType": picture_type, "codecPicParams": codec }
        "NV_ENCODE_API_FUNCTION_LIST": Functions { "nvEncGetEncodeGUIDCount": codec_count, "nvEncGetEncodeGUIDs": codecs, "nvEncGetEncodeCaps": caps, "nvEncInitializeEncoder": initialize, "nvEncCreateInputBuffer": create_input, "nvEncDestroyInputBuffer": destroy_input, "nvEncCreateBitstreamBuffer": create_output, "nvEncDestroyBitstreamBuffer": destroy_output, "nvEncEncodePicture": encode, "nvEncLockBitstream": lock_output, "nvEncUnlockBitstream": unlock_output, "nvEncLockInputBuffer": lock_input, "nvEncUnlockInputBuffer": unlock_input, "nvEncDestroyEncoder": destroy, "nvEncOpenEncodeSessionEx": open, "nvEncReconfigureEncoder": reconfigure, "nvEncGetLastErrorString": last_error, "nvEncGetEncodePresetConfigEx": preset_config }
    }
    ours.insert("NV_ENC_CODEC_CONFIG", size_of::<CodecConfig>() as u64);
    ours.extend(NUMBERS.iter().map(|&(name, number)| (name, u64::from(number))));
    ours
}

/// Version words without the interface's own version.
const fn own(version: u32) -> u32 {
    version & 0xf0ff_0000
}

#[rustfmt::skip]
const NUMBERS: &[(&str, u32)] = &[
    ("NV_ENC_RC_PARAMS.enableAQ", rate_control::ENABLE_AQ),
    ("NV_ENC_RC_PARAMS.enableLookahead", rate_control::ENABLE_LOOKAHEAD),
    ("NV_ENC_RC_PARAMS.enableTemporalAQ", rate_control::ENABLE_TEMPORAL_AQ),
    ("NV_ENC_RC_PARAMS.zeroReorderDelay", rate_control::ZERO_REORDER_DELAY),
    ("NV_ENC_CONFIG_H264.outputRecoveryPointSEI", h264::OUTPUT_RECOVERY_POINT),
    ("NV_ENC_CONFIG_H264.enableIntraRefresh", h264::ENABLE_INTRA_REFRESH),
    ("NV_ENC_CONFIG_H264.repeatSPSPPS", h264::REPEAT_PARAMETER_SETS),
    ("NV_ENC_CONFIG_H264.singleSliceIntraRefresh", h264::SINGLE_SLICE_INTRA_REFRESH),
    ("NV_ENC_CONFIG_HEVC.repeatSPSPPS", hevc::REPEAT_PARAMETER_SETS),
    ("NV_ENC_CONFIG_HEVC.enableIntraRefresh", hevc::ENABLE_INTRA_REFRESH),
    ("NV_ENC_CONFIG_HEVC.chromaFormatIDC", hevc::CHROMA_420),
    ("NV_ENC_CONFIG_HEVC.singleSliceIntraRefresh", hevc::SINGLE_SLICE_INTRA_REFRESH),
    ("NV_ENC_CONFIG_HEVC.outputRecoveryPointSEI", hevc::OUTPUT_RECOVERY_POINT),
    ("NV_ENC_CONFIG_AV1.repeatSeqHdr", av1::REPEAT_SEQUENCE_HEADER),
    ("NV_ENC_CONFIG_AV1.enableIntraRefresh", av1::ENABLE_INTRA_REFRESH),
    ("NV_ENC_CONFIG_AV1.chromaFormatIDC", av1::CHROMA_420),
    ("NV_ENC_CAPS_NUM_MAX_BFRAMES", cap::NUM_MAX_BFRAMES),
    ("NV_ENC_CAPS_WIDTH_MAX", cap::WIDTH_MAX),
    ("NV_ENC_CAPS_HEIGHT_MAX", cap::HEIGHT_MAX),
    ("NV_ENC_CAPS_SUPPORT_DYN_RES_CHANGE", cap::DYN_RES_CHANGE),
    ("NV_ENC_CAPS_SUPPORT_DYN_BITRATE_CHANGE", cap::DYN_BITRATE_CHANGE),
    ("NV_ENC_CAPS_SUPPORT_INTRA_REFRESH", cap::INTRA_REFRESH),
    ("NV_ENC_CAPS_SUPPORT_CUSTOM_VBV_BUF_SIZE", cap::CUSTOM_VBV_BUF_SIZE),
    ("NV_ENC_CAPS_MB_PER_SEC_MAX", cap::MB_PER_SEC_MAX),
    ("NV_ENC_CAPS_SUPPORT_LOOKAHEAD", cap::LOOKAHEAD),
    ("NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ", cap::TEMPORAL_AQ),
    ("NV_ENC_CAPS_SUPPORT_10BIT_ENCODE", cap::TEN_BIT_ENCODE),
    ("NV_ENC_CAPS_WIDTH_MIN", cap::WIDTH_MIN),
    ("NV_ENC_CAPS_HEIGHT_MIN", cap::HEIGHT_MIN),
    ("NV_ENC_CAPS_NUM_ENCODER_ENGINES", cap::NUM_ENCODER_ENGINES),
    ("NV_ENC_CAPS_SINGLE_SLICE_INTRA_REFRESH", cap::SINGLE_SLICE_INTRA_REFRESH),
    ("NV_ENC_ERR_NO_ENCODE_DEVICE", status::NO_ENCODE_DEVICE),
    ("NV_ENC_ERR_UNSUPPORTED_DEVICE", status::UNSUPPORTED_DEVICE),
    ("NV_ENC_ERR_OUT_OF_MEMORY", status::OUT_OF_MEMORY),
    ("NV_ENC_ERR_UNSUPPORTED_PARAM", status::UNSUPPORTED_PARAM),
    ("NV_ENC_ERR_LOCK_BUSY", status::LOCK_BUSY),
    ("NV_ENC_ERR_INVALID_VERSION", status::INVALID_VERSION),
    ("NV_ENC_ERR_NEED_MORE_INPUT", status::NEED_MORE_INPUT),
    ("NV_ENC_ERR_ENCODER_BUSY", status::ENCODER_BUSY),
    ("NV_ENC_ERR_GENERIC", status::GENERIC),
    ("NV_ENC_ERR_INCOMPATIBLE_CLIENT_KEY", status::INCOMPATIBLE_CLIENT_KEY),
    ("NV_ENC_ERR_UNIMPLEMENTED", status::UNIMPLEMENTED),
    ("NV_ENC_PARAMS_RC_VBR", rate_control::VBR),
    ("NV_ENC_PARAMS_RC_CBR", rate_control::CBR),
    ("NV_ENC_TWO_PASS_QUARTER_RESOLUTION", multi_pass::QUARTER_RESOLUTION),
    ("NV_ENC_TWO_PASS_FULL_RESOLUTION", multi_pass::FULL_RESOLUTION),
    ("NV_ENC_TUNING_INFO_HIGH_QUALITY", tuning::HIGH_QUALITY),
    ("NV_ENC_TUNING_INFO_LOW_LATENCY", tuning::LOW_LATENCY),
    ("NV_ENC_TUNING_INFO_ULTRA_HIGH_QUALITY", tuning::ULTRA_HIGH_QUALITY),
    ("NV_ENC_BUFFER_FORMAT_NV12", format::NV12),
    ("NV_ENC_BUFFER_FORMAT_IYUV", format::IYUV),
    ("NV_ENC_BUFFER_FORMAT_YUV420_10BIT", format::YUV420_10BIT),
    ("NV_ENC_PIC_FLAG_FORCEIDR", flag::FORCE_IDR),
    ("NV_ENC_PIC_FLAG_OUTPUT_SPSPPS", flag::OUTPUT_PARAMETER_SETS),
    ("NV_ENC_PIC_FLAG_EOS", flag::END_OF_STREAM),
    ("NV_ENC_PIC_TYPE_IDR", PICTURE_IDR),
    ("NV_ENC_PIC_STRUCT_FRAME", PROGRESSIVE),
    ("NV_ENC_DEVICE_TYPE_CUDA", DEVICE_CUDA),
    ("NV_ENC_H264_ENTROPY_CODING_MODE_CAVLC", h264::ENTROPY_CAVLC),
    ("NVENC_INFINITE_GOPLENGTH", Config::INFINITE),
    ("NV_ENC_CAPS_PARAM_VER", own(Caps::VERSION)),
    ("NV_ENC_CREATE_BITSTREAM_BUFFER_VER", own(CreateOutput::VERSION)),
    ("NV_ENC_CREATE_INPUT_BUFFER_VER", own(CreateInput::VERSION)),
    ("NV_ENC_LOCK_INPUT_BUFFER_VER", own(LockInput::VERSION)),
    ("NV_ENC_LOCK_BITSTREAM_VER", own(LockOutput::VERSION)),
    ("NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER", own(OpenSession::VERSION)),
    ("NV_ENCODE_API_FUNCTION_LIST_VER", own(Functions::VERSION)),
    ("NV_ENC_CONFIG_VER", own(Config::VERSION)),
    ("NV_ENC_INITIALIZE_PARAMS_VER", own(Initialize::VERSION)),
    ("NV_ENC_RECONFIGURE_PARAMS_VER", own(Reconfigure::VERSION)),
    ("NV_ENC_PRESET_CONFIG_VER", own(PresetConfig::VERSION)),
    ("NV_ENC_PIC_PARAMS_VER", own(Picture::VERSION)),
    ("reset", Reconfigure::RESET),
];

#[rustfmt::skip]
const NAMES: &[(&str, Guid)] = &[
    ("NV_ENC_CODEC_H264_GUID", codec::H264),
    ("NV_ENC_CODEC_HEVC_GUID", codec::HEVC),
    ("NV_ENC_CODEC_AV1_GUID", codec::AV1),
    ("NV_ENC_H264_PROFILE_BASELINE_GUID", profile::H264_BASELINE),
    ("NV_ENC_H264_PROFILE_MAIN_GUID", profile::H264_MAIN),
    ("NV_ENC_H264_PROFILE_HIGH_GUID", profile::H264_HIGH),
    ("NV_ENC_HEVC_PROFILE_MAIN_GUID", profile::HEVC_MAIN),
    ("NV_ENC_HEVC_PROFILE_MAIN10_GUID", profile::HEVC_MAIN10),
    ("NV_ENC_AV1_PROFILE_MAIN_GUID", profile::AV1_MAIN),
    ("NV_ENC_PRESET_P1_GUID", preset::P1),
    ("NV_ENC_PRESET_P4_GUID", preset::P4),
    ("NV_ENC_PRESET_P6_GUID", preset::P6),
    ("NV_ENC_PRESET_P7_GUID", preset::P7),
];

#[test]
fn declarations_are_those_of_the_installed_header() {
    let Some(program) = nvenc_double::layout() else { return };
    let output = Command::new(program).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (ours, mut wrong) = (ours(), Vec::new());
    for line in text.lines() {
        let (name, theirs) = line.split_once(' ').expect("a name and a number");
        let own = match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, guid)) => guid.hexadecimal(),
            None => ours.get(name).map_or_else(|| "nothing".to_owned(), u64::to_string),
        };
        if own != theirs {
            wrong.push(format!("{name} is {theirs}, here {own}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(text.lines().count() >= 180, "{text}");
}
