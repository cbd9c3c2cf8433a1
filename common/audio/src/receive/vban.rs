//! VBAN: packets are counted, and their times follow from their lengths.

use proto::announce::{self, Codec, Format};
use proto::units::{Mono, RtpTime, Sequence};
use proto::vban::{Header, Name, Packet, Sample};
use proto::{Reject, rtp};

use super::source::Source;
use super::{Media, ReceivePipeline};
use crate::jitter::Coding;

/// Packets whose times are kept for those that come out of order.
const HISTORY: usize = 64;
/// A longer loss than this is taken for a sender that has started anew, in seconds.
const LONGEST_LOSS: u64 = 2;

/// The times of a stream's packets.
#[derive(Debug)]
pub(super) struct Course {
    name: Name,
    newest: Header,
    /// One past the newest packet.
    end: RtpTime,
    /// By the counter's lowest bits.
    times: [RtpTime; HISTORY],
    /// The packet after one that did not fit: if it comes, the sender has started anew.
    suspect: Option<u32>,
}

impl Course {
    /// Begins with this packet, at time 0.
    fn new(header: &Header) -> Self {
        let mut course = Self {
            name: header.name,
            newest: *header,
            end: RtpTime(0),
            times: [RtpTime(0); HISTORY],
            suspect: None,
        };
        course.advance(header.counter, header.frames);
        // What was sent before the first packet is as long as that, as far as is known.
        for back in 1..HISTORY as u32 {
            let time = RtpTime(0u32.wrapping_sub(back * u32::from(header.frames)));
            course.times[slot(header.counter.wrapping_sub(back))] = time;
        }
        course
    }

    fn advance(&mut self, counter: u32, frames: u16) {
        self.times[slot(counter)] = self.end;
        self.end = RtpTime(self.end.0.wrapping_add(frames.into()));
    }

    /// When a packet begins; `None` where the sender has started anew.
    ///
    /// # Errors
    /// [`Reject::Value`] for one that fits nothing, until the next one vouches for it.
    fn time_of(&mut self, header: &Header) -> Result<Option<RtpTime>, Reject> {
        let alike = |a: &Header, b: &Header| (a.rate, a.channels, a.sample) == (b.rate, b.channels, b.sample);
        let ahead = header.counter.wrapping_sub(self.newest.counter);
        let missing = u64::from(ahead.wrapping_sub(1));
        let late = ahead.wrapping_neg() < HISTORY as u32;
        let near = missing * u64::from(self.newest.frames) <= LONGEST_LOSS * u64::from(header.rate);
        if !alike(header, &self.newest) || !(late || near) {
            let vouched = self.suspect == Some(header.counter);
            self.suspect = Some(header.counter.wrapping_add(1));
            return if vouched { Ok(None) } else { Err(Reject::Value) };
        }
        self.suspect = None;
        if !late {
            // What is missing is as long as what came before it, as far as is known. Of a long loss only the end is kept.
            let forgotten = (ahead - 1).saturating_sub(HISTORY as u32);
            let frames = forgotten.wrapping_mul(self.newest.frames.into());
            self.end = RtpTime(self.end.0.wrapping_add(frames));
            for counter in 1 + forgotten..ahead {
                self.advance(self.newest.counter.wrapping_add(counter), self.newest.frames);
            }
            self.advance(header.counter, header.frames);
            self.newest = *header;
        }
        Ok(Some(self.times[slot(header.counter)]))
    }
}

fn slot(counter: u32) -> usize {
    counter as usize % HISTORY
}

impl ReceivePipeline {
    pub(super) fn handle_vban(&mut self, at: Mono, source: Source, datagram: &[u8]) -> Result<(), Reject> {
        let Packet { header, payload } = Packet::parse(datagram)?;
        if !announce::RATES.contains(&header.rate) || header.channels > announce::MAX_CHANNELS {
            return Err(Reject::Value);
        }
        let codec = match header.sample {
            Sample::Bits16 => Codec::L16,
            Sample::Bits24 => Codec::L24,
        };
        let coding = Coding::Pcm(header.sample.written());
        let Header { rate, channels, frames, .. } = header;
        let format = Format { payload_type: 0, codec, channels, rate, frames };
        let live = self.live_stream().is_some();
        let time = match self.vban.as_mut().filter(|_| live) {
            Some(course) if course.name != header.name => {
                self.counters.conflicts.add(1);
                return Ok(());
            }
            Some(course) => course.time_of(&header)?,
            None => None,
        };
        let numbered = |timestamp| rtp::Header {
            marker: false,
            payload_type: format.payload_type,
            sequence: Sequence(header.counter as u16),
            timestamp,
            ssrc: 0,
        };
        let time = time.unwrap_or_else(|| {
            self.vban = Some(Course::new(&header));
            self.begin_stream(at, source, format, Some(&numbered(RtpTime(0))), header.name.as_str());
            RtpTime(0)
        });
        self.handle_media(at, &numbered(time), &format, &Media { coding, frames: frames.into(), payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(counter: u32, frames: u16) -> Header {
        Header { rate: 48_000, frames, channels: 2, sample: Sample::Bits16, name: Name::new("one"), counter }
    }

    fn times(course: &mut Course, packets: &[(u32, u16)]) -> Vec<Result<Option<u32>, Reject>> {
        let time = |(counter, frames): &(u32, u16)| {
            course.time_of(&header(*counter, *frames)).map(|t| t.map(|t| t.0))
        };
        packets.iter().map(time).collect()
    }

    #[test]
    fn times_add_up_over_packets_of_any_length_and_over_the_counter_s_end() {
        let mut course = Course::new(&header(u32::MAX, 89));
        let heard = times(&mut course, &[(0, 67), (1, 89), (4, 89), (3, 89), (u32::MAX - 1, 89), (5, 1)]);
        let before = 0u32.wrapping_sub(89);
        assert_eq!(heard, [89, 156, 423, 334, before, 512].map(|time| Ok(Some(time))));
    }

    #[test]
    fn after_a_long_loss_times_are_where_they_would_be_without_it() {
        let mut course = Course::new(&header(7, 1));
        let heard = times(&mut course, &[(7 + 90_000, 1), (7 + 90_000 - 63, 1), (7 + 90_001, 1)]);
        assert_eq!(heard, [90_000, 89_937, 90_001].map(|time| Ok(Some(time))));
    }

    #[test]
    fn a_stray_packet_changes_nothing_and_two_that_follow_each_other_begin_anew() {
        let mut course = Course::new(&header(1_000_000, 100));
        assert_eq!(
            times(&mut course, &[(1_000_001, 100), (5, 100), (1_000_002, 100), (8, 100), (9, 100)]),
            [Ok(Some(100)), Err(Reject::Value), Ok(Some(200)), Err(Reject::Value), Ok(None)]
        );
    }

    #[test]
    fn another_format_begins_anew() {
        let mut course = Course::new(&header(1, 100));
        let mono = |counter| Header { channels: 1, ..header(counter, 100) };
        assert_eq!(course.time_of(&mono(2)), Err(Reject::Value));
        assert_eq!(course.time_of(&mono(3)), Ok(None));
    }
}
