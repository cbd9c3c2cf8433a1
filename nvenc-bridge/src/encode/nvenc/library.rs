//! The driver's two libraries, opened at run time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libloading::Library;

use super::abi::{self, Functions, Plain};
use super::fault;
use crate::cuda::{self, Cuda};
use crate::encode::Error;

/// The encoder's library by the name under which it is installed.
pub const LIBRARY: &str = if cfg!(windows) { "nvEncodeAPI64.dll" } else { "libnvidia-encode.so.1" };

/// Where the libraries are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// CUDA's.
    pub cuda: PathBuf,
    /// NVENC's.
    pub nvenc: PathBuf,
}

impl Default for Paths {
    /// Wherever the system finds them.
    fn default() -> Self {
        Self { cuda: cuda::LIBRARY.into(), nvenc: LIBRARY.into() }
    }
}

impl Paths {
    /// Both in one folder.
    #[must_use]
    pub fn within(folder: &Path) -> Self {
        Self { cuda: folder.join(cuda::LIBRARY), nvenc: folder.join(LIBRARY) }
    }
}

/// NVIDIA's driver with its encoder's functions, [`abi::API`] or newer.
pub struct Driver {
    /// Its other half.
    pub cuda: Arc<Cuda>,
    /// Newest version of the encoder's interface that it has, as major and minor.
    pub api: (u32, u32),
    pub(super) functions: Functions,
    // Last, so that it goes after what was found in it.
    _library: Library,
}

// SAFETY: what is in the list of functions is never changed, and NVENC may be called from any thread.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// Opens both libraries.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with one line that says what is missing: driver, card, the encoder's library, or a newer driver.
    pub fn open(paths: &Paths) -> Result<Arc<Self>, Error> {
        let cuda = Cuda::open(&paths.cuda).map_err(Error::Unavailable)?;
        Self::on(Arc::new(cuda), &paths.nvenc)
    }

    /// Opens the encoder's library beside an opened driver.
    ///
    /// # Errors
    /// As [`Driver::open`].
    pub fn on(cuda: Arc<Cuda>, library: &Path) -> Result<Arc<Self>, Error> {
        Self::try_open(cuda, library).map(Arc::new).map_err(Error::Unavailable)
    }

    fn try_open(cuda: Arc<Cuda>, path: &Path) -> Result<Self, String> {
        // SAFETY: as in `Cuda::open`.
        let library = unsafe { Library::new(path) }.map_err(|_| {
            format!(
                "the NVIDIA driver is here, its encoder's library is not ({} is not found): install the driver's package for \
                 encoding (Debian: libnvidia-encode1); a container needs NVIDIA_DRIVER_CAPABILITIES=video",
                path.display()
            )
        })?;
        let api = newest(&library)?;
        if api.0 << 4 | api.1 < abi::API_NEEDED {
            let found = system_version().map_or_else(String::new, |version| format!(" (found: {version})"));
            return Err(format!(
                "the NVIDIA driver has NVENC {}.{}, and 12.2 is needed: install driver {} or newer{found}",
                api.0,
                api.1,
                abi::DRIVER_NEEDED,
            ));
        }
        let mut functions = Functions::zeroed();
        functions.version = Functions::VERSION;
        // SAFETY: writes the functions of its version into the list.
        let status = unsafe {
            find::<unsafe extern "system" fn(*mut Functions) -> u32>(&library, "NvEncodeAPICreateInstance")?(
                &raw mut functions,
            )
        };
        if status != abi::status::SUCCESS {
            return Err(fault::line("functions", status, None));
        }
        Ok(Self { cuda, api, functions, _library: library })
    }
}

fn newest(library: &Library) -> Result<(u32, u32), String> {
    let mut version = 0;
    // SAFETY: writes a number.
    let status = unsafe {
        find::<unsafe extern "system" fn(*mut u32) -> u32>(library, "NvEncodeAPIGetMaxSupportedVersion")?(
            &raw mut version,
        )
    };
    if status == abi::status::SUCCESS {
        Ok((version >> 4, version & 15))
    } else {
        Err(fault::line("version", status, None))
    }
}

/// # Safety
/// `T` must be the symbol's type.
unsafe fn find<T: Copy>(library: &Library, symbol: &str) -> Result<T, String> {
    // SAFETY: the caller's.
    unsafe { library.get::<T>(symbol.as_bytes()) }.map(|found| *found).map_err(|_| {
        format!(
            "{LIBRARY} has no {symbol}: it is no NVIDIA driver, or a damaged one; install the driver anew"
        )
    })
}

/// Version of the driver by which NVIDIA numbers its downloads, where the system tells it.
#[must_use]
pub fn system_version() -> Option<String> {
    let text = std::fs::read_to_string("/sys/module/nvidia/version").or_else(|_| {
        // "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build …"
        std::fs::read_to_string("/proc/driver/nvidia/version")
    });
    text.ok()?
        .split_whitespace()
        .find(|word| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.'))
        .map(str::to_owned)
}
