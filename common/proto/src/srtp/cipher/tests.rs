use super::*;
use crate::srtp::{Direction, FileKey, Id, Window, hex};
use crate::units::Sequence;
use std::vec::Vec;

/// RFC 7714, sections 16 and 17: the same packets and salt with both lengths of key.
const SALT: &str = "51756964 2070726f 2071756f";
const KEY: &str = "00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f";
const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070
    61727465 73207472 6573";
const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
    deadbeef deadbeef deadbeef";
const RTCP_INDEX: u32 = 0x5d4;

struct Golden {
    suite: Suite,
    rtp: &'static str,
    rtcp: &'static str,
    /// Authenticated, not encrypted.
    tagged: &'static str,
}

const GOLDEN: [Golden; 2] = [
    Golden {
        suite: Suite::Aes128,
        rtp: "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a
            51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        rtcp: "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
            4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        tagged: "841dd968 3dd78ec9 2ae58790 125f62b3 000005d4",
    },
    Golden {
        suite: Suite::Aes256,
        rtp: "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02
            76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        rtcp: "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be
            8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        tagged: "91db4afb feee5a97 8fab4393 ed2615fe 000005d4",
    },
];

fn of_rfc(suite: Suite) -> Session {
    let cipher = || Cipher::new(suite, &hex(KEY)[..suite.key_length()], hex(SALT).try_into().unwrap());
    Session { rtp: cipher(), rtcp: cipher() }
}

fn with_room(packet: &str) -> (Vec<u8>, usize) {
    let packet = hex(packet);
    let length = packet.len();
    ([packet, std::vec![0xaa; 40]].concat(), length)
}

#[test]
fn golden_packets_both_ways() {
    for golden in GOLDEN {
        let session = of_rfc(golden.suite);
        let (mut buffer, length) = with_room(RTP);
        let sealed = session.seal(&mut buffer, length, 0xf17b).unwrap();
        assert_eq!(buffer[..sealed], hex(golden.rtp));
        assert_eq!(session.open(&mut buffer[..sealed], 0xf17b), Ok(length));
        assert_eq!(buffer[..length], hex(RTP));
    }
}

#[test]
fn golden_compounds_both_ways() {
    for golden in GOLDEN {
        let session = of_rfc(golden.suite);
        let tagged = [hex(RTCP), hex(golden.tagged)].concat();
        for (encrypt, expected) in [(true, hex(golden.rtcp)), (false, tagged)] {
            let (mut buffer, length) = with_room(RTCP);
            let sealed = session.seal_control(&mut buffer, length, RTCP_INDEX, encrypt).unwrap();
            assert_eq!(buffer[..sealed], expected);
            let control = Control { index: RTCP_INDEX, encrypted: encrypt, length };
            assert_eq!(Control::of(&expected), Some(control));
            assert_eq!(session.open_control(&mut buffer[..sealed]), Ok(length));
            assert_eq!(buffer[..length], hex(RTCP));
        }
    }
}

fn session(file: u8) -> Session {
    let key = FileKey([file; 32]);
    Session::new(&key.master(Suite::Aes128, Id([3; 16]), Direction::FromSender, b"a@b"))
}

/// Octets that look random and are the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize
    }

    /// An RTP packet with some CSRCs and perhaps an extension, and how long it is; there is room behind it.
    fn rtp(&mut self, index: u64) -> (Vec<u8>, usize) {
        let (sources, extended) = (self.next() % 3, self.next() % 2);
        let number = (index as u16).to_be_bytes();
        let mut packet = std::vec![0x80 | (extended << 4) as u8 | sources as u8, 103, number[0], number[1]];
        packet.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend((0..4 * sources).map(|_| self.next() as u8));
        if extended == 1 {
            packet.extend([0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]);
        }
        let payload = self.next() % 300;
        packet.extend((0..payload).map(|_| self.next() as u8));
        let length = packet.len();
        packet.resize(length + OVERHEAD, 0);
        (packet, length)
    }
}

/// Tries of each kind of forgery.
const TRIES: usize = 10_000;

#[test]
fn headers_and_extensions_stay_in_the_clear() {
    let (session, mut noise) = (session(1), Noise(1));
    for index in 0..200 {
        let (mut packet, length) = noise.rtp(index);
        let plain = packet.clone();
        let header = rtp::header_length(&packet).unwrap();
        assert_eq!(session.seal(&mut packet, length, index), Some(packet.len()));
        assert_eq!(packet[..header], plain[..header]);
        assert!(length - header < 8 || packet[header..length] != plain[header..length]);
        assert_eq!(session.open(&mut packet, index), Ok(length));
        assert_eq!(packet[..length], plain[..length]);
    }
}

#[test]
fn no_forged_packet_is_opened() {
    let (session, other, mut noise) = (session(1), session(2), Noise(2));
    for number in 0..TRIES as u64 {
        let index = (1 << 16) + number;
        let (mut packet, length) = noise.rtp(index);
        let plain = packet[..length].to_vec();
        session.seal(&mut packet, length, index).unwrap();
        let mut flipped = packet.clone();
        flipped[noise.next() % packet.len()] ^= 1 << (noise.next() % 8);
        assert!(session.open(&mut flipped, index).is_err(), "a bit");
        let mut cut = packet[..noise.next() % packet.len()].to_vec();
        assert!(session.open(&mut cut, index).is_err(), "truncated");
        assert_eq!(other.open(&mut packet.clone(), index), Err(Reject::Forged), "another key");
        assert!(session.open(&mut plain.clone(), index).is_err(), "plain");
        let elsewhere = index + ((1 + noise.next() as u64 % 1000) << 16);
        assert_eq!(session.open(&mut packet.clone(), elsewhere), Err(Reject::Forged), "another roll-over");
    }
}

#[test]
fn no_forged_compound_is_opened() {
    let (session, other, mut noise) = (session(1), session(2), Noise(3));
    for number in 0..TRIES {
        let (mut packet, length) = with_room(RTCP);
        packet.truncate(length + CONTROL_OVERHEAD);
        session.seal_control(&mut packet, length, number as u32, number % 2 == 0).unwrap();
        let mut flipped = packet.clone();
        flipped[noise.next() % packet.len()] ^= 1 << (noise.next() % 8);
        assert!(session.open_control(&mut flipped).is_err(), "a bit");
        let mut cut = packet[..noise.next() % packet.len()].to_vec();
        assert!(session.open_control(&mut cut).is_err(), "truncated");
        assert_eq!(other.open_control(&mut packet.clone()), Err(Reject::Forged), "another key");
        assert!(session.open_control(&mut hex(RTCP)).is_err(), "plain");
    }
}

#[test]
fn no_replayed_packet_is_fresh() {
    let (session, mut noise, mut window) = (session(1), Noise(4), Window::new(0xff00));
    let mut kept: Vec<(Vec<u8>, u64)> = Vec::new();
    let (mut accepted, mut replays) = (0, 0);
    while replays < TRIES {
        let index = 0xff00 + accepted;
        let (mut packet, length) = noise.rtp(index);
        session.seal(&mut packet, length, index).unwrap();
        assert_eq!(window.index_of(Sequence(index as u16)), Some(index));
        assert!(window.is_fresh(index) && session.open(&mut packet.clone(), index).is_ok());
        window.note(index);
        accepted += 1;
        kept.push((packet, index));
        for _ in 0..8 {
            let (packet, index) = &kept[noise.next() % kept.len()];
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            assert_eq!(window.index_of(Sequence(sequence)), Some(*index));
            assert!(!window.is_fresh(*index));
            replays += 1;
        }
    }
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let session = session(1);
    let (mut packet, length) = Noise(5).rtp(9);
    assert_eq!(session.seal(&mut packet, length, 8), None, "another number");
    assert_eq!(session.seal(&mut packet, length, MAX_INDEX + 9), None, "numbers are used up");
    assert_eq!(session.seal(&mut packet[..length + 15], length, 9), None, "no room");
    assert_eq!(session.seal(&mut packet, 11, 9), None, "no packet");
    let (mut compound, length) = with_room(RTCP);
    assert_eq!(session.seal_control(&mut compound, length, MAX_CONTROL_INDEX, true), None);
    assert_eq!(session.seal_control(&mut compound[..length + 19], length, 0, true), None);
    assert_eq!(session.seal_control(&mut compound, 7, 0, true), None);
}
