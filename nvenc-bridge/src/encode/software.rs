//! Which encoder in software there is for what.

use super::mapping::Mapping;
use super::{Codec, Encoder, Error, Settings, openh264};
use crate::params::matrix::Named;

/// An encoder in software. Which of them are there is decided when the program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// H.264; always there.
    Openh264,
    /// H.264; feature `x264`.
    X264,
    /// H.265; feature `x265`.
    X265,
    /// AV1; feature `svtav1`.
    Svtav1,
}

impl Software {
    /// The one to take where nobody has asked for another: of H.264, the one that honours the settings.
    ///
    /// # Errors
    /// Where this program has none for the codec.
    pub fn choose(settings: &Settings) -> Result<Self, Error> {
        let plain = openh264::mapping(settings).warnings.is_empty();
        let choice = match settings.codec {
            Codec::H264 if plain || !cfg!(feature = "x264") => Self::Openh264,
            Codec::H264 => Self::X264,
            Codec::H265 => Self::X265,
            Codec::Av1 => Self::Svtav1,
        };
        choice.takes(settings.codec).map(|()| choice)
    }

    /// The one that `encoder` names; `None` for those that are not software.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "openh264" => Some(Self::Openh264),
            "x264" => Some(Self::X264),
            "x265" => Some(Self::X265),
            "svtav1" => Some(Self::Svtav1),
            _ => None,
        }
    }

    /// Its name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Openh264 => "openh264",
            Self::X264 => "x264",
            Self::X265 => "x265",
            Self::Svtav1 => "SVT-AV1",
        }
    }

    /// Whether this program has it.
    ///
    /// # Errors
    /// What to build it with.
    pub fn there(self) -> Result<(), Error> {
        let (there, feature) = match self {
            Self::Openh264 => (true, ""),
            Self::X264 => (cfg!(feature = "x264"), "x264"),
            Self::X265 => (cfg!(feature = "x265"), "x265"),
            Self::Svtav1 => (cfg!(feature = "svtav1"), "svtav1"),
        };
        let label = self.label();
        let message = format!("this program was built without {label}: build it with --features {feature}");
        if there { Ok(()) } else { Err(Error::Unavailable(message)) }
    }

    /// Whether this program has it, and it makes this codec.
    ///
    /// # Errors
    /// What to build or to choose.
    pub fn takes(self, codec: Codec) -> Result<(), Error> {
        self.there()?;
        let own = match self {
            Self::Openh264 | Self::X264 => Codec::H264,
            Self::X265 => Codec::H265,
            Self::Svtav1 => Codec::Av1,
        };
        if own == codec {
            return Ok(());
        }
        let message = format!("{} makes {} alone, not {}", self.label(), own.label(), codec.label());
        Err(Error::Unavailable(message))
    }

    /// Opens it.
    ///
    /// # Errors
    /// Where it is not there, makes another codec, or refuses the settings.
    pub fn open(self, settings: &Settings) -> Result<Box<dyn Encoder>, Error> {
        self.takes(settings.codec)?;
        match self {
            Self::Openh264 => Ok(Box::new(openh264::open(settings)?)),
            #[cfg(feature = "x264")]
            Self::X264 => Ok(Box::new(super::x264::open(settings)?)),
            #[cfg(feature = "x265")]
            Self::X265 => Ok(Box::new(super::x265::open(settings)?)),
            #[cfg(feature = "svtav1")]
            Self::Svtav1 => Ok(Box::new(super::svtav1::open(settings)?)),
            #[allow(unreachable_patterns, reason = "with all features there is none left")]
            missing => missing.there().and(Err(Error::Unavailable(missing.label().into()))),
        }
    }

    /// What becomes of settings.
    pub fn mapping(self, settings: &Settings) -> Mapping {
        match self {
            Self::Openh264 => openh264::mapping(settings),
            #[cfg(feature = "x264")]
            Self::X264 => super::x264::choose(settings).mapping,
            #[cfg(feature = "x265")]
            Self::X265 => super::x265::choose(settings).mapping,
            #[cfg(feature = "svtav1")]
            Self::Svtav1 => super::svtav1::choose(settings).mapping,
            #[allow(unreachable_patterns, reason = "with all features there is none left")]
            _ => Mapping::default(),
        }
    }
}
