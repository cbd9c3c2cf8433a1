//! `c/shim.h`, whose declarations these are.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::Choice;
use crate::encode::Settings;
use crate::picture::Size;

/// Functions of an encoder.
#[derive(Clone, Copy)]
pub struct Library(&'static Shim);

// What holds for every function below: the handle is one that `open` gave and `close` has not had, and pointers are to what
// the declarations say and live through the call.

#[repr(C)]
struct Shim {
    open: unsafe extern "C" fn(*const Format, *const Setting, usize, *mut c_char, usize) -> *mut c_void,
    send: unsafe extern "C" fn(*mut c_void, *const Picture) -> c_int,
    receive: unsafe extern "C" fn(*mut c_void, *mut RawUnit) -> c_int,
    change: unsafe extern "C" fn(*mut c_void, *const Setting, usize) -> c_int,
    close: unsafe extern "C" fn(*mut c_void),
}

#[repr(C)]
struct Setting {
    name: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct Format {
    width: u32,
    height: u32,
    pictures: u32,
    seconds: u32,
}

#[repr(C)]
struct Picture {
    planes: [*const u8; 3],
    index: i64,
    key: i32,
}

#[repr(C)]
struct RawUnit {
    data: *const u8,
    octets: usize,
    index: i64,
    key: i32,
}

unsafe extern "C" {
    #[cfg(feature = "x264")]
    safe static shim_x264: Shim;
    #[cfg(feature = "x265")]
    safe static shim_x265: Shim;
    #[cfg(feature = "svtav1")]
    safe static shim_svtav1: Shim;
}

impl Library {
    /// x264.
    #[cfg(feature = "x264")]
    pub fn x264() -> Self {
        Self(&shim_x264)
    }

    /// x265.
    #[cfg(feature = "x265")]
    pub fn x265() -> Self {
        Self(&shim_x265)
    }

    /// SVT-AV1.
    #[cfg(feature = "svtav1")]
    pub fn svtav1() -> Self {
        Self(&shim_svtav1)
    }
}

/// An encoder of a library, which lives until it is dropped.
pub(super) struct Raw {
    handle: NonNull<c_void>,
    shim: &'static Shim,
}

/// Bits of a picture, which the encoder keeps until its next call.
pub(super) struct Unit<'a> {
    pub(super) data: &'a [u8],
    pub(super) index: i64,
    pub(super) key: bool,
}

/// It has failed, and says no more.
pub(super) struct Failed;

// SAFETY: the libraries keep nothing by the caller's thread, and `Raw` is used by one at a time: its methods take `&mut self`.
unsafe impl Send for Raw {}

/// Options as C has them, with the texts that they point to.
struct Texts<'a> {
    options: Vec<Setting>,
    _texts: Vec<CString>,
    _names: PhantomData<&'a [Choice]>,
}

impl<'a> Texts<'a> {
    /// A text with a zero in it cannot be said in C and is left out; none of ours has one.
    fn new(choices: &'a [Choice]) -> Self {
        let text = |text: &str| CString::new(text).ok();
        let pairs: Vec<_> =
            choices.iter().filter_map(|choice| Some((text(choice.name)?, text(&choice.value)?))).collect();
        let pointers =
            |(name, value): &(CString, CString)| Setting { name: name.as_ptr(), value: value.as_ptr() };
        let options = pairs.iter().map(pointers).collect();
        let texts = pairs.into_iter().flat_map(|(name, value)| [name, value]).collect();
        Self { options, _texts: texts, _names: PhantomData }
    }
}

impl Raw {
    /// Opens an encoder, or names what was refused.
    pub(super) fn open(library: Library, settings: &Settings, choices: &[Choice]) -> Result<Self, String> {
        let format = Format {
            width: settings.size.width,
            height: settings.size.height,
            pictures: settings.rate.pictures,
            seconds: settings.rate.seconds,
        };
        let texts = Texts::new(choices);
        let mut refused = [0; 64];
        let shim = library.0;
        let (options, count, room) = (texts.options.as_ptr(), texts.options.len(), refused.len());
        // SAFETY: as said above.
        let handle = unsafe { (shim.open)(&format, options, count, refused.as_mut_ptr(), room) };
        match NonNull::new(handle) {
            Some(handle) => Ok(Self { handle, shim }),
            // SAFETY: the library has ended the text within the room, which began with zeros.
            None => Err(unsafe { CStr::from_ptr(refused.as_ptr()) }.to_string_lossy().into_owned()),
        }
    }

    /// Hands in a picture of 4:2:0 and this size.
    pub(super) fn send(&mut self, size: Size, data: &[u8], index: i64, key: bool) -> Result<(), Failed> {
        let (luma, chroma) = ((size.width * size.height) as usize, (size.width * size.height / 4) as usize);
        let planes = [&data[..luma], &data[luma..luma + chroma], &data[luma + chroma..luma + 2 * chroma]];
        let picture = Picture { planes: planes.map(<[u8]>::as_ptr), index, key: key.into() };
        // SAFETY: as said above; the planes are as long as the size has them, or the slices would not be.
        let status = unsafe { (self.shim.send)(self.handle.as_ptr(), &picture) };
        if status < 0 { Err(Failed) } else { Ok(()) }
    }

    /// Says that no more come.
    pub(super) fn end(&mut self) -> Result<(), Failed> {
        // SAFETY: as said above; no picture is one that the function knows.
        let status = unsafe { (self.shim.send)(self.handle.as_ptr(), std::ptr::null()) };
        if status < 0 { Err(Failed) } else { Ok(()) }
    }

    /// Bits of a picture, where there are any.
    pub(super) fn receive(&mut self) -> Result<Option<Unit<'_>>, Failed> {
        let mut unit = RawUnit { data: std::ptr::null(), octets: 0, index: 0, key: 0 };
        // SAFETY: as said above.
        match unsafe { (self.shim.receive)(self.handle.as_ptr(), &mut unit) } {
            ..0 => Err(Failed),
            0 => Ok(None),
            _ => {
                // SAFETY: the encoder keeps so many octets until its next call, which the borrow of `self` keeps away.
                let data = unsafe { std::slice::from_raw_parts(unit.data, unit.octets) };
                Ok(Some(Unit { data, index: unit.index, key: unit.key != 0 }))
            }
        }
    }

    /// Changes options while it runs.
    pub(super) fn change(&mut self, choices: &[Choice]) -> Result<(), Failed> {
        let texts = Texts::new(choices);
        let (options, count) = (texts.options.as_ptr(), texts.options.len());
        // SAFETY: as said above.
        let status = unsafe { (self.shim.change)(self.handle.as_ptr(), options, count) };
        if status < 0 { Err(Failed) } else { Ok(()) }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: as said above, and the handle is not used any more.
        unsafe { (self.shim.close)(self.handle.as_ptr()) };
    }
}
