//! MP3 by libmp3lame, which is opened at run time: a program that brought it along would be under its licence.
//!
//! The bit reservoir is left out: frames then stand for themselves, and a lost one takes no other along.

use std::collections::VecDeque;
use std::ffi::{c_char, c_float, c_int, c_uchar, c_void};

use libloading::Library;

use super::mpeg;
use crate::encode::Error;

/// Frames that a decoder of layer III hands out late: 528 of its filters and 1 (ISO/IEC 11172-3 leaves it open; all common
/// decoders do so).
const DECODER_DELAY: u64 = 529;
/// Channels in one frame each, or coded together where that is shorter; or one channel.
const JOINT_STEREO: c_int = 1;
const MONO: c_int = 3;
/// A constant bit rate.
const VBR_OFF: c_int = 0;
/// Where libraries of this name are looked for: by the system, and where package managers for macOS put them.
const NAMES: &[&str] = if cfg!(target_os = "macos") {
    &["libmp3lame.dylib", "/opt/homebrew/lib/libmp3lame.dylib", "/usr/local/lib/libmp3lame.dylib"]
} else if cfg!(windows) {
    &["libmp3lame.dll", "libmp3lame-0.dll"]
} else {
    &["libmp3lame.so.0"]
};
const REMEDY: &str = if cfg!(target_os = "macos") {
    "brew install lame"
} else if cfg!(windows) {
    "put libmp3lame.dll beside the program"
} else {
    "apt install libmp3lame0, or your system's package of it"
};

type Handle = *mut c_void;
type Set = unsafe extern "C" fn(Handle, c_int) -> c_int;
type Get = unsafe extern "C" fn(Handle) -> c_int;
type Report = Option<unsafe extern "C" fn(*const c_char, *mut c_void)>;
type SetReport = unsafe extern "C" fn(Handle, Report) -> c_int;

macro_rules! functions {
    ($($name:ident: $kind:ty,)*) => {
        /// What is used of the library. Names and types are those of its header, `lame.h`, of versions 3.99 and 3.100.
        #[expect(non_snake_case, reason = "the names are the library's")]
        struct Api {
            $($name: $kind,)*
            /// Behind the functions, which are part of it.
            _library: Library,
        }

        impl Api {
            fn of(library: Library) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of the header; `_library` keeps them loaded as long as they can be called.
                unsafe {
                    Ok(Self {
                        $($name: *library.get::<$kind>(concat!(stringify!($name), "\0"))?,)*
                        _library: library,
                    })
                }
            }
        }
    };
}

functions! {
    lame_init: unsafe extern "C" fn() -> Handle,
    lame_close: Get,
    lame_init_params: Get,
    lame_get_encoder_delay: Get,
    lame_set_in_samplerate: Set,
    lame_set_out_samplerate: Set,
    lame_set_num_channels: Set,
    lame_set_mode: Set,
    lame_set_brate: Set,
    lame_set_VBR: Set,
    lame_set_bWriteVbrTag: Set,
    lame_set_disable_reservoir: Set,
    lame_set_errorf: SetReport,
    lame_set_debugf: SetReport,
    lame_set_msgf: SetReport,
    lame_encode_buffer_ieee_float:
        unsafe extern "C" fn(Handle, *const c_float, *const c_float, c_int, *mut c_uchar, c_int) -> c_int,
    lame_encode_buffer_interleaved_ieee_float:
        unsafe extern "C" fn(Handle, *const c_float, c_int, *mut c_uchar, c_int) -> c_int,
}

/// An encoder of one track.
pub(crate) struct Lame {
    api: Api,
    handle: Handle,
    channels: usize,
    /// Frames by which a decoder's output lags behind the input.
    pub(crate) delay: u64,
    /// What the library wrote and is no whole frame yet.
    octets: Vec<u8>,
}

// SAFETY: the library keeps its state behind the handle, which only this owns, and has no state of a thread's.
unsafe impl Send for Lame {}

impl Lame {
    /// An encoder of 1 or 2 channels at 32 000, 44 100 or 48 000 Hz and a bit rate that layer III has.
    ///
    /// # Errors
    /// The library is not there, is no such library, or refuses.
    pub(crate) fn new(rate: u32, channels: u16, bitrate: u32) -> Result<Self, Error> {
        let api = load()?;
        // SAFETY: takes nothing; what it returns is checked.
        let handle = unsafe { (api.lame_init)() };
        if handle.is_null() {
            return Err(Error::Unavailable("libmp3lame has no memory for an encoder".into()));
        }
        // From here on, the handle is closed when this is dropped.
        let mut lame = Self { api, handle, channels: usize::from(channels), delay: 0, octets: Vec::new() };
        lame.set_up(rate.cast_signed(), bitrate.cast_signed() / 1000)?;
        Ok(lame)
    }

    fn set_up(&mut self, rate: c_int, kilobits: c_int) -> Result<(), Error> {
        let api = &self.api;
        let settings = [
            (api.lame_set_in_samplerate, rate),
            (api.lame_set_out_samplerate, rate),
            (api.lame_set_num_channels, self.channels as c_int),
            (api.lame_set_mode, if self.channels == 1 { MONO } else { JOINT_STEREO }),
            (api.lame_set_VBR, VBR_OFF),
            (api.lame_set_brate, kilobits),
            (api.lame_set_bWriteVbrTag, 0),
            (api.lame_set_disable_reservoir, 1),
        ];
        for report in [api.lame_set_errorf, api.lame_set_debugf, api.lame_set_msgf] {
            // SAFETY: the handle is valid; no function is one that may be given, and keeps it from writing to standard error.
            unsafe { report(self.handle, None) };
        }
        // SAFETY: the handle is valid, and the calls are made in the order that the header asks for.
        let (refused, begun, delay) = unsafe {
            let refused = settings.iter().any(|(set, value)| set(self.handle, *value) < 0);
            let begun = (api.lame_init_params)(self.handle);
            (refused, begun, (api.lame_get_encoder_delay)(self.handle))
        };
        if refused || begun < 0 {
            let channels = self.channels;
            return Err(Error::Unavailable(format!(
                "libmp3lame refuses {channels} channels at {rate} Hz and {kilobits} kb/s"
            )));
        }
        self.delay = u64::try_from(delay).unwrap_or(0) + DECODER_DELAY;
        Ok(())
    }

    /// Takes interleaved frames and hands out the frames of MP3 that are whole.
    ///
    /// # Errors
    /// The library has failed, or has written what is not MP3.
    pub(crate) fn encode(&mut self, samples: &[f32], out: &mut VecDeque<Vec<u8>>) -> Result<(), Error> {
        let frames = samples.len() / self.channels;
        let start = self.octets.len();
        // The header's worst case.
        self.octets.resize(start + frames * 5 / 4 + 7200, 0);
        let room = &mut self.octets[start..];
        let (count, size, to) = (frames as c_int, room.len() as c_int, room.as_mut_ptr());
        let from = samples.as_ptr();
        // SAFETY: `from` has `count` frames of as many channels as the encoder was given, and `to` has room for `size` octets.
        // Of one channel, both pointers may be the same: the right one is not read.
        let written = unsafe {
            if self.channels == 1 {
                (self.api.lame_encode_buffer_ieee_float)(self.handle, from, from, count, to, size)
            } else {
                (self.api.lame_encode_buffer_interleaved_ieee_float)(self.handle, from, count, to, size)
            }
        };
        let written = usize::try_from(written)
            .map_err(|_| Error::Failed(format!("libmp3lame failed with {written}")))?;
        self.octets.truncate(start + written);
        while self.octets.len() >= 4 {
            let length = mpeg::length(&self.octets)
                .ok_or_else(|| Error::Failed("libmp3lame has written what is not MP3".into()))?;
            if self.octets.len() < length {
                break;
            }
            out.push_back(self.octets.drain(..length).collect());
        }
        Ok(())
    }
}

impl Drop for Lame {
    fn drop(&mut self) {
        // SAFETY: the handle is valid and not used afterwards.
        unsafe { (self.api.lame_close)(self.handle) };
    }
}

fn load() -> Result<Api, Error> {
    // SAFETY: what a library of this name runs when it is loaded is what every program that is linked to it runs.
    let library = NAMES.iter().find_map(|name| unsafe { Library::new(*name) }.ok());
    let missing = || format!("MP3 needs libmp3lame, which is not there: {REMEDY}; or choose another codec");
    let library = library.ok_or_else(|| Error::Unavailable(missing()))?;
    Api::of(library).map_err(|error| Error::Unavailable(format!("this libmp3lame is of no use: {error}")))
}
