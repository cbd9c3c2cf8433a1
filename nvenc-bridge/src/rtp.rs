//! Access units into RTP packets, one sequence of packets for all who hear a track.
//!
//! The pieces of one access unit are cut to equal lengths wherever its format allows that, so that the system can be handed
//! many of them at once ([`os::fan::Run`]).

mod aac;
mod av1;

mod format;
mod h264;
mod h265;
mod leb128;
mod mpa;
mod nal;
mod pcm;
mod track;
mod unit;

#[cfg(test)]
mod tests;

pub use format::{Format, Parameters};
pub(crate) use track::ticks;
pub use track::{Access, Track};
pub use unit::Unit;

/// Octets of an RTP packet at most. In an IPv6 datagram these are 1400, which fit through the tunnels in common use.
pub const MAX_PACKET: usize = 1400 - 40 - 8;
/// Octets of a payload at most.
const MAX_PAYLOAD: usize = MAX_PACKET - proto::rtp::HEADER_LENGTH;
