//! Tells once of each client whose encryption does not go with this sender's.

use audio::secure::Secrecy;
use control::display::Display;
use serde_json::json;

use crate::book::Book;

/// What was told.
#[derive(Default)]
pub(crate) struct Secrecies(Vec<(String, Secrecy)>);

impl Secrecies {
    /// Tells what has changed.
    pub(crate) fn tell(&mut self, book: &Book, display: &mut Display) {
        self.0.retain(|(name, _)| book.active().iter().any(|active| active.client.name == *name));
        for active in book.active() {
            let (name, secrecy) = (&active.client.name, active.counters.secrecy());
            let told = match self.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, told)) => std::mem::replace(told, secrecy),
                None => {
                    self.0.push((name.clone(), secrecy));
                    Secrecy::Unknown
                }
            };
            if told == secrecy {
                continue;
            }
            let details = json!({ "name": name, "secrecy": secrecy.name() });
            display.event(&format!("{name}: {}", secrecy.describe()), "secrecy", details);
        }
    }
}
