//! What comes in over a connection: requests, and interleaved data (RFC 2326, section 10.12).

use rtsp_types::{Message, ParseError, Request};

/// Octets of a request line and headers at most.
const MAX_HEAD: usize = 8192;
/// Octets of a body at most; no request that is answered here has need of one.
const MAX_BODY: usize = 4096;

/// One thing that came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A request.
    Request(Request<Vec<u8>>),
    /// A packet on an interleaved channel.
    Data {
        /// Its number.
        channel: u8,
        /// The packet.
        packet: Vec<u8>,
    },
    /// A response: to nothing, since nothing is asked here.
    Response,
}

/// Nothing that follows can be made sense of: the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is no RTSP.
    Broken,
    /// A request is longer than any that is answered.
    TooLong,
}

/// Takes a stream of octets apart. Holds at most one request, or one packet, besides what it is given at a time.
#[derive(Debug, Default)]
pub struct Reader {
    octets: Vec<u8>,
    /// In front of this place, no head of a request ends.
    searched: usize,
}

impl Reader {
    /// Takes the next octets.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Whether something has begun and is not whole yet.
    pub fn is_within(&self) -> bool {
        !self.octets.is_empty()
    }

    /// The next thing that is whole.
    ///
    /// # Errors
    /// Where the stream cannot be read on.
    pub fn fetch(&mut self) -> Result<Option<Incoming>, Malformed> {
        let blank = self.octets.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
        if self.searched == 0 && blank > 0 {
            self.octets.drain(..blank);
        }
        match self.octets.first() {
            None => Ok(None),
            Some(b'$') => Ok(self.data()),
            Some(first) if first.is_ascii_alphabetic() => self.message(),
            Some(_) => Err(Malformed::Broken),
        }
    }

    fn data(&mut self) -> Option<Incoming> {
        let [_, channel, high, low] = *self.octets.first_chunk()?;
        let end = 4 + usize::from(u16::from_be_bytes([high, low]));
        let packet = self.octets.get(4..end)?.to_vec();
        self.octets.drain(..end);
        Some(Incoming::Data { channel, packet })
    }

    fn message(&mut self) -> Result<Option<Incoming>, Malformed> {
        let from = self.searched.saturating_sub(3);
        let Some(end) = self.octets[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
            self.searched = self.octets.len();
            return if self.searched > MAX_HEAD { Err(Malformed::TooLong) } else { Ok(None) };
        };
        let head = from + end + 4;
        if head > MAX_HEAD {
            return Err(Malformed::TooLong);
        }
        // The rest may be further requests: what is parsed has to end with this one.
        let limit = self.octets.len().min(head + MAX_BODY);
        match Message::<Vec<u8>>::parse(&self.octets[..limit]) {
            Ok((message, used)) => {
                self.octets.drain(..used);
                self.searched = 0;
                Ok(Some(match message {
                    Message::Request(request) => Incoming::Request(request),
                    Message::Response(_) => Incoming::Response,
                    Message::Data(data) => {
                        Incoming::Data { channel: data.channel_id(), packet: data.into_body() }
                    }
                }))
            }
            Err(ParseError::Incomplete(_)) if limit < head + MAX_BODY => {
                self.searched = head;
                Ok(None)
            }
            Err(ParseError::Incomplete(_)) => Err(Malformed::TooLong),
            Err(ParseError::Error) => Err(Malformed::Broken),
        }
    }
}
