//! Which encoder a stream has, and which takes over where that one fails.

use crate::encode::nvenc::Nvenc;
use crate::encode::nvenc::library::{Driver, Paths};
use crate::encode::software::Software;
use crate::encode::standby::{Open, Standby};
use crate::encode::{Error, Settings};
use crate::picture::Format;
use crate::plan::Encoder;

/// Opens it, for pictures of a format.
///
/// # Errors
/// Where there is none.
pub(super) fn open(choice: Encoder, settings: &Settings, format: Format) -> Result<Standby, Error> {
    match choice {
        Encoder::Auto => {
            let software: Open = Box::new(|settings| Software::choose(settings)?.open(settings));
            Standby::new(nvenc(format), Some(software), settings)
        }
        Encoder::Nvenc => Standby::new(nvenc(format), None, settings),
        Encoder::Software(software) => {
            Standby::new(Box::new(move |settings| software.open(settings)), None, settings)
        }
    }
}

fn nvenc(format: Format) -> Open {
    Box::new(move |settings| {
        let driver = Driver::open(&Paths::default())?;
        Ok(Box::new(Nvenc::open(&driver, None, settings, format)?))
    })
}
