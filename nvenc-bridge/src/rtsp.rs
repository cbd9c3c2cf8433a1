//! The Real Time Streaming Protocol (RFC 2326), the serving side, without sockets or clocks.
//!
//! A [`Reader`] takes what comes in over a connection apart; [`Server::answer`] answers each request and leaves [`Event`]s
//! that say who is to get which tracks, and by which [`Route`].

mod digest;
mod methods;
mod reader;
mod sdp;
mod server;
mod session;
mod transport;

#[cfg(test)]
mod tests;

pub use digest::Credentials;
pub use methods::lets_in;
pub use reader::{Incoming, Malformed, Reader};
pub use server::{Event, Group, Mount, MountedTrack, Peer, Ports, Server};
pub use session::{Route, SESSION_TIMEOUT};
