//! NVENC's C interface, version 12.2, as far as it is used.
//!
//! Numbers are those of NVIDIA's published header; sizes are checked here, places of fields by a test against a header that is
//! installed. Drivers newer than 12.2 keep these layouts, and what they added lies in fields that stay zero here. Enumerations
//! are plain words, since a driver may answer with values that this version does not know.

use std::ffi::{c_char, c_int, c_void};

mod config;
mod guid;

pub use config::{Av1Config, CodecConfig, Config, H264Config, HevcConfig, Qp, RateControl, Vui};
pub use config::{av1, h264, hevc, multi_pass, rate_control};
pub use guid::{Guid, codec, preset, profile};

/// Announced version: major in the low octet, minor in the top one.
pub const API: u32 = 12 | 2 << 24;
/// As `NvEncodeAPIGetMaxSupportedVersion` writes it: major, then four bits of minor.
pub const API_NEEDED: u32 = 12 << 4 | 2;
/// The oldest Linux driver with [`API`].
pub const DRIVER_NEEDED: &str = "550.54.14";

const fn version(of_struct: u32) -> u32 {
    API | of_struct << 16 | 7 << 28
}

/// In versions of structs that others contain.
const OUTER: u32 = 1 << 31;

/// A struct of the interface: numbers, pointers that may be null, and functions that may be absent, so that all zeros are a
/// value of it.
///
/// # Safety
/// Zeros must be a value of the type.
pub unsafe trait Plain: Sized {
    /// All zeros, as fields in reserve must be.
    #[must_use]
    fn zeroed() -> Self {
        // SAFETY: the trait promises that zeros are a value.
        unsafe { std::mem::zeroed() }
    }
}

macro_rules! plain {
    ($($name:ty: $size:literal),* $(,)?) => {$(
        // SAFETY: made of numbers, raw pointers and optional functions alone.
        unsafe impl Plain for $name {}
        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

plain! {
    Caps: 256,
    CreateInput: 776,
    CreateOutput: 776,
    LockInput: 1544,
    LockOutput: 1544,
    OpenSession: 1552,
    Initialize: 1800,
    Reconfigure: 1816,
    PresetConfig: 5128,
    Config: 3584,
    Picture: 3360,
    Functions: 2552,
}

/// `NVENCSTATUS`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod status {
    pub const SUCCESS: u32 = 0;
    pub const NO_ENCODE_DEVICE: u32 = 1;
    pub const UNSUPPORTED_DEVICE: u32 = 2;
    pub const INVALID_ENCODERDEVICE: u32 = 3;
    pub const INVALID_DEVICE: u32 = 4;
    pub const DEVICE_NOT_EXIST: u32 = 5;
    pub const INVALID_PTR: u32 = 6;
    pub const INVALID_PARAM: u32 = 8;
    pub const INVALID_CALL: u32 = 9;
    pub const OUT_OF_MEMORY: u32 = 10;
    pub const ENCODER_NOT_INITIALIZED: u32 = 11;
    pub const UNSUPPORTED_PARAM: u32 = 12;
    pub const LOCK_BUSY: u32 = 13;
    pub const NOT_ENOUGH_BUFFER: u32 = 14;
    pub const INVALID_VERSION: u32 = 15;
    pub const MAP_FAILED: u32 = 16;
    pub const NEED_MORE_INPUT: u32 = 17;
    pub const ENCODER_BUSY: u32 = 18;
    pub const GENERIC: u32 = 20;
    pub const INCOMPATIBLE_CLIENT_KEY: u32 = 21;
    pub const UNIMPLEMENTED: u32 = 22;
}

/// `NV_ENC_BUFFER_FORMAT`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod format {
    pub const NV12: u32 = 0x1;
    pub const IYUV: u32 = 0x100;
    pub const YUV420_10BIT: u32 = 0x10000;
}

/// `NV_ENC_PIC_TYPE`: 3 is an IDR or an AV1 key frame.
pub const PICTURE_IDR: u32 = 3;
/// `NV_ENC_PIC_STRUCT_FRAME`.
pub const PROGRESSIVE: u32 = 1;
/// `NV_ENC_DEVICE_TYPE_CUDA`.
pub const DEVICE_CUDA: u32 = 1;

/// `NV_ENC_PIC_FLAGS`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod flag {
    pub const FORCE_IDR: u32 = 2;
    pub const OUTPUT_PARAMETER_SETS: u32 = 4;
    pub const END_OF_STREAM: u32 = 8;
}

/// `NV_ENC_TUNING_INFO`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod tuning {
    pub const HIGH_QUALITY: u32 = 1;
    pub const LOW_LATENCY: u32 = 2;
    pub const ULTRA_HIGH_QUALITY: u32 = 5;
}

/// `NV_ENC_CAPS`.
#[expect(missing_docs, reason = "the names are the header's own")]
pub mod cap {
    pub const NUM_MAX_BFRAMES: u32 = 0;
    pub const WIDTH_MAX: u32 = 16;
    pub const HEIGHT_MAX: u32 = 17;
    pub const DYN_RES_CHANGE: u32 = 19;
    pub const DYN_BITRATE_CHANGE: u32 = 20;
    pub const INTRA_REFRESH: u32 = 25;
    pub const CUSTOM_VBV_BUF_SIZE: u32 = 26;
    pub const MB_PER_SEC_MAX: u32 = 32;
    pub const LOOKAHEAD: u32 = 37;
    pub const TEMPORAL_AQ: u32 = 38;
    pub const TEN_BIT_ENCODE: u32 = 39;
    pub const WIDTH_MIN: u32 = 45;
    pub const HEIGHT_MIN: u32 = 46;
    pub const NUM_ENCODER_ENGINES: u32 = 49;
    pub const SINGLE_SLICE_INTRA_REFRESH: u32 = 50;
}

/// `NV_ENC_CAPS_PARAM`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Caps {
    pub version: u32,
    pub query: u32,
    reserved: [u32; 62],
}

impl Caps {
    /// `NV_ENC_CAPS_PARAM_VER`.
    pub const VERSION: u32 = version(1);
}

/// `NV_ENC_CREATE_INPUT_BUFFER`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct CreateInput {
    pub version: u32,
    pub width: u32,
    pub height: u32,
    memory_heap: u32,
    pub format: u32,
    reserved: u32,
    pub input: *mut c_void,
    system_memory: *mut c_void,
    reserved1: [u32; 58],
    reserved2: [*mut c_void; 63],
}

impl CreateInput {
    /// `NV_ENC_CREATE_INPUT_BUFFER_VER`.
    pub const VERSION: u32 = version(2);
}

/// `NV_ENC_CREATE_BITSTREAM_BUFFER`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct CreateOutput {
    pub version: u32,
    size: u32,
    memory_heap: u32,
    reserved: u32,
    pub output: *mut c_void,
    pointer: *mut c_void,
    reserved1: [u32; 58],
    reserved2: [*mut c_void; 64],
}

impl CreateOutput {
    /// `NV_ENC_CREATE_BITSTREAM_BUFFER_VER`.
    pub const VERSION: u32 = version(1);
}

/// `NV_ENC_LOCK_INPUT_BUFFER`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct LockInput {
    pub version: u32,
    flags: u32,
    pub input: *mut c_void,
    pub data: *mut c_void,
    pub pitch: u32,
    reserved1: [u32; 251],
    reserved2: [*mut c_void; 64],
}

impl LockInput {
    /// `NV_ENC_LOCK_INPUT_BUFFER_VER`.
    pub const VERSION: u32 = version(1);
}

/// `NV_ENC_LOCK_BITSTREAM`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct LockOutput {
    pub version: u32,
    flags: u32,
    pub output: *mut c_void,
    slice_offsets: *mut u32,
    pub frame_index: u32,
    pub hardware_status: u32,
    pub slices: u32,
    pub octets: u32,
    pub timestamp: u64,
    pub duration: u64,
    pub data: *mut c_void,
    pub picture_type: u32,
    pub picture_struct: u32,
    pub average_qp: u32,
    frame_satd: u32,
    long_term: [u32; 2],
    temporal_id: u32,
    statistics: [u32; 4],
    alpha_octets: u32,
    statistics_size: u32,
    reserved: u32,
    statistics_pointer: *mut c_void,
    pub frame_index_shown: u32,
    reserved1: [u32; 219],
    reserved2: [*mut c_void; 63],
    reserved_internal: [u32; 8],
}

impl LockOutput {
    /// `NV_ENC_LOCK_BITSTREAM_VER`.
    pub const VERSION: u32 = version(2) | OUTER;
}

/// `NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct OpenSession {
    pub version: u32,
    pub device_type: u32,
    pub device: *mut c_void,
    reserved: *mut c_void,
    pub api: u32,
    reserved1: [u32; 253],
    reserved2: [*mut c_void; 64],
}

impl OpenSession {
    /// `NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER`.
    pub const VERSION: u32 = version(1);
}

/// `NV_ENC_INITIALIZE_PARAMS`.
#[repr(C)]
#[derive(Clone)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Initialize {
    pub version: u32,
    pub codec: Guid,
    pub preset: Guid,
    pub width: u32,
    pub height: u32,
    pub dar_width: u32,
    pub dar_height: u32,
    pub rate_numerator: u32,
    pub rate_denominator: u32,
    pub asynchronous: u32,
    /// 1: the driver decides the types of pictures, and [`flag`]s are heeded.
    pub decides_types: u32,
    flags: u32,
    private_size: u32,
    reserved: u32,
    private: *mut c_void,
    pub config: *mut Config,
    pub max_width: u32,
    pub max_height: u32,
    motion_hints: [[u32; 4]; 2],
    pub tuning: u32,
    /// Of inputs under Direct3D 12 alone.
    buffer_format: u32,
    state_buffers: u32,
    statistics_level: u32,
    reserved1: [u32; 284],
    reserved2: [*mut c_void; 64],
}

// SAFETY: its pointers are null but in a call, for which `config` is set in a copy.
unsafe impl Send for Initialize {}

impl Initialize {
    /// `NV_ENC_INITIALIZE_PARAMS_VER`.
    pub const VERSION: u32 = version(7) | OUTER;
}

/// `NV_ENC_RECONFIGURE_PARAMS`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Reconfigure {
    pub version: u32,
    reserved: u32,
    pub initialize: Initialize,
    /// Bit 0 forgets all pictures, bit 1 makes the next one an IDR.
    pub flags: u32,
    reserved2: u32,
}

impl Reconfigure {
    /// `NV_ENC_RECONFIGURE_PARAMS_VER`.
    pub const VERSION: u32 = version(2) | OUTER;
    /// `resetEncoder` and `forceIDR`.
    pub const RESET: u32 = 3;
}

/// `NV_ENC_PRESET_CONFIG`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct PresetConfig {
    pub version: u32,
    reserved: u32,
    pub config: Config,
    reserved1: [u32; 256],
    reserved2: [*mut c_void; 64],
}

impl PresetConfig {
    /// `NV_ENC_PRESET_CONFIG_VER`.
    pub const VERSION: u32 = version(5) | OUTER;
}

/// `NV_ENC_PIC_PARAMS`. What is of one codec stays zero: types, slices and payloads come from the configuration.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Picture {
    pub version: u32,
    pub width: u32,
    pub height: u32,
    pub pitch: u32,
    pub flags: u32,
    pub frame_index: u32,
    pub timestamp: u64,
    pub duration: u64,
    pub input: *mut c_void,
    pub output: *mut c_void,
    completion_event: *mut c_void,
    pub format: u32,
    pub structure: u32,
    pub picture_type: u32,
    codec: [u64; 193],
    rest: [u64; 217],
}

impl Picture {
    /// `NV_ENC_PIC_PARAMS_VER`.
    pub const VERSION: u32 = version(7) | OUTER;
}

type Call<T> = Option<unsafe extern "system" fn(encoder: *mut c_void, argument: T) -> u32>;

/// `NV_ENCODE_API_FUNCTION_LIST`.
#[repr(C)]
#[expect(missing_docs, reason = "the names are the header's own")]
pub struct Functions {
    pub version: u32,
    reserved: u32,
    open_session: *mut c_void,
    pub codec_count: Call<*mut u32>,
    profiles: [*mut c_void; 2],
    pub codecs: Option<unsafe extern "system" fn(*mut c_void, *mut Guid, u32, *mut u32) -> u32>,
    formats: [*mut c_void; 2],
    pub caps: Option<unsafe extern "system" fn(*mut c_void, Guid, *mut Caps, *mut c_int) -> u32>,
    presets: [*mut c_void; 3],
    pub initialize: Call<*mut Initialize>,
    pub create_input: Call<*mut CreateInput>,
    pub destroy_input: Call<*mut c_void>,
    pub create_output: Call<*mut CreateOutput>,
    pub destroy_output: Call<*mut c_void>,
    pub encode: Call<*mut Picture>,
    pub lock_output: Call<*mut LockOutput>,
    pub unlock_output: Call<*mut c_void>,
    pub lock_input: Call<*mut LockInput>,
    pub unlock_input: Call<*mut c_void>,
    statistics: *mut c_void,
    sequence: *mut c_void,
    events: [*mut c_void; 2],
    mapping: [*mut c_void; 2],
    pub destroy: Option<unsafe extern "system" fn(*mut c_void) -> u32>,
    invalidate: *mut c_void,
    pub open: Option<unsafe extern "system" fn(*mut OpenSession, *mut *mut c_void) -> u32>,
    resources: [*mut c_void; 2],
    pub reconfigure: Call<*mut Reconfigure>,
    reserved1: *mut c_void,
    motion: [*mut c_void; 3],
    pub last_error: Option<unsafe extern "system" fn(*mut c_void) -> *const c_char>,
    streams: *mut c_void,
    pub preset_config:
        Option<unsafe extern "system" fn(*mut c_void, Guid, Guid, u32, *mut PresetConfig) -> u32>,
    later: [*mut c_void; 3],
    reserved2: [*mut c_void; 275],
}

impl Functions {
    /// `NV_ENCODE_API_FUNCTION_LIST_VER`.
    pub const VERSION: u32 = version(2);
}

#[cfg(test)]
mod tests;
