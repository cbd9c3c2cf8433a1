//! Models of what surrounds the pipelines: the same code runs in virtual time in tests and in real time behind the
//! programs' virtual devices. Same seed, same run.

#![forbid(unsafe_code)]

pub mod agenda;
pub mod card;
pub mod clock;
pub mod link;
pub mod random;
