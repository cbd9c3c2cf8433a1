//! One chirp after another, and what the microphone hears in each turn.

use audio::align::{self, Arrival, Finder, Unheard};
use proto::units::Position;

/// Turns before the first that counts, so that the receivers have settled: 4 s.
const SETTLE: u64 = 2;

/// What became of a client's turn; `None` where it was not over.
pub(super) type Heard = Option<Result<Arrival, Unheard>>;

/// Listens to each client once.
pub(super) struct Turns {
    finder: Finder,
    /// Frames in a turn.
    turn: u64,
    channels: usize,
    /// Number of the turn that is listened to, counted from position 0.
    now: u64,
    /// What the microphone heard in it, all its channels summed. What is missing is silent.
    recording: Vec<f32>,
    heard: Vec<Heard>,
}

impl Turns {
    /// For a microphone of this rate and so many channels.
    pub(super) fn new(rate: u32, channels: u16, clients: usize) -> Self {
        Self {
            finder: Finder::new(rate),
            turn: align::turn(rate) as u64,
            channels: usize::from(channels.max(1)),
            now: SETTLE,
            recording: vec![0.0; align::turn(rate)],
            heard: vec![None; clients],
        }
    }

    /// How long all of it takes, in seconds.
    pub(super) fn seconds(&self) -> u64 {
        2 * (SETTLE + self.heard.len() as u64)
    }

    /// Takes captured frames, of which the first has this position.
    pub(super) fn listen(&mut self, position: Position, block: &[f32]) {
        for (frame, at) in block.chunks_exact(self.channels).zip(position.0..) {
            while !self.done() && at / self.turn > self.now {
                self.conclude();
            }
            if at / self.turn == self.now {
                self.recording[(at % self.turn) as usize] = frame.iter().sum();
            }
        }
    }

    /// Everybody had a turn.
    pub(super) fn done(&self) -> bool {
        self.now >= SETTLE + self.heard.len() as u64
    }

    /// What was heard of each client, in their order.
    pub(super) fn heard(&self) -> &[Heard] {
        &self.heard
    }

    fn conclude(&mut self) {
        let whose = (self.now % self.heard.len() as u64) as usize;
        self.heard[whose] = Some(self.finder.find(&self.recording));
        self.recording.fill(0.0);
        self.now += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::signal::{Signal, Test};
    use sim::random::Random;

    const RATE: u32 = 44_100;
    /// What the streams take to the speakers, in frames.
    const LATENCY: u64 = 3_000;

    /// What a microphone hears, of three speakers at these distances in frames; one that has none is off.
    fn measure(distances: [Option<u64>; 3], noise: f64, skip: std::ops::Range<u64>) -> Turns {
        let signals = [0, 1, 2].map(|turn| Signal::new(Test::Chirp { turn, turns: 3 }, RATE));
        let mut random = Random::new(7);
        let mut turns = Turns::new(RATE, 2, 3);
        let end = turns.seconds() * u64::from(RATE) + 1;
        for position in (0..end).step_by(128).filter(|position| !skip.contains(position)) {
            let mut block = [0.0; 2 * 128];
            for (signal, distance) in signals.iter().zip(distances) {
                let Some(from) = distance.and_then(|frames| position.checked_sub(LATENCY + frames)) else {
                    continue;
                };
                let frames = block.as_chunks_mut::<2>().0.iter_mut();
                frames
                    .zip(signal.samples(Position(from)))
                    .for_each(|(frame, sample)| frame[1] += 0.3 * sample);
            }
            block.iter_mut().for_each(|sample| *sample += (noise * random.normal()) as f32);
            turns.listen(Position(position), &block);
        }
        turns
    }

    #[test]
    fn each_speaker_is_heard_at_its_own_distance() {
        let turns = measure([Some(0), Some(441), Some(100)], 0.02, 0..0);
        assert!(turns.done());
        for (heard, distance) in turns.heard().iter().zip([0, 441, 100]) {
            let arrival = heard.unwrap().unwrap();
            assert!((arrival.delay - (LATENCY + distance) as f64).abs() < 1.0, "{arrival:?}");
        }
    }

    #[test]
    fn one_that_is_off_is_not_heard_and_the_others_are() {
        let turns = measure([Some(0), None, Some(100)], 0.02, 0..0);
        let heard: Vec<_> = turns.heard().iter().map(|heard| heard.unwrap().is_ok()).collect();
        assert_eq!(heard, [true, false, true]);
    }

    /// Turn 3 is the first client's; the microphone is away until turn 4 has begun.
    #[test]
    fn a_microphone_that_was_away_puts_nothing_out_of_place() {
        let turn = align::turn(RATE) as u64;
        let turns = measure([Some(0), Some(441), Some(100)], 0.001, 3 * turn - 6000..4 * turn + 6000);
        assert!(turns.done());
        let heard: Vec<_> = turns.heard().iter().map(|heard| heard.unwrap()).collect();
        assert!(heard[0].is_err());
        for (client, distance) in [(1, 441), (2, 100)] {
            let arrival = heard[client].unwrap();
            assert!((arrival.delay - (LATENCY + distance) as f64).abs() < 1.0, "{client}: {arrival:?}");
        }
    }
}
