//! One stream of packets: where each belongs, and what its arrivals say of the sender's clock.

use proto::Reject;
use proto::announce::Format;
use proto::rtp::Header;
use proto::units::{Mono, Position, RtpTime, RtpTimeUnwrapper, Sequence, SequenceUnwrapper};

use crate::reception::Reception;
use crate::timeline::Timeline;

/// Time stamps further than this from the last ones belong to a new timeline, in seconds.
const MAX_JUMP: u32 = 2;
/// Numbers further than this from the highest ones are of a sender that has started anew (RFC 3550, A.1).
const MAX_DROPOUT: u64 = 3000;
/// A packet that came by another way may lie this far beyond the newest, in packets.
const MAX_AHEAD: u64 = 512;
/// Senders that round times of the clock to frames are off by one in some packets.
const ROUNDING: u64 = 1;
/// Packets in a row that come too late before the timeline is placed anew.
const LATE_RUN: u32 = 8;

/// Where a packet belongs, in numbers that never wrap and go on from stream to stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) position: Position,
}

/// Whether a packet belongs to the stream at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Same,
    /// Another encoding of the same sender: the timeline goes on, only the numbers start anew.
    Switched,
    /// The sender has started anew.
    Restarted,
}

pub(super) struct Stream {
    pub(super) format: Format,
    pub(super) ended: bool,
    pub(super) heard: Mono,
    pub(super) timeline: Timeline,
    pub(super) reception: Reception,
    sequence: SequenceUnwrapper,
    /// Added to unwrapped numbers and times, so that a new stream follows on the last one in the buffer.
    sequence_offset: u64,
    time: RtpTimeUnwrapper,
    position_offset: u64,
    /// Packets in a row that came too late.
    late: u32,
    /// The number after a packet that did not fit the timeline: if it comes, the sender has started anew.
    suspect: Option<Sequence>,
    /// The packet with the highest number, and its length in frames.
    newest: Option<(Place, u32)>,
}

impl Stream {
    /// A stream whose first packet has this header (none: headerless PCM) and takes this place.
    pub(super) fn new(at: Mono, format: Format, header: Option<&Header>, first: Place) -> Self {
        let first_sequence = header.map_or(Sequence(0), |header| header.sequence);
        let first_time = header.map_or(RtpTime(0), |header| header.timestamp);
        let sequence = SequenceUnwrapper::new(first_sequence);
        let time = RtpTimeUnwrapper::new(first_time);
        let number = sequence.peek(first_sequence);
        Self {
            format,
            ended: false,
            heard: at,
            timeline: Timeline::new(format.rate, first.position),
            reception: Reception::new(header.map_or(0, |header| header.ssrc), format.rate, number),
            sequence_offset: first.sequence.wrapping_sub(number),
            position_offset: first.position.0.wrapping_sub(time.peek(first_time).0),
            sequence,
            time,
            late: 0,
            suspect: None,
            newest: None,
        }
    }

    /// Decides whether a packet belongs to this stream; one that fits nothing is held against the next.
    pub(super) fn fit(&mut self, header: &Header, format: &Format) -> Result<Fit, Reject> {
        if self.ended || self.format.rate != format.rate {
            return Ok(Fit::Restarted);
        }
        let near_in_time = self.near_in_time(header.timestamp);
        let another = self.reception.ssrc() != header.ssrc;
        let highest = self.newest.map_or(0, |(newest, _)| newest.sequence);
        let near = another
            || self.newest.is_none()
            || self.unwrapped(header.sequence).abs_diff(highest) <= MAX_DROPOUT;
        if near_in_time && near {
            self.suspect = None;
            return Ok(if another { Fit::Switched } else { Fit::Same });
        }
        if self.suspect == Some(header.sequence) {
            self.suspect = None;
            return Ok(if near_in_time { Fit::Switched } else { Fit::Restarted });
        }
        self.suspect = Some(header.sequence.next());
        Err(Reject::Value)
    }

    /// Goes on with another encoding, whose first packet has this header and takes this number.
    pub(super) fn switch(&mut self, header: &Header, format: Format, sequence: u64) {
        self.sequence = SequenceUnwrapper::new(header.sequence);
        let first = self.sequence.peek(header.sequence);
        self.sequence_offset = sequence.wrapping_sub(first);
        self.reception = Reception::new(header.ssrc, format.rate, first);
        self.format = format;
        self.newest = None;
    }

    /// Takes a packet as it was sent first. Returns where it belongs and how late it came, in nanoseconds.
    pub(super) fn note(&mut self, at: Mono, header: &Header, frames: u32) -> (Place, i64) {
        let number = self.sequence.unwrap(header.sequence);
        let position = self.time.unwrap(header.timestamp).0.wrapping_add(self.position_offset);
        let sequence = number.wrapping_add(self.sequence_offset);
        let place = Place { sequence, position: self.joined(sequence, Position(position)) };
        self.heard = at;
        self.reception.note_packet(number, header.timestamp, at);
        if self.newest.is_none_or(|(newest, _)| newest.sequence < place.sequence) {
            self.newest = Some((place, frames));
        }
        (place, self.timeline.note(place.position, at))
    }

    /// The end of the newest packet for the one that follows on it and is off by no more than the sender's rounding: else one
    /// frame would be cut and another made up.
    fn joined(&self, sequence: u64, position: Position) -> Position {
        let end = self.newest.filter(|(newest, _)| newest.sequence + 1 == sequence);
        let end = end.map(|(newest, frames)| newest.position.advanced(frames.into()));
        end.filter(|end| position.since(*end).unsigned_abs() <= ROUNDING).unwrap_or(position)
    }

    /// Where a packet belongs that came by another way than it was sent first; `None` where number and time contradict each
    /// other, or the rest of the stream.
    pub(super) fn place(&self, sequence: u64, time: RtpTime) -> Option<Place> {
        let (newest, _) = self.newest?;
        let position = self.position_of(time);
        let off = position.since(self.expected_position(sequence)?).unsigned_abs();
        let fits = self.near_in_time(time)
            && sequence <= newest.sequence + MAX_AHEAD
            && off <= u64::from(self.format.rate / 4);
        fits.then_some(Place { sequence, position })
    }

    /// The position of an RTP time, however far it lies from the last ones.
    pub(super) fn position_of(&self, time: RtpTime) -> Position {
        Position(self.time.peek(time).0.wrapping_add(self.position_offset))
    }

    fn near_in_time(&self, time: RtpTime) -> bool {
        let distance = self.time.peek(time).since(self.time.last()).unsigned_abs();
        distance <= u64::from(MAX_JUMP * self.format.rate)
    }

    pub(super) fn unwrapped(&self, sequence: Sequence) -> u64 {
        self.sequence.peek(sequence).wrapping_add(self.sequence_offset)
    }

    /// The number that a packet has on the wire.
    pub(super) fn wrapped(&self, sequence: u64) -> Sequence {
        Sequence(sequence.wrapping_sub(self.sequence_offset) as u16)
    }

    /// Where a packet belongs that did not come, if all packets are as long as the newest.
    pub(super) fn expected_position(&self, sequence: u64) -> Option<Position> {
        let (newest, frames) = self.newest?;
        let packets = sequence.wrapping_sub(newest.sequence) as i64;
        let distance = packets.saturating_mul(i64::from(frames));
        Some(Position(newest.position.0.saturating_add_signed(distance)))
    }

    pub(super) fn newest_position(&self) -> Option<Position> {
        self.newest.map(|(newest, _)| newest.position)
    }

    pub(super) fn newest_sequence(&self) -> Option<u64> {
        self.newest.map(|(newest, _)| newest.sequence)
    }

    /// Takes note whether a packet came too late. A sender that paused, or a path that grew longer, brings every packet too
    /// late from then on: once the buffer is dry, the timeline is placed anew, and so is playout.
    pub(super) fn note_in_time(&mut self, at: Mono, position: Position, late: bool, dry: bool) -> bool {
        self.late = if late { self.late + 1 } else { 0 };
        let lost = self.late >= LATE_RUN && dry;
        if lost {
            self.late = 0;
            self.begin_timeline(at, position);
        }
        lost
    }

    /// One of the clocks was set: what packets showed of them is over.
    pub(super) fn forget_arrivals(&mut self) {
        if let Some((newest, _)) = self.newest {
            self.timeline = Timeline::new(self.format.rate, newest.position);
        }
    }

    pub(super) fn begin_timeline(&mut self, at: Mono, position: Position) {
        self.timeline = Timeline::new(self.format.rate, position);
        self.timeline.note(position, at);
    }
}

#[cfg(test)]
mod tests {
    use proto::payload_type;

    use super::*;

    #[test]
    fn packets_join_whose_times_were_rounded() {
        let first = Place { sequence: 10, position: Position(1 << 32) };
        let format = payload_type::static_format(payload_type::L16_MONO).unwrap();
        let header = |number, time| Header {
            marker: false,
            payload_type: format.payload_type,
            sequence: Sequence(number),
            timestamp: RtpTime(time),
            ssrc: 7,
        };
        let mut stream = Stream::new(Mono(0), format, Some(&header(0, 5000)), first);
        // Stamped a frame too early, then a frame too late; what is further off has a reason.
        let packets =
            [(0, 5000, 0), (1, 5230, 231), (2, 5462, 462), (3, 5694, 693), (4, 5926, 926), (6, 6387, 1387)];
        for (number, time, position) in packets {
            let (place, _) = stream.note(Mono(0), &header(number, time), 231);
            assert_eq!(place.position.since(first.position), position, "packet {number}");
        }
    }
}
