//! What a receiver tells our own sender about its playout, in an RTCP APP packet named `RPly`: three 32-bit integers:
//! latency and buffer depth in microseconds, and the packets that nothing brought back in time, in all.

use crate::Reject;
use crate::cursor::Reader;

/// The APP packet's four-letter name.
pub const APP_NAME: [u8; 4] = *b"RPly";

/// State of a receiver's playout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Playout {
    /// From the earliest arrival to the DAC, in microseconds.
    pub latency_us: u32,
    /// Audio waiting in the jitter buffer, in microseconds.
    pub depth_us: u32,
    /// Packets that were neither received nor repaired by the time they were due, in all; wraps.
    pub unrepaired: u32,
}

impl Playout {
    /// Octets of the body.
    pub const LENGTH: usize = 12;

    /// Reads the body of an APP packet named [`APP_NAME`]; octets after the known ones are ignored.
    pub fn parse(body: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader(body);
        Ok(Self { latency_us: reader.u32()?, depth_us: reader.u32()?, unrepaired: reader.u32()? })
    }

    /// The body's octets.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.latency_us.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.depth_us.to_be_bytes());
        bytes[8..].copy_from_slice(&self.unrepaired.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_both_ways() {
        let playout = Playout { latency_us: 30_000, depth_us: 0x0102_0304, unrepaired: 7 };
        let bytes = [0, 0, 0x75, 0x30, 1, 2, 3, 4, 0, 0, 0, 7];
        assert_eq!(playout.to_bytes(), bytes);
        assert_eq!(Playout::parse(&bytes), Ok(playout));
        assert_eq!(Playout::parse(&bytes[..11]), Err(Reject::Truncated));
    }
}
