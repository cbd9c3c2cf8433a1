//! The library itself.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::time::Duration;

use openh264_sys2 as sys;
use sys::API;
use sys::source::APILoader;

use super::{Complexity, Config, NAME};
use crate::encode::{Error, Profile};
use crate::picture::Size;

/// An encoder of the library, which lives until it is dropped.
pub(super) struct Raw {
    encoder: NonNull<sys::ISVCEncoder>,
    table: &'static sys::ISVCEncoderVtbl,
    config: Config,
}

// SAFETY: the library keeps nothing by thread, and `Raw` is used by one thread at a time: its methods take `&mut self`.
unsafe impl Send for Raw {}

impl Raw {
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let refused = |what: &str| Error::Unavailable(format!("{NAME} cannot be opened: {what}"));
        let mut encoder = std::ptr::null_mut();
        // SAFETY: the pointer is written, or left null where this fails.
        let status = unsafe { APILoader.WelsCreateSVCEncoder(&mut encoder) };
        let encoder = NonNull::new(encoder).filter(|_| status == 0);
        let encoder = encoder.ok_or_else(|| refused("it is out of memory"))?;
        // SAFETY: an encoder begins with a pointer to its table of functions, which is static in the library.
        let table = unsafe { &**encoder.as_ptr() };
        let mut raw = Self { encoder, table, config: config.clone() };
        // Its own lines on standard error say nothing that its answers do not.
        raw.option(sys::ENCODER_OPTION_TRACE_LEVEL, &mut (sys::WELS_LOG_QUIET as c_int))?;
        let params = raw.params(config)?;
        let initialise = raw.table.InitializeExt.ok_or_else(|| refused("a function is missing"))?;
        // SAFETY: the encoder was created and is not initialised yet; the parameters are its own, filled.
        match unsafe { initialise(raw.encoder.as_ptr(), &params) } {
            0 => Ok(raw),
            status => Err(refused(&format!(
                "status {status} for {}x{} at {} bit/s: try another size or bit rate",
                config.size.width, config.size.height, config.bitrate
            ))),
        }
    }

    /// The library's own defaults with our values.
    fn params(&self, config: &Config) -> Result<sys::SEncParamExt, Error> {
        let mut params = sys::SEncParamExt::default();
        let defaults = self.table.GetDefaultParams.ok_or_else(missing)?;
        // SAFETY: the encoder lives, and the parameters are written whole.
        unsafe { defaults(self.encoder.as_ptr(), &mut params) };
        let rate = config.rate.pictures as f32 / config.rate.seconds as f32;
        params.iUsageType = sys::CAMERA_VIDEO_REAL_TIME;
        params.iPicWidth = config.size.width as c_int;
        params.iPicHeight = config.size.height as c_int;
        params.iTargetBitrate = config.bitrate;
        params.iMaxBitrate = config.max_bitrate;
        params.iRCMode = if config.variable { sys::RC_QUALITY_MODE } else { sys::RC_BITRATE_MODE };
        params.fMaxFrameRate = rate;
        params.iTemporalLayerNum = 1;
        params.iSpatialLayerNum = 1;
        params.iComplexityMode = match config.complexity {
            Complexity::Low => sys::LOW_COMPLEXITY,
            Complexity::Medium => sys::MEDIUM_COMPLEXITY,
            Complexity::High => sys::HIGH_COMPLEXITY,
        };
        params.uiIntraPeriod = config.intra_period;
        // One set of parameters for the whole stream, so that those in the SDP hold.
        params.eSpsPpsIdStrategy = sys::CONSTANT_ID;
        params.iEntropyCodingModeFlag = c_int::from(config.profile != Profile::Baseline);
        // A picture that is left out would be a gap in the stream that nobody asked for.
        params.bEnableFrameSkip = false;
        params.iMultipleThreadIdc = config.threads;
        params.bUseLoadBalancing = false;
        // It saves time where it takes a macroblock for one that has not changed.
        params.bEnableBackgroundDetection = config.complexity != Complexity::High;
        // Key pictures come when they are due or asked for, not with each cut.
        params.bEnableSceneChangeDetect = false;

        let layer = &mut params.sSpatialLayers[0];
        layer.iVideoWidth = params.iPicWidth;
        layer.iVideoHeight = params.iPicHeight;
        layer.fFrameRate = rate;
        layer.iSpatialBitrate = config.bitrate;
        layer.iMaxSpatialBitrate = config.max_bitrate;
        layer.uiProfileIdc = match config.profile {
            Profile::Baseline => sys::PRO_BASELINE,
            Profile::Main => sys::PRO_MAIN,
            Profile::High => sys::PRO_HIGH,
        };
        layer.sSliceArgument.uiSliceMode = sys::SM_FIXEDSLCNUM_SLICE;
        layer.sSliceArgument.uiSliceNum = config.slices;
        layer.bVideoSignalTypePresent = true;
        layer.uiVideoFormat = sys::VF_UNDEF as u8;
        layer.bFullRange = false;
        layer.bColorDescriptionPresent = true;
        layer.uiColorPrimaries = sys::CP_BT709 as u8;
        layer.uiTransferCharacteristics = sys::TRC_BT709 as u8;
        layer.uiColorMatrix = sys::CM_BT709 as u8;
        if let Some((width, height)) = config.pixel {
            layer.bAspectRatioPresent = true;
            layer.eAspectRatio = sys::ASP_EXT_SAR;
            layer.sAspectRatioExtWidth = width;
            layer.sAspectRatioExtHeight = height;
        }
        Ok(params)
    }

    /// Slices of a picture, as the library has settled it.
    pub(super) fn slices(&self) -> Result<u32, Error> {
        let mut params = sys::SEncParamExt::default();
        let get = self.table.GetOption.ok_or_else(missing)?;
        let option = sys::ENCODER_OPTION_SVC_ENCODE_PARAM_EXT;
        // SAFETY: the encoder lives, and this option writes parameters of this type.
        match unsafe { get(self.encoder.as_ptr(), option, (&raw mut params).cast::<c_void>()) } {
            0 => Ok(params.sSpatialLayers[0].sSliceArgument.uiSliceNum.max(1)),
            status => Err(failed("telling its settings", status)),
        }
    }

    pub(super) fn force_key(&mut self) -> Result<(), Error> {
        let force = self.table.ForceIntraFrame.ok_or_else(missing)?;
        // SAFETY: the encoder lives and is initialised.
        match unsafe { force(self.encoder.as_ptr(), true) } {
            0 => Ok(()),
            status => Err(failed("a key picture", status)),
        }
    }

    /// Encodes a picture of [`Format::I420`](crate::picture::Format::I420) and this size; whether it became a key picture.
    pub(super) fn encode(
        &mut self,
        size: Size,
        data: &[u8],
        at: Duration,
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let (luma, chroma) = (size.width * size.height, size.width * size.height / 4);
        debug_assert_eq!(data.len(), (luma + 2 * chroma) as usize);
        let start = data.as_ptr().cast_mut();
        let mut picture = sys::SSourcePicture {
            iColorFormat: sys::videoFormatI420,
            iPicWidth: size.width as c_int,
            iPicHeight: size.height as c_int,
            uiTimeStamp: at.as_millis() as i64,
            ..Default::default()
        };
        picture.iStride[..3]
            .copy_from_slice(&[size.width, size.width / 2, size.width / 2].map(|s| s as c_int));
        picture.pData[0] = start;
        picture.pData[1] = start.wrapping_add(luma as usize);
        picture.pData[2] = start.wrapping_add((luma + chroma) as usize);
        let mut info = sys::SFrameBSInfo::default();
        let encode = self.table.EncodeFrame.ok_or_else(missing)?;
        // SAFETY: the planes lie in `data`, whose length the caller has from the size, and are only read.
        let status = unsafe { encode(self.encoder.as_ptr(), &picture, &mut info) };
        if status != 0 {
            return Err(failed("a picture", status));
        }
        for layer in &info.sLayerInfo[..(info.iLayerNum.max(0) as usize).min(info.sLayerInfo.len())] {
            if layer.pNalLengthInByte.is_null() || layer.pBsBuf.is_null() || layer.iNalCount <= 0 {
                continue;
            }
            // SAFETY: the library has written so many lengths, whose sum it has written of bits, and keeps both until the
            // next call.
            let bits = unsafe {
                let lengths = std::slice::from_raw_parts(layer.pNalLengthInByte, layer.iNalCount as usize);
                std::slice::from_raw_parts(layer.pBsBuf, lengths.iter().map(|n| *n as usize).sum())
            };
            out.extend_from_slice(bits);
        }
        Ok(info.eFrameType == sys::videoFrameTypeIDR)
    }

    /// Changes what differs, bit rates and picture rate without a key picture.
    pub(super) fn change(&mut self, config: &Config) -> Result<(), Error> {
        let old = self.config.clone();
        let alike =
            Config { rate: old.rate, bitrate: old.bitrate, max_bitrate: old.max_bitrate, ..config.clone() };
        if alike == old {
            // The maximum is kept by layer, and may not come to lie below the average in between.
            let bits = |layer, bits| sys::SBitrateInfo { iLayer: layer, iBitrate: bits };
            let average = (sys::ENCODER_OPTION_BITRATE, bits(sys::SPATIAL_LAYER_ALL, config.bitrate));
            let most = (sys::ENCODER_OPTION_MAX_BITRATE, bits(sys::SPATIAL_LAYER_0, config.max_bitrate));
            let steps = if config.bitrate > old.bitrate { [most, average] } else { [average, most] };
            for (option, mut value) in steps {
                if option == sys::ENCODER_OPTION_BITRATE
                    || config.max_bitrate != sys::UNSPECIFIED_BIT_RATE as c_int
                {
                    self.option(option, &mut value)?;
                }
            }
            let mut fps = config.rate.pictures as f32 / config.rate.seconds as f32;
            if config.rate != old.rate {
                self.option(sys::ENCODER_OPTION_FRAME_RATE, &mut fps)?;
            }
        } else {
            let mut params = self.params(config)?;
            self.option(sys::ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, &mut params)?;
        }
        self.config = config.clone();
        Ok(())
    }

    /// Sets an option, whose value is of the type that the library reads for it.
    fn option<T>(&mut self, option: sys::ENCODER_OPTION, value: &mut T) -> Result<(), Error> {
        let set = self.table.SetOption.ok_or_else(missing)?;
        // SAFETY: the encoder lives; each caller in this file gives the type that `option` stands for, and it is only read.
        match unsafe { set(self.encoder.as_ptr(), option, (&raw mut *value).cast::<c_void>()) } {
            0 => Ok(()),
            status => Err(failed("a change", status)),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: the encoder was created by the library and is not used after this; what was not initialised may be
        // uninitialised.
        unsafe {
            if let Some(uninitialise) = self.table.Uninitialize {
                uninitialise(self.encoder.as_ptr());
            }
            APILoader.WelsDestroySVCEncoder(self.encoder.as_ptr());
        }
    }
}

fn missing() -> Error {
    Error::Failed(format!("{NAME}: a function is missing"))
}

fn failed(what: &str, status: c_int) -> Error {
    Error::Failed(format!("{NAME} has refused {what}: status {status}"))
}
