//! How far apart receivers play the same sound.

use super::outcome::Outcome;

/// Time between two looks, in seconds: as often as a pilot tells.
const STEP: f64 = 0.02;
/// How near to a look something has to be heard, in seconds.
const NEAR: f64 = 0.015;

/// How far apart the first and the last of all receivers played the same frame, in microseconds, at times in seconds; `None`
/// where one of them was not heard whole.
pub fn apart(outcomes: &[Outcome], from: f64, until: f64) -> Vec<(f64, Option<f64>)> {
    let mut cursors = vec![0; outcomes.len()];
    let looks = (0..((until - from) / STEP) as u64).map(|look| from + look as f64 * STEP);
    let apart = looks.map(|at| {
        let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
        for (outcome, cursor) in outcomes.iter().zip(&mut cursors) {
            let heard = &outcome.heard;
            while heard.get(*cursor).is_some_and(|heard| heard.at < at - NEAR) {
                *cursor += 1;
            }
            let Some(heard) = heard.get(*cursor).filter(|heard| heard.at < at + NEAR) else {
                return (at, None);
            };
            (first, last) = (first.min(heard.latency), last.max(heard.latency));
        }
        (at, Some((last - first) / 1e3))
    });
    apart.collect()
}

/// Seconds from `event` until all are within `limit` microseconds and stay so; infinite where they never are.
pub fn time_to_sync(apart: &[(f64, Option<f64>)], event: f64, limit: f64) -> f64 {
    let in_sync = |(_, error): &(f64, Option<f64>)| error.is_some_and(|error| error < limit);
    let after = apart.iter().skip_while(|(at, _)| *at < event);
    match after.clone().filter(|look| !in_sync(look)).last() {
        Some((at, _)) if after.last().is_some_and(in_sync) => at + STEP - event,
        Some(_) => f64::INFINITY,
        None => 0.0,
    }
}
