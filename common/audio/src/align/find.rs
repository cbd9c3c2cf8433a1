//! The matched filter, and which of its peaks is the sound's arrival.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use super::{chirp, length, turn};

/// Least distance of an arrival from the next peak, in decibels. Among a second of noise alone the largest peak stands one
/// or two above the next.
pub const LEAST_MARGIN: f64 = 12.0;

/// By how much the way straight to the microphone may be shorter than that of the strongest arrival, in milliseconds: 7 m.
const BEFORE: usize = 20;
/// How long a room answers with arrivals of its own, in milliseconds.
const ROOM: usize = 200;
/// How much weaker than the strongest arrival the first one may be: 10 dB, where people hear a sound from still.
const FIRST: f32 = 0.316;
/// How far the first one has to stand above all that is not the chirp: 6 dB.
const ABOVE_NEXT: f32 = 2.0;

/// Where the chirp arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// From the recording's first frame to the chirp's, in frames.
    pub delay: f64,
    /// How far it stands above the next peak, in decibels.
    pub margin: f64,
}

/// The chirp was not found for sure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unheard {
    /// How far the largest peak stands above the next, in decibels; 0 in silence.
    pub margin: f64,
}

/// Finds the chirp in recordings of one rate.
pub struct Finder {
    rate: u32,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// The chirp's spectrum, conjugated, without negative frequencies: the filter's response is then an envelope, which
    /// has one peak for an arrival whatever its phase.
    filter: Vec<Complex<f32>>,
}

impl Finder {
    /// A finder for recordings at `rate` frames a second, 8000 to 192 000.
    pub fn new(rate: u32) -> Self {
        let size = turn(rate).next_power_of_two();
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
        let mut filter = padded(&chirp(rate), size);
        forward.process(&mut filter);
        filter.iter_mut().for_each(|bin| *bin = bin.conj());
        filter[size / 2..].fill(Complex::default());
        Self { rate, forward, inverse, filter }
    }

    /// Looks for the chirp in a recording of one [`turn`] that begins when the chirp was sent; what is missing counts as
    /// silence. It may arrive within [`length`] frames.
    ///
    /// The strongest arrival has to stand [`LEAST_MARGIN`] above the next: the largest response outside of its room, which
    /// is 20 ms before it to 200 ms after, where a room's reflections lie. Among the arrivals of these 20 ms the first counts
    /// that is at most 10 dB weaker than the strongest and 6 dB above the next: so the direct sound is found even where a
    /// reflection is louder. Weaker than that, or within a millisecond of the reflection, it is lost, and the delay is the
    /// reflection's.
    ///
    /// # Errors
    /// [`Unheard`] where nothing stands out as far.
    pub fn find(&self, recording: &[f32]) -> Result<Arrival, Unheard> {
        let envelope = self.envelope(recording);
        let strongest = peak_of(&envelope, 0..envelope.len());
        let millis = |count: usize| count * self.rate as usize / 1000;
        let room = strongest.saturating_sub(millis(BEFORE))..(strongest + millis(ROOM)).min(envelope.len());
        let next = [0..room.start, room.end..envelope.len()]
            .map(|outside| envelope[outside].iter().copied().fold(0.0, f32::max))
            .into_iter()
            .fold(0.0, f32::max);
        let peak = envelope[strongest];
        let margin = 20.0 * f64::from(peak / next).log10();
        let margin = if peak > 0.0 && !margin.is_nan() { margin } else { 0.0 };
        if margin < LEAST_MARGIN {
            return Err(Unheard { margin });
        }
        let least = (FIRST * peak).max(ABOVE_NEXT * next);
        let merged = strongest.saturating_sub(millis(1));
        let first = (room.start.max(1)..merged).find(|&lag| {
            let [before, here, after] = [envelope[lag - 1], envelope[lag], envelope[lag + 1]];
            here >= least && here > before && here >= after
        });
        Ok(Arrival { delay: refined(&envelope, first.unwrap_or(strongest)), margin })
    }

    /// The filter's response for each lag.
    fn envelope(&self, recording: &[f32]) -> Vec<f32> {
        let mut spectrum = padded(&recording[..recording.len().min(turn(self.rate))], self.filter.len());
        self.forward.process(&mut spectrum);
        spectrum.iter_mut().zip(&self.filter).for_each(|(bin, filter)| *bin *= filter);
        self.inverse.process(&mut spectrum);
        spectrum[..length(self.rate)].iter().map(|response| response.norm()).collect()
    }
}

fn padded(samples: &[f32], size: usize) -> Vec<Complex<f32>> {
    let mut padded: Vec<_> = samples.iter().map(|sample| Complex::from(*sample)).collect();
    padded.resize(size, Complex::default());
    padded
}

fn peak_of(envelope: &[f32], range: std::ops::Range<usize>) -> usize {
    range.max_by(|a, b| envelope[*a].total_cmp(&envelope[*b])).unwrap_or(0)
}

/// The top of a parabola through the logarithms of a peak and its neighbours, since the main lobe is nearly a Gaussian.
fn refined(envelope: &[f32], peak: usize) -> f64 {
    let level = |lag: usize| envelope.get(lag).map_or(f64::NAN, |level| f64::from(*level).ln());
    let (before, here, after) = (level(peak.wrapping_sub(1)), level(peak), level(peak + 1));
    let offset = (before - after) / (2.0 * (before - 2.0 * here + after));
    // Nothing to go by at an edge, or on a plateau.
    peak as f64 + if offset.abs() <= 1.0 { offset } else { 0.0 }
}
