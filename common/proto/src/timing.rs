//! When the frames of a stream are to leave the loudspeakers: what our sender tells a receiver of a group, in an RTCP APP
//! packet named `STim`.
//!
//! The body has 32 octets, all big-endian:
//!
//! | octets | field |
//! | --- | --- |
//! | 4 | RTP time of the anchor |
//! | 8 | when the frame of that RTP time was captured, in nanoseconds of the sender's monotonic clock; never negative |
//! | 4 | by which share the capture clock runs slow, in parts per 10^9, signed |
//! | 4 | the group's delay before `begin`, in microseconds |
//! | 4 | the group's delay that follows, in microseconds; 0: there is none yet |
//! | 4 | `begin`: the RTP time from which on the delay slews |
//! | 4 | what this receiver adds to the group's delay, in nanoseconds, signed |
//!
//! A frame leaves the converter at the instant of its capture + the group's delay at this frame + the receiver's trim.
//! Anchor and delay are the same for every receiver of the stream, so that all of them compute the same instants.

use crate::Reject;
use crate::cursor::Reader;
use crate::units::{Mono, RtpTime, frames_to_nanos};

/// The APP packet's four-letter name.
pub const APP_NAME: [u8; 4] = *b"STim";

/// The slew of a group's delay is one part in this many: 2000 parts per million, 3.5 cents of pitch while it lasts.
pub const SLEW: i64 = 500;

/// A frame whose capture is known, and the rate of the capture clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// RTP time of the frame.
    pub rtp_time: RtpTime,
    /// When it was captured, on the sender's clock.
    pub captured: Mono,
    /// By which share the capture clock runs slow, in parts per 10^9: a frame lasts (1 + this) times as long as its
    /// nominal rate says.
    pub slow_ppb: i32,
}

impl Anchor {
    /// Largest deviation of a capture clock, 1 %, in parts per 10^9.
    pub const MAX_SLOW: i32 = 10_000_000;

    /// When the frame was captured that comes `frames` after the anchor, of a stream of `rate` frames a second.
    pub fn captured_at(&self, frames: i64, rate: u32) -> Mono {
        let nominal = frames_to_nanos(frames, rate);
        let slow = i128::from(nominal) * i128::from(self.slow_ppb) / 1_000_000_000;
        self.captured.plus(nominal).plus(slow as i64)
    }
}

/// A group's delay, from the capture of a frame to the converters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Before [`begin`](Self::begin), in microseconds.
    pub from_us: u32,
    /// What it slews to from there on, in microseconds; 0 where the group has no delay yet.
    pub to_us: u32,
    /// The frame with which the slew begins. The sender sees to it that it is never half the range of RTP times away.
    pub begin: RtpTime,
}

impl Delay {
    /// Longest delay, 10 s, in microseconds.
    pub const MAX_US: u32 = 10_000_000;

    /// The delay of the frame that comes `frames` after the beginning of the slew (before it, where negative), of a
    /// stream of `rate` frames a second, in nanoseconds.
    pub fn at(&self, frames: i64, rate: u32) -> i64 {
        let (from, to) = (i64::from(self.from_us) * 1000, i64::from(self.to_us) * 1000);
        let slewed = frames_to_nanos(frames.max(0), rate) / SLEW;
        from + (to - from).clamp(-slewed, slewed)
    }
}

/// All that a receiver is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// The stream's line in time.
    pub anchor: Anchor,
    /// The group's delay.
    pub delay: Delay,
    /// Added to the delay by this receiver alone, in nanoseconds, at most [`MAX_TRIM`](Self::MAX_TRIM) either way.
    pub trim_ns: i32,
}

impl Timing {
    /// Octets of the body.
    pub const LENGTH: usize = 32;
    /// Largest trim, 1 s (343 m of air), in nanoseconds.
    pub const MAX_TRIM: i32 = 1_000_000_000;

    /// Reads the body of an APP packet named [`APP_NAME`]; octets after the known ones are ignored.
    ///
    /// # Errors
    /// [`Reject::Truncated`]; [`Reject::Value`] for an instant before the clock began, and for a rate, a delay or a trim
    /// beyond its limit.
    pub fn parse(body: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader(body);
        let rtp_time = RtpTime(reader.u32()?);
        let captured = i64::try_from(reader.u64()?).map_err(|_| Reject::Value)?;
        let slow_ppb = within(reader.u32()?, Anchor::MAX_SLOW)?;
        let (from_us, to_us) = (reader.u32()?, reader.u32()?);
        let begin = RtpTime(reader.u32()?);
        let trim_ns = within(reader.u32()?, Self::MAX_TRIM)?;
        if from_us.max(to_us) > Delay::MAX_US {
            return Err(Reject::Value);
        }
        Ok(Self {
            anchor: Anchor { rtp_time, captured: Mono(captured), slow_ppb },
            delay: Delay { from_us, to_us, begin },
            trim_ns,
        })
    }

    /// The body's octets.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.anchor.rtp_time.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.anchor.captured.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.anchor.slow_ppb.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.delay.from_us.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.delay.to_us.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.delay.begin.0.to_be_bytes());
        bytes[28..].copy_from_slice(&self.trim_ns.to_be_bytes());
        bytes
    }
}

/// A signed field of at most `most`, either way.
fn within(field: u32, most: i32) -> Result<i32, Reject> {
    let value = field as i32;
    if value.unsigned_abs() > most.unsigned_abs() { Err(Reject::Value) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        anchor: Anchor {
            rtp_time: RtpTime(0xffff_fffe),
            captured: Mono(0x0102_0304_0506_0708),
            slow_ppb: -100_000,
        },
        delay: Delay { from_us: 30_000, to_us: 45_500, begin: RtpTime(44_100) },
        trim_ns: -2_915_452,
    };

    const GOLDEN: [u8; 32] = [
        0xff, 0xff, 0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xfe, 0x79, 0x60, // anchor
        0, 0, 0x75, 0x30, 0, 0, 0xb1, 0xbc, 0, 0, 0xac, 0x44, // delay
        0xff, 0xd3, 0x83, 0x84, // trim
    ];

    #[test]
    fn golden_bytes_both_ways() {
        assert_eq!(TIMING.to_bytes(), GOLDEN);
        assert_eq!(Timing::parse(&GOLDEN), Ok(TIMING));
        assert_eq!(Timing::parse(&[&GOLDEN[..], &[9; 4]].concat()), Ok(TIMING));
    }

    #[test]
    fn refuses_what_is_short_or_beyond_its_limit() {
        for length in 0..GOLDEN.len() {
            assert_eq!(Timing::parse(&GOLDEN[..length]), Err(Reject::Truncated), "{length} octets");
        }
        let limits = [
            (4, 0x8000_0000, None),
            (12, 10_000_001, Some(10_000_000)),
            (12, -10_000_001i32 as u32, Some(-10_000_000i32 as u32)),
            (16, 10_000_001, Some(10_000_000)),
            (20, u32::MAX, Some(10_000_000)),
            (28, 1_000_000_001, Some(1_000_000_000)),
            (28, 0x8000_0000, Some(-1_000_000_000i32 as u32)),
        ];
        for (at, beyond, limit) in limits {
            let with = |value: u32| {
                let mut bytes = GOLDEN;
                bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
                Timing::parse(&bytes)
            };
            assert_eq!(with(beyond), Err(Reject::Value), "{beyond} at {at}");
            assert!(limit.is_none_or(|limit| with(limit).is_ok()), "{limit:?} at {at}");
        }
    }

    #[test]
    fn a_slow_capture_clock_stretches_the_line() {
        let anchor = Anchor { rtp_time: RtpTime(7), captured: Mono(5_000_000_000), slow_ppb: 100_000 };
        assert_eq!(anchor.captured_at(44_100, 44_100), Mono(6_000_100_000));
        assert_eq!(anchor.captured_at(-22_050, 44_100), Mono(4_499_950_000));
    }

    #[test]
    fn the_delay_slews_by_two_milliseconds_a_second_and_stops() {
        let up = Delay { from_us: 30_000, to_us: 33_000, begin: RtpTime(0) };
        let down = Delay { from_us: 33_000, to_us: 30_000, ..up };
        for (seconds, nanos) in [(-9, 0), (0, 0), (1, 2_000_000), (2, 3_000_000), (100_000, 3_000_000)] {
            assert_eq!(up.at(seconds * 48_000, 48_000), 30_000_000 + nanos, "{seconds} s");
            assert_eq!(down.at(seconds * 48_000, 48_000), 33_000_000 - nanos, "{seconds} s");
        }
    }
}
