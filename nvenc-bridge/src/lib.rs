//! Pictures and sound to players and services.
//!
//! A [`picture::Picture`] goes through an [`encode::Encoder`] and leaves as an [`encode::EncodedPicture`], once for each
//! stream, whatever the number of those who watch it.
//!
//! ```text
//!  source ──newest picture──► encoding ──access units──┐
//!  (a thread: pace)           (a thread: an encoder)   ├──► server ──► players
//!  sound ──access units────────────────────────────────┘    (a thread)
//!  (a thread: capture, resampling, an encoder)
//! ```
//!
//! What people say of a stream ([`args`], [`params`]) is decided as a whole in a [`plan`] before anything starts; [`run`]
//! starts it, and its thread answers requests and shows how everything is.

#![deny(unsafe_code)]

pub mod args;
pub mod convert;
#[allow(unsafe_code)]
pub mod cuda;
pub mod encode;
pub mod encoding;
pub mod info;
pub mod params;
pub mod picture;
pub mod plan;
pub mod probe;
pub mod rtp;
pub mod rtsp;
pub mod run;
pub mod selftest;
pub mod serve;
pub mod sound;
pub mod source;
pub mod tls;
pub mod tools;
