//! What a participant says of itself, in an RTCP APP packet named `SKey`, in a compound that is authenticated but not
//! encrypted and that has its CNAME too.
//!
//! | octets | what |
//! | --- | --- |
//! | 16 | the participant's id |
//! | 16 | the id of the participant that it answers; zeros where there is none |
//! | 4 | the highest index of SRTCP that it has heard from that one |
//! | 12 each, at most 3 | a stream: SSRC (32 bits), index of its next packet (64) |

use super::MAX_INDEX;
use super::cipher::Control;
use super::kdf::Id;
use crate::Reject;
use crate::cursor::{Reader, Writer};
use crate::rtcp::{self, Packet};

/// The APP packet's four-letter name.
pub const APP_NAME: [u8; 4] = *b"SKey";
/// Most streams that one greeting names: media, what is sent again, parity.
pub const STREAMS: usize = 3;

/// A participant's id and what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Who speaks.
    pub id: Id,
    /// Whom it answers; zeros where it has heard nobody.
    pub peer: Id,
    /// The highest index of SRTCP that it has heard from that one.
    pub heard: u32,
    /// Its streams.
    pub streams: [Option<Next>; STREAMS],
}

/// Where a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Its synchronisation source.
    pub ssrc: u32,
    /// Index of the next packet: roll-over counter and sequence number.
    pub index: u64,
}

/// A greeting as it came, with the name that its keys are made from. Nothing is checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// What it says.
    pub greeting: Greeting,
    /// The participant's CNAME.
    pub cname: &'a [u8],
}

impl Greeting {
    /// Octets of the longest body.
    pub const LONGEST: usize = 36 + 12 * STREAMS;

    /// Reads the body of an APP packet.
    ///
    /// # Errors
    /// [`Reject::Truncated`]; [`Reject::Value`] for an index that is out of range.
    pub fn parse(body: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader(body);
        let (mut id, mut peer) = (Id::default(), Id::default());
        id.0.copy_from_slice(reader.take(16)?);
        peer.0.copy_from_slice(reader.take(16)?);
        let heard = reader.u32()?;
        let mut streams = [None; STREAMS];
        for stream in &mut streams {
            if reader.0.is_empty() {
                break;
            }
            let next = Next { ssrc: reader.u32()?, index: reader.u64()? };
            *stream = Some(next).filter(|next| next.index < MAX_INDEX);
            stream.ok_or(Reject::Value)?;
        }
        Ok(Self { id, peer, heard, streams })
    }

    /// The body's octets, and how many there are.
    pub fn to_bytes(&self) -> ([u8; Self::LONGEST], usize) {
        let mut bytes = [0; Self::LONGEST];
        let mut writer = Writer::new(&mut bytes);
        writer.put(&self.id.0);
        writer.put(&self.peer.0);
        writer.put(&self.heard.to_be_bytes());
        for next in self.streams.iter().flatten() {
            writer.put(&next.ssrc.to_be_bytes());
            writer.put(&next.index.to_be_bytes());
        }
        let length = writer.len();
        (bytes, length)
    }
}

impl<'a> Signed<'a> {
    /// Finds a greeting in a datagram. `None` where there is none.
    pub fn find(datagram: &'a [u8]) -> Option<Self> {
        let Control { length, .. } = Control::of(datagram).filter(|control| !control.encrypted)?;
        let (mut name, mut greeting) = (None, None);
        for packet in rtcp::packets(datagram.get(..length)?).take(4) {
            match packet.ok()? {
                Packet::Description { cname, .. } => name = Some(cname),
                Packet::Application { name: APP_NAME, body, .. } => greeting = Greeting::parse(body).ok(),
                _ => {}
            }
        }
        Some(Self { greeting: greeting?, cname: name? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: Greeting = Greeting {
        id: Id([1; 16]),
        peer: Id([2; 16]),
        heard: 0x0304,
        streams: [Some(Next { ssrc: 5, index: 0x6_0007 }), None, None],
    };

    #[test]
    fn golden_bytes_both_ways() {
        let (bytes, length) = GREETING.to_bytes();
        let mut golden = [[1; 16], [2; 16]].concat();
        golden.extend([0, 0, 3, 4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 6, 0, 7]);
        assert_eq!(bytes[..length], golden);
        assert_eq!(Greeting::parse(&golden), Ok(GREETING));
        assert_eq!(Greeting::parse(&golden[..47]), Err(Reject::Truncated));
        golden[40] = 1;
        assert_eq!(Greeting::parse(&golden), Err(Reject::Value), "an index of more than 48 bits");
    }

    #[test]
    fn a_greeting_is_found_in_a_compound_that_is_not_encrypted() {
        let mut out = [0; 256];
        let (body, length) = GREETING.to_bytes();
        let mut builder = rtcp::Builder::new(&mut out);
        builder.receiver_report(9, None);
        builder.description(9, "me");
        builder.application(9, APP_NAME, 0, &body[..length]);
        let length = builder.finish().unwrap() + 20;
        let found = Signed { greeting: GREETING, cname: b"me" };
        assert_eq!(Signed::find(&out[..length]), Some(found));
        out[length - 4] = 0x80;
        assert_eq!(Signed::find(&out[..length]), None, "encrypted");
        assert_eq!(Signed::find(&out[..30]), None);
    }
}
