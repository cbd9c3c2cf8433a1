//! `NV_ENC_CONFIG`: rate control, and what is of one codec.

use std::ffi::c_void;

use super::{Guid, OUTER, version};

/// `NV_ENC_PARAMS_RC_MODE`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod rate_control {
    pub const VBR: u32 = 1;
    pub const CBR: u32 = 2;

    pub const ENABLE_AQ: u32 = 1 << 3;
    pub const ENABLE_LOOKAHEAD: u32 = 1 << 5;
    pub const ENABLE_TEMPORAL_AQ: u32 = 1 << 8;
    pub const ZERO_REORDER_DELAY: u32 = 1 << 9;
}

/// `NV_ENC_MULTI_PASS`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod multi_pass {
    pub const DISABLED: u32 = 0;
    pub const QUARTER_RESOLUTION: u32 = 1;
    pub const FULL_RESOLUTION: u32 = 2;
}

/// Bits of [`H264Config::flags`], and values of its fields.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod h264 {
    pub const OUTPUT_RECOVERY_POINT: u32 = 1 << 9;
    pub const ENABLE_INTRA_REFRESH: u32 = 1 << 10;
    pub const REPEAT_PARAMETER_SETS: u32 = 1 << 12;
    pub const SINGLE_SLICE_INTRA_REFRESH: u32 = 1 << 20;

    pub const ENTROPY_AUTO: u32 = 0;
    pub const ENTROPY_CAVLC: u32 = 2;
    /// `sliceMode` in which `sliceModeData` is a number of slices; of HEVC too.
    pub const SLICES_COUNTED: u32 = 3;
}

/// Bits of [`HevcConfig::flags`].
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod hevc {
    pub const REPEAT_PARAMETER_SETS: u32 = 1 << 7;
    pub const ENABLE_INTRA_REFRESH: u32 = 1 << 8;
    pub const CHROMA_420: u32 = 1 << 9;
    pub const CHROMA_MASK: u32 = 3 << 9;
    pub const SINGLE_SLICE_INTRA_REFRESH: u32 = 1 << 17;
    pub const OUTPUT_RECOVERY_POINT: u32 = 1 << 18;
}

/// Bits of [`Av1Config::flags`].
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod av1 {
    pub const REPEAT_SEQUENCE_HEADER: u32 = 1 << 5;
    pub const ENABLE_INTRA_REFRESH: u32 = 1 << 6;
    pub const CHROMA_420: u32 = 1 << 7;
    pub const CHROMA_MASK: u32 = 3 << 7;
}

/// `NV_ENC_QP`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Qp {
    pub p: u32,
    pub b: u32,
    pub intra: u32,
}

/// `NV_ENC_RC_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct RateControl {
    pub version: u32,
    pub mode: u32,
    pub constant_qp: Qp,
    /// Bits a second.
    pub average_bitrate: u32,
    /// Bits a second.
    pub max_bitrate: u32,
    /// Bits.
    pub vbv_size: u32,
    /// Bits.
    pub vbv_initial: u32,
    /// Bits of [`rate_control`].
    pub flags: u32,
    pub min_qp: Qp,
    pub max_qp: Qp,
    pub initial_qp: Qp,
    temporal_layers: u32,
    temporal_layer_qp: [u8; 8],
    pub target_quality: u8,
    pub target_quality_fraction: u8,
    pub lookahead_depth: u16,
    key_frame_scale: u8,
    dc_offsets: [i8; 3],
    qp_map: u32,
    pub multi_pass: u32,
    alpha_ratio: u32,
    chroma_offsets: [i8; 2],
    reserved2: u16,
    pub lookahead_level: u32,
    reserved: [u32; 3],
}

/// `NV_ENC_CONFIG_H264_VUI_PARAMETERS`, of HEVC too.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Vui {
    overscan: [u32; 2],
    pub signal_type_present: u32,
    pub video_format: u32,
    pub full_range: u32,
    pub description_present: u32,
    pub primaries: u32,
    pub transfer: u32,
    pub matrix: u32,
    chroma_location: [u32; 3],
    bitstream_restriction: u32,
    timing: [u32; 3],
    reserved: [u32; 12],
}

/// `NV_ENC_CONFIG_H264`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct H264Config {
    /// Bits of [`h264`].
    pub flags: u32,
    pub level: u32,
    pub idr_period: u32,
    separate_colour_planes: u32,
    pub deblocking: u32,
    temporal_layers: u32,
    parameter_set_ids: [u32; 2],
    pub adaptive_transform: u32,
    fmo: u32,
    pub direct_mode: u32,
    pub entropy_coding: u32,
    stereo: u32,
    pub intra_refresh_period: u32,
    pub intra_refresh_count: u32,
    pub reference_pictures: u32,
    pub slice_mode: u32,
    pub slice_data: u32,
    pub vui: Vui,
    long_term: [u32; 2],
    pub chroma_format: u32,
    max_temporal_layers: u32,
    pub b_as_reference: u32,
    references: [u32; 2],
    pub output_depth: u32,
    pub input_depth: u32,
    reserved1: [u32; 265],
    reserved2: [*mut c_void; 64],
}

/// `NV_ENC_CONFIG_HEVC`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct HevcConfig {
    pub level: u32,
    pub tier: u32,
    unit_sizes: [u32; 2],
    /// Bits of [`hevc`].
    pub flags: u32,
    pub idr_period: u32,
    pub intra_refresh_period: u32,
    pub intra_refresh_count: u32,
    pub reference_pictures: u32,
    long_term_frames: u32,
    parameter_set_ids: [u32; 3],
    pub slice_mode: u32,
    pub slice_data: u32,
    temporal_layers: u32,
    pub vui: Vui,
    long_term_trust: u32,
    pub b_as_reference: u32,
    references: [u32; 2],
    /// 0 or 4; only with four B-pictures in a row or more.
    pub temporal_filter: u32,
    pub deblocking: u32,
    pub output_depth: u32,
    pub input_depth: u32,
    reserved1: [u32; 210],
    reserved2: [*mut c_void; 64],
}

/// `NV_ENC_CONFIG_AV1`.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Av1Config {
    pub level: u32,
    pub tier: u32,
    part_sizes: [u32; 2],
    /// Bits of [`av1`].
    pub flags: u32,
    pub idr_period: u32,
    pub intra_refresh_period: u32,
    pub intra_refresh_count: u32,
    pub reference_pictures: u32,
    pub tile_columns: u32,
    pub tile_rows: u32,
    reserved2: u32,
    tile_widths: *mut u32,
    tile_heights: *mut u32,
    temporal_layers: u32,
    pub primaries: u32,
    pub transfer: u32,
    pub matrix: u32,
    pub full_range: u32,
    chroma_position: u32,
    pub b_as_reference: u32,
    film_grain: *mut c_void,
    references: [u32; 2],
    pub output_depth: u32,
    pub input_depth: u32,
    reserved1: [u32; 233],
    reserved3: [*mut c_void; 62],
}

/// `NV_ENC_CODEC_CONFIG`: which one counts is the codec's to say.
#[repr(C)]
#[derive(Clone, Copy)]
pub union CodecConfig {
    h264: H264Config,
    hevc: HevcConfig,
    av1: Av1Config,
    reserved: [u32; 320],
}

macro_rules! view {
    ($($(#[$doc:meta])* $name:ident: $kind:ty),*) => {impl CodecConfig {$(
        $(#[$doc])*
        pub fn $name(&mut self) -> &mut $kind {
            // SAFETY: each kind is made of numbers and of pointers that nobody here follows, so any octets are a value.
            unsafe { &mut self.$name }
        }
    )*}};
}

view! {
    /// As H.264 has it.
    h264: H264Config,
    /// As HEVC has it.
    hevc: HevcConfig,
    /// As AV1 has it.
    av1: Av1Config
}

/// `NV_ENC_CONFIG`.
#[repr(C)]
#[derive(Clone)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Config {
    pub version: u32,
    pub profile: Guid,
    /// Pictures from one I-picture to the next.
    pub gop_length: u32,
    /// 1 and the B-pictures in a row.
    pub p_interval: i32,
    monochrome: u32,
    field_mode: u32,
    motion_precision: u32,
    pub rate_control: RateControl,
    pub codec: CodecConfig,
    reserved: [u32; 278],
    reserved2: [*mut c_void; 64],
}

// SAFETY: its pointers are the driver's or null, and nobody here follows them.
unsafe impl Send for Config {}

impl Config {
    /// `NV_ENC_CONFIG_VER`.
    pub const VERSION: u32 = version(9) | OUTER;
    /// `NVENC_INFINITE_GOPLENGTH`: no I-picture but those asked for.
    pub const INFINITE: u32 = u32::MAX;
}

const _: () = assert!(size_of::<RateControl>() == 128);
const _: () = assert!(size_of::<Vui>() == 112);
const _: () = assert!(size_of::<CodecConfig>() == 1792);
const _: () = assert!(size_of::<H264Config>() == 1792);
const _: () = assert!(size_of::<HevcConfig>() == 1560);
const _: () = assert!(size_of::<Av1Config>() == 1552);
