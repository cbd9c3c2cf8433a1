//! Lists of clients: whatever is accepted is written back as a list of the same clients.

#![no_main]

use control::list;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(clients) = list::parse(text) else { return };
    let written = list::to_text(&clients);
    assert_eq!(list::parse(&written).unwrap(), clients, "written as {written}");
});
