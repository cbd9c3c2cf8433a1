//! The packets of one access unit.

use std::time::Duration;

use os::fan::{MAX_DATAGRAMS, MAX_OCTETS, Run};
use proto::rtp::{HEADER_LENGTH, Header};
use proto::units::{RtpTime, Sequence};

use super::Parameters;

/// An access unit in packets, the same for all who get it.
#[derive(Clone, Debug)]
pub struct Unit {
    octets: Vec<u8>,
    /// Where each packet ends.
    ends: Vec<usize>,
    next: Header,
    /// Whether decoding can start here; always for sound.
    pub key: bool,
    /// When it was captured, on the clock of [`os::clock`].
    pub at: Duration,
    /// RTP time of that instant.
    pub time: RtpTime,
    /// What a decoder has to know before; only where it has changed.
    pub parameters: Option<Parameters>,
}

impl Unit {
    pub(super) fn new(next: Header, key: bool, at: Duration) -> Self {
        let time = next.timestamp;
        Self { octets: Vec::new(), ends: Vec::new(), next, key, at, time, parameters: None }
    }

    /// Adds a packet whose payload is the parts in a row.
    pub(super) fn push(&mut self, parts: &[&[u8]]) {
        self.octets.extend_from_slice(&self.next.to_bytes());
        self.next.sequence = self.next.sequence.next();
        for part in parts {
            self.octets.extend_from_slice(part);
        }
        self.ends.push(self.octets.len());
    }

    /// Packets that are added from now on belong to an instant so many ticks later.
    pub(super) fn advance(&mut self, ticks: u32) {
        self.next.timestamp = RtpTime(self.next.timestamp.0.wrapping_add(ticks));
    }

    /// Sets the marker of the last packet.
    pub(super) fn mark_last(&mut self) {
        let start = self.ends.len().checked_sub(2).map_or(0, |before| self.ends[before]);
        if let Some(octet) = self.octets.get_mut(start + 1) {
            *octet |= 0x80;
        }
    }

    /// Whose number the first packet after these will have.
    pub(super) fn next_sequence(&self) -> Sequence {
        self.next.sequence
    }

    /// How many packets it has.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Octets of all packets.
    pub fn octets(&self) -> usize {
        self.octets.len()
    }

    /// Octets of all payloads.
    pub fn payload(&self) -> usize {
        self.octets.len() - self.ends.len() * HEADER_LENGTH
    }

    /// Each packet.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.octets[start..*end])
    }

    /// The packets in runs of equal length, as long as they may be.
    pub fn runs(&self) -> Runs<'_> {
        self.short_runs(MAX_DATAGRAMS)
    }

    /// The packets in runs of equal length and at most so many packets, 1 to [`MAX_DATAGRAMS`].
    pub fn short_runs(&self, most: usize) -> Runs<'_> {
        Runs { unit: self, start: 0, next: 0, most: most.clamp(1, MAX_DATAGRAMS) }
    }
}

/// Iterator over the [`Unit::runs`].
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    unit: &'a Unit,
    start: usize,
    /// The packet that begins at `start`.
    next: usize,
    most: usize,
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        let start = self.start;
        let ends = self.unit.ends.get(self.next..).unwrap_or_default();
        let length = ends.first()? - start;
        for end in ends.iter().take(self.most) {
            let its = end - self.start;
            if its > length || end - start > MAX_OCTETS {
                break;
            }
            self.start = *end;
            self.next += 1;
            if its < length {
                break;
            }
        }
        Some(Run { octets: &self.unit.octets[start..self.start], length })
    }
}
