//! How much later than its group a client plays, as people write it: in milliseconds, in samples, or as metres of air.

use proto::timing::Timing;
use proto::units::frames_to_nanos;

/// Metres that sound travels in a second, in air of 20 °C.
pub const SPEED_OF_SOUND: f64 = 343.0;
/// Most samples that can be asked for: a second at the highest rate.
const MOST_SAMPLES: i32 = 192_000;

/// Beyond the group's delay; negative where the client is to play earlier than the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// Milliseconds, from -1000 to 1000.
    Millis(f64),
    /// Frames at the rate of what is captured, a second at most either way.
    Samples(i32),
    /// As if the speaker stood so many metres further away: -343 to 343.
    Metres(f64),
}

impl Delay {
    /// Of the keys `delay_ms`, `delay_samples` and `delay_m`, of which one may stand.
    ///
    /// # Errors
    /// Which key is out of its range, or that there are several.
    pub fn of_keys(
        ms: Option<f64>,
        samples: Option<i32>,
        metres: Option<f64>,
    ) -> Result<Option<Self>, String> {
        let refuse =
            |key, value: f64, most| Err(format!("`{key}` is {value}; it goes from -{most} to {most}"));
        let within = |value: f64, most: f64| value.abs() <= most;
        match (ms, samples, metres) {
            (None, None, None) => Ok(None),
            (Some(ms), None, None) if within(ms, 1e3) => Ok(Some(Self::Millis(ms))),
            (Some(ms), None, None) => refuse("delay_ms", ms, 1000.0),
            (None, Some(n), None) if n.unsigned_abs() <= MOST_SAMPLES.unsigned_abs() => {
                Ok(Some(Self::Samples(n)))
            }
            (None, Some(n), None) => refuse("delay_samples", n.into(), MOST_SAMPLES.into()),
            (None, None, Some(m)) if within(m, SPEED_OF_SOUND) => Ok(Some(Self::Metres(m))),
            (None, None, Some(m)) => refuse("delay_m", m, SPEED_OF_SOUND),
            _ => Err("`delay_ms`, `delay_samples` and `delay_m` exclude each other".into()),
        }
    }

    /// The same keys again.
    pub fn keys(self) -> (Option<f64>, Option<i32>, Option<f64>) {
        match self {
            Self::Millis(ms) => (Some(ms), None, None),
            Self::Samples(samples) => (None, Some(samples), None),
            Self::Metres(metres) => (None, None, Some(metres)),
        }
    }

    /// The delay in nanoseconds, for a stream of `rate` frames a second.
    ///
    /// # Errors
    /// Samples that last longer than a second.
    pub fn nanos(self, rate: u32) -> Result<i32, String> {
        let nanos = match self {
            Self::Millis(ms) => (ms * 1e6).round() as i64,
            Self::Samples(samples) => frames_to_nanos(samples.into(), rate),
            Self::Metres(metres) => (metres / SPEED_OF_SOUND * 1e9).round() as i64,
        };
        let fitting = i32::try_from(nanos).ok().filter(|nanos| nanos.abs() <= Timing::MAX_TRIM);
        fitting.ok_or_else(|| format!("`delay_samples` lasts longer than a second at {rate} Hz"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_milliseconds_are_so_many_samples_and_metres() {
        for delay in [Delay::Millis(-10.0), Delay::Samples(-441), Delay::Metres(-3.43)] {
            assert_eq!(delay.nanos(44_100), Ok(-10_000_000), "{delay:?}");
        }
        assert!(
            Delay::Samples(44_100).nanos(44_100).is_ok() && Delay::Samples(44_101).nanos(44_100).is_err()
        );
    }

    #[test]
    fn what_is_out_of_its_range_is_named() {
        for (ms, samples, metres, words) in [
            (Some(1000.1), None, None, "`delay_ms` is 1000.1; it goes from -1000 to 1000"),
            (Some(f64::NAN), None, None, "`delay_ms` is NaN"),
            (None, Some(i32::MIN), None, "`delay_samples` is -2147483648"),
            (None, None, Some(-344.0), "`delay_m` is -344"),
            (None, Some(0), Some(0.0), "exclude each other"),
        ] {
            let error = Delay::of_keys(ms, samples, metres).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
