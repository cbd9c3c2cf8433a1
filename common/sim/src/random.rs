//! Seeded random numbers (SplitMix64): small, fast, the same on every machine (the shaped ones up to the last bits of
//! its logarithm and cosine). Not for secrets.

/// A generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator that this seed names.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0.0..1.0.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller). Takes two draws, always.
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (core::f64::consts::TAU * self.unit()).cos()
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// A generator of its own for each label; this one stays where it is.
    pub fn fork(&self, label: u64) -> Self {
        Self(Self(self.0 ^ Self(label).bits()).bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_splitmix64() {
        // The reference implementation's first values for the seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn unit_stays_in_range_and_is_even() {
        let mut random = Random::new(1);
        let values: Vec<f64> = (0..10_000).map(|_| random.unit()).collect();
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = values.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "mean {mean}");
    }

    #[test]
    fn shaped_values_have_their_moments() {
        type Draw = fn(&mut Random) -> f64;
        for (draw, mean, square) in
            [(Random::normal as Draw, 0.0, 1.0), (Random::exponential as Draw, 1.0, 2.0)]
        {
            let mut random = Random::new(2);
            let values: Vec<f64> = (0..100_000).map(|_| draw(&mut random)).collect();
            let got = values.iter().sum::<f64>() / 1e5;
            let got_square = values.iter().map(|value| value * value).sum::<f64>() / 1e5;
            assert!((got - mean).abs() < 0.02, "mean {got}");
            assert!((got_square - square).abs() < 0.06, "mean square {got_square}");
        }
    }

    #[test]
    fn forks_are_even_among_themselves() {
        let root = Random::new(3);
        let firsts: Vec<f64> = (0..100_000).map(|label| root.fork(label).unit()).collect();
        let mean = firsts.iter().sum::<f64>() / 1e5;
        let along = firsts.windows(2).map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5)).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 0.005, "mean {mean}");
        assert!(along.abs() < 0.001, "correlation of neighbours {along}");
    }
}
