//! Getting back what was lost: from parity that was sent ahead, and by asking the sender (RFC 4585, RFC 4588).

use std::sync::Arc;

use proto::announce::{Announcement, Companion};
use proto::units::Mono;
use proto::{Reject, parity, retransmission, rtcp, rtp};

use super::missing::Missing;
use super::player::Player;
use super::stream::Stream;
use super::{ReceivePipeline, entry};
use crate::counters::ReceiveCounters;
use crate::jitter::{Coding, Inserted, JitterBuffer, Label};
use crate::repair::advance::{Collector, Media, Packets, ROW};

/// A stream that has brought nothing for this long is not asked for what is overdue, in nanoseconds.
const SILENT: i64 = 300_000_000;
/// Packets after the newest one that may count as overdue.
const MOST_OVERDUE: u64 = 64;

pub(super) struct Repair {
    pub(super) missing: Missing,
    pub(super) collector: Collector,
    /// Room for a packet that is rebuilt.
    pub(super) image: [u8; ROW],
    retransmission: Option<Companion>,
    parity: Option<Companion>,
    counters: Arc<ReceiveCounters>,
}

impl Repair {
    pub(super) fn new(counters: Arc<ReceiveCounters>) -> Self {
        Self {
            missing: Missing::new(),
            collector: Collector::default(),
            image: [0; ROW],
            retransmission: None,
            parity: None,
            counters,
        }
    }

    /// What a sender says of the streams beside its media.
    pub(super) fn announced(&mut self, announcement: &Announcement<'_>) {
        self.retransmission = announcement.retransmission;
        self.parity = announcement.parity;
    }

    /// The stream has ended: what was announced of it is void.
    pub(super) fn forget(&mut self) {
        self.retransmission = None;
        self.parity = None;
        self.missing.forget();
    }

    /// Other packets follow, of which this is the first.
    pub(super) fn restart(&mut self, first: u64) {
        self.missing.restart(first);
        self.collector.clear();
    }

    pub(super) fn is_retransmission(&self, header: &rtp::Header) -> bool {
        let ours = Companion { payload_type: header.payload_type, ssrc: header.ssrc };
        self.retransmission == Some(ours)
    }

    pub(super) fn is_parity(&self, header: &rtp::Header) -> bool {
        let ours = Companion { payload_type: header.payload_type, ssrc: header.ssrc };
        self.parity == Some(ours)
    }

    /// When [`write_request`](Self::write_request) has something to do.
    pub(super) fn poll_timeout(&self, stream: &Stream) -> Option<Mono> {
        self.retransmission?;
        let overdue = self.overdue_at(stream, self.missing.next());
        [self.missing.poll_timeout(), overdue].into_iter().flatten().min()
    }

    /// Whether an answer is waited for, or a question is to be asked again.
    pub(super) fn is_asking(&self) -> bool {
        self.retransmission.is_some() && self.missing.poll_timeout().is_some()
    }

    /// When a packet that has not come counts as overdue.
    fn overdue_at(&self, stream: &Stream, sequence: u64) -> Option<Mono> {
        let newest = stream.newest_sequence()?;
        if sequence > newest + MOST_OVERDUE {
            return None;
        }
        let expected = stream.timeline.arrival_of(stream.expected_position(sequence)?)?;
        let due = expected.plus(self.missing.allowance());
        (due.since(stream.heard) < SILENT).then_some(due)
    }

    /// Writes a request for what is missing and may still come in time. Returns its length; 0 where there is nothing to ask
    /// for.
    pub(super) fn write_request(
        &mut self,
        now: Mono,
        stream: &Stream,
        player: &Player,
        own_ssrc: u32,
        out: &mut [u8],
    ) -> usize {
        if self.retransmission.is_none() {
            return 0;
        }
        while self.overdue_at(stream, self.missing.next()).is_some_and(|due| due <= now) {
            let next = self.missing.next();
            self.missing.overdue_below(next + 1, now);
        }
        let to_device = player.plays_to_device();
        let time_to_wait = player.time_to_wait();
        let deadline = |sequence| {
            let arrival = stream.timeline.arrival_of(stream.expected_position(sequence)?)?;
            to_device.then(|| arrival.plus(time_to_wait))
        };
        let played = player.buffer().head();
        let due = self.missing.poll(now, played, deadline);
        if due.is_empty() {
            return 0;
        }
        self.counters.requested.add(due.len() as u64);
        let mut builder = rtcp::Builder::new(out);
        let lost = due.iter().map(|sequence| stream.wrapped(*sequence));
        builder.nack(own_ssrc, stream.reception.ssrc(), lost);
        builder.finish().unwrap_or(0)
    }
}

impl ReceivePipeline {
    /// A packet that was asked for. It says nothing of the path's delay.
    pub(super) fn handle_retransmission(&mut self, at: Mono, packet: &rtp::Packet<'_>) -> Result<(), Reject> {
        let (sequence, payload) = retransmission::parse(packet.payload)?;
        let Some(stream) = self.stream.as_mut().filter(|stream| !stream.ended) else { return Ok(()) };
        let number = stream.unwrapped(sequence);
        let place = stream.place(number, packet.header.timestamp).ok_or(Reject::Value)?;
        let format = stream.format;
        if !self.repair.missing.answered(place.sequence, at) {
            // The original was only late.
            return Ok(());
        }
        // As the original's header had it: parity may need it.
        let rtp::Header { marker, timestamp, .. } = packet.header;
        let label = Label { marker, payload_type: format.payload_type, timestamp };
        let frames = Coding::of(&format).frames(payload, format.channels)?;
        if self.insert(&entry(place, frames, label, &format, payload))? == Inserted::Kept {
            self.counters.retransmitted.add(1);
        }
        Ok(())
    }

    pub(super) fn handle_parity(&mut self, packet: &rtp::Packet<'_>) -> Result<(), Reject> {
        let (header, octets) = parity::Header::parse(packet.payload)?;
        // All of a block is needed to rebuild what is still to be played; of the first, what happens to be there.
        self.player.keep(header.span());
        let Some(stream) = self.live_stream() else { return Ok(()) };
        self.repair.collector.note(&header, octets, stream.unwrapped(header.first))
    }

    /// Puts every packet that parity can rebuild into the buffer.
    pub(super) fn rebuild(&mut self) -> Result<(), Reject> {
        let Some(stream) = &self.stream else { return Ok(()) };
        while let Some(found) = self.repair.collector.recover(self.player.buffer(), &mut self.repair.image) {
            let Media { marker, payload_type, timestamp, payload } = found.media;
            let format = &stream.format;
            if payload_type != format.payload_type {
                continue;
            }
            let Some(place) = stream.place(found.sequence, timestamp) else { continue };
            let frames = Coding::of(format).frames(payload, format.channels)?;
            let label = Label { marker, payload_type, timestamp };
            self.repair.missing.recovered(found.sequence);
            if self.player.insert(&entry(place, frames, label, format, payload)) == Inserted::Kept {
                self.counters.rebuilt.add(1);
            }
        }
        Ok(())
    }
}

impl Packets for JitterBuffer {
    fn get(&self, sequence: u64) -> Option<Media<'_>> {
        let (label, payload) = self.packet(sequence)?;
        let Label { marker, payload_type, timestamp } = label;
        Some(Media { marker, payload_type, timestamp, payload })
    }

    fn head(&self) -> u64 {
        JitterBuffer::head(self)
    }
}
