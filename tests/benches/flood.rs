//! What a receiver makes of a flood. `tests/flood` runs it. `FLOOD_SECONDS` says for how long (30), `FLOOD_RATE` how many
//! datagrams a second (100000).

use tests::flood::{Ear, Figures, run};
use tests::program::number;

fn main() {
    [Ear::File, Ear::Card].into_iter().for_each(flood);
}

fn flood(ear: Ear) {
    let figures = run(ear, number("FLOOD_RATE", 100_000), number("FLOOD_SECONDS", 30), 7);
    let Figures { flood, per_second, sent, dropped, received, accounted, .. } = figures;
    println!("{ear:?}, flood: {flood} datagrams, {per_second:.0} a second; the stream: {sent}");
    println!("without room in the socket {dropped}, received {received}, accounted for {accounted}");
    let Figures { samples, wrong, lost, streams, resident: (before, after), .. } = figures;
    println!("samples {samples}, wrong or missing {wrong}; packets lost {lost}; streams {streams}");
    println!("memory {before} KiB before, {after} KiB after");
    assert_eq!((received, flood + sent), (accounted, received + dropped), "the counts do not add up");
}
