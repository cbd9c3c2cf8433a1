//! What a speaker plays to be known by, in place of its sound.

use audio::signal::Test;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A test signal's name in files and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// As many short beeps as the client's place in the list says, from 1 on, then a pause
    Identify,
    /// A click a second that goes towards positive: a cone that is connected rightly moves outwards
    Polarity,
    /// Pink noise at -20 dBFS
    Noise,
    /// A sine of 997 Hz at -20 dBFS
    Tone,
}

impl Signal {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Polarity => "polarity",
            Self::Noise => "noise",
            Self::Tone => "tone",
        }
    }

    /// The signal for the client that has this place in the list, counted from 0.
    pub fn test(self, place: usize) -> Test {
        match self {
            Self::Identify => Test::Beeps(u16::try_from(place + 1).unwrap_or(u16::MAX)),
            Self::Polarity => Test::Click,
            Self::Noise => Test::Noise,
            Self::Tone => Test::Tone,
        }
    }
}
