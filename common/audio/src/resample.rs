//! Resampling, by rubato: one that is steered while it runs, one that hands out chunks of a fixed length, and one for
//! files.

mod chunked;
mod converter;
mod steered;

pub use chunked::Chunked;
pub use converter::Converter;
pub use steered::Steered;

use rubato::{SincInterpolationParameters, SincInterpolationType, WindowFunction};

/// Between two taps, the filter is known at this many points, and linear between those: a tone of 10 kHz stays 118 dB clean, at
/// little more than half the cost of cubic.
const OVERSAMPLING: usize = 256;

fn sinc(taps: usize, window: WindowFunction) -> SincInterpolationParameters {
    SincInterpolationParameters::new(taps, window)
        .oversampling_factor(OVERSAMPLING)
        .interpolation(SincInterpolationType::Linear)
}
