//! The chirp.

use std::f64::consts::{PI, TAU};

/// Its largest sample, −12 dB below full scale: well above a room's noise, with room for a client's gain.
pub const LEVEL: f64 = 0.25;

/// Where it begins, in hertz: small speakers play this, and mains hum and steps lie below.
const LOW: f64 = 500.0;
/// Where it ends, in hertz: above, a speaker that is turned away is hardly heard.
const HIGH: f64 = 8_000.0;
/// Share of the rate that is used at most, clear of the converters' filters.
const SHARE: f64 = 0.4;

/// The chirp at `rate` frames a second, [`length`](super::length) of them.
pub fn chirp(rate: u32) -> Vec<f32> {
    (0..super::length(rate)).map(|frame| value(rate, frame as f64) as f32).collect()
}

/// Its value at any time, in frames.
pub(super) fn value(rate: u32, frame: f64) -> f64 {
    let length = super::length(rate) as f64;
    if !(0.0..length).contains(&frame) {
        return 0.0;
    }
    let rate = f64::from(rate);
    let (at, span) = (frame / rate, length / rate);
    let high = HIGH.min(SHARE * rate);
    let phase = TAU * at * (LOW + (high - LOW) * at / span / 2.0);
    LEVEL * (PI * at / span).sin().powi(2) * phase.sin()
}
