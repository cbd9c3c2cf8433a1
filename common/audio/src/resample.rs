//! Resampling: one that is steered while it runs, one that hands out chunks of a fixed length, and, by rubato, one for files.

mod chunked;
mod converter;
mod steered;

pub use chunked::Chunked;
pub use converter::Converter;
pub use steered::Steered;
