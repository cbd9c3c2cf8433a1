//! What an encoder makes of settings, for people to read: the same values that it is then given.

use super::{Quality, Settings, Warning};
use crate::params::rules::reduced;

/// What becomes of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Becomes {
    /// Its name, as the page has it.
    pub parameter: &'static str,
    /// Names and values, as the encoder has them.
    pub what: String,
}

/// What becomes of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// What is honoured.
    pub becomes: Vec<Becomes>,
    /// What is not, or not as asked.
    pub warnings: Vec<Warning>,
}

impl Mapping {
    /// Notes that a parameter is honoured so.
    pub fn note(&mut self, parameter: &'static str, what: impl Into<String>) {
        self.becomes.push(Becomes { parameter, what: what.into() });
    }

    /// Notes that it is not, or otherwise.
    pub fn warn(&mut self, parameter: &'static str, message: impl Into<String>) {
        self.warnings.push(Warning { parameter, message: message.into() });
    }
}

impl Quality {
    /// Whether no picture may wait for those after it.
    pub fn is_low_latency(self) -> bool {
        matches!(self, Self::LowLatencyLow | Self::LowLatencyMedium | Self::LowLatencyHigh)
    }
}

impl Settings {
    /// Bits of the decoder's buffer for so many bits a second at most: as asked, else a picture's share where latency is to be
    /// low, so that none takes longer than its own time to send; else those of a second.
    pub fn buffer(&self, bitrate: u32) -> u32 {
        let share = u64::from(bitrate) * u64::from(self.rate.seconds) / u64::from(self.rate.pictures.max(1));
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        self.vbv.unwrap_or(if self.quality.is_low_latency() { share } else { bitrate })
    }

    /// Shape of a pixel as width to height, in numbers of 16 bits; `None` where it is square.
    pub fn pixel(&self) -> Option<(u16, u16)> {
        let (width, height) = self.aspect?;
        let wide = u64::from(width) * u64::from(self.size.height);
        let high = u64::from(height) * u64::from(self.size.width);
        // Halved until both fit: the error stays below one part in 32 768.
        let excess = |most: u64, bits: u32| (64 - most.leading_zeros()).saturating_sub(bits);
        let shift = excess(wide.max(high), 32);
        let (wide, high) = reduced((wide >> shift) as u32, (high >> shift) as u32);
        let shift = excess(wide.max(high).into(), 16);
        let (wide, high) = ((wide >> shift) as u16, (high >> shift) as u16);
        (wide != high && wide > 0 && high > 0).then_some((wide, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::testing::settings;
    use crate::picture::Size;

    #[test]
    fn the_shape_of_a_pixel_comes_from_that_of_the_picture() {
        for (size, aspect, pixel) in [
            ((720, 576), (16, 9), Some((64, 45))),
            ((1280, 720), (16, 9), None),
            ((1280, 720), (16_000, 9_001), Some((9000, 9001))),
            ((16_383, 16_384), (65_521, 1), None),
            ((16, 16_384), (1, 65_535_000), Some((1, 63_999))),
        ] {
            let size = Size { width: size.0, height: size.1 };
            let settings = Settings { size, aspect: Some(aspect), ..settings() };
            assert_eq!(settings.pixel(), pixel, "{size:?} {aspect:?}");
        }
    }

    #[test]
    fn the_buffer_holds_a_picture_where_latency_is_to_be_low_and_a_second_elsewhere() {
        let low = settings();
        assert_eq!(low.buffer(3_000_000), 100_000);
        let high = Settings { quality: Quality::HighLatencyHigh, ..settings() };
        assert_eq!(high.buffer(3_000_000), 3_000_000);
        let asked = Settings { vbv: Some(7), ..settings() };
        assert_eq!(asked.buffer(3_000_000), 7);
    }
}
