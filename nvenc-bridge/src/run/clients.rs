//! Who watches: news of those who come, go, or are too slow.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control::display::Display;
use serde_json::json;

use crate::info::Info;

/// Between two looks: the server tells as often.
const LOOK: Duration = Duration::from_millis(250);
/// Somebody who is too slow is told of once in this time.
const APART: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Clients {
    known: BTreeMap<u64, Known>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    /// For people.
    name: String,
    left_out: u64,
    /// The same at the look before.
    before: u64,
    told: Option<Instant>,
    there: bool,
}

impl Clients {
    /// Tells what has changed since the last call.
    pub(super) fn tell(&mut self, stream: &str, info: &Info, display: &mut Display) {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + LOOK);
        for known in self.known.values_mut() {
            known.before = std::mem::take(&mut known.left_out);
            known.there = false;
        }
        for client in info.sent().clients {
            let known = self.known.entry(client.session).or_insert_with(|| {
                let name = client.name();
                let details = json!({ "stream": stream, "client": name });
                display.event(&format!("{stream}: {name} is there"), "client", details);
                Known { name, left_out: 0, before: 0, told: None, there: true }
            });
            known.there = true;
            known.left_out += client.left_out + client.unsent;
        }
        for known in self.known.values_mut().filter(|known| known.there && known.left_out > known.before) {
            if known.told.is_none_or(|told| now - told > APART) {
                known.told = Some(now);
                let text = format!(
                    "{stream}: {} is too slow: {} pictures or packets were left out",
                    known.name, known.left_out
                );
                let details = json!({ "stream": stream, "client": known.name, "left_out": known.left_out });
                display.event(&text, "slow", details);
            }
        }
        for (_, gone) in self.known.extract_if(.., |_, known| !known.there) {
            let details = json!({ "stream": stream, "client": gone.name, "left_out": gone.before });
            display.event(&format!("{stream}: {} has gone", gone.name), "client_gone", details);
        }
    }
}
