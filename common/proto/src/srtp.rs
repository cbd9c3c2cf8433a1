//! Encryption and authentication: SRTP and SRTCP (RFC 3711) with AES-GCM (RFC 7714).
//!
//! # Keys
//!
//! An installation has one [`FileKey`], which encrypts nothing itself. Every participant, a sender or a receiver, draws a
//! fresh [`Id`] of 128 bits whenever it starts. HKDF (RFC 5869) makes its master key and salt from the file's key, its id, its
//! CNAME and its direction ([`FileKey::master`]); RFC 3711's derivation makes the session's keys of these ([`Session`]). Under
//! one id no number of a packet is used twice for one SSRC, so no nonce ever repeats.
//!
//! Ids travel in a [`Greeting`]: an SRTCP packet that is authenticated but not encrypted (E bit 0), so that it can be read
//! before the keys are known that it is then checked with. It names the participant that it answers, by whose id the other end
//! knows that it is no recording of an earlier day, and the next index of each stream, by which who comes later knows the
//! roll-over counters.
//!
//! Who sends to a multicast group is one participant like any other, and so is each of those who listen: they greet it by unicast,
//! naming the stream that they mean, and it answers each of them by unicast. What goes to the group has one sender, so that its
//! numbers are counted in one place.

mod cipher;
mod greeting;
mod kdf;
mod window;

pub use cipher::{CONTROL_OVERHEAD, Control, MAX_CONTROL_INDEX, MAX_INDEX, OVERHEAD, Session};
pub use greeting::{APP_NAME, Greeting, Next, STREAMS, Signed};
pub use kdf::{Direction, FileKey, Id, Master, Suite};
pub use window::Window;

#[cfg(test)]
fn hex(text: &str) -> std::vec::Vec<u8> {
    let digits: std::vec::Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}
