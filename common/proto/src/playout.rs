//! What a receiver tells our own sender about its playout, in an RTCP APP packet named `RPly`.
//!
//! The body has nine 32-bit integers, in the order of [`Playout`]'s fields; the last holds flags: 1 for synced, 2 for late.
//! Earlier receivers send the first three alone.

use crate::Reject;
use crate::cursor::Reader;

/// The APP packet's four-letter name.
pub const APP_NAME: [u8; 4] = *b"RPly";

const SYNCED: u32 = 1;
const LATE: u32 = 2;

/// State of a receiver's playout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Playout {
    /// To the DAC, in microseconds: from the capture where it is in sync, from the earliest arrival elsewhere.
    pub latency_us: u32,
    /// Audio waiting in the jitter buffer, in microseconds.
    pub depth_us: u32,
    /// Packets that were neither received nor repaired by the time they were due, in all; wraps.
    pub unrepaired: u32,
    /// By how much frames left the DAC after their time, in the mean since the last report, in nanoseconds; negative where
    /// before it.
    pub error_ns: i32,
    /// The largest of these since the last report, whichever its sign.
    pub worst_error_ns: i32,
    /// Round trip to the sender in microseconds, the least of late; 0 until known.
    pub round_trip_us: u32,
    /// By which share playback runs faster than the device would by itself, in parts per 10^9.
    pub drift_ppb: i32,
    /// Frames played that no packet brought, in all; wraps.
    pub concealed: u32,
    /// Frames are played when the sender's timing says.
    pub synced: bool,
    /// The receiver needs longer than the group's delay, and plays by as much later than the timing says.
    pub late: bool,
}

impl Playout {
    /// Octets of the body.
    pub const LENGTH: usize = 36;

    /// Reads the body of an APP packet named [`APP_NAME`]; octets after the known ones are ignored, and what is missing of
    /// those beyond the first three integers counts as zero.
    ///
    /// # Errors
    /// [`Reject::Truncated`].
    pub fn parse(body: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader(body);
        let [latency_us, depth_us, unrepaired] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let mut next = || reader.u32().unwrap_or(0);
        let (error_ns, worst_error_ns) = (next() as i32, next() as i32);
        let (round_trip_us, drift_ppb, concealed, flags) = (next(), next() as i32, next(), next());
        let (synced, late) = (flags & SYNCED != 0, flags & LATE != 0);
        Ok(Self {
            latency_us,
            depth_us,
            unrepaired,
            error_ns,
            worst_error_ns,
            round_trip_us,
            drift_ppb,
            concealed,
            synced,
            late,
        })
    }

    /// The body's octets.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let flags = (u32::from(self.synced) * SYNCED) | (u32::from(self.late) * LATE);
        let fields = [
            self.latency_us,
            self.depth_us,
            self.unrepaired,
            self.error_ns as u32,
            self.worst_error_ns as u32,
            self.round_trip_us,
            self.drift_ppb as u32,
            self.concealed,
            flags,
        ];
        let mut bytes = [0; Self::LENGTH];
        for (octets, field) in bytes.chunks_exact_mut(4).zip(fields) {
            octets.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYOUT: Playout = Playout {
        latency_us: 30_000,
        depth_us: 0x0102_0304,
        unrepaired: 7,
        error_ns: -2,
        worst_error_ns: 0x0506_0708,
        round_trip_us: 256,
        drift_ppb: -100_000,
        concealed: 9,
        synced: true,
        late: false,
    };

    const GOLDEN: [u8; 36] = [
        0, 0, 0x75, 0x30, 1, 2, 3, 4, 0, 0, 0, 7, // latency, depth, unrepaired
        0xff, 0xff, 0xff, 0xfe, 5, 6, 7, 8, 0, 0, 1, 0, // error, worst, round trip
        0xff, 0xfe, 0x79, 0x60, 0, 0, 0, 9, 0, 0, 0, 1, // drift, concealed, flags
    ];

    #[test]
    fn golden_bytes_both_ways() {
        assert_eq!(PLAYOUT.to_bytes(), GOLDEN);
        assert_eq!(Playout::parse(&GOLDEN), Ok(PLAYOUT));
        let late = Playout { late: true, ..PLAYOUT };
        assert_eq!(late.to_bytes()[35], 3);
        assert_eq!(Playout::parse(&late.to_bytes()), Ok(late));
    }

    #[test]
    fn the_short_form_is_read_too() {
        let short =
            Playout { latency_us: 30_000, depth_us: 0x0102_0304, unrepaired: 7, ..Playout::default() };
        assert_eq!(Playout::parse(&GOLDEN[..12]), Ok(short));
        assert_eq!(Playout::parse(&GOLDEN[..11]), Err(Reject::Truncated));
    }
}
