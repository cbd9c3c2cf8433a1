//! One type for each clock and unit. All wrapping arithmetic of the project lives in this file.

use core::time::Duration;

/// Frames since the stream began. 64 bit, never wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The position `frames` later.
    pub fn advanced(self, frames: u64) -> Self {
        Self(self.0.wrapping_add(frames))
    }

    /// The position `frames` earlier; before position 0, the numbers wrap as RTP times do.
    pub fn before(self, frames: u64) -> Self {
        Self(self.0.wrapping_sub(frames))
    }

    /// The same instant counted by a clock of another rate, to the nearest frame. Both clocks begin at position 0.
    pub fn at_rate(self, to: u32, from: u32) -> Self {
        let from = u128::from(from.max(1));
        Self(((u128::from(self.0) * u128::from(to) + from / 2) / from) as u64)
    }

    /// By how much the frame that [`at_rate`](Self::at_rate) names is later than the instant, in nanoseconds: half a frame at
    /// most, either way.
    pub fn rounding_at_rate(self, to: u32, from: u32) -> i64 {
        let (to, from) = (i128::from(to.max(1)), i128::from(from.max(1)));
        let exact = i128::from(self.0) * to;
        let excess = (exact + from / 2) / from * from - exact;
        (excess * 1_000_000_000 / (to * from)) as i64
    }

    /// Frames from `earlier` to `self`, negative where `self` is the earlier one.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }
}

/// An instant of the local monotonic clock in nanoseconds. The origin is the clock's own and means nothing elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub i64);

impl Mono {
    /// Nanoseconds from `earlier` to `self`.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant `nanos` later (earlier where negative).
    pub fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Time left until `self`, zero once it has passed.
    pub fn left_from(self, now: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.since(now)).unwrap_or(0))
    }
}

/// Nanoseconds that `frames` last at `rate` frames a second.
pub fn frames_to_nanos(frames: i64, rate: u32) -> i64 {
    (i128::from(frames) * 1_000_000_000 / i128::from(rate.max(1))) as i64
}

/// Whole frames that fit into `nanos` at `rate` frames a second, rounded down.
pub fn nanos_to_frames(nanos: i64, rate: u32) -> i64 {
    (i128::from(nanos) * i128::from(rate)).div_euclid(1_000_000_000) as i64
}

/// A 64-bit NTP time stamp: seconds since 1900 in the upper half, fractions in the lower (RFC 5905).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ntp(pub u64);

impl Ntp {
    /// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
    const UNIX_EPOCH_SECONDS: u64 = 2_208_988_800;

    /// The time stamp of `nanos` nanoseconds after the Unix epoch.
    pub fn from_unix_nanos(nanos: u64) -> Self {
        let seconds = (nanos / 1_000_000_000).wrapping_add(Self::UNIX_EPOCH_SECONDS);
        let fraction = ((nanos % 1_000_000_000) << 32) / 1_000_000_000;
        Self((seconds << 32) | fraction)
    }

    /// The middle 32 bits: units of 1/65536 s, as `LSR` and `DLSR` count (RFC 3550, 6.4.1).
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// Converts units of 1/65536 s to nanoseconds.
pub fn short_to_nanos(short: u32) -> i64 {
    ((u64::from(short) * 1_000_000_000) >> 16) as i64
}

/// Converts nanoseconds to units of 1/65536 s, saturating at the field's size.
pub fn nanos_to_short(nanos: i64) -> u32 {
    let nanos = u128::try_from(nanos).unwrap_or(0);
    u32::try_from((nanos << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Round trip from a report block's fields and the arrival time, in nanoseconds (RFC 3550, 6.4.1).
pub fn round_trip(arrival: Ntp, last_sr: u32, delay: u32) -> Option<i64> {
    let units = arrival.middle().wrapping_sub(last_sr).wrapping_sub(delay);
    // A clock step or a forged block shows as a huge unsigned value: more than half the range is "negative".
    (last_sr != 0 && units < 1 << 31).then(|| short_to_nanos(units))
}

/// An RTP sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence(pub u16);

impl Sequence {
    /// The number that follows.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Distance from `earlier`, in −32768..=32767.
    pub fn since(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0) as i16
    }
}

/// An RTP time stamp in frames, from a random origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// The time stamp of a position, given the time stamp of position 0.
    pub fn at(origin: RtpTime, position: Position) -> Self {
        Self(origin.0.wrapping_add(position.0 as u32))
    }

    /// Frames from `earlier`, the shorter way round.
    pub fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

/// Extends wrapping 16-bit numbers to 64 bit. Values start at 2^32, so that late ones never fall below zero.
#[derive(Clone, Copy, Debug)]
pub struct SequenceUnwrapper {
    last: u64,
}

impl SequenceUnwrapper {
    /// Starts at `first`.
    pub fn new(first: Sequence) -> Self {
        Self { last: (1 << 32) + u64::from(first.0) }
    }

    /// The 64-bit number nearest to the highest one seen.
    pub fn unwrap(&mut self, sequence: Sequence) -> u64 {
        let value = self.peek(sequence);
        self.last = self.last.max(value);
        value
    }

    /// As [`unwrap`](Self::unwrap), without moving the reference.
    pub fn peek(&self, sequence: Sequence) -> u64 {
        let step = sequence.since(Sequence(self.last as u16));
        self.last.saturating_add_signed(i64::from(step))
    }
}

/// Extends wrapping RTP time stamps to positions. Positions start at 2^32, so that late ones never fall below zero.
#[derive(Clone, Copy, Debug)]
pub struct RtpTimeUnwrapper {
    last: Position,
}

impl RtpTimeUnwrapper {
    /// Starts at `first`.
    pub fn new(first: RtpTime) -> Self {
        Self { last: Position((1 << 32) + u64::from(first.0)) }
    }

    /// The position nearest to the highest one seen.
    pub fn unwrap(&mut self, time: RtpTime) -> Position {
        let value = self.peek(time);
        self.last = self.last.max(value);
        value
    }

    /// The highest position seen.
    pub fn last(&self) -> Position {
        self.last
    }

    /// As [`unwrap`](Self::unwrap), without moving the reference.
    pub fn peek(&self, time: RtpTime) -> Position {
        let step = time.since(RtpTime(self.last.0 as u32));
        Position(self.last.0.saturating_add_signed(i64::from(step)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ntp_of_the_unix_epoch_and_half_a_second() {
        assert_eq!(Ntp::from_unix_nanos(0).0, 0x83AA_7E80_0000_0000);
        assert_eq!(Ntp::from_unix_nanos(500_000_000).0, 0x83AA_7E80_8000_0000);
    }

    #[test]
    fn round_trip_of_the_example_in_rfc3550() {
        // Section 6.4.1: A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 0x0005:4000, round trip 6.125 s.
        let arrival = Ntp(0x0000_b710_8000_0000);
        assert_eq!(round_trip(arrival, 0xb705_2000, 0x0005_4000), Some(6_125_000_000));
        assert_eq!(round_trip(arrival, 0, 0), None);
        assert_eq!(round_trip(arrival, 0xb710_8001, 0), None);
    }

    #[test]
    fn frames_and_nanos_agree_to_the_frame() {
        for frames in [0, 1, 128, 44_100, 158_760_000, -44_100] {
            let nanos = frames_to_nanos(frames, 44_100);
            assert!((nanos_to_frames(nanos, 44_100) - frames).abs() <= 1);
        }
    }

    #[test]
    fn clocks_of_two_rates_agree_after_years() {
        assert_eq!(Position(441).at_rate(48_000, 44_100), Position(480));
        assert_eq!(Position(1).at_rate(48_000, 44_100), Position(1));
        let ten_years = 315_576_000;
        assert_eq!(Position(ten_years * 44_100).at_rate(48_000, 44_100), Position(ten_years * 48_000));
        assert_eq!(Position(1).rounding_at_rate(48_000, 44_100), 20_833 - 22_676 + 1);
        assert_eq!(Position(ten_years * 44_100 + 441).rounding_at_rate(48_000, 44_100), 0);
        assert_eq!(RtpTime::at(RtpTime(0), Position(3).before(5)), RtpTime(u32::MAX - 1));
    }

    proptest! {
        #[test]
        fn sequence_survives_wraps_and_reordering(first: u16, steps in prop::collection::vec(-100i64..500, 1..400)) {
            let mut unwrapper = SequenceUnwrapper::new(Sequence(first));
            let (mut truth, mut highest) = ((1i64 << 32) + i64::from(first), (1i64 << 32) + i64::from(first));
            for step in steps {
                truth = highest + step;
                prop_assert_eq!(unwrapper.unwrap(Sequence(truth as u16)), truth as u64);
                highest = highest.max(truth);
            }
            prop_assert!(truth > 0);
        }

        #[test]
        fn rtp_time_survives_wraps(first: u32, steps in prop::collection::vec(-48_000i64..100_000_000, 1..200)) {
            let mut unwrapper = RtpTimeUnwrapper::new(RtpTime(first));
            let mut highest = (1i64 << 32) + i64::from(first);
            for step in steps {
                let truth = highest + step;
                prop_assert_eq!(unwrapper.unwrap(RtpTime(truth as u32)), Position(truth as u64));
                highest = highest.max(truth);
            }
        }
    }
}
