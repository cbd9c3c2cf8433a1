//! From the file's key to the keys of a session.

use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use ring::hkdf;

/// Which AES.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suite {
    /// AEAD_AES_128_GCM.
    #[default]
    Aes128,
    /// AEAD_AES_256_GCM.
    Aes256,
}

impl Suite {
    /// Octets of its keys.
    pub(super) fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

/// Who sends what a key protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A sender: media and reports.
    FromSender,
    /// A receiver: reports.
    FromReceiver,
}

/// 128 bits that a participant draws at random whenever it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Id(pub [u8; 16]);

/// The installation's secret: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey(pub [u8; 32]);

/// Keys are never shown.
impl core::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FileKey")
    }
}

/// What a master key and salt are made from, so that no other use of the file's key gives the same.
const PURPOSE: &[u8] = b"SRTP master key and salt";
const NEXT: &[u8] = b"next id";

impl FileKey {
    /// The master key and salt of a participant.
    pub fn master(&self, suite: Suite, id: Id, direction: Direction, cname: &[u8]) -> Master {
        let direction: &[u8] = match direction {
            Direction::FromSender => b" from sender ",
            Direction::FromReceiver => b" from receiver ",
        };
        let suite_name: &[u8] = match suite {
            Suite::Aes128 => b"128",
            Suite::Aes256 => b"256",
        };
        let mut octets = [0; 44];
        self.expand(id, &[PURPOSE, suite_name, direction, cname], &mut octets);
        let (mut key, mut salt) = ([0; 32], [0; SALT_LENGTH]);
        let length = suite.key_length();
        key[..length].copy_from_slice(&octets[..length]);
        salt.copy_from_slice(&octets[32..]);
        Master { suite, key, salt }
    }

    /// The id that follows on `id` when its numbers are used up. As good as random to who does not know the key.
    pub fn next_id(&self, id: Id) -> Id {
        let mut next = Id::default();
        self.expand(id, &[NEXT], &mut next.0);
        next
    }

    fn expand(&self, id: Id, info: &[&[u8]], out: &mut [u8]) {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &id.0).extract(&self.0);
        let filled = secret.expand(info, Length(out.len())).and_then(|okm| okm.fill(out));
        filled.expect("HKDF gives up to 8160 octets");
    }
}

/// Octets of a master salt (RFC 7714, section 12) and of a session's.
pub(super) const SALT_LENGTH: usize = 12;

/// A master key and salt, for streams that all have the same sender.
#[derive(Clone)]
pub struct Master {
    pub(super) suite: Suite,
    key: [u8; 32],
    salt: [u8; SALT_LENGTH],
}

impl core::fmt::Debug for Master {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Master")
    }
}

impl Master {
    /// A master key of the suite's length and its salt, as others give them.
    pub fn new(suite: Suite, key: &[u8], salt: [u8; SALT_LENGTH]) -> Option<Self> {
        let mut own = [0; 32];
        own.get_mut(..suite.key_length()).filter(|room| room.len() == key.len())?.copy_from_slice(key);
        Some(Self { suite, key: own, salt })
    }

    /// Key and salt as SDP writes them one after the other (RFC 4568, section 6.1), in the first `length` octets.
    pub fn inline(&self) -> ([u8; 44], usize) {
        let mut octets = [0; 44];
        let length = self.suite.key_length();
        octets[..length].copy_from_slice(&self.key[..length]);
        octets[length..][..SALT_LENGTH].copy_from_slice(&self.salt);
        (octets, length + SALT_LENGTH)
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key[..self.suite.key_length()]
    }

    /// RFC 3711, section 4.3, with a key derivation rate of 0. The salt of 96 bits is filled up to the function's 112 with zeros
    /// (RFC 7714, section 11).
    pub(super) fn derive(&self, label: u8, out: &mut [u8]) {
        let mut salt = [0; 14];
        salt[..SALT_LENGTH].copy_from_slice(&self.salt);
        prf(self.suite, self.key(), &salt, label, out);
    }
}

fn prf(suite: Suite, key: &[u8], salt: &[u8; 14], label: u8, out: &mut [u8]) {
    match suite {
        Suite::Aes128 => counter_mode::<Aes128>(key, salt, label, out),
        Suite::Aes256 => counter_mode::<Aes256>(key, salt, label, out),
    }
}

/// RFC 3711, section 4.3.3; RFC 6188 for 256 bits.
fn counter_mode<C: BlockCipherEncrypt + KeyInit>(key: &[u8], salt: &[u8; 14], label: u8, out: &mut [u8]) {
    let cipher = C::new_from_slice(key).expect("a key has its suite's length");
    let mut counter = [0; 16];
    counter[..14].copy_from_slice(salt);
    // The label stands before the 48 bits of the packet's index, which is 0 here.
    counter[7] ^= label;
    for (number, chunk) in out.chunks_mut(16).enumerate() {
        counter[14..].copy_from_slice(&(number as u16).to_be_bytes());
        let mut block = Block::<C>::default();
        block.iter_mut().zip(counter).for_each(|(octet, count)| *octet = count);
        cipher.encrypt_block(&mut block);
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::hex;
    use std::vec::Vec;

    fn derived(suite: Suite, key: &str, salt: &str, label: u8, length: usize) -> Vec<u8> {
        let mut out = std::vec![0; length];
        prf(suite, &hex(key), &hex(salt).try_into().unwrap(), label, &mut out);
        out
    }

    #[test]
    fn keys_are_derived_as_in_rfc_3711_b_3() {
        let (key, salt) = ("E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6");
        let derived = |label, length| derived(Suite::Aes128, key, salt, label, length);
        assert_eq!(derived(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        // Longer than a block.
        assert_eq!(derived(1, 20), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn keys_are_derived_as_in_rfc_6188_7_2() {
        let key = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6";
        let derived =
            |label, length| derived(Suite::Aes256, key, "3b04803de51ee7c96423ab5b78d2", label, length);
        assert_eq!(derived(0, 32), hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"));
        assert_eq!(derived(2, 14), hex("fa31791685ca444a9e07c6c64e93"));
    }

    #[test]
    fn whatever_differs_makes_another_master_key() {
        let key = FileKey([7; 32]);
        let all = [
            key.master(Suite::Aes128, Id([1; 16]), Direction::FromSender, b"a"),
            key.master(Suite::Aes128, Id([2; 16]), Direction::FromSender, b"a"),
            key.master(Suite::Aes128, Id([1; 16]), Direction::FromReceiver, b"a"),
            key.master(Suite::Aes128, Id([1; 16]), Direction::FromSender, b"b"),
            FileKey([8; 32]).master(Suite::Aes128, Id([1; 16]), Direction::FromSender, b"a"),
        ];
        for (number, one) in all.iter().enumerate() {
            assert!(all[..number].iter().all(|other| other.key() != one.key() && other.salt != one.salt));
        }
        let again = key.master(Suite::Aes128, Id([1; 16]), Direction::FromSender, b"a");
        assert_eq!((again.key(), again.salt), (all[0].key(), all[0].salt));
        assert_ne!(key.next_id(Id([1; 16])), key.next_id(Id([2; 16])));
    }
}
