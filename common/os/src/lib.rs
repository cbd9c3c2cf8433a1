//! The machine: sockets, clocks, wake-ups and thread priorities, with the same signatures on every system.
//!
//! What differs between systems is a file of its own. Unix has the fast one; `fallback` builds the other one
//! anywhere, so that it never rots.

pub mod clock;
pub mod descriptors;
pub mod fan;
pub mod interface;
pub mod memory;
pub mod multicast;
pub mod port;
pub mod random;
pub mod realtime;
pub mod udp;
pub mod wait;
