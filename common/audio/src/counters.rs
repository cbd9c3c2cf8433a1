//! Counters that a real-time thread writes and any other thread reads.
//!
//! Each page has one writer. Counters only grow; gauges hold the last value. A reader may see one counter of a page
//! newer than another: values that must agree travel together through a ring instead.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proto::Reject;

use crate::secure::Secrecy;

/// A number with one writer. Reading and writing are plain memory accesses.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`; to be called by the page's one writer.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Replaces the value: for gauges.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number of either sign, as a gauge.
#[derive(Debug, Default)]
pub struct Signed(Counter);

impl Signed {
    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.set(value as u64);
    }

    /// The current value.
    pub fn get(&self) -> i64 {
        self.0.get() as i64
    }
}

/// The loudest sample of the last full tenth of a second, as a gauge.
#[derive(Debug, Default)]
pub struct Meter(Counter);

impl Meter {
    /// Publishes a peak (0.0 to 1.0 is full scale).
    pub fn set(&self, peak: f32) {
        self.0.set(u64::from(peak.to_bits()));
    }

    /// The peak in decibels relative to full scale; minus infinity for digital silence.
    pub fn dbfs(&self) -> f32 {
        20.0 * f32::from_bits(self.0.get() as u32).log10()
    }
}

/// What the send thread knows of one client.
#[derive(Debug, Default)]
pub struct ClientCounters {
    /// Media packets handed to the socket.
    pub packets: Counter,
    /// Payload octets in them.
    pub octets: Counter,
    /// Packets that the socket would not take.
    pub unsent: Counter,
    /// Packets that the client asked for again.
    pub asked: Counter,
    /// Packets that were sent again.
    pub resent: Counter,
    /// Requests beyond what a client may ask for.
    pub refused: Counter,
    /// Packets of parity sent ahead.
    pub parity: Counter,
    /// Level of what is sent.
    pub level: Meter,
    /// Reports that were refused: not encrypted, of another key, or seen before.
    pub refused_reports: Counter,
    /// See [`ClientCounters::secrecy`].
    pub(crate) secrecy: Counter,
    /// Receiver reports that arrived.
    pub reports: Counter,
    /// When the last one came, on the sender's monotonic clock.
    pub reported_at: Counter,
    /// Share of packets lost in the last report interval, in 1/256.
    pub fraction_lost: Counter,
    /// Packets lost in all, as the receiver reports it (never below zero here).
    pub lost: Counter,
    /// Packets that nothing brought back in time, in all, as the receiver reports it.
    pub unrepaired: Counter,
    /// Round trip in microseconds; 0 until known.
    pub round_trip_us: Counter,
    /// The receiver's latency in microseconds, to the DAC: from the capture where it is in sync, from the arrival elsewhere; 0
    /// until reported.
    pub latency_us: Counter,
    /// By how much the receiver plays after its time, in nanoseconds: in the mean of the last report's interval.
    pub error_ns: Signed,
    /// The largest of these, whichever its sign.
    pub worst_error_ns: Signed,
    /// By which share the receiver plays faster than its device would by itself, in parts per 10^9.
    pub drift_ppb: Signed,
    /// Frames that the receiver played and no packet brought, in all.
    pub concealed: Counter,
    /// 1 where the receiver plays when it was told to.
    pub synced: Counter,
    /// 1 where the receiver plays later than that, since it needs longer.
    pub late: Counter,
    /// The group delay that the receiver needs in microseconds; 0 until it says so.
    pub wanted_us: Counter,
    /// Receivers that listen, where the client is a multicast group; the figures above are then those of the worst.
    pub listeners: Counter,
}

impl ClientCounters {
    /// How it stands between sender and client.
    pub fn secrecy(&self) -> Secrecy {
        Secrecy::from_counter(self.secrecy.get())
    }
}

/// What the send thread knows of one group of clients.
#[derive(Debug, Default)]
pub struct GroupCounters {
    /// The group's delay in microseconds, or what it changes to; 0 before the first decision.
    pub delay_us: Counter,
    /// Members that are heard.
    pub members: Counter,
}

/// Paths that a stream may come by.
pub const PATHS: usize = 2;

/// What came by one of the paths of a stream, since there are two of them.
#[derive(Debug, Default)]
pub struct PathCounters {
    /// Packets that came, whether they were the first or not.
    pub packets: Counter,
    /// Packets that did not come by it within a quarter of a second, but by the other one.
    pub lost: Counter,
}

impl PathCounters {
    pub(crate) fn reset(&self) {
        self.packets.set(0);
        self.lost.set(0);
    }
}

/// What the receive pipeline counts.
#[derive(Debug, Default)]
pub struct ReceiveCounters {
    /// Datagrams that came. Each is one of [`accepted`](Self::accepted), [`copies`](Self::copies),
    /// [`unproven`](Self::unproven), [`conflicts`](Self::conflicts), [`unwelcome`](Self::unwelcome), or
    /// [refused](Self::rejects).
    pub datagrams: Counter,
    /// Datagrams of the sender that is played, whatever use they were of.
    pub accepted: Counter,
    /// Datagrams that had come by another path.
    pub copies: Counter,
    /// Media packets accepted into the jitter buffer.
    pub packets: Counter,
    /// Payload octets in them.
    pub octets: Counter,
    /// Packets that came after their time.
    pub late: Counter,
    /// Packets that were there already, and datagrams that had come by another path.
    pub duplicates: Counter,
    /// What each path brought, where there are two.
    pub paths: [PathCounters; PATHS],
    /// Packets pushed out because nothing played them.
    pub overflowed: Counter,
    /// Packets that were due and not there.
    pub lost: Counter,
    /// Requests for lost packets, each time one was asked for.
    pub requested: Counter,
    /// Packets that came because they were asked for.
    pub retransmitted: Counter,
    /// Packets rebuilt from parity.
    pub rebuilt: Counter,
    /// Frames played that no packet brought, within a stream.
    pub concealed_frames: Counter,
    /// Frames handed on.
    pub frames: Counter,
    /// Datagrams from an address other than the one being played.
    pub conflicts: Counter,
    /// Datagrams that may have come by another path, before that had proved to be one.
    pub unproven: Counter,
    /// Datagrams from addresses that may not send.
    pub unwelcome: Counter,
    /// Times that playout was placed anew.
    pub realigned: Counter,
    /// Streams begun.
    pub streams: Counter,
    /// Datagrams refused, by reason; see [`ReceiveCounters::rejects`].
    rejected: [Counter; REASONS.len()],
    /// Audio waiting in the jitter buffer, in frames.
    pub depth: Counter,
    /// Interarrival jitter (RFC 3550, 6.4.1) in nanoseconds.
    pub jitter_ns: Counter,
    /// 1 where playback goes by the sender's timing.
    pub synced: Counter,
    /// 1 where it is later than that, since this receiver needs longer.
    pub late_for_group: Counter,
    /// The group's delay from the capture to the DAC, in microseconds; 0 where there is none.
    pub group_delay_us: Counter,
    /// By how much playback is later than the sender's timing says, in the mean over a second, in nanoseconds; negative where
    /// earlier.
    pub playout_error: Signed,
    /// The largest of these within the second.
    pub worst_playout_error: Signed,
    /// Round trip to the sender in microseconds; 0 until known.
    pub round_trip_us: Counter,
    /// By which share playback runs faster than the device would by itself, in parts per 10^9.
    pub drift_ppb: Signed,
    /// Level of what is played.
    pub level: Meter,
}

/// Every reason for which a datagram is refused, with its name in reports.
const REASONS: [(Reject, &str); 10] = [
    (Reject::Truncated, "truncated"),
    (Reject::Version, "version"),
    (Reject::Padding, "padding"),
    (Reject::PayloadType, "payload_type"),
    (Reject::Length, "length"),
    (Reject::Value, "value"),
    (Reject::Unencrypted, "unencrypted"),
    (Reject::Unknown, "unknown"),
    (Reject::Forged, "forged"),
    (Reject::Replayed, "replayed"),
];

impl ReceiveCounters {
    /// Counts one refused datagram.
    pub fn reject(&self, reason: Reject) {
        if let Some(index) = REASONS.iter().position(|(r, _)| *r == reason) {
            self.rejected[index].add(1);
        }
    }

    /// Refused datagrams by reason.
    pub fn rejects(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.iter().zip(&self.rejected).map(|((_, name), counter)| (*name, counter.get()))
    }

    /// [`drift_ppb`](Self::drift_ppb) in parts per million.
    pub fn drift_ppm(&self) -> f64 {
        self.drift_ppb.get() as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_under_its_own_name() {
        let counters = ReceiveCounters::default();
        counters.reject(Reject::Padding);
        counters.reject(Reject::Padding);
        let counted: Vec<_> = counters.rejects().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("padding", 2)]);
    }

    #[test]
    fn drift_keeps_its_sign() {
        let counters = ReceiveCounters::default();
        assert_eq!(counters.drift_ppm(), 0.0);
        counters.drift_ppb.set(-123_500);
        assert_eq!(counters.drift_ppm(), -123.5);
    }
}
