//! How long sound takes from the stream to a microphone: a chirp, and where it stands in a recording.
//!
//! The chirp is linear, so that it has the same energy at every frequency of its band and its matched filter's peak is as
//! narrow as the band allows; an exponential one spends its time on low frequencies, which tell little about time. Its
//! amplitude rises and falls as a raised cosine, which leaves the filter's response no side lobes that could be taken for
//! arrivals. A second of it against white noise of the same power stands 10·lg(rate) dB above the filtered noise: 46 dB at
//! 44.1 kHz, and the largest of the noise's own peaks some 13 dB. A subwoofer does not play the band and is not heard.
//!
//! None of this is for real-time threads: [`Finder::find`] allocates.

mod chirp;
mod find;

pub use chirp::{LEVEL, chirp};
pub use find::{Arrival, Finder, LEAST_MARGIN, Unheard};

/// How long the chirp lasts, and how late it may arrive: a turn is both. In frames of `rate` a second.
pub fn length(rate: u32) -> usize {
    rate as usize
}

/// From one chirp's beginning to the next one's, in frames: what arrives within the time that is listened for has ended
/// before the next one begins.
pub fn turn(rate: u32) -> usize {
    2 * length(rate)
}

#[cfg(test)]
mod tests;
