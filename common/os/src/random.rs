//! Random numbers that differ from run to run.

use std::hash::{BuildHasher, RandomState};
use std::io;

/// 64 random bits, for stream identifiers. Not for secrets.
pub fn bits() -> u64 {
    RandomState::new().hash_one(())
}

/// Fills `out` with what nobody can guess, for keys.
///
/// # Errors
/// The system's.
pub fn secret(out: &mut [u8]) -> io::Result<()> {
    getrandom::fill(out).map_err(io::Error::from)
}
