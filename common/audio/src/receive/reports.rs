//! Reports: what the sender tells beside its packets, and what it is told.

use std::net::SocketAddr;

use proto::announce::{self, Announcement};
use proto::playout::Playout;
use proto::timing::{self, Timing};
use proto::units::{self, Mono};
use proto::{Reject, exchange, playout, rtcp, rtp};

use super::source::Source;
use super::{End, Event, LAST_WORD, ReceivePipeline, StreamInfo, Text};
use crate::send::{Transmit, Wire};

impl ReceivePipeline {
    /// Takes a datagram of the port that is for reports alone. Whatever is not a report of the source's machine is ignored.
    pub fn handle_report(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        if rtp::is_rtcp(datagram) {
            return self.admit(at, from, datagram, Self::handle_plain_report);
        }
        self.counters.datagrams.add(1);
        self.counters.reject(Reject::PayloadType);
    }

    fn handle_plain_report(&mut self, at: Mono, from: SocketAddr, datagram: &[u8]) {
        let source = self.sources.current().filter(|source| source.wire == Wire::Rtp);
        let Some(source) = source.filter(|source| source.address.ip() == from.ip()) else {
            return self.counters.reject(Reject::Unknown);
        };
        match self.handle_rtcp(at, source, from, datagram) {
            Ok(()) => self.accepted = true,
            Err(reason) => self.counters.reject(reason),
        }
    }

    /// A last report that says goodbye to the sender.
    pub fn goodbye(&mut self) -> Option<Transmit<'_>> {
        let address = self.sources.current()?.reports?;
        let control = &mut self.control[..rtcp::MAX_COMPOUND];
        let mut builder = rtcp::Builder::with_empty_report(control, self.config.ssrc);
        builder.description(self.config.ssrc, &self.config.cname);
        builder.bye(self.config.ssrc);
        let length = builder.finish()?;
        self.sealed(address, length)
    }

    pub(super) fn handle_rtcp(
        &mut self,
        at: Mono,
        source: Source,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Reject> {
        let mut goodbye = false;
        for packet in rtcp::packets(datagram) {
            match packet? {
                rtcp::Packet::Sender { ssrc, info, .. } => {
                    self.sources.reports(from);
                    if let Some(stream) = self.stream.as_mut().filter(|s| s.reception.ssrc() == ssrc) {
                        stream.reception.note_sender_report(info.ntp, at);
                    }
                }
                rtcp::Packet::Application { name: announce::APP_NAME, body, .. } => {
                    self.handle_announcement(source, &Announcement::parse(body)?);
                }
                rtcp::Packet::Application { name: timing::APP_NAME, ssrc, body, .. } => {
                    let stream = self.stream.as_ref().filter(|stream| !stream.ended);
                    self.conductor.handle_timing(at, ssrc, Timing::parse(body)?, stream);
                }
                rtcp::Packet::Application {
                    name: exchange::APP_NAME,
                    subtype: exchange::REPLY,
                    body,
                    ..
                } => {
                    let was_set = self.conductor.handle_reply(at, &exchange::Reply::parse(body)?);
                    if let Some(stream) = self.stream.as_mut().filter(|_| was_set) {
                        stream.forget_arrivals();
                    }
                }
                rtcp::Packet::Bye { ssrc } => {
                    let ours = self.stream.as_ref().map(|stream| stream.reception.ssrc());
                    goodbye |= ssrc.is_none() || ssrc == ours;
                }
                _ => {}
            }
        }
        if goodbye && self.paths.several_live(at) {
            self.ending = Some(at.plus(LAST_WORD));
        } else if goodbye {
            self.end_stream(End::Bye);
        }
        Ok(())
    }

    fn handle_announcement(&mut self, source: Source, announcement: &Announcement<'_>) {
        self.conductor.recognise(announcement.pace);
        self.turn.pace(announcement.pace);
        if let Some(guard) = &mut self.guard {
            guard.pace(announcement.pace);
        }
        self.announced = Some(announcement.format);
        self.repair.announced(announcement);
        let info = StreamInfo {
            from: source.address,
            wire: Wire::Rtp,
            rate: announcement.format.rate,
            channels: announcement.format.channels,
            codec: announcement.format.codec,
            name: Text::new(announcement.name),
            map: Text::new(announcement.map),
        };
        if self.info != Some(info) {
            self.info = Some(info);
            self.tell(Event::Stream(info));
        }
    }

    pub(super) fn write_report(&mut self, now: Mono) -> Option<usize> {
        let stream = self.stream.as_mut()?;
        let counters = &self.counters;
        let (error_ns, worst_error_ns) = self.player.precision().take();
        let round_trip_us = self.conductor.round_trip_us();
        counters.playout_error.set(error_ns.into());
        counters.worst_playout_error.set(worst_error_ns.into());
        counters.round_trip_us.set(round_trip_us.into());
        let playout = Playout {
            latency_us: self.player.latency_us() as u32,
            depth_us: (units::frames_to_nanos(self.player.depth(), stream.format.rate) / 1000) as u32,
            unrepaired: counters.lost.get() as u32,
            error_ns,
            worst_error_ns,
            round_trip_us,
            drift_ppb: counters.drift_ppb.get() as i32,
            concealed: counters.concealed_frames.get() as u32,
            synced: self.player.is_together(),
            late: self.player.is_late(),
        };
        let block = stream.reception.report(now);
        let mut builder = rtcp::Builder::new(&mut self.control[..rtcp::MAX_COMPOUND]);
        builder.receiver_report(self.config.ssrc, Some(&block));
        builder.description(self.config.ssrc, &self.config.cname);
        builder.application(self.config.ssrc, playout::APP_NAME, 0, &playout.to_bytes());
        builder.finish()
    }
}
