//! Samples of sound cards to and from `f32`, scaled so that 16- and 24-bit values survive unchanged.

pub(crate) trait CardSample: AlsaSample + cpal::SizedSample + Send + 'static {
    fn from_f32(sample: f32) -> Self;
    fn to_f32(self) -> f32;
}

#[cfg(target_os = "linux")]
pub(crate) use alsa::pcm::IoFormat as AlsaSample;

/// Nothing is asked for elsewhere.
#[cfg(not(target_os = "linux"))]
pub(crate) trait AlsaSample {}
#[cfg(not(target_os = "linux"))]
impl<T> AlsaSample for T {}

impl CardSample for f32 {
    fn from_f32(sample: f32) -> Self {
        sample
    }

    fn to_f32(self) -> f32 {
        self
    }
}

impl CardSample for i16 {
    fn from_f32(sample: f32) -> Self {
        proto::pcm::quantise(sample)
    }

    fn to_f32(self) -> f32 {
        proto::pcm::sample(self)
    }
}

impl CardSample for i32 {
    fn from_f32(sample: f32) -> Self {
        // The cast saturates.
        (sample * 2_147_483_648.0) as i32
    }

    fn to_f32(self) -> f32 {
        self as f32 / 2_147_483_648.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_survive_every_format() {
        for value in i16::MIN..=i16::MAX {
            let sample = value.to_f32();
            assert_eq!(i16::from_f32(i32::from_f32(sample).to_f32()), value);
            assert_eq!(i32::from_f32(sample), i32::from(value) << 16);
            assert_eq!(f32::from_f32(sample).to_f32(), sample);
        }
        assert_eq!((i32::from_f32(2.0), i32::from_f32(-2.0)), (i32::MAX, i32::MIN));
    }
}
