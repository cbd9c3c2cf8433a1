//! Packets into protected ones and back (RFC 7714, sections 8 and 9), in place.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, Tag, UnboundKey};

use super::kdf::{Master, SALT_LENGTH, Suite};
use crate::{Reject, rtp};

/// Octets that an RTP packet grows by: the tag.
pub const OVERHEAD: usize = MAX_TAG_LEN;
/// Octets that a compound of RTCP grows by: the tag and the index.
pub const CONTROL_OVERHEAD: usize = OVERHEAD + TRAILER;
/// Indices of RTP packets stay below this: the roll-over counter has 32 bits, the sequence number 16.
pub const MAX_INDEX: u64 = 1 << 48;
/// Indices of RTCP packets stay below this.
pub const MAX_CONTROL_INDEX: u32 = 1 << 31;

/// Octets of the E bit and the index.
const TRAILER: usize = 4;
/// The E bit: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;
/// Octets of an RTCP packet that are never encrypted: the first header, with the SSRC.
const CLEAR: usize = 8;

/// Labels of the key derivation (RFC 3711, section 4.3.2).
const RTP_KEY: u8 = 0;
const RTP_SALT: u8 = 2;
const RTCP_KEY: u8 = 3;
const RTCP_SALT: u8 = 5;

/// The keys of one participant's packets. Whoever seals never uses an index of an SSRC twice.
#[derive(Debug)]
pub struct Session {
    rtp: Cipher,
    rtcp: Cipher,
}

struct Cipher {
    key: LessSafeKey,
    salt: [u8; SALT_LENGTH],
}

impl core::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cipher")
    }
}

impl Session {
    /// Derives the keys: six blocks of AES, and what AES-GCM prepares.
    pub fn new(master: &Master) -> Self {
        Self {
            rtp: Cipher::derive(master, RTP_KEY, RTP_SALT),
            rtcp: Cipher::derive(master, RTCP_KEY, RTCP_SALT),
        }
    }

    /// Protects the RTP packet in the first `length` octets. Returns the length that it has then; `None` where that does not fit
    /// `buffer`, where there is no RTP packet, and where the index is not below [`MAX_INDEX`] or not that of the packet's number.
    pub fn seal(&self, buffer: &mut [u8], length: usize, index: u64) -> Option<usize> {
        let header = rtp::header_length(buffer.get(..length)?).ok()?;
        let nonce = rtp_nonce(buffer, index).filter(|_| buffer[2..4] == (index as u16).to_be_bytes())?;
        let (packet, rest) = buffer.split_at_mut_checked(length)?;
        let room = rest.first_chunk_mut::<OVERHEAD>()?;
        let (header, payload) = packet.split_at_mut(header);
        let tag = self.rtp.seal(nonce, header, payload)?;
        room.copy_from_slice(tag.as_ref());
        Some(length + OVERHEAD)
    }

    /// Checks and decrypts a protected RTP packet of this index. Returns the plain packet's length; what is in `datagram` is of no
    /// use where that is refused.
    ///
    /// # Errors
    /// [`Reject::Forged`]; [`Reject::Truncated`] and [`Reject::Version`] for what is no packet at all.
    pub fn open(&self, datagram: &mut [u8], index: u64) -> Result<usize, Reject> {
        let header = rtp::header_length(datagram)?;
        let nonce = rtp_nonce(datagram, index).ok_or(Reject::Value)?;
        let length = datagram.len().checked_sub(OVERHEAD).filter(|length| *length >= header);
        let length = length.ok_or(Reject::Truncated)?;
        let (header, payload) = datagram.split_at_mut(header);
        self.rtp.open(nonce, header, payload)?;
        Ok(length)
    }

    /// Protects the RTCP compound in the first `length` octets, and encrypts it if so asked. Returns the length that it has then;
    /// `None` where that does not fit `buffer`, where there is no header, and where the index is not below
    /// [`MAX_CONTROL_INDEX`].
    pub fn seal_control(&self, buffer: &mut [u8], length: usize, index: u32, encrypt: bool) -> Option<usize> {
        let nonce = rtcp_nonce(buffer.get(..length)?, index)?;
        let sealed = buffer.get_mut(..length + CONTROL_OVERHEAD)?;
        let tag = if encrypt {
            let trailer = (ENCRYPTED | index).to_be_bytes();
            let aad = control_aad(sealed, trailer)?;
            sealed[length + OVERHEAD..].copy_from_slice(&trailer);
            self.rtcp.seal(nonce, &aad, &mut sealed[CLEAR..length])?
        } else {
            let trailer = index.to_be_bytes();
            // What is authenticated ends with the index: it stands where the tag will be until that is known.
            sealed[length..][..TRAILER].copy_from_slice(&trailer);
            let tag = self.rtcp.seal(nonce, &sealed[..length + TRAILER], &mut [])?;
            sealed[length + OVERHEAD..].copy_from_slice(&trailer);
            tag
        };
        sealed[length..][..OVERHEAD].copy_from_slice(tag.as_ref());
        Some(length + CONTROL_OVERHEAD)
    }

    /// Checks a protected RTCP compound, and decrypts it where it is encrypted. Returns the plain compound's length; what is in
    /// `datagram` is of no use where that is refused.
    ///
    /// # Errors
    /// [`Reject::Forged`], or [`Reject::Truncated`] for what is too short.
    pub fn open_control(&self, datagram: &mut [u8]) -> Result<usize, Reject> {
        let Control { index, encrypted, length } = Control::of(datagram).ok_or(Reject::Truncated)?;
        let nonce = rtcp_nonce(datagram, index).ok_or(Reject::Truncated)?;
        let mut trailer = [0; TRAILER];
        trailer.copy_from_slice(&datagram[length + OVERHEAD..]);
        if encrypted {
            let aad = control_aad(datagram, trailer).ok_or(Reject::Truncated)?;
            self.rtcp.open(nonce, &aad, &mut datagram[CLEAR..length + OVERHEAD])?;
        } else {
            let mut tag = [0; OVERHEAD];
            tag.copy_from_slice(&datagram[length..][..OVERHEAD]);
            datagram[length..][..TRAILER].copy_from_slice(&trailer);
            self.rtcp.open(nonce, &datagram[..length + TRAILER], &mut tag)?;
        }
        Ok(length)
    }
}

/// What a protected RTCP compound says of itself, before anything is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its index, below [`MAX_CONTROL_INDEX`].
    pub index: u32,
    /// Whether it is encrypted too.
    pub encrypted: bool,
    /// Octets of the compound without what protects it.
    pub length: usize,
}

impl Control {
    /// Reads the end of a datagram. `None` where it is too short.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        let length = datagram.len().checked_sub(CONTROL_OVERHEAD).filter(|length| *length >= CLEAR)?;
        let trailer = u32::from_be_bytes(*datagram.last_chunk()?);
        Some(Self { index: trailer & !ENCRYPTED, encrypted: trailer & ENCRYPTED != 0, length })
    }
}

impl Cipher {
    fn derive(master: &Master, key_label: u8, salt_label: u8) -> Self {
        let (mut key, mut salt) = ([0; 32], [0; SALT_LENGTH]);
        let key = &mut key[..master.suite.key_length()];
        master.derive(key_label, key);
        master.derive(salt_label, &mut salt);
        Self::new(master.suite, key, salt)
    }

    fn new(suite: Suite, key: &[u8], salt: [u8; SALT_LENGTH]) -> Self {
        let algorithm = match suite {
            Suite::Aes128 => &AES_128_GCM,
            Suite::Aes256 => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).expect("a key has its suite's length");
        Self { key: LessSafeKey::new(key), salt }
    }

    fn seal(&self, nonce: [u8; SALT_LENGTH], aad: &[u8], text: &mut [u8]) -> Option<Tag> {
        self.key.seal_in_place_separate_tag(self.nonce(nonce), Aad::from(aad), text).ok()
    }

    /// `text` ends with the tag.
    fn open(&self, nonce: [u8; SALT_LENGTH], aad: &[u8], text: &mut [u8]) -> Result<(), Reject> {
        let opened = self.key.open_in_place(self.nonce(nonce), Aad::from(aad), text);
        opened.map(|_| ()).map_err(|_| Reject::Forged)
    }

    fn nonce(&self, mut octets: [u8; SALT_LENGTH]) -> Nonce {
        octets.iter_mut().zip(self.salt).for_each(|(octet, salt)| *octet ^= salt);
        Nonce::assume_unique_for_key(octets)
    }
}

/// RFC 7714, section 8.1: zeros, SSRC, roll-over counter, sequence number.
fn rtp_nonce(packet: &[u8], index: u64) -> Option<[u8; SALT_LENGTH]> {
    let mut nonce = [0; SALT_LENGTH];
    nonce[2..6].copy_from_slice(packet.get(8..12)?);
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    (index < MAX_INDEX).then_some(nonce)
}

/// RFC 7714, section 9.1: zeros, SSRC, zeros, index.
fn rtcp_nonce(packet: &[u8], index: u32) -> Option<[u8; SALT_LENGTH]> {
    let mut nonce = [0; SALT_LENGTH];
    nonce[2..6].copy_from_slice(packet.get(4..8)?);
    nonce[8..].copy_from_slice(&index.to_be_bytes());
    (index < MAX_CONTROL_INDEX).then_some(nonce)
}

/// What is authenticated beside an encrypted compound: its first header, then the E bit and the index.
fn control_aad(packet: &[u8], trailer: [u8; TRAILER]) -> Option<[u8; CLEAR + TRAILER]> {
    let mut aad = [0; CLEAR + TRAILER];
    aad[..CLEAR].copy_from_slice(packet.get(..CLEAR)?);
    aad[CLEAR..].copy_from_slice(&trailer);
    Some(aad)
}

#[cfg(test)]
mod tests;
