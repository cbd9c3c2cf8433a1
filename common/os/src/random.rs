//! Random numbers that differ from run to run, for stream identifiers. Not for secrets.

use std::hash::{BuildHasher, RandomState};

/// 64 random bits.
pub fn bits() -> u64 {
    RandomState::new().hash_one(())
}
