//! Descriptions of sessions: what is found in them is within its range.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::announce::{Codec, MAX_CHANNELS, RATES};

fuzz_target!(|text: &str| {
    let Ok(found) = control::sdp::parse(text) else { return };
    assert!(found.port > 0);
    assert!((1..=MAX_CHANNELS).contains(&found.format.channels) && RATES.contains(&found.format.rate));
    assert!(found.format.codec != Codec::Opus || found.format.rate == 48_000);
    assert!(text.contains(&found.name));
});
