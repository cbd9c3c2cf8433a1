//! Clients as text: whatever is accepted is shown in a form that means the same.

#![no_main]

use control::client::Client;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(client) = text.parse::<Client>() else { return };
    let shown = client.to_string();
    assert_eq!(shown.parse::<Client>().as_ref(), Ok(&client), "shown as `{shown}`");
});
