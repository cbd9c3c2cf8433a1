//! This machine's clocks.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use proto::units::Mono;

/// The origin of [`Mono`] in this process: an hour before the first reading, so that times stay positive.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
const LEAD: i64 = 3_600_000_000_000;

/// The monotonic clock, in nanoseconds.
pub fn now() -> Mono {
    Mono(ORIGIN.elapsed().as_nanos() as i64 + LEAD)
}

/// The wall clock, in nanoseconds since 1970.
pub fn unix_nanos() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
