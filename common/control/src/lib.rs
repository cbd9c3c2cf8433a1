//! The human plane: what people write into files and command lines, and what they read back.

#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod codec;
pub mod config;
pub mod delay;
pub mod display;
pub mod key;
pub mod list;
pub mod sdp;
pub mod signal;
pub mod signals;
pub mod wire;
