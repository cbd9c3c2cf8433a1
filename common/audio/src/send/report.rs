//! What clients report, and what they ask.

use std::net::SocketAddr;

use proto::exchange::{self, Request};
use proto::playout::{self, Playout};
use proto::rtcp;
use proto::srtp::{self, Greeting};
use proto::units::{self, Mono, Ntp};

use super::Client;
use super::audience::Loss;

/// The question that a packet asks about this machine's clock.
pub(super) fn question(packet: &rtcp::Packet<'_>) -> Option<Request> {
    match *packet {
        rtcp::Packet::Application { name: exchange::APP_NAME, subtype: exchange::REQUEST, body, .. } => {
            Request::parse(body).ok()
        }
        _ => None,
    }
}

/// The source that a datagram is about, where it says so.
pub(super) fn subject(datagram: &[u8]) -> Option<u32> {
    let packets = rtcp::packets(datagram).map_while(Result::ok).take(super::MAX_REPORTS);
    packets
        .filter_map(|packet| match packet {
            rtcp::Packet::Receiver { mut blocks, .. } => blocks.next().map(|block| block.ssrc),
            rtcp::Packet::Nack { media, .. } => Some(media),
            rtcp::Packet::Application { name: srtp::APP_NAME, body, .. } => {
                Greeting::parse(body).ok()?.streams[0].map(|stream| stream.ssrc)
            }
            _ => question(&packet).map(|request| request.media),
        })
        .next()
}

/// Takes a packet of a client's report on the stream `ssrc`, whose packets last so many nanoseconds; it came at `at`, by
/// the wall clock at `arrival`, from the client or one of those who listen to its group.
pub(super) fn note(
    client: &mut Client,
    from: SocketAddr,
    ssrc: u32,
    packet_time: i64,
    arrival: Ntp,
    at: Mono,
    packet: &rtcp::Packet<'_>,
) {
    let counters = &client.counters;
    match *packet {
        rtcp::Packet::Receiver { mut blocks, .. } | rtcp::Packet::Sender { mut blocks, .. } => {
            let Some(block) = blocks.find(|b| b.ssrc == ssrc) else { return };
            counters.reports.add(1);
            counters.reported_at.set(at.0 as u64);
            let packets = u64::try_from(block.cumulative_lost).unwrap_or(0);
            let mut loss = Loss { fraction: block.fraction_lost, packets };
            if let Some(audience) = &mut client.audience {
                loss = audience.note_loss(at, from, loss);
                counters.listeners.set(audience.len() as u64);
            }
            counters.fraction_lost.set(u64::from(loss.fraction));
            counters.lost.set(loss.packets);
            if let Some(nanos) = units::round_trip(arrival, block.last_sr, block.delay_since_last_sr) {
                counters.round_trip_us.set((nanos / 1000) as u64);
            }
        }
        rtcp::Packet::Application { name: playout::APP_NAME, body, .. } => {
            let Ok(own) = Playout::parse(body) else { return };
            let (fresh, playout) = match &mut client.audience {
                Some(audience) => {
                    let (fresh, worst) = audience.note_playout(at, from, own);
                    (Some(fresh), worst)
                }
                None => (None, own),
            };
            counters.latency_us.set(u64::from(playout.latency_us));
            counters.unrepaired.set(u64::from(playout.unrepaired));
            counters.error_ns.set(playout.error_ns.into());
            counters.worst_error_ns.set(playout.worst_error_ns.into());
            counters.drift_ppb.set(playout.drift_ppb.into());
            counters.concealed.set(u64::from(playout.concealed));
            counters.synced.set(u64::from(playout.synced));
            counters.late.set(u64::from(playout.late));
            if playout.round_trip_us > 0 {
                counters.round_trip_us.set(u64::from(playout.round_trip_us));
            }
            if let Some(mender) = &mut client.mender {
                let latency = i64::from(own.latency_us) * 1000;
                let fresh = fresh.unwrap_or_else(|| mender.fresh(own.unrepaired));
                mender.note_unrepaired(at, fresh, latency, packet_time);
            }
        }
        rtcp::Packet::Nack { media, lost, .. } if media == ssrc => {
            if let Some(mender) = &mut client.mender {
                mender.ask(at, lost);
                mender.count(counters);
            }
        }
        rtcp::Packet::Bye { .. } => {
            if let Some(audience) = &mut client.audience {
                audience.leave(from);
                counters.listeners.set(audience.len() as u64);
            }
        }
        _ => {}
    }
}
