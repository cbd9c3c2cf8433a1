//! Gaps without clicks: the last frames played run backwards into silence, and audio fades in over them.
//!
//! Playing the tail backwards continues the waveform without a step, for any signal, at no cost.

/// Frames over which a gap falls silent: 2.9 ms at 44.1 kHz.
const FADE_OUT: usize = 128;
/// Frames over which audio comes back.
const FADE_IN: usize = 64;

pub(crate) struct Fader {
    channels: usize,
    /// The last frames played, oldest first.
    history: Vec<f32>,
    /// What a gap is filled with: the history as it was when the gap began, backwards and falling.
    tail: Vec<f32>,
    /// Frames of the tail that have been played.
    tail_played: usize,
    /// Within a gap.
    silent: bool,
    /// Frames of fade-in still to be done.
    rising: usize,
}

impl Fader {
    pub(crate) fn new(channels: usize) -> Self {
        Self {
            channels,
            history: vec![0.0; FADE_OUT * channels],
            tail: vec![0.0; FADE_OUT * channels],
            tail_played: FADE_OUT,
            silent: true,
            rising: 0,
        }
    }

    /// Fills a gap, or a part of one.
    pub(crate) fn conceal(&mut self, out: &mut [f32]) {
        if !self.silent {
            self.begin_gap();
        }
        out.fill(0.0);
        let tail = &self.tail[self.tail_played * self.channels..];
        out.iter_mut().zip(tail).for_each(|(sample, tail)| *sample = *tail);
        self.tail_played = FADE_OUT.min(self.tail_played + out.len() / self.channels);
        self.remember(out);
    }

    /// Lets audio through, fading it in after a gap.
    pub(crate) fn pass(&mut self, audio: &mut [f32]) {
        if self.silent {
            self.silent = false;
            self.rising = FADE_IN;
        }
        self.fade_in(audio);
        self.remember(audio);
    }

    /// Treats the audio that follows as if it came after a gap: a jump in time.
    pub(crate) fn jump(&mut self) {
        if !self.silent {
            self.begin_gap();
        }
    }

    fn begin_gap(&mut self) {
        self.silent = true;
        self.tail_played = 0;
        let backwards = self.history.rchunks_exact(self.channels);
        for (index, (to, from)) in self.tail.chunks_exact_mut(self.channels).zip(backwards).enumerate() {
            let weight = 1.0 - index as f32 / FADE_OUT as f32;
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from * weight);
        }
    }

    fn fade_in(&mut self, audio: &mut [f32]) {
        let frames = self.rising.min(audio.len() / self.channels);
        for frame in audio.chunks_exact_mut(self.channels).take(frames) {
            self.rising -= 1;
            let weight = (FADE_IN - self.rising) as f32 / FADE_IN as f32;
            let tail = self.tail.get(self.tail_played * self.channels..).unwrap_or(&[]);
            for (channel, sample) in frame.iter_mut().enumerate() {
                *sample = *sample * weight + tail.get(channel).unwrap_or(&0.0) * (1.0 - weight);
            }
            self.tail_played = FADE_OUT.min(self.tail_played + 1);
        }
    }

    fn remember(&mut self, audio: &[f32]) {
        let room = self.history.len();
        if audio.len() >= room {
            self.history.copy_from_slice(&audio[audio.len() - room..]);
        } else {
            self.history.copy_within(audio.len().., 0);
            self.history[room - audio.len()..].copy_from_slice(audio);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(range: std::ops::Range<usize>) -> Vec<f32> {
        range.map(|n| (n as f32 * 0.05).sin() * 0.8).collect()
    }

    fn largest_step(samples: &[f32]) -> f32 {
        samples.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_gap_in_a_sine_has_no_step_beyond_the_sines_own() {
        for gap in [1, 20, 128, 500] {
            let mut fader = Fader::new(1);
            let mut first = sine(0..600);
            fader.pass(&mut first);
            let mut hole = vec![9.0; gap];
            fader.conceal(&mut hole);
            let mut second = sine(600 + gap..1200);
            fader.pass(&mut second);
            let whole: Vec<f32> = [&first[300..], &hole, &second].concat();
            // A sine of 0.05 rad a frame moves by 0.04 at most; fading in adds up to 2 × 0.8 / 64.
            assert!(largest_step(&whole) < 0.04 + 0.026 + 0.01, "gap of {gap}: {}", largest_step(&whole));
            assert_eq!(second[FADE_IN..], sine(600 + gap..1200)[FADE_IN..]);
        }
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let run = |pieces: &[usize]| {
            let mut fader = Fader::new(2);
            let mut audio = sine(0..400);
            fader.pass(&mut audio);
            let mut out = vec![0.0; 200];
            let mut rest = &mut out[..];
            for piece in pieces {
                let (now, later) = rest.split_at_mut(piece * 2);
                fader.conceal(now);
                rest = later;
            }
            let mut back = sine(0..200);
            back.chunks_mut(pieces[0] * 2).for_each(|piece| fader.pass(piece));
            [out, back].concat()
        };
        assert_eq!(run(&[100]), run(&[10, 40, 50]));
    }

    #[test]
    fn sound_begins_from_silence() {
        let mut fader = Fader::new(1);
        let mut audio = vec![1.0; 100];
        fader.pass(&mut audio);
        assert!(audio[0] <= 1.0 / 64.0);
        assert_eq!(audio[63..], vec![1.0; 37]);
    }
}
