//! Who takes part in an encrypted stream: this end, and the other. See [`proto::srtp`] for keys and greetings.
//!
//! Either end accepts the other's keys only from a greeting that is authentic and that answers it: a receiver from one
//! that names the id which the receiver drew for this conversation, a sender from one that names the sender's id and has heard
//! something that the sender said after it knew the receiver by its last id. So neither can be led back to an earlier session by
//! recordings.

use proto::rtcp::Builder;
use proto::srtp::{
    self, Control, Direction, FileKey, Greeting, Id, MAX_CONTROL_INDEX, Next, STREAMS, Session, Signed,
    Suite, Window,
};
use proto::units::Mono;
use proto::{Reject, rtcp, rtp};

/// How it stands between the two ends, as one of them sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrecy {
    /// Nothing was heard that would tell.
    #[default]
    Unknown,
    /// What comes is encrypted with this end's key.
    Encrypted,
    /// The other end has another key.
    WrongKey,
    /// The other end has no key.
    OnlyHere,
    /// The other end has a key and this one has none.
    OnlyThere,
}

impl Secrecy {
    const ALL: [Self; 5] = [Self::Unknown, Self::Encrypted, Self::WrongKey, Self::OnlyHere, Self::OnlyThere];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Encrypted => "encrypted",
            Self::WrongKey => "wrong_key",
            Self::OnlyHere => "only_here",
            Self::OnlyThere => "only_there",
        }
    }

    /// A few words for people.
    pub fn describe(self) -> &'static str {
        self.remedy().unwrap_or(if self == Self::Encrypted {
            "encrypted and authentic"
        } else {
            "not heard yet"
        })
    }

    /// What is to be done about it; `None` where nothing is.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Encrypted => None,
            Self::WrongKey => Some("wrong key: both ends need the same --key file"),
            Self::OnlyHere => Some("the other end is not encrypted: give it the same --key file"),
            Self::OnlyThere => Some("the other end is encrypted: give this one the same --key file"),
        }
    }

    pub(crate) fn to_counter(self) -> u64 {
        self as u64
    }

    pub(crate) fn from_counter(value: u64) -> Self {
        Self::ALL.get(value as usize).copied().unwrap_or_default()
    }
}

/// The installation's key, and an id that was drawn at random for this run of the program.
#[derive(Clone, Debug)]
pub struct Secret {
    /// From the file.
    pub key: FileKey,
    /// Fresh.
    pub id: Id,
}

/// An end that was heard so long ago may have been started anew with another key, in nanoseconds.
const PATIENCE: i64 = 3_000_000_000;
/// So many of the last indices are left for what is on its way when an id has been used up.
const RESERVE: u32 = 1 << 16;

/// This end.
#[derive(Debug)]
pub(crate) struct Identity {
    secret: Secret,
    direction: Direction,
    cname: String,
    session: Session,
    /// Index of the next compound.
    next: u32,
}

impl Identity {
    pub(crate) fn new(secret: Secret, direction: Direction, cname: String) -> Self {
        let session = session(&secret, secret.id, direction, cname.as_bytes());
        Self { secret, direction, cname, session, next: 0 }
    }

    pub(crate) fn id(&self) -> Id {
        self.secret.id
    }

    /// Index of the next compound.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Takes another id. Its keys are others, so that its indices may begin again.
    pub(crate) fn renew(&mut self) {
        self.take(self.secret.key.next_id(self.secret.id));
    }

    /// Takes the id that follows on another's.
    pub(crate) fn renew_after(&mut self, other: &Self) {
        self.take(self.secret.key.next_id(other.secret.id));
    }

    fn take(&mut self, id: Id) {
        self.secret.id = id;
        self.session = session(&self.secret, id, self.direction, self.cname.as_bytes());
        self.next = 0;
    }

    /// Whether it is time to take another id: the indices of this one are nearly used up.
    pub(crate) fn is_used_up(&self) -> bool {
        self.next >= MAX_CONTROL_INDEX - RESERVE
    }

    /// Protects the compound in the first `length` octets.
    pub(crate) fn seal_control(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.seal(buffer, length, true)
    }

    fn seal(&mut self, buffer: &mut [u8], length: usize, encrypt: bool) -> Option<usize> {
        let sealed = self.session.seal_control(buffer, length, self.next, encrypt)?;
        self.next += 1;
        Some(sealed)
    }

    /// Writes a greeting, protected.
    pub(crate) fn greet(
        &mut self,
        ssrc: u32,
        (peer, heard): (Id, u32),
        streams: [Option<Next>; STREAMS],
        out: &mut [u8],
    ) -> Option<usize> {
        let greeting = Greeting { id: self.secret.id, peer, heard, streams };
        let (body, length) = greeting.to_bytes();
        let mut builder = Builder::with_empty_report(out.get_mut(..rtcp::MAX_COMPOUND)?, ssrc);
        builder.description(ssrc, &self.cname);
        builder.application(ssrc, srtp::APP_NAME, 0, &body[..length]);
        let length = builder.finish()?;
        self.seal(out, length, false)
    }

    /// The other end, if a datagram with its greeting is authentic. The datagram is used up.
    pub(crate) fn meet(
        &self,
        greeting: &Greeting,
        cname: &[u8],
        datagram: &mut [u8],
    ) -> Result<Peer, Reject> {
        let direction = match self.direction {
            Direction::FromSender => Direction::FromReceiver,
            Direction::FromReceiver => Direction::FromSender,
        };
        let Control { index, .. } = Control::of(datagram).ok_or(Reject::Truncated)?;
        let session = session(&self.secret, greeting.id, direction, cname);
        session.open_control(datagram)?;
        Ok(Peer { id: greeting.id, session, control: Window::new(u64::from(index) + 1) })
    }
}

/// The keys of a participant.
fn session(secret: &Secret, id: Id, direction: Direction, cname: &[u8]) -> Session {
    Session::new(&secret.key.master(Suite::default(), id, direction, cname))
}

/// The other end, as it is known.
#[derive(Debug)]
pub(crate) struct Peer {
    id: Id,
    session: Session,
    control: Window,
}

impl Peer {
    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The highest index of SRTCP heard from it.
    pub(crate) fn heard(&self) -> u32 {
        self.control.next().saturating_sub(1) as u32
    }

    /// Checks a compound, and decrypts it where it is encrypted. Returns its length.
    pub(crate) fn open_control(&mut self, datagram: &mut [u8]) -> Result<usize, Reject> {
        let index = u64::from(Control::of(datagram).ok_or(Reject::Truncated)?.index);
        if !self.control.is_fresh(index) {
            return Err(Reject::Replayed);
        }
        let length = self.session.open_control(datagram)?;
        self.control.note(index);
        Ok(length)
    }
}

/// How it stands, with a memory: what anybody can forge changes nothing while authentic packets come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    secrecy: Secrecy,
    authentic: Option<Mono>,
}

impl Standing {
    pub(crate) fn secrecy(&self) -> Secrecy {
        self.secrecy
    }

    /// Takes note of an authentic packet. Whether that is news.
    pub(crate) fn authentic(&mut self, at: Mono) -> bool {
        self.authentic = Some(at);
        std::mem::replace(&mut self.secrecy, Secrecy::Encrypted) != Secrecy::Encrypted
    }

    /// Takes note of something else. Whether that is news.
    pub(crate) fn suspect(&mut self, at: Mono, secrecy: Secrecy) -> bool {
        let trusted = self.authentic.is_some_and(|last| at.since(last) < PATIENCE);
        !trusted && std::mem::replace(&mut self.secrecy, secrecy) != secrecy
    }
}

/// A greeting, a name, and the name's length.
pub(crate) type Found = (Greeting, [u8; 255], usize);

/// A greeting and a copy of the octets that its name lies in, so that the datagram can be opened in place.
pub(crate) fn find_greeting(datagram: &[u8]) -> Option<Found> {
    if !rtp::is_rtcp(datagram) {
        return None;
    }
    let Signed { greeting, cname } = Signed::find(datagram)?;
    let mut name = [0; 255];
    let length = cname.len().min(name.len());
    name[..length].copy_from_slice(&cname[..length]);
    Some((greeting, name, length))
}

#[cfg(test)]
mod tests;
