//! The servo that keeps a playback device on the stream's time by playing a little faster or slower.

/// A proportional-integral loop from a time error to a playback speed.
///
/// What is known of both clocks is told it apart, so little is left for the integral. It is quick for the first seconds and
/// calm afterwards; both settings are critically damped: the integral gain is a quarter of the proportional one's square.
#[derive(Clone, Debug, Default)]
pub struct Servo {
    integral: f64,
    elapsed: f64,
}

/// Proportional gain in 1/s: the time constants are 1 s and 4 s.
const QUICK: f64 = 1.0;
const CALM: f64 = 0.25;
/// How long the servo is quick, in seconds.
const QUICK_FOR: f64 = 10.0;
/// Most that the speed departs from 1.
const MAX_SPEED: f64 = 2_500e-6;

impl Servo {
    /// Takes how late playback is (seconds; negative where early) and how long ago the last call was. Returns by
    /// which share to play faster.
    pub fn update(&mut self, late: f64, since_last: f64) -> f64 {
        let gain = if self.elapsed < QUICK_FOR { QUICK } else { CALM };
        self.elapsed += since_last;
        let step = gain * gain / 4.0 * late * since_last;
        self.integral = (self.integral + step).clamp(-MAX_SPEED, MAX_SPEED);
        (gain * late + self.integral).clamp(-MAX_SPEED, MAX_SPEED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_rate_of_a_device_that_runs_slow() {
        // A device 300 ppm slow falls behind by 300 µs each second unless it is sped up.
        let mut servo = Servo::default();
        let (mut late, mut worst, step) = (0.0f64, 0.0f64, 0.01);
        let mut speed = 0.0;
        for _ in 0..20_000 {
            speed = servo.update(late, step);
            late += (300e-6 - speed) * step;
            worst = worst.max(late);
        }
        assert!((speed - 300e-6).abs() < 1e-6, "speed {speed}");
        assert!(late.abs() < 5e-6 && worst < 600e-6, "late {late}, at worst {worst}");
    }

    #[test]
    fn never_leaves_its_limits() {
        let mut servo = Servo::default();
        for late in [10.0, -10.0, 1e9, -1e9] {
            assert!(servo.update(late, 1.0).abs() <= MAX_SPEED);
        }
    }
}
