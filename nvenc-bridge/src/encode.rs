//! Encoders of pictures: what they are asked for, and what they give.

pub mod mapping;
pub mod nvenc;
pub mod openh264;
#[cfg(any(feature = "x264", feature = "x265", feature = "svtav1"))]
pub mod shim;
pub mod software;
pub mod standby;
#[cfg(feature = "svtav1")]
pub mod svtav1;
#[cfg(feature = "x264")]
pub mod x264;
#[cfg(feature = "x265")]
pub mod x265;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(any(feature = "x264", feature = "x265"))]
mod x26;

use std::collections::VecDeque;
use std::time::Duration;

use crate::picture::{Picture, Rate, Size};

/// `videocodec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264, ITU-T.
    H264,
    /// H.265 or HEVC, ITU-T.
    H265,
    /// AV1, Alliance for Open Media.
    Av1,
}

/// `profile`, which means something for H.264 alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// No B-pictures, no CABAC.
    Baseline,
    /// B-pictures and CABAC.
    Main,
    /// 8 × 8 transforms too.
    High,
}

/// `quality`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
#[expect(missing_docs, reason = "the names are the menu's own and say all there is")]
pub enum Quality {
    LowLatencyLow,
    LowLatencyMedium,
    LowLatencyHigh,
    HighLatencyLow,
    HighLatencyHigh,
    HighLatencyUltraHigh,
}

/// `bitratemode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum BitrateMode {
    /// The average at all times.
    Constant,
    /// The average over time, never above the maximum.
    Variable,
    /// [`BitrateMode::Constant`] in two passes over each picture.
    ConstantHq,
    /// [`BitrateMode::Variable`] in two passes over each picture.
    VariableHq,
}

/// What an encoder is asked for. An encoder that cannot do one of these says so by a [`Warning`] when it is opened, never in
/// silence.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What it makes.
    pub codec: Codec,
    /// Of H.264.
    pub profile: Profile,
    /// Speed against quality, latency against both.
    pub quality: Quality,
    /// Of every picture until the next change.
    pub size: Size,
    /// At which pictures are meant to come.
    pub rate: Rate,
    /// Shape of the whole picture as width to height, where pixels are not square.
    pub aspect: Option<(u32, u32)>,
    /// Pictures from one IDR to the next; 0 for none but those asked for.
    pub keyframe_interval: u32,
    /// Bi-directional pictures in a row at most.
    pub max_b_frames: u32,
    /// Pictures from the start of one refresh to that of the next; 0 for none.
    pub intra_refresh_period: u32,
    /// Pictures over which a refresh is spread, less than the period.
    pub intra_refresh_length: u32,
    /// How bits are spent.
    pub bitrate_mode: BitrateMode,
    /// Bits a second.
    pub average_bitrate: u32,
    /// Bits a second; of the variable modes.
    pub max_bitrate: u32,
    /// Bits of the decoder's buffer; `None` leaves them to the encoder.
    pub vbv: Option<u32>,
    /// Slices, or tiles, of each picture.
    pub slices: u32,
}

/// A setting that an encoder does not honour, or honours in another way, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Name of the parameter, as the seed's page has it.
    pub parameter: &'static str,
    /// What becomes of it, and what to do about it; one line.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.parameter, self.message)
    }
}

/// A picture in bits: one access unit of H.264 or H.265, one temporal unit of AV1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPicture {
    /// H.264 and H.265: NAL units, each behind a start code (Annex B). AV1: OBUs with sizes, without temporal delimiters.
    /// A key picture brings its parameter sets.
    pub data: Vec<u8>,
    /// Whether a decoder can start here.
    pub key: bool,
    /// [`Picture::at`] of the picture that is shown.
    pub at: Duration,
    /// [`Picture::number`] of the picture that is shown.
    pub number: u64,
    /// From handing in the picture to having it in bits.
    pub took: Duration,
}

/// What AV1 encoders put out begins with an OBU that only says so (AV1 specification, 5.6), which no transport wants.
fn without_delimiter(mut unit: Vec<u8>) -> Vec<u8> {
    if unit.starts_with(&[0x12, 0]) {
        unit.drain(..2);
    }
    unit
}

/// Turns pictures into bits.
///
/// An encoder may keep pictures back (B-pictures, look-ahead), and then gives several at once or at [`Encoder::finish`].
/// What it gives stands in the order of decoding.
pub trait Encoder: Send {
    /// Its name for people: "openh264", "NVENC on NVIDIA RTX A4000".
    fn name(&self) -> &str;

    /// What it does otherwise than asked.
    fn warnings(&self) -> &[Warning];

    /// Takes one picture of [`Settings::size`]; `key` makes an IDR of it.
    ///
    /// # Errors
    /// Where the encoder has failed for good: it must be opened anew.
    fn encode(
        &mut self,
        picture: &Picture,
        key: bool,
        out: &mut VecDeque<EncodedPicture>,
    ) -> Result<(), Error>;

    /// Changes bitrates, picture rate or size from the next picture on.
    ///
    /// # Errors
    /// Where the encoder cannot: it goes on as before, or must be opened anew, as [`Error::Failed`] says.
    fn change(&mut self, settings: &Settings) -> Result<(), Error>;

    /// Gives what it has kept back.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    fn finish(&mut self, out: &mut VecDeque<EncodedPicture>) -> Result<(), Error>;
}

/// Why an encoder does not encode. Messages say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not to be had on this machine, or not with these settings.
    #[error("{0}")]
    Unavailable(String),
    /// It stopped in mid-stream.
    #[error("{0}")]
    Failed(String),
}
