//! When this receiver reports: once a second, or, among many who hear the same stream, as seldom as the sender asks.

use proto::announce::Pace;
use proto::units::Mono;

use crate::scatter::Scatter;

/// Time between two reports of a receiver that is alone, in nanoseconds.
const ALONE: i64 = 1_000_000_000;
/// Intervals that are looked at anew before they end come out longer: e - 3/2 makes up for that (RFC 3550, 6.3.1).
const COMPENSATION: f64 = std::f64::consts::E - 1.5;

/// The turns of this receiver.
#[derive(Debug)]
pub(super) struct Turn {
    /// Between two reports in the mean, in nanoseconds; `None` where nobody else has to be minded.
    interval: Option<i64>,
    last: Option<Mono>,
    /// By which share of the interval the next one differs, from 0.5 to 1.5.
    share: f64,
    scatter: Scatter,
}

impl Turn {
    /// `seed` spreads the reports of many in time: each has its own.
    pub(super) fn new(seed: u32) -> Self {
        Self { interval: None, last: None, share: 0.5, scatter: Scatter::new(seed) }
    }

    /// Takes how often the sender asks for reports.
    pub(super) fn pace(&mut self, pace: Option<Pace>) {
        self.interval = pace.map(|pace| i64::from(pace.report_ms) * 1_000_000);
    }

    /// Whether a report is due. It is looked at with what the sender asked for last (RFC 3550, 6.3.6): where others have come
    /// meanwhile, it is put off.
    pub(super) fn is_due(&mut self, now: Mono) -> bool {
        if self.last.is_some_and(|last| now.since(last) < self.wait()) {
            return false;
        }
        self.last = Some(now);
        self.share = 0.5 + f64::from(self.scatter.bits()) / f64::from(u32::MAX);
        true
    }

    fn wait(&self) -> i64 {
        self.interval.map_or(ALONE, |interval| (interval as f64 * self.share / COMPENSATION) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(turn: &mut Turn, seconds: i64) -> Vec<i64> {
        (0..seconds * 100).filter(|n| turn.is_due(Mono(n * 10_000_000))).map(|n| n * 10).collect()
    }

    #[test]
    fn alone_it_reports_every_second() {
        assert_eq!(reports(&mut Turn::new(7), 5), [0, 1000, 2000, 3000, 4000]);
    }

    #[test]
    fn among_many_it_reports_as_seldom_as_it_is_asked_and_never_in_step() {
        let pace = Some(Pace { report_ms: 7200, question_ms: 4000 });
        let (mut one, mut other) = (Turn::new(1), Turn::new(2));
        [&mut one, &mut other].into_iter().for_each(|turn| turn.pace(pace));
        let (one, other) = (reports(&mut one, 7200), reports(&mut other, 7200));
        // The compensation counts on intervals that grow while they are waited for; here they do not.
        assert!((950..1300).contains(&one.len()), "{}", one.len());
        assert!(one.iter().filter(|at| other.contains(at)).count() < 20);
        let gaps: Vec<_> = one.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (2950..=8870).contains(gap)), "{gaps:?}");
    }
}
