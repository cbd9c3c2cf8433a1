//! Reading another machine's clock, in RTCP APP packets named `SClk`: a receiver asks, the sender answers.
//!
//! The request (subtype 0) holds when it was written, by the receiver's clock, as 64 bits of nanoseconds, and 32 bits of
//! microseconds: the group delay that this receiver needs; then the 32 bits of the synchronisation source that it plays,
//! which says what a receiver listens to that the sender sends to a multicast group. The reply (subtype 1) echoes the first
//! and adds when the request came in and when the reply was written, by the sender's clock. Four times give offset and
//! round trip, as in NTP (RFC 5905, section 8); unlike there, both clocks are monotonic ones whose origins mean nothing.

use crate::Reject;
use crate::cursor::Reader;
use crate::units::Mono;

/// The APP packets' four-letter name.
pub const APP_NAME: [u8; 4] = *b"SClk";
/// Subtype of a [`Request`].
pub const REQUEST: u8 = 0;
/// Subtype of a [`Reply`].
pub const REPLY: u8 = 1;

/// Times are below this, so that no difference of two overflows: 146 years.
const MOST: u64 = 1 << 62;

/// What a receiver asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// When this is written, on the receiver's clock.
    pub written: Mono,
    /// The group delay that the receiver needs, in microseconds; 0 while it does not know.
    pub wanted_us: u32,
    /// The source that it plays; 0 where that is not told.
    pub media: u32,
}

/// What the sender answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// [`Request::written`] of the request.
    pub asked: Mono,
    /// When the request came in, on the sender's clock.
    pub received: Mono,
    /// When this is written, on the sender's clock; never before `received`.
    pub answered: Mono,
}

impl Request {
    /// Octets of the body.
    pub const LENGTH: usize = 16;

    /// Reads the body of an APP packet of subtype [`REQUEST`], with or without its source; octets after the known ones are
    /// ignored.
    ///
    /// # Errors
    /// [`Reject::Truncated`]; [`Reject::Value`] for a time that no clock shows.
    pub fn parse(body: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader(body);
        let (written, wanted_us) = (time(&mut reader)?, reader.u32()?);
        Ok(Self { written, wanted_us, media: reader.u32().unwrap_or(0) })
    }

    /// The body's octets.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.written.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.wanted_us.to_be_bytes());
        bytes[12..].copy_from_slice(&self.media.to_be_bytes());
        bytes
    }
}

impl Reply {
    /// Octets of the body.
    pub const LENGTH: usize = 24;

    /// Reads the body of an APP packet of subtype [`REPLY`]; octets after the known ones are ignored.
    ///
    /// # Errors
    /// [`Reject::Truncated`]; [`Reject::Value`] for a time that no clock shows, or an answer before its question.
    pub fn parse(body: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader(body);
        let [asked, received, answered] = [time(&mut reader)?, time(&mut reader)?, time(&mut reader)?];
        let reply = Self { asked, received, answered };
        (received <= answered).then_some(reply).ok_or(Reject::Value)
    }

    /// The body's octets.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        for (field, time) in bytes.chunks_exact_mut(8).zip([self.asked, self.received, self.answered]) {
            field.copy_from_slice(&time.0.to_be_bytes());
        }
        bytes
    }
}

fn time(reader: &mut Reader<'_>) -> Result<Mono, Reject> {
    let nanos = reader.u64()?;
    if nanos < MOST { Ok(Mono(nanos as i64)) } else { Err(Reject::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_both_ways() {
        let request = Request { written: Mono(0x0102_0304_0506_0708), wanted_us: 30_000, media: 0xcafe_babe };
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x75, 0x30, 0xca, 0xfe, 0xba, 0xbe];
        assert_eq!(request.to_bytes(), bytes);
        assert_eq!(Request::parse(&bytes), Ok(request));
        assert_eq!(Request::parse(&bytes[..12]), Ok(Request { media: 0, ..request }));
        assert_eq!(Request::parse(&bytes[..11]), Err(Reject::Truncated));

        let reply = Reply { asked: Mono(0x0102_0304_0506_0708), received: Mono(9), answered: Mono(256) };
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(reply.to_bytes(), bytes);
        assert_eq!(Reply::parse(&bytes), Ok(reply));
        assert_eq!(Reply::parse(&bytes[..23]), Err(Reject::Truncated));
    }

    #[test]
    fn times_that_no_clock_shows_are_refused() {
        let mut bytes = [0; 25];
        assert!(Request::parse(&bytes).is_ok() && Reply::parse(&bytes).is_ok());
        bytes[15] = 1;
        assert_eq!(Reply::parse(&bytes), Err(Reject::Value), "answered before it came");
        bytes[0] = 0x40;
        assert_eq!(Request::parse(&bytes), Err(Reject::Value));
        assert_eq!(Reply::parse(&bytes), Err(Reject::Value));
    }
}
