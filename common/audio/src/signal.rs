//! Signals to know a speaker by, which are played in place of what was captured.
//!
//! Each is a function of the position alone: it needs no state, is the same in every encoding and on every run, and can be
//! looked at twice where two mixes are faded into each other. Levels in dBFS are those of AES17: a sine that reaches the
//! full scale has 0 dBFS.

mod wave;

use proto::units::Position;

use crate::align;

/// Which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// So many beeps of 880 Hz at −20 dBFS, 100 ms each, and a pause: which client of the list this is.
    Beeps(u16),
    /// A click a second: 2 ms towards positive, up to half the full scale, and back along a shallow tail that never goes
    /// below −0.05, so that nothing is left of it in all. A cone that is connected rightly moves outwards.
    Click,
    /// Pink noise at −20 dBFS, 20 Hz to 20 kHz or 0.45 of the rate: −3 dB an octave, the same again after 4 s.
    Noise,
    /// A sine of 997 Hz at −20 dBFS.
    Tone,
    /// The chirp of [`align`](mod@crate::align), in one turn of so many, counted from 0.
    Chirp {
        /// Whose turn.
        turn: u16,
        /// Of how many.
        turns: u16,
    },
}

/// A signal at one rate, ready to be played. Takes memory only when built.
///
/// Time is cut into cells. Of each round of so many cells some sound, all with the same wave, and the rest are silent.
#[derive(Debug)]
pub struct Signal {
    test: Test,
    rate: u32,
    wave: Vec<f32>,
    /// Frames in a cell, at least as many as the wave has.
    cell: u64,
    sounding: std::ops::Range<u64>,
    round: u64,
}

/// Silent cells after the beeps: a pause of 1.5 s.
const PAUSE: u64 = 5;

impl Signal {
    /// The signal at `rate` frames a second.
    pub fn new(test: Test, rate: u32) -> Self {
        let second = u64::from(rate);
        let (wave, cell, sounding, round) = match test {
            Test::Beeps(count) => {
                let count = u64::from(count);
                (wave::beep(rate), second * 3 / 10, 0..count, count + PAUSE)
            }
            Test::Click => (wave::click(rate), second, 0..1, 1),
            Test::Noise => (wave::noise(rate), second * wave::NOISE_SPAN, 0..1, 1),
            Test::Tone => (wave::tone(rate), second, 0..1, 1),
            Test::Chirp { turn, turns } => {
                let turn = u64::from(turn);
                (align::chirp(rate), align::turn(rate) as u64, turn..turn + 1, turns.into())
            }
        };
        Self { test, rate, wave, cell: cell.max(1), sounding, round: round.max(1) }
    }

    /// Its samples from this position on.
    pub fn samples(&self, from: Position) -> impl Iterator<Item = f32> {
        (0..).map(move |frame| self.at(from.advanced(frame)))
    }

    /// Its sample at this position.
    pub fn at(&self, position: Position) -> f32 {
        let (cell, frame) = (position.0 / self.cell % self.round, position.0 % self.cell);
        let sample = || self.wave.get(usize::try_from(frame).ok()?).copied();
        if self.sounding.contains(&cell) { sample().unwrap_or(0.0) } else { 0.0 }
    }
}

/// The same test at the same rate has the same samples.
impl PartialEq for Signal {
    fn eq(&self, other: &Self) -> bool {
        (self.test, self.rate) == (other.test, other.rate)
    }
}

#[cfg(test)]
mod tests;
