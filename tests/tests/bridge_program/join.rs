//! How soon there is a picture.

use std::time::{Duration, Instant};

use tests::program::alone;

use super::bridge::Bridge;
use super::reference::PATTERN;
use super::watcher::Watcher;

#[test]
fn a_player_has_its_first_picture_soon_after_it_comes() {
    let _alone = alone();
    // No key picture comes by itself.
    let bridge = Bridge::start(&[&PATTERN[..], &["--keyframe-interval", "100000"]].concat());
    let mut times: Vec<_> = (0..50)
        .map(|number| {
            // Requests for key pictures are half a second apart at least.
            std::thread::sleep(Duration::from_millis(510 + 7 * number % 33));
            let start = Instant::now();
            Watcher::start(bridge.port, "stream", false).picture();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("from connecting to the first whole picture: median {:?}, longest {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(100 + 34), "median {:?}", times[25]);
}
