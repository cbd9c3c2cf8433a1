//! Which delay groups of clients play with, from the options, and the groups that are there.

use std::sync::Arc;

use audio::counters::GroupCounters;
use audio::send::{self, GroupId, Policy};
use control::client::Client;
use control::config::Span;
use proto::timing::Delay;

use crate::args::Settings;

/// Most that a delay grows to by itself where nothing else is said, in microseconds.
const DEFAULT_MOST: u32 = 200_000;
/// The group of clients that name none.
const NAMELESS: &str = "default";

/// How delays are chosen; `None` where every receiver plays by the arrivals of its own packets.
///
/// # Errors
/// One line that names the option that is out of its range.
pub fn policy(settings: &Settings) -> Result<Option<Policy>, String> {
    let most = settings.delay_max.map(|span| micros("--delay-max", span)).transpose()?;
    match (settings.delay.as_deref().unwrap_or("auto"), most) {
        ("auto", most) => Ok(Some(Policy::Auto(most.unwrap_or(DEFAULT_MOST)))),
        (_, Some(_)) => Err("--delay-max goes with --delay auto alone".into()),
        ("off", None) => Ok(None),
        (text, None) => {
            let span = text.parse().map_err(|error| format!("--delay is auto, off or a time: {error}"))?;
            Ok(Some(Policy::Fixed(micros("--delay", span)?)))
        }
    }
}

fn micros(option: &str, span: Span) -> Result<u32, String> {
    let micros =
        u32::try_from(span.nanos / 1000).ok().filter(|micros| (1000..=Delay::MAX_US).contains(micros));
    micros.ok_or_else(|| format!("{option} goes from 1ms to 10s"))
}

/// A group of clients that play together.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name in the list.
    pub name: String,
    /// What becomes of it.
    pub counters: Arc<GroupCounters>,
    id: GroupId,
}

/// Every group that was ever named, so that one that is named again is the same.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    policy: Option<Policy>,
    all: Vec<Group>,
}

impl Groups {
    pub(crate) fn new(policy: Option<Policy>) -> Self {
        Self { policy, all: Vec::new() }
    }

    pub(crate) fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// The group of a client; `None` where there are none.
    pub(crate) fn of(&mut self, client: &Client) -> Option<Group> {
        self.policy?;
        let name = client.group.as_deref().unwrap_or(NAMELESS);
        if let Some(group) = self.all.iter().find(|group| group.name == name) {
            return Some(group.clone());
        }
        let group = Group { name: name.into(), counters: Arc::default(), id: GroupId(self.all.len() as u64) };
        self.all.push(group.clone());
        Some(group)
    }
}

impl Group {
    pub(crate) fn id(&self) -> GroupId {
        self.id
    }

    /// The same for the send thread.
    pub(crate) fn build(&self, policy: Policy) -> send::Group {
        send::Group::new(self.id, policy, self.counters.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(delay: &str, most: Option<&str>) -> Result<Option<Policy>, String> {
        let delay_max = most.map(|text| text.parse().unwrap());
        policy(&Settings { delay: Some(delay.into()), delay_max, ..Settings::default() })
    }

    #[test]
    fn delays_are_automatic_fixed_or_off() {
        assert_eq!(policy(&Settings::default()), Ok(Some(Policy::Auto(200_000))));
        assert_eq!(of("auto", Some("80ms")), Ok(Some(Policy::Auto(80_000))));
        assert_eq!(of("40.5ms", None), Ok(Some(Policy::Fixed(40_500))));
        assert_eq!(of("off", None), Ok(None));
        for (delay, most, words) in [
            ("soon", None, "--delay is auto, off or a time: `soon`"),
            ("11s", None, "--delay goes from 1ms to 10s"),
            ("off", Some("80ms"), "--delay-max goes with --delay auto"),
            ("auto", Some("0.5ms"), "--delay-max goes from 1ms"),
        ] {
            let error = of(delay, most).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
