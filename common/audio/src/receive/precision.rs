//! How far playback is off its time, between two reports.

/// Collects errors.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Precision {
    sum: i64,
    count: i64,
    worst: i64,
}

impl Precision {
    /// Takes by how much a chunk is late, in nanoseconds; negative where early.
    pub(super) fn note(&mut self, late: i64) {
        self.sum = self.sum.saturating_add(late);
        self.count += 1;
        if late.unsigned_abs() > self.worst.unsigned_abs() {
            self.worst = late;
        }
    }

    /// The mean and the worst since the last call, in nanoseconds; 0 where there is none.
    pub(super) fn take(&mut self) -> (i32, i32) {
        let Self { sum, count, worst } = std::mem::take(self);
        let narrow = |nanos: i64| nanos.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        (narrow(sum.checked_div(count).unwrap_or(0)), narrow(worst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_worst_count_from_the_last_time() {
        let mut precision = Precision::default();
        assert_eq!(precision.take(), (0, 0));
        [5, -20, 6].into_iter().for_each(|late| precision.note(late));
        assert_eq!(precision.take(), (-3, -20));
        precision.note(i64::MAX);
        assert_eq!(precision.take(), (i32::MAX, i32::MAX));
    }
}
