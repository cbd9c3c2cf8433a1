//! Pictures and sound to players and services.
//!
//! A [`picture::Picture`] goes through an [`encode::Encoder`] and leaves as an [`encode::EncodedPicture`], once for each
//! stream, whatever the number of those who watch it.

#![deny(unsafe_code)]

pub mod encode;
pub mod info;
pub mod picture;
pub mod sound;
