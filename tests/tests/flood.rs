//! A flood at a receiver's port, in short; `tests/flood` runs it at length.

#![cfg(target_os = "linux")]

use tests::flood::{Ear, run};
use tests::program::alone;

#[test]
fn a_flood_stops_no_recording_and_every_datagram_of_it_is_accounted_for() {
    flood(Ear::File);
}

#[test]
fn a_flood_stops_no_card_and_every_datagram_of_it_is_accounted_for() {
    flood(Ear::Card);
}

fn flood(ear: Ear) {
    let _alone = alone();
    let figures = run(ear, 20_000, 2, 7);
    assert_eq!(figures.streams, 1, "{figures:?}");
    assert!(figures.flood > 0, "{figures:?}");
    assert_eq!(figures.received, figures.accounted, "{figures:?}");
    assert_eq!(figures.flood + figures.sent, figures.received + figures.dropped, "{figures:?}");
    // Where the machine leaves the receiver no time, its socket has no room; nothing else may cost a sample.
    assert!(figures.wrong <= figures.dropped * figures.packet, "{figures:?}");
    let (before, after) = figures.resident;
    assert!(after < before + 2048, "memory grew: {figures:?}");
}
