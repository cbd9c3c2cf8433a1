//! What can be wrong with a source or a sink, in words that say what to do.

use std::path::PathBuf;

/// Why a source or sink could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No device answers to this name.
    #[error("no {direction} device is called `{name}`. {}", this_machine(.known))]
    UnknownDevice {
        /// What was asked for.
        name: String,
        /// `capture` or `playback`.
        direction: &'static str,
        /// Those that exist.
        known: Vec<String>,
    },
    /// Several devices answer to this part of a name.
    #[error("`{name}` fits several {direction} devices; name one of them: {}", .known.join(", "))]
    AmbiguousDevice {
        /// What was asked for.
        name: String,
        /// `capture` or `playback`.
        direction: &'static str,
        /// Those that fit.
        known: Vec<String>,
    },
    /// The device does not run at this rate.
    #[error("`{device}` does not take {rate} Hz with {channels} channels; it takes {offered}")]
    UnsupportedFormat {
        /// Which device.
        device: String,
        /// Frames a second.
        rate: u32,
        /// Channels.
        channels: u16,
        /// What it takes.
        offered: String,
    },
    /// The device offers nothing in this direction.
    #[error(
        "`{device}` cannot be opened for {direction}: it has no channels for that, or its sound server does not run"
    )]
    Unavailable {
        /// Which device.
        device: String,
        /// `capture` or `playback`.
        direction: &'static str,
    },
    /// The audio system refused.
    #[error("`{device}`: {reason}")]
    Refused {
        /// Which device.
        device: String,
        /// The system's own words.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}: {reason}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The description of a source or sink makes no sense.
    #[error("`{text}`: {reason}")]
    Description {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gave no thread or descriptor.
    #[error("the system refused a resource: {0}")]
    System(#[from] std::io::Error),
}

fn this_machine(names: &[String]) -> String {
    if names.is_empty() {
        "This machine has none; use a WAV file, `-`, or a test signal.".into()
    } else {
        format!("This machine has: {}", names.join(", "))
    }
}

impl Error {
    pub(crate) fn file(path: &std::path::Path, reason: impl ToString) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }

    /// Whether there is no such device at present; else it is there, and will not do what is asked.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::UnknownDevice { .. } | Self::Unavailable { .. })
    }

    pub(crate) fn description(text: &str, reason: impl ToString) -> Self {
        Self::Description { text: text.into(), reason: reason.to_string() }
    }
}
