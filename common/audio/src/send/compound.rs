//! What clients are told beside their packets.

use proto::announce::{self, Announcement, Companion};
use proto::timing::{self, Delay, Timing};
use proto::{payload_type, rtcp};

use super::SendPipeline;
use super::client::Client;
use super::encoding::Encoding;
use super::repair::{parity_ssrc, retransmission_ssrc};

impl SendPipeline {
    /// What a client is told of the time at which to play; `None` where it plays by itself, and before the first block.
    fn timing(&self, encoding: &Encoding, client: &Client) -> Option<Timing> {
        let group = self.routing.groups.iter().find(|group| Some(group.id) == client.member.group)?;
        let anchor = self.line?.anchor(encoding, &self.shape);
        let delay = group.ramp().map_or(Delay { begin: anchor.rtp_time, ..Delay::default() }, |ramp| Delay {
            from_us: ramp.from_us,
            to_us: ramp.to_us,
            begin: encoding.rtp_time(ramp.begin, &self.shape),
        });
        Some(Timing { anchor, delay, trim_ns: client.member.trim_ns })
    }

    /// Programs of other make get no more of it than they know.
    pub(super) fn write_report(&mut self, encoding: usize, client: usize, foreign: bool) -> usize {
        let pace = self.routing.encodings[encoding].pace(self.now, self.shape.rate, client);
        let encoding = &self.routing.encodings[encoding];
        let info = self.here().map(|position| rtcp::SenderInfo {
            ntp: self.ntp(self.now),
            rtp_time: encoding.rtp_time(position, &self.shape),
            packets: encoding.state.packets,
            octets: encoding.state.octets,
        });
        let timing = self.timing(encoding, &encoding.clients[client]);
        let mender = encoding.clients[client].mender.as_ref();
        let announcement = Announcement {
            format: encoding.format(self.shape.rate),
            name: &encoding.clients[client].name,
            map: &encoding.map_text,
            retransmission: mender.filter(|m| m.takes_requests()).map(|_| Companion {
                payload_type: payload_type::RETRANSMISSION,
                ssrc: retransmission_ssrc(encoding.ssrc),
            }),
            parity: mender
                .map(|_| Companion { payload_type: payload_type::PARITY, ssrc: parity_ssrc(encoding.ssrc) }),
            pace,
        };
        let mut body = [0; 384];
        let length = announcement.write(&mut body).unwrap_or(0);
        let mut builder = rtcp::Builder::new(&mut self.control[..rtcp::MAX_COMPOUND]);
        match info {
            Some(info) => builder.sender_report(encoding.ssrc, &info),
            // Nothing was captured yet, so no RTP time has a wall-clock time.
            None => builder.receiver_report(encoding.ssrc, None),
        }
        builder.description(encoding.ssrc, &self.cname);
        if !foreign {
            builder.application(encoding.ssrc, announce::APP_NAME, 0, &body[..length]);
        }
        if let Some(timing) = timing.filter(|_| !foreign) {
            builder.application(encoding.ssrc, timing::APP_NAME, 0, &timing.to_bytes());
        }
        builder.finish().unwrap_or(0)
    }

    pub(super) fn write_goodbye(&mut self, ssrc: u32) -> usize {
        let mut builder = rtcp::Builder::with_empty_report(&mut self.control[..rtcp::MAX_COMPOUND], ssrc);
        builder.description(ssrc, &self.cname);
        builder.bye(ssrc);
        builder.finish().unwrap_or(0)
    }
}
