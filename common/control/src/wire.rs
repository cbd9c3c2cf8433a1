//! Wire formats by name.

use audio::send::Wire;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A wire format's name in files and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WireName {
    /// RTP, with RTCP on the same port
    Rtp,
    /// Headerless signed 16-bit little-endian PCM
    Plain,
    /// VBAN, under the client's name
    Vban,
}

impl From<WireName> for Wire {
    fn from(name: WireName) -> Self {
        match name {
            WireName::Rtp => Self::Rtp,
            WireName::Plain => Self::Plain,
            WireName::Vban => Self::Vban,
        }
    }
}

impl From<Wire> for WireName {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Rtp => Self::Rtp,
            Wire::Plain => Self::Plain,
            Wire::Vban => Self::Vban,
        }
    }
}
