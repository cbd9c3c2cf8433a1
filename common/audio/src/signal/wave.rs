//! The waves that signals repeat.

use std::f64::consts::{PI, TAU};

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

/// −20 dBFS, as the amplitude of a sine.
const LEVEL: f64 = 0.1;
/// The tone's frequency: prime, so that its samples fall on many values of a converter (AES17).
const TONE: u32 = 997;
const BEEP: f64 = 880.0;
/// How long a beep lasts, and its rise and fall, in seconds.
const BEEP_SPAN: f64 = 0.1;
const BEEP_EDGE: f64 = 0.01;
/// The click: its peak, how long that lasts in seconds, and how many times longer and shallower its tail is.
const CLICK: f64 = 0.5;
const CLICK_SPAN: f64 = 0.002;
const CLICK_TAIL: f64 = 10.0;
/// How long the noise lasts before it repeats, in seconds.
pub(super) const NOISE_SPAN: u64 = 4;
const NOISE_BAND: std::ops::Range<f64> = 20.0..20_000.0;
/// Share of the rate that noise reaches at most.
const NOISE_SHARE: f64 = 0.45;

/// A second of the tone, a whole number of its periods.
pub(super) fn tone(rate: u32) -> Vec<f32> {
    let cycles = |frame: u32| u64::from(frame) * u64::from(TONE) % u64::from(rate);
    let phase = |frame| TAU * cycles(frame) as f64 / f64::from(rate);
    (0..rate).map(|frame| (LEVEL * phase(frame).sin()) as f32).collect()
}

pub(super) fn beep(rate: u32) -> Vec<f32> {
    let rate = f64::from(rate);
    let value = |at: f64| {
        let edge = at.min(BEEP_SPAN - at) / BEEP_EDGE;
        LEVEL * raised_cosine(edge.min(1.0) / 2.0) * (TAU * BEEP * at).sin()
    };
    (0..(BEEP_SPAN * rate) as u32).map(|frame| value(f64::from(frame) / rate) as f32).collect()
}

/// A raised cosine, and a tail of the opposite sign with the same area.
pub(super) fn click(rate: u32) -> Vec<f32> {
    let rate = f64::from(rate);
    let value = |at: f64| {
        if at < CLICK_SPAN {
            CLICK * raised_cosine(at / CLICK_SPAN)
        } else {
            -CLICK / CLICK_TAIL * raised_cosine((at - CLICK_SPAN) / (CLICK_SPAN * CLICK_TAIL))
        }
    };
    let span = CLICK_SPAN * (1.0 + CLICK_TAIL);
    (0..(span * rate) as u32).map(|frame| value(f64::from(frame) / rate) as f32).collect()
}

/// 0 at 0 and 1, 1 in the middle.
fn raised_cosine(share: f64) -> f64 {
    (PI * share).sin().powi(2)
}

/// Built from its spectrum: amplitudes that fall with the root of the frequency, and phases of no order.
pub(super) fn noise(rate: u32) -> Vec<f32> {
    let length = (u64::from(rate) * NOISE_SPAN) as usize;
    let highest = NOISE_BAND.end.min(NOISE_SHARE * f64::from(rate));
    let bin = |hertz: f64| (hertz * NOISE_SPAN as f64) as usize;
    let bins = bin(NOISE_BAND.start)..=bin(highest);
    // The mean square of the real part of a sum of waves is half the sum of their squares, and that of the level's sine
    // half its own.
    let sum: f64 = bins.clone().map(|bin| 1.0 / bin as f64).sum();
    let mut spectrum = vec![Complex::<f64>::default(); length];
    for bin in bins {
        spectrum[bin] = Complex::from_polar(LEVEL / (bin as f64 * sum).sqrt(), TAU * scatter(bin as u64));
    }
    FftPlanner::new().plan_fft_inverse(length).process(&mut spectrum);
    spectrum.iter().map(|value| value.re as f32).collect()
}

/// A share of a turn for each number, without order (SplitMix64's finaliser).
fn scatter(number: u64) -> f64 {
    let z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
