//! CUDA's driver interface, opened at run time: the cards, and contexts for the encoder to work in.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use libloading::Library;

/// The driver's library by the name under which it is installed.
pub const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// `CU_CTX_SCHED_BLOCKING_SYNC`: a thread that waits for the card sleeps.
const SLEEP_WHILE_WAITING: c_uint = 4;
/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: c_int = 100;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`.
const COMPUTE: [c_int; 2] = [75, 76];

type Outcome = c_int;
type Handle = *mut c_void;

macro_rules! functions {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*);)*) => {
        struct Functions {
            $($field: unsafe extern "system" fn($($argument),*) -> Outcome,)*
            // Last, so that it goes after what was found in it.
            _library: Library,
        }

        impl Functions {
            fn find(library: Library) -> Result<Self, String> {
                Ok(Self {
                    $($field: {
                        // SAFETY: the signature is that of CUDA's documentation, and the library outlives the pointer.
                        *unsafe { library.get($symbol) }.map_err(|_| {
                            let name = String::from_utf8_lossy($symbol);
                            format!("{LIBRARY} has no {name}: it is no NVIDIA driver, or a damaged one; install the driver anew")
                        })?
                    },)*
                    _library: library,
                })
            }
        }
    };
}

functions! {
    init = b"cuInit": fn(c_uint);
    driver_version = b"cuDriverGetVersion": fn(*mut c_int);
    count = b"cuDeviceGetCount": fn(*mut c_int);
    get = b"cuDeviceGet": fn(*mut c_int, c_int);
    name = b"cuDeviceGetName": fn(*mut c_char, c_int, c_int);
    attribute = b"cuDeviceGetAttribute": fn(*mut c_int, c_int, c_int);
    error_name = b"cuGetErrorName": fn(Outcome, *mut *const c_char);
    create = b"cuCtxCreate_v2": fn(*mut Handle, c_uint, c_int);
    destroy = b"cuCtxDestroy_v2": fn(Handle);
    push = b"cuCtxPushCurrent_v2": fn(Handle);
    pop = b"cuCtxPopCurrent_v2": fn(*mut Handle);
}

/// An opened driver.
pub struct Cuda {
    functions: Functions,
}

/// A card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Place among the cards, from 0.
    pub index: u32,
    /// As the driver calls it.
    pub name: String,
    /// Compute capability: 8.6 for Ampere's small chips, 9.0 for Hopper.
    pub compute: (u32, u32),
    device: c_int,
}

impl Cuda {
    /// Opens the driver and asks for cards.
    ///
    /// # Errors
    /// One line for people: without driver, or where the driver does not start.
    pub fn open(library: &Path) -> Result<Self, String> {
        // SAFETY: NVIDIA's driver is made to be opened like this; what else is put in its place is its user's choice.
        let opened = unsafe { Library::new(library) }.map_err(|_| {
            format!(
                "no NVIDIA driver on this machine ({} is not found): install it, or use a software encoder",
                library.display()
            )
        })?;
        let cuda = Self { functions: Functions::find(opened)? };
        // SAFETY: takes flags, of which there are none.
        match unsafe { (cuda.functions.init)(0) } {
            0 => Ok(cuda),
            NO_DEVICE => Err(NO_CARD.to_owned()),
            outcome => Err(cuda.explain("start of the driver", outcome)),
        }
    }

    /// Newest version of CUDA that the driver has, as major and minor.
    ///
    /// # Errors
    /// As the driver says.
    pub fn version(&self) -> Result<(u32, u32), String> {
        let mut version = 0;
        // SAFETY: writes a number.
        self.check("version", unsafe { (self.functions.driver_version)(&raw mut version) })?;
        let version = version.unsigned_abs();
        Ok((version / 1000, version % 1000 / 10))
    }

    /// All cards.
    ///
    /// # Errors
    /// Where there is none, or as the driver says.
    pub fn cards(&self) -> Result<Vec<Card>, String> {
        let mut count = 0;
        // SAFETY: writes a number.
        self.check("number of cards", unsafe { (self.functions.count)(&raw mut count) })?;
        let cards: Vec<_> = (0..count).map(|index| self.card(index)).collect::<Result<_, _>>()?;
        if cards.is_empty() { Err(NO_CARD.to_owned()) } else { Ok(cards) }
    }

    fn card(&self, index: c_int) -> Result<Card, String> {
        let (mut device, mut name) = (0, [0; 256]);
        // SAFETY: writes a number.
        self.check("card", unsafe { (self.functions.get)(&raw mut device, index) })?;
        // SAFETY: writes at most 255 characters and a zero.
        self.check("name of the card", unsafe { (self.functions.name)(name.as_mut_ptr(), 255, device) })?;
        let [major, minor] = COMPUTE.map(|attribute| {
            let mut value = 0;
            // SAFETY: writes a number.
            let outcome = unsafe { (self.functions.attribute)(&raw mut value, attribute, device) };
            if outcome == 0 { value.unsigned_abs() } else { 0 }
        });
        // SAFETY: the last character was never written, so a zero ends the text.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) };
        Ok(Card {
            index: index.unsigned_abs(),
            name: name.to_string_lossy().into_owned(),
            compute: (major, minor),
            device,
        })
    }

    fn check(&self, what: &str, outcome: Outcome) -> Result<(), String> {
        if outcome == 0 { Ok(()) } else { Err(self.explain(what, outcome)) }
    }

    fn explain(&self, what: &str, outcome: Outcome) -> String {
        let mut text = ptr::null();
        // SAFETY: writes a pointer to a constant of the driver's, or null.
        unsafe { (self.functions.error_name)(outcome, &raw mut text) };
        let name = if text.is_null() {
            format!("error {outcome}")
        } else {
            // SAFETY: a constant of the driver's, ended by a zero.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        };
        format!(
            "the NVIDIA driver failed ({what}: {name}): look at `nvidia-smi`, and restart the machine after an update of the driver"
        )
    }
}

const NO_CARD: &str =
    "the NVIDIA driver sees no card: look at `nvidia-smi`; a container must be given the card (--gpus all)";

/// What of the card belongs to one encoder. Calls of the encoder are made while it is [`Context::enter`]ed.
pub struct Context {
    cuda: Arc<Cuda>,
    handle: Handle,
}

// SAFETY: a context is of no thread; it is current in a thread only while a `Current` lives, which stays in its thread.
unsafe impl Send for Context {}

impl Context {
    /// A context on a card.
    ///
    /// # Errors
    /// As the driver says: mostly for want of the card's memory.
    pub fn new(cuda: &Arc<Cuda>, card: &Card) -> Result<Self, String> {
        let mut handle = ptr::null_mut();
        // SAFETY: writes a handle.
        let outcome = unsafe { (cuda.functions.create)(&raw mut handle, SLEEP_WHILE_WAITING, card.device) };
        cuda.check("context on the card", outcome)?;
        let context = Self { cuda: cuda.clone(), handle };
        // Creation made it current, which only `enter` shall do.
        drop(Current(&context));
        Ok(context)
    }

    /// Makes this the thread's context for as long as the result lives.
    ///
    /// # Errors
    /// As the driver says: the card is lost, for example.
    pub fn enter(&self) -> Result<Current<'_>, String> {
        // SAFETY: the handle lives as long as this.
        self.cuda.check("context", unsafe { (self.cuda.functions.push)(self.handle) })?;
        Ok(Current(self))
    }

    /// What the encoder takes for its device.
    pub fn handle(&self) -> Handle {
        self.handle
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: nothing uses it any more. A failure could not be mended here.
        unsafe { (self.cuda.functions.destroy)(self.handle) };
    }
}

/// The context is this thread's.
pub struct Current<'a>(&'a Context);

impl Drop for Current<'_> {
    fn drop(&mut self) {
        let mut handle = ptr::null_mut();
        // SAFETY: undoes the push of `enter` (or of the creation) in the same thread, since a `Current` refers to what is not
        // `Sync`.
        unsafe { (self.0.cuda.functions.pop)(&raw mut handle) };
    }
}
