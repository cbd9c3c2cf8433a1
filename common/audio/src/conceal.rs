//! What a gap is filled with: the sound before it, carried on.
//!
//! A linear model of the last 43 ms, found by Burg's method, rings on as the tones did; what it could not explain of the
//! last period is repeated into it, so that voices keep their pitch and noise its strength. Long gaps fall silent.

mod line;
mod model;

use line::Line;
use model::Analysis;

/// A gap is filled at full strength for this long, in milliseconds.
const HOLD: u32 = 15;
/// After this long it is silent, in milliseconds.
const SILENT: u32 = 60;
/// Audio comes back over this long, in milliseconds.
const RETURN: u32 = 4;
/// Below a 16-bit step by far: not worth a model.
const FLOOR: f32 = 1e-6;

/// Fills gaps in a stream of interleaved samples and brings the audio back after them without a click.
///
/// Takes memory at construction only. The start of a gap costs a bounded analysis of each channel, less for each the
/// more there are; a frame within a gap costs as many multiplications as the model has coefficients, 64 at most.
pub struct Concealer {
    channels: usize,
    /// What was played, interleaved.
    history: Line,
    voices: Vec<Voice>,
    analysis: Analysis,
    /// Within a gap.
    gap: bool,
    /// Frames since the gap began, counted until it is silent.
    elapsed: usize,
    hold: usize,
    silent: usize,
    /// Frames of crossfade still to be done.
    rising: usize,
    rise: usize,
}

/// One channel.
struct Voice {
    /// The largest of what was played when the gap began; the model works on shares of this. Zero if there is nothing to carry on.
    peak: f32,
    /// Predicts a sample from those before it, oldest first.
    model: Vec<f64>,
    /// What the model did not explain of the last period.
    excitation: Vec<f64>,
    period: usize,
    place: usize,
    /// What the model has made so far, before it is faded.
    made: Line,
}

impl Concealer {
    /// For frames of `channels` samples (1 to 255), `rate` of them a second (8000 to 192 000). What comes first is faded
    /// in from silence.
    pub fn new(channels: usize, rate: u32) -> Self {
        let analysis = Analysis::new(channels, rate);
        let frames = |milliseconds: u32| (rate * milliseconds / 1000).max(1) as usize;
        Self {
            channels,
            history: Line::new(channels * analysis.frames()),
            voices: (0..channels).map(|_| Voice::new(&analysis)).collect(),
            analysis,
            gap: true,
            elapsed: frames(SILENT),
            hold: frames(HOLD),
            silent: frames(SILENT),
            rising: 0,
            rise: frames(RETURN),
        }
    }

    /// Lets audio through: bit for bit, but for a crossfade of 4 ms after a gap, out of what would have filled it further.
    pub fn pass(&mut self, audio: &mut [f32]) {
        if self.gap {
            self.gap = false;
            self.rising = self.rise;
        }
        let frames = self.rising.min(audio.len() / self.channels);
        for frame in audio.chunks_exact_mut(self.channels).take(frames) {
            self.rising -= 1;
            let weight = (self.rise - self.rising) as f32 / self.rise as f32;
            let strength = self.strength() * (1.0 - weight);
            for (sample, voice) in frame.iter_mut().zip(&mut self.voices) {
                *sample = *sample * weight + voice.next(strength);
            }
        }
        self.remember(audio);
    }

    /// Fills a gap, or a part of one.
    pub fn conceal(&mut self, out: &mut [f32]) {
        self.jump();
        for frame in out.chunks_exact_mut(self.channels) {
            let strength = self.strength();
            frame.iter_mut().zip(&mut self.voices).for_each(|(sample, voice)| *sample = voice.next(strength));
        }
        self.remember(out);
    }

    /// Whether a gap has lasted until nothing is heard any more.
    pub fn is_silent(&self) -> bool {
        self.gap && self.elapsed == self.silent
    }

    /// Treats the audio that follows as if it came after a gap: a jump in time.
    pub fn jump(&mut self) {
        if self.gap {
            return;
        }
        self.gap = true;
        self.elapsed = 0;
        for (channel, voice) in self.voices.iter_mut().enumerate() {
            let history = self.history.last().iter().skip(channel).step_by(self.channels);
            voice.begin(history, &mut self.analysis);
        }
    }

    /// Of what is carried on, for the next frame.
    fn strength(&mut self) -> f32 {
        let left = self.silent - self.elapsed;
        self.elapsed = self.silent.min(self.elapsed + 1);
        (left as f32 / (self.silent - self.hold) as f32).min(1.0)
    }

    fn remember(&mut self, audio: &[f32]) {
        self.history.extend(&audio[..audio.len() / self.channels * self.channels]);
    }
}

impl Voice {
    fn new(analysis: &Analysis) -> Self {
        Self {
            peak: 0.0,
            model: vec![0.0; analysis.order()],
            excitation: vec![0.0; analysis.longest_period()],
            period: 1,
            place: 0,
            made: Line::new(analysis.order()),
        }
    }

    fn begin<'a>(&mut self, history: impl Iterator<Item = &'a f32> + Clone, analysis: &mut Analysis) {
        self.peak = history.clone().fold(0.0, |peak, sample| sample.abs().max(peak));
        if self.peak < FLOOR {
            self.peak = 0.0;
            return;
        }
        let history = analysis.take(history, self.peak);
        self.made.fill(&history[history.len() - self.model.len()..]);
        self.period = analysis.run(&mut self.model, &mut self.excitation);
        self.place = 0;
    }

    fn next(&mut self, strength: f32) -> f32 {
        if self.peak == 0.0 || strength == 0.0 {
            return 0.0;
        }
        let sample = model::predict(&self.model, self.made.last()) + self.excitation[self.place];
        self.place = if self.place + 1 < self.period { self.place + 1 } else { 0 };
        // Never louder than what was heard, whatever rounding does to the model; no denormals, which are slow.
        let sample = if sample.abs() > 1e-9 { sample.clamp(-1.0, 1.0) as f32 } else { 0.0 };
        self.made.push(sample);
        sample * self.peak * strength
    }
}

#[cfg(test)]
mod tests;
