//! The bytes on the wire: RTP, RTCP, VBAN, SAP, linear PCM payloads and the announcement our pair exchanges.
//!
//! Everything here is a checked view over a caller's slice or a writer into one. There is no heap, no clock,
//! no socket and no `unsafe`. Any input is answered with a value or with a counted reason, never with a panic.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod announce;
pub mod exchange;
pub mod parity;
pub mod payload_type;
pub mod pcm;
pub mod playout;
pub mod retransmission;
pub mod rtcp;
pub mod rtp;
pub mod sap;
pub mod srtp;
pub mod timing;
pub mod units;
pub mod vban;

mod cursor;

/// Why a datagram or a part of it was refused. Each reason has one counter at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Shorter than its own headers or length fields say.
    Truncated,
    /// The RTP/RTCP version is not 2.
    Version,
    /// The padding count is zero or larger than the payload.
    Padding,
    /// A payload type that is neither static nor announced.
    PayloadType,
    /// A length that does not fit the format: half a sample, part of a frame, no frame at all.
    Length,
    /// Well-formed, but a field holds a value outside its range.
    Value,
    /// Not encrypted, where a key is set.
    Unencrypted,
    /// Encrypted by someone whose keys are not known, or not yet.
    Unknown,
    /// Not what was sealed with the key: another key, or changed on its way.
    Forged,
    /// Seen before, or too old to know.
    Replayed,
}
