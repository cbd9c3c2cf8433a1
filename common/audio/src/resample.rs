//! Resampling: one that is steered while it runs, one that hands out chunks of a fixed length, and one for files, by rubato.

mod chunked;
mod converter;
mod steered;

pub use chunked::Chunked;
pub use converter::Converter;
pub use steered::Steered;
