//! A tone to test with, and how well it came through.

use std::f64::consts::TAU;

/// `frames` of a sine of half the full scale.
pub(crate) fn tone(frequency: f64, rate: u32, frames: usize) -> Vec<f32> {
    (0..frames).map(|n| (TAU * frequency * n as f64 / f64::from(rate)).sin() as f32 * 0.5).collect()
}

/// The tone in a recording, by least squares away from both ends.
pub(crate) struct Fit {
    pub(crate) amplitude: f64,
    /// What is not the tone, relative to it, in decibels.
    pub(crate) residual: f64,
    /// In frames; whole ones are not known.
    lag: f64,
    period: f64,
}

impl Fit {
    pub(crate) fn of(samples: &[f32], frequency: f64, rate: u32) -> Self {
        let middle = 1000..samples.len() - 1000;
        let step = TAU * frequency / f64::from(rate);
        let (mut ss, mut sc, mut cc, mut ys, mut yc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for n in middle.clone() {
            let (s, c) = (step * n as f64).sin_cos();
            let y = f64::from(samples[n]);
            (ss, sc, cc, ys, yc) = (ss + s * s, sc + s * c, cc + c * c, ys + y * s, yc + y * c);
        }
        let det = ss * cc - sc * sc;
        let (a, b) = ((ys * cc - yc * sc) / det, (yc * ss - ys * sc) / det);
        let left = |n: usize| {
            let (s, c) = (step * n as f64).sin_cos();
            f64::from(samples[n]) - a * s - b * c
        };
        let noise: f64 = middle.clone().map(|n| left(n).powi(2)).sum::<f64>() / middle.len() as f64;
        let amplitude = a.hypot(b);
        let residual = 10.0 * (noise / (amplitude * amplitude / 2.0)).log10();
        Self { amplitude, residual, lag: -b.atan2(a) / step, period: TAU / step }
    }

    /// Frames by which the tone is later than `delay`, within half a period.
    pub(crate) fn later_than(&self, delay: f64) -> f64 {
        (self.lag - delay + self.period / 2.0).rem_euclid(self.period) - self.period / 2.0
    }
}
