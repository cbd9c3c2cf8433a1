//! The payload types that mean something without an SDP (RFC 3551, section 6, and our pair's own table).

use crate::announce::{Codec, Format};

/// `L16`, 44.1 kHz, stereo: static.
pub const L16_STEREO: u8 = 10;
/// `L16`, 44.1 kHz, mono: static.
pub const L16_MONO: u8 = 11;
/// `L16` of any rate and channel count: our pair's dynamic type, described by the announcement.
pub const L16_ANNOUNCED: u8 = 96;
/// `L24` of any rate and channel count (RFC 3190), described by the announcement.
pub const L24: u8 = 97;
/// Opus (RFC 7587), described by the announcement.
pub const OPUS: u8 = 98;
/// Packets sent again on request ([`retransmission`](crate::retransmission)).
pub const RETRANSMISSION: u8 = 99;
/// Repair sent in advance ([`parity`](crate::parity)).
pub const PARITY: u8 = 100;

/// The payload types of encrypted packets, in the order of [`PLAIN`]: others than those of plain ones, so that nobody takes one
/// for the other and plays noise.
const ENCRYPTED: core::ops::Range<u8> = 101..108;
const PLAIN: [u8; 7] = [L16_STEREO, L16_MONO, L16_ANNOUNCED, L24, OPUS, RETRANSMISSION, PARITY];

/// The payload type of an encrypted packet that is of this type when plain.
pub fn encrypted(plain: u8) -> Option<u8> {
    ENCRYPTED.zip(PLAIN).find(|(_, known)| *known == plain).map(|(encrypted, _)| encrypted)
}

/// The payload type that an encrypted packet has when plain; `None` where the type is not one of encrypted packets.
pub fn decrypted(encrypted: u8) -> Option<u8> {
    PLAIN.get(usize::from(encrypted.checked_sub(ENCRYPTED.start)?)).copied()
}

/// The payload type under which 16-bit PCM of this shape is sent.
pub fn of_l16(rate: u32, channels: u16) -> u8 {
    match (rate, channels) {
        (44_100, 2) => L16_STEREO,
        (44_100, 1) => L16_MONO,
        _ => L16_ANNOUNCED,
    }
}

/// The format that a static payload type implies.
pub fn static_format(payload_type: u8) -> Option<Format> {
    let channels = match payload_type {
        L16_STEREO => 2,
        L16_MONO => 1,
        _ => return None,
    };
    Some(Format { payload_type, codec: Codec::L16, channels, rate: 44_100, frames: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_types_stand_for_plain_ones() {
        for plain in PLAIN {
            let sealed = encrypted(plain).unwrap();
            assert_eq!(decrypted(sealed), Some(plain));
            assert_eq!((encrypted(sealed), decrypted(plain)), (None, None));
        }
        assert_eq!((encrypted(0), decrypted(108), decrypted(100)), (None, None, None));
    }
}
