//! What a card can do, asked before use.

use serde::Serialize;

use super::abi::{self, Guid, cap};
use super::fault::Fault;
use super::session::Session;
use crate::encode::Codec;

/// What a card can do of one codec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caps {
    /// Which.
    pub codec: Codec,
    /// Pixels.
    pub min_width: u32,
    /// Pixels.
    pub min_height: u32,
    /// Pixels.
    pub max_width: u32,
    /// Pixels.
    pub max_height: u32,
    /// Blocks of 16 × 16 pixels a second over all sessions, by the driver's own estimate.
    pub max_blocks_per_second: u32,
    /// In a row.
    pub max_b_frames: u32,
    /// Engines on the card.
    pub engines: u32,
    /// A refresh spread over pictures.
    pub intra_refresh: bool,
    /// A refresh of pictures in one slice.
    pub single_slice_intra_refresh: bool,
    /// `vbvbufsize`.
    pub custom_vbv: bool,
    /// Pictures are looked at ahead of their coding.
    pub lookahead: bool,
    /// Bits go where the eye follows.
    pub temporal_aq: bool,
    /// Pictures of 10 bits.
    pub ten_bit: bool,
    /// Change of size without a new session.
    pub dynamic_size: bool,
    /// Change of bitrate without a new session.
    pub dynamic_bitrate: bool,
}

impl Caps {
    /// Asks an open session.
    ///
    /// # Errors
    /// As the driver says.
    pub fn of(session: &Session, codec: Codec) -> Result<Self, Fault> {
        let number = |query| session.capability(guid(codec), query);
        let flag = |query| number(query).map(|value| value != 0);
        Ok(Self {
            codec,
            min_width: number(cap::WIDTH_MIN)?,
            min_height: number(cap::HEIGHT_MIN)?,
            max_width: number(cap::WIDTH_MAX)?,
            max_height: number(cap::HEIGHT_MAX)?,
            max_blocks_per_second: number(cap::MB_PER_SEC_MAX)?,
            max_b_frames: number(cap::NUM_MAX_BFRAMES)?,
            engines: number(cap::NUM_ENCODER_ENGINES)?,
            intra_refresh: flag(cap::INTRA_REFRESH)?,
            single_slice_intra_refresh: flag(cap::SINGLE_SLICE_INTRA_REFRESH)?,
            custom_vbv: flag(cap::CUSTOM_VBV_BUF_SIZE)?,
            lookahead: flag(cap::LOOKAHEAD)?,
            temporal_aq: flag(cap::TEMPORAL_AQ)?,
            ten_bit: flag(cap::TEN_BIT_ENCODE)?,
            dynamic_size: flag(cap::DYN_RES_CHANGE)?,
            dynamic_bitrate: flag(cap::DYN_BITRATE_CHANGE)?,
        })
    }
}

/// Codecs of the bridge that the session's card has.
///
/// # Errors
/// As the driver says.
pub fn codecs(session: &Session) -> Result<Vec<Codec>, Fault> {
    let found = session.codecs()?;
    Ok([Codec::H264, Codec::H265, Codec::Av1]
        .into_iter()
        .filter(|&codec| found.contains(&guid(codec)))
        .collect())
}

/// NVENC's name of a codec.
#[must_use]
pub fn guid(codec: Codec) -> Guid {
    match codec {
        Codec::H264 => abi::codec::H264,
        Codec::H265 => abi::codec::HEVC,
        Codec::Av1 => abi::codec::AV1,
    }
}
