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

#[derive(Clone, Debug)]
struct Known {
    /// For people.
    name: String,
    left_out: u64,
    told: Option<Instant>,
}

impl Clients {
    /// Tells what has changed since the last call.
    pub(super) fn tell(&mut self, stream: &str, info: &Info, display: &mut Display) {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + LOOK);
        let mut there: BTreeMap<u64, Known> = BTreeMap::new();
        for client in info.sent().clients {
            let known = there.entry(client.session).or_insert_with(|| Known {
                name: client.name(),
                left_out: 0,
                told: self.known.get(&client.session).and_then(|known| known.told),
            });
            known.left_out += client.left_out + client.unsent;
        }
        for (session, known) in &mut there {
            let before = self.known.get(session);
            if before.is_none() {
                let details = json!({ "stream": stream, "client": known.name });
                display.event(&format!("{stream}: {} is there", known.name), "client", details);
            }
            let lost = known.left_out - before.map_or(0, |before| before.left_out.min(known.left_out));
            if lost > 0 && known.told.is_none_or(|told| now - told > APART) {
                known.told = Some(now);
                let text = format!(
                    "{stream}: {} is too slow: {} pictures or packets were left out",
                    known.name, known.left_out
                );
                let details = json!({ "stream": stream, "client": known.name, "left_out": known.left_out });
                display.event(&text, "slow", details);
            }
        }
        for known in self.known.iter().filter(|(session, _)| !there.contains_key(session)).map(|(_, it)| it) {
            let details = json!({ "stream": stream, "client": known.name, "left_out": known.left_out });
            display.event(&format!("{stream}: {} has gone", known.name), "client_gone", details);
        }
        self.known = there;
    }
}
