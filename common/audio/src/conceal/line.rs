//! The last samples of a signal, always in one piece.

/// Holds a number of samples and room for as many, so that moving them back is rare.
pub(super) struct Line {
    samples: Vec<f32>,
    length: usize,
    end: usize,
}

impl Line {
    /// `length` zeros.
    pub(super) fn new(length: usize) -> Self {
        Self { samples: vec![0.0; 2 * length], length, end: length }
    }

    /// Takes the newest sample.
    pub(super) fn push(&mut self, sample: f32) {
        self.extend(&[sample]);
    }

    /// Takes the newest samples. What is not a number would never leave a model again.
    pub(super) fn extend(&mut self, mut samples: &[f32]) {
        while !samples.is_empty() {
            if self.end == self.samples.len() {
                self.samples.copy_within(self.length.., 0);
                self.end = self.length;
            }
            let room = &mut self.samples[self.end..];
            let (now, later) = samples.split_at(samples.len().min(room.len()));
            for (slot, sample) in room.iter_mut().zip(now) {
                *slot = if sample.is_finite() { *sample } else { 0.0 };
            }
            self.end += now.len();
            samples = later;
        }
    }

    /// Replaces all by `samples`, as many as it holds.
    pub(super) fn fill(&mut self, samples: &[f32]) {
        self.samples[..self.length].copy_from_slice(samples);
        self.end = self.length;
    }

    /// Oldest first.
    pub(super) fn last(&self) -> &[f32] {
        &self.samples[self.end - self.length..self.end]
    }
}
