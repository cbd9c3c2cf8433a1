//! Ears and mouth: what samples come from and what they go to.
//!
//! A capture feeds a ring of samples and a ring of stamps; a playback drains a ring and stamps what it took. Sound
//! cards do so from their callbacks, files and test signals from a thread that keeps a virtual card's time. The rings
//! belong to the programs. A card's stream that fails is built anew, with rings of its own, by the [`keeper`].

#![forbid(unsafe_code)]

pub mod capture;
pub mod error;
pub mod keeper;
pub mod playback;
pub mod system;

#[cfg(target_os = "linux")]
mod alsa_card;
mod convert;
mod reader;
mod virtual_card;
mod watch;
mod writer;

pub use error::Error;
