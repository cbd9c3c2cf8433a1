//! `audiochop`: where sound comes from.

use std::fmt;
use std::str::FromStr;

use device::capture;
use receiver::args::Settings;
use serde_json::{Map, Value};

/// What a stream of packets waits in the buffer for, where nothing else is asked for. Pictures take their time as well, and
/// players more.
const LATENCY: &str = "100ms";

/// Where sound comes from, as people write it:
///
/// | written | is |
/// | --- | --- |
/// | `rtp://ADDRESS:PORT` | what a sender sends there: an address of this machine, or a group |
/// | `rtp://:PORT?latency=60ms&from=192.0.2.1` | the same with settings: those of the receiver's command line that are in [`KEYS`] |
/// | `FILE.sdp` | what a session's description says |
/// | `tone`, `tone:997`, `silence`, `FILE.wav`, `-`, `NAME` | as the sender's `--capture` has them |
///
/// A sender of ours is asked for its clock, and counts this among the listeners of its group: with a latency longer than theirs
/// it is to have a group of its own in the sender's list, or `sync=off`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source {
    text: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Capture(capture::Source),
    Stream(Box<Settings>),
}

/// Settings that a stream's address may bring, and whether each may stand more than once.
pub const KEYS: &[(&str, bool)] = &[
    ("buffer", false),
    ("from", true),
    ("interface", true),
    ("key", false),
    ("latency", false),
    ("rtpmap", false),
    ("source", true),
    ("sync", false),
];

impl Source {
    /// Whether it is [`silence`](Self::silence).
    pub fn is_silence(&self) -> bool {
        matches!(self.kind, Kind::Capture(capture::Source::Silence))
    }

    /// Zeros.
    pub fn silence() -> Self {
        Self { text: "silence".into(), kind: Kind::Capture(capture::Source::Silence) }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
        let kind = if let Some(address) = text.strip_prefix("rtp://") {
            Kind::Stream(Box::new(stream(address).map_err(|reason| format!("{text}: {reason}"))?))
        } else if ending.eq_ignore_ascii_case("sdp") {
            let latency = LATENCY.parse().ok();
            Kind::Stream(Box::new(Settings { sdp: Some(text.into()), latency, ..Settings::default() }))
        } else {
            Kind::Capture(text.parse().map_err(|error: device::Error| error.to_string())?)
        };
        Ok(Self { text: text.into(), kind })
    }
}

/// What stands behind `rtp://`.
fn stream(address: &str) -> Result<Settings, String> {
    let (listen, query) = address.split_once('?').unwrap_or((address, ""));
    let mut settings = Map::new();
    settings.insert("listen".into(), listen.trim_end_matches('/').into());
    settings.insert("latency".into(), LATENCY.into());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match KEYS.iter().find(|(name, _)| *name == key) {
            None => {
                let names: Vec<_> = KEYS.iter().map(|(name, _)| *name).collect();
                return Err(format!("there is no `{key}`; there are {}", names.join(", ")));
            }
            Some((_, false)) => {
                settings.insert(key.into(), value.into());
            }
            Some((_, true)) => {
                let list = settings.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(value.into());
                }
            }
        }
    }
    serde_json::from_value(settings.into()).map_err(|error| error.to_string())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        match text.parse::<Source>().unwrap_or_else(|error| panic!("{text}: {error}")).kind {
            Kind::Stream(settings) => *settings,
            Kind::Capture(source) => panic!("{text}: {source:?}"),
        }
    }

    #[test]
    fn a_stream_is_written_as_an_address_with_settings() {
        let plain = settings("rtp://239.1.2.3:5004/");
        assert_eq!(plain.listen, ["239.1.2.3:5004"]);
        assert_eq!(plain.latency.unwrap().nanos, 100_000_000);
        let full = settings("rtp://:5004?latency=60ms&from=192.0.2.1&from=192.0.2.2&rtpmap=97 opus/48000/2");
        assert_eq!(full.listen, [":5004"]);
        assert_eq!((full.latency.unwrap().nanos, full.from.len()), (60_000_000, 2));
        assert_eq!(full.rtpmap.as_deref(), Some("97 opus/48000/2"));
        assert_eq!(settings("door.SDP").sdp, Some("door.SDP".into()));
    }

    #[test]
    fn what_else_there_is_is_what_the_sender_captures() {
        for (text, expected) in [
            ("tone:997", capture::Source::Tone(997.0)),
            ("take.wav", capture::Source::Wav("take.wav".into())),
            ("hw:1,0", capture::Source::Device("hw:1,0".into())),
        ] {
            let source: Source = text.parse().unwrap();
            assert!(matches!(&source.kind, Kind::Capture(kind) if *kind == expected), "{text}");
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("rtp://:5004?colour=1", "there is no `colour`; there are buffer, from"),
            ("rtp://:5004?latency=soon", "`soon` is not a time"),
            ("rtp://:5004?from=nobody", "IP address"),
            ("tone:x", "pitch"),
            ("", "names nothing"),
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
