//! What a receiver report says: loss, jitter and the echo of the last sender report (RFC 3550, 6.4 and A.3, A.8).

use proto::rtcp::ReportBlock;
use proto::units::{self, Mono, Ntp, RtpTime};

#[derive(Debug)]
pub(crate) struct Reception {
    ssrc: u32,
    rate: u32,
    /// First and highest sequence number, unwrapped.
    first: u64,
    highest: u64,
    received: u64,
    /// Expected and received at the last report.
    prior: (u64, u64),
    /// Arrival and RTP time of the last packet.
    last: Option<(Mono, RtpTime)>,
    jitter_ns: f64,
    last_sr: Option<(Ntp, Mono)>,
}

impl Reception {
    pub(crate) fn new(ssrc: u32, rate: u32, first: u64) -> Self {
        Self {
            ssrc,
            rate,
            first,
            highest: first,
            received: 0,
            prior: (0, 0),
            last: None,
            jitter_ns: 0.0,
            last_sr: None,
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub(crate) fn jitter_ns(&self) -> u64 {
        self.jitter_ns as u64
    }

    pub(crate) fn note_packet(&mut self, sequence: u64, timestamp: RtpTime, at: Mono) {
        self.received += 1;
        self.highest = self.highest.max(sequence);
        self.first = self.first.min(sequence);
        if let Some((last_at, last_timestamp)) = self.last {
            let media = units::frames_to_nanos(i64::from(timestamp.since(last_timestamp)), self.rate);
            let deviation = (at.since(last_at) - media).abs() as f64;
            self.jitter_ns += (deviation - self.jitter_ns) / 16.0;
        }
        self.last = Some((at, timestamp));
    }

    pub(crate) fn note_sender_report(&mut self, ntp: Ntp, at: Mono) {
        self.last_sr = Some((ntp, at));
    }

    /// The block for a report at `now`; the next one counts from here.
    pub(crate) fn report(&mut self, now: Mono) -> ReportBlock {
        let expected = self.highest - self.first + 1;
        let interval_expected = expected - self.prior.0;
        let interval_lost = interval_expected.saturating_sub(self.received - self.prior.1);
        self.prior = (expected, self.received);
        let limit = (1i64 << 23) - 1;
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (interval_lost * 256).checked_div(interval_expected).unwrap_or(0).min(255) as u8,
            cumulative_lost: (expected as i64 - self.received as i64).clamp(-limit - 1, limit) as i32,
            highest_sequence: self.highest as u32,
            jitter: (self.jitter_ns * f64::from(self.rate) / 1e9) as u32,
            last_sr: self.last_sr.map_or(0, |(ntp, _)| ntp.middle()),
            delay_since_last_sr: self.last_sr.map_or(0, |(_, at)| units::nanos_to_short(now.since(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_loss_per_interval_and_in_all() {
        let mut reception = Reception::new(7, 44_100, 100);
        for sequence in [100, 101, 103] {
            reception.note_packet(sequence, RtpTime(0), Mono(0));
        }
        let block = reception.report(Mono(0));
        assert_eq!((block.fraction_lost, block.cumulative_lost, block.highest_sequence), (64, 1, 103));
        reception.note_packet(104, RtpTime(0), Mono(0));
        let block = reception.report(Mono(0));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1));
    }

    #[test]
    fn jitter_converges_on_the_mean_deviation() {
        let mut reception = Reception::new(7, 48_000, 0);
        // Packets of 10 ms that come alternately 1 ms early and late: consecutive ones deviate by 2 ms.
        for packet in 0..500i64 {
            let wobble = if packet % 2 == 0 { 1_000_000 } else { -1_000_000 };
            reception.note_packet(
                packet as u64,
                RtpTime(packet as u32 * 480),
                Mono(packet * 10_000_000 + wobble),
            );
        }
        assert!((reception.jitter_ns() as i64 - 2_000_000).abs() < 1_000);
        assert_eq!(reception.report(Mono(0)).jitter, 95);
    }

    #[test]
    fn echoes_the_last_sender_report() {
        let mut reception = Reception::new(7, 48_000, 0);
        assert_eq!(reception.report(Mono(0)).last_sr, 0);
        reception.note_sender_report(Ntp(0x1111_2222_3333_4444), Mono(0));
        let block = reception.report(Mono(500_000_000));
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x2222_3333, 0x8000));
    }
}
