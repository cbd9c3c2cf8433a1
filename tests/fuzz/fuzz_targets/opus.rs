//! Opus: what the first octets tell of any packet agrees with what the decoder makes of it, without the heap.

#![no_main]

use arbitrary::Arbitrary;
use audio::opus::{self, Decoder, MAX_FRAMES};
use fuzz::without_heap;
use libfuzzer_sys::fuzz_target;

const MAX_STEPS: usize = 16;
/// The frames of concealment are multiples of this.
const UNIT: usize = 120;

#[derive(Arbitrary, Debug)]
struct Script<'a> {
    channels: u8,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// With room for the longest packet, or for what the packet says.
    Decode {
        exact: bool,
        payload: &'a [u8],
    },
    Conceal {
        units: u8,
        odd: u8,
    },
    Recover {
        units: u8,
        payload: &'a [u8],
    },
    Reset,
}

fuzz_target!(|script: Script| {
    let channels = u16::from(script.channels % 6) + 1;
    let mut decoder = Decoder::new(channels).unwrap();
    let channels = usize::from(channels);
    let mut out = vec![0.0; MAX_FRAMES * channels];
    for step in script.steps.iter().take(MAX_STEPS) {
        let frames = match *step {
            Step::Decode { exact, payload } => {
                let told = told(payload);
                let room = if exact { told.unwrap_or(0) } else { MAX_FRAMES };
                let decoded = without_heap(|| decoder.decode(payload, &mut out[..room * channels]));
                assert!(decoded.is_none() || decoded == told, "{decoded:?} frames, {told:?} told");
                decoded
            }
            Step::Conceal { units, odd } => {
                let frames = usize::from(units) * UNIT + usize::from(odd);
                let made = without_heap(|| decoder.conceal(frames, &mut out));
                assert!(made.is_none_or(|made| made == frames), "{made:?} of {frames}");
                made
            }
            Step::Recover { units, payload } => {
                let frames = usize::from(units) * UNIT;
                let made = without_heap(|| decoder.recover(payload, frames, &mut out));
                assert!(made.is_none_or(|made| made == frames), "{made:?} of {frames}");
                made
            }
            Step::Reset => {
                without_heap(|| decoder.reset());
                None
            }
        };
        let heard = &out[..frames.unwrap_or(0) * channels];
        assert!(heard.iter().all(|sample| sample.is_finite()));
    }
});

/// The frames that a packet's first octets tell of.
fn told(payload: &[u8]) -> Option<usize> {
    let frames = opus::frames(payload);
    assert!(frames.is_none_or(|frames| (1..=MAX_FRAMES).contains(&frames) && frames % UNIT == 0));
    // Only the first octet's mode may tell of redundancy, whatever follows.
    assert_eq!(opus::has_redundancy(payload), opus::has_redundancy(&payload[..payload.len().min(1)]));
    frames
}
