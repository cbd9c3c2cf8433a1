//! The sound: what happens to samples between a capture callback and a socket, and between a socket and a
//! playback callback.
//!
//! Nothing here reads a clock, opens a socket or starts a thread. Both pipelines are driven the same way:
//! `handle_*` takes one input with its time, then `poll_*` is called until it returns `None`. Memory is taken at
//! construction; after that no call allocates, so the pipelines may run on real-time threads.
//!
//! Samples are `f32` with full scale at ±1, interleaved; a *frame* is one sample per channel.

#![forbid(unsafe_code)]

pub mod align;
pub mod conceal;
pub mod counters;
pub mod depth;
pub mod drift;
pub mod erasure;
pub mod exchange;
pub mod map;
pub mod opus;
pub mod receive;
pub mod repair;
pub mod resample;
pub mod secure;
pub mod send;
pub mod signal;
pub mod tracker;

mod detect;
mod jitter;
mod reception;
mod scatter;
mod timeline;
#[cfg(test)]
mod tone;
