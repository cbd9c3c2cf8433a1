//! What the pipeline tells: copies that fit a ring, without a heap.

use std::net::SocketAddr;

use proto::announce::Codec;

use super::paths::Path;
use crate::depth::Reason;
use crate::secure::Secrecy;
use crate::send::Wire;

/// Text of at most `N` octets that can be copied without allocating.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(super) fn new(text: &str) -> Self {
        let length = text.floor_char_boundary(N);
        let mut bytes = [0; N];
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self { bytes, length }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

impl<const N: usize> std::fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// What is being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Who sends.
    pub from: SocketAddr,
    /// How.
    pub wire: Wire,
    /// Frames a second.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
    /// How it is coded.
    pub codec: Codec,
    /// This receiver's name in the sender's list; empty where unknown.
    pub name: Text<64>,
    /// The source channels behind each channel; empty where unknown.
    pub map: Text<255>,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The sender said goodbye.
    Bye,
    /// Nothing came for two seconds.
    Silent,
}

/// A latency that has changed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// What is aimed for from now on, in nanoseconds.
    pub nanos: i64,
    /// Why.
    pub reason: Reason,
}

/// How this receiver plays in time with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// By the arrivals, as far as this receiver sees them.
    Alone,
    /// At the instants that the sender names.
    Together {
        /// From the capture to every DAC of the group, in nanoseconds: as it is, or will be shortly.
        group_delay: i64,
    },
    /// Later than that: it needs longer than the group's delay.
    Late {
        /// The same.
        group_delay: i64,
    },
}

/// What the control thread should know.
#[expect(clippy::large_enum_variant, reason = "events are copied through a ring; a box would allocate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A stream began, or more is known of it.
    Stream(StreamInfo),
    /// The stream ended. What waits in the buffer is still played.
    Ended(End),
    /// The latency that is aimed for has changed.
    Latency(Latency),
    /// Playback goes by something else than before, or the group's delay has changed.
    Sync(Sync),
    /// Another sender was refused while this one is played; told once for each stream.
    Conflict(SocketAddr),
    /// A path was found, or has fallen silent, or brings something again.
    Path(Path),
    /// How it stands between this receiver and a sender, where that has changed.
    Secrecy(SocketAddr, Secrecy),
}
