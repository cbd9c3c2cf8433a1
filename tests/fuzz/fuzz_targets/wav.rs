//! WAV files: whatever opens is read for a few periods, by the thread that reads it in the sender.

#![no_main]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use device::capture::{self, Capture, CaptureCounters, Feeder, Request, Source};
use libfuzzer_sys::fuzz_target;
use ringbuf::HeapRb;
use ringbuf::traits::Split;

const RATE: u32 = 48_000;
const PERIOD: u32 = 64;
const PERIODS: u32 = 4;

fuzz_target!(|octets: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(octets).unwrap();
    let request = Request {
        source: Source::Wav(file.path().into()),
        rate: RATE,
        channels: None,
        wanted: 1,
        period: PERIOD,
        repeat: octets.len() % 2 == 1,
    };
    if let Ok(capture) = capture::open(&request) {
        read(capture);
    }
});

fn read(capture: Capture) {
    assert!((1..=255).contains(&capture.channels) && capture.rate == RATE);
    let (samples, _heard) = HeapRb::new((PERIOD * PERIODS) as usize * usize::from(capture.channels)).split();
    let (stamps, _stamped) = HeapRb::new(PERIODS as usize).split();
    let (waker, wakeup) = os::wait::pair().unwrap();
    let counters = Arc::new(CaptureCounters::default());
    let feeder = Feeder::new(samples, stamps, counters.clone(), waker, capture.channels, capture.rate);
    let stream = capture.start(feeder).unwrap();
    let ended = || counters.finished.load(Ordering::Acquire) || counters.failed.load(Ordering::Acquire);
    while !ended() && counters.frames.get() < u64::from(PERIOD * PERIODS) {
        wakeup.wait(&[], Duration::from_secs(1));
    }
    drop(stream);
    // The thread is told to stop, not waited for; its counters go with it.
    while Arc::strong_count(&counters) > 1 {
        std::thread::sleep(Duration::from_micros(100));
    }
}
