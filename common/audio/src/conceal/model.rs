//! A linear model of a signal's end: J. P. Burg, "Maximum entropy spectral analysis", 1967, and the signal's period.

/// Coefficients times frames that all channels together may cost: a model of 64 from 2048 frames for each of two.
const WORK: usize = 2 * 64 * 2048;
const LARGEST_ORDER: usize = 64;
const SMALLEST_ORDER: usize = 8;
const FEWEST_FRAMES: usize = 256;
const MOST_FRAMES: usize = 2048;
/// A reflection coefficient of one would let rounding grow.
const LARGEST_REFLECTION: f32 = 0.999_999;
/// Signal that stands for one of the coarse search for the period.
const COARSE: usize = 4;

/// Memory for the analysis of one channel at a time.
pub(super) struct Analysis {
    order: usize,
    /// The signal's end, in shares of its peak.
    signal: Vec<f32>,
    coarse: Vec<f32>,
    forward: Vec<f32>,
    backward: Vec<f32>,
    /// Coefficients, the newest sample's first.
    model: Vec<f64>,
    shortest_period: usize,
    longest_period: usize,
    /// Frames that are compared with those a period before.
    window: usize,
}

impl Analysis {
    pub(super) fn new(channels: usize, rate: u32) -> Self {
        let rate = rate as usize;
        let channels = channels.max(1);
        let order = (2 * LARGEST_ORDER / channels).clamp(SMALLEST_ORDER, LARGEST_ORDER) / 8 * 8;
        let frames = (WORK / (order * channels)).min(rate * 43 / 1000).clamp(FEWEST_FRAMES, MOST_FRAMES);
        let window = (rate / 100).clamp(LARGEST_ORDER, frames / 3);
        let longest_period = (rate * 15 / 1000).clamp(2 * COARSE, frames - window - COARSE);
        Self {
            order,
            signal: vec![0.0; frames],
            coarse: vec![0.0; frames / COARSE],
            forward: vec![0.0; frames],
            backward: vec![0.0; frames],
            model: vec![0.0; order],
            shortest_period: (rate / 400).clamp(COARSE, longest_period),
            longest_period,
            window,
        }
    }

    pub(super) fn frames(&self) -> usize {
        self.signal.len()
    }

    pub(super) fn order(&self) -> usize {
        self.order
    }

    pub(super) fn longest_period(&self) -> usize {
        self.longest_period
    }

    /// Takes the signal that [`run`](Self::run) looks at, in shares of its peak: sums of squares then stay in range.
    pub(super) fn take<'a>(&mut self, signal: impl Iterator<Item = &'a f32>, peak: f32) -> &[f32] {
        for (to, from) in self.signal.iter_mut().zip(signal) {
            let share = from / peak;
            // Denormals are slow.
            *to = if share.abs() > 1e-9 { share } else { 0.0 };
        }
        &self.signal
    }

    /// Finds the coefficients, oldest sample's first, and what they do not explain of the last period. Returns the period.
    pub(super) fn run(&mut self, model: &mut [f64], residual: &mut [f64]) -> usize {
        self.burg();
        model.iter_mut().zip(self.model.iter().rev()).for_each(|(to, from)| *to = *from);
        let period = self.period();
        let start = self.signal.len() - period;
        for (at, residual) in (start..).zip(&mut residual[..period]) {
            *residual = f64::from(self.signal[at]) - predict(model, &self.signal[at - self.order..at]);
        }
        period
    }

    fn burg(&mut self) {
        self.forward.copy_from_slice(&self.signal);
        self.backward.copy_from_slice(&self.signal);
        let frames = self.signal.len();
        for stage in 0..self.order {
            let forward = &mut self.forward[stage + 1..];
            let backward = &mut self.backward[..frames - stage - 1];
            let power = dot(forward, forward) + dot(backward, backward);
            let share = 2.0 * dot(forward, backward) / power;
            // Nothing is left to explain.
            let finite = if share.is_finite() { share } else { 0.0 };
            let reflection = finite.clamp(-LARGEST_REFLECTION, LARGEST_REFLECTION);
            for (forward, backward) in forward.iter_mut().zip(backward) {
                (*forward, *backward) =
                    (*forward - reflection * *backward, *backward - reflection * *forward);
            }
            let reflection = f64::from(reflection);
            let (low, high) = self.model[..stage].split_at_mut(stage / 2);
            for (low, high) in low.iter_mut().zip(high.iter_mut().rev()) {
                (*low, *high) = (*low - reflection * *high, *high - reflection * *low);
            }
            if stage % 2 == 1 {
                high[0] -= reflection * high[0];
            }
            self.model[stage] = reflection;
        }
    }

    /// The lag at which the signal's end is most like itself: searched for among means of a few frames, then among frames.
    fn period(&mut self) -> usize {
        for (mean, part) in self.coarse.iter_mut().zip(self.signal.chunks_exact(COARSE)) {
            *mean = part.iter().sum::<f32>() / COARSE as f32;
        }
        let rough = self.shortest_period / COARSE..=self.longest_period / COARSE;
        let rough = best(&self.coarse, self.window / COARSE, rough) * COARSE;
        let fine = rough.saturating_sub(COARSE).max(self.shortest_period)..=rough + COARSE;
        best(&self.signal, self.window, fine).min(self.longest_period)
    }
}

/// Of `lags`, the one at which the correlation of the signal's end is largest for its power.
fn best(signal: &[f32], window: usize, lags: std::ops::RangeInclusive<usize>) -> usize {
    let start = signal.len() - window;
    let mut found = (f32::MIN, *lags.start());
    for lag in lags {
        let before = &signal[start - lag..][..window];
        let likeness = dot(&signal[start..], before) / (dot(before, before) + 1e-9).sqrt();
        if likeness > found.0 {
            found = (likeness, lag);
        }
    }
    found.1
}

/// What a model makes of the samples before. Its coefficients may be large and of both signs, which takes the precision.
pub(super) fn predict(model: &[f64], before: &[f32]) -> f64 {
    let mut lanes = [0.0; 8];
    for (model, before) in model.chunks_exact(8).zip(before.chunks_exact(8)) {
        lanes.iter_mut().zip(model.iter().zip(before)).for_each(|(lane, (a, b))| *lane += a * f64::from(*b));
    }
    lanes.iter().sum()
}

/// The sum of products, in lanes that the processor adds side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a * b);
    }
    lanes.iter().sum::<f32>() + rest
}
