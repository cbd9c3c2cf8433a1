//! The list of clients as a JSON file.
//!
//! The form of the audioStreamUDP programs loads as it is: `{"Node 1": {"ip": "192.168.2.249", "port": 57001,
//! "channel": 1}}`. Ours has more keys; a list that uses none of them is written back in that form.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use audio::map::{ChannelMap, Trim};
use audio::send::Reports;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::client::Client;
use crate::codec::Codec;
use crate::delay::Delay;
use crate::signal::Signal;
use crate::wire::WireName;

/// Why a list could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened, read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not a list of clients. The message ends with line and column.
    #[error("{}: {source}", .path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A file that is there could not be read, so it is not written over.
    #[error("{}: not written, because what the file holds could not be read: {reason}", .path.display())]
    Kept {
        /// Which file.
        path: PathBuf,
        /// Why it could not be read.
        reason: String,
    },
}

/// Reads a list.
///
/// # Errors
/// [`Error::File`], or [`Error::Content`] with line and column.
pub fn load(path: &Path) -> Result<Vec<Client>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.into(), source })?;
    parse(&text).map_err(|source| Error::Content { path: path.into(), source })
}

/// Reads a list from text.
///
/// # Errors
/// What is wrong, with line and column.
pub fn parse(text: &str) -> Result<Vec<Client>, serde_json::Error> {
    Ok(serde_json::from_str::<Clients>(text)?.0)
}

/// Writes a list: all of it or nothing, so that no reader ever sees a part. A file that says the same already is left
/// alone.
///
/// # Errors
/// [`Error::Kept`] where the file holds something that is not a list; [`Error::File`].
pub fn save(path: &Path, clients: &[Client]) -> Result<(), Error> {
    match load(path) {
        Err(Error::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        Ok(same) if same == clients => return Ok(()),
        Ok(_) => {}
        Err(error) => return Err(Error::Kept { path: path.into(), reason: error.to_string() }),
    }
    replace(path, &to_text(clients)).map_err(|source| Error::File { path: path.into(), source })
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    if let Ok(existing) = std::fs::metadata(path) {
        file.as_file().set_permissions(existing.permissions())?;
    } else {
        make_readable(file.as_file())?;
    }
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Temporary files are private; a new list is as readable as any other file.
#[cfg(unix)]
fn make_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

/// The list as text.
pub fn to_text(clients: &[Client]) -> String {
    struct List<'a>(&'a [Client]);
    impl Serialize for List<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(self.0.len()))?;
            for client in self.0 {
                map.serialize_entry(&client.name, &Entry::from(client))?;
            }
            map.end()
        }
    }
    // Neither map keys nor values of these types can fail to be written.
    serde_json::to_string_pretty(&List(clients)).unwrap_or_default() + "\n"
}

/// A client as the file has it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    ip: Hosts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<Sources>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wire: Option<WireName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codec: Option<Codec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repair: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rtcp: Option<RtcpName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test: Option<Signal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_samples: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_m: Option<f64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    gain_db: f32,
    #[serde(default, skip_serializing_if = "is_false")]
    mute: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    invert: bool,
}

fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

fn is_false(value: &bool) -> bool {
    !value
}

/// One address, or one on each of two networks.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Hosts {
    One(String),
    Two([String; 2]),
}

/// The sources of one output: a channel, or several that are summed.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Sources {
    One(u16),
    Sum(Vec<u16>),
}

/// Where reports go, in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum RtcpName {
    Auto,
    Mux,
    Next,
}

impl Entry {
    fn into_client(self, name: String) -> Result<Client, String> {
        let outputs = match (self.channel, self.channels) {
            (Some(channel), None) => vec![vec![channel]],
            (None, Some(channels)) => channels
                .into_iter()
                .map(|sources| match sources {
                    Sources::One(channel) => vec![channel],
                    Sources::Sum(channels) => channels,
                })
                .collect(),
            (Some(_), Some(_)) => return Err("`channel` and `channels` exclude each other".into()),
            (None, None) => return Err("`channel` or `channels` is missing".into()),
        };
        if name.chars().any(char::is_control) {
            return Err("its name holds control characters".into());
        }
        let (host, second) = match self.ip {
            Hosts::One(host) => (host, None),
            Hosts::Two([host, second]) => (host, Some(second)),
        };
        if host.is_empty() || second.as_deref() == Some("") || self.port == Some(0) {
            return Err("`ip` is empty or `port` is 0".into());
        }
        if !Trim::GAIN_DB.contains(&self.gain_db) {
            return Err(format!("`gain_db` is {}; it goes from -120 to 40", self.gain_db));
        }
        let map = ChannelMap::new(outputs).map_err(|error| error.to_string())?;
        let reports = self.rtcp.map(|rtcp| match rtcp {
            RtcpName::Auto => Reports::Auto,
            RtcpName::Mux => Reports::Mux,
            RtcpName::Next => Reports::Next,
        });
        let trim = Trim { gain_db: self.gain_db, mute: self.mute, invert: self.invert };
        let repair = self.repair.map(|text| text.parse()).transpose()?;
        let delay = Delay::of_keys(self.delay_ms, self.delay_samples, self.delay_m)?;
        let nameless = |group: &String| group.trim().is_empty() || group.chars().any(char::is_control);
        if self.group.as_ref().is_some_and(nameless) {
            return Err("`group` is empty or holds control characters".into());
        }
        Ok(Client {
            name,
            host,
            second,
            port: self.port,
            map,
            trim,
            wire: self.wire.map(Into::into),
            codec: self.codec,
            repair,
            reports,
            test: self.test,
            group: self.group,
            delay,
        })
    }
}

impl From<&Client> for Entry {
    fn from(client: &Client) -> Self {
        let sources = |sources: &Vec<u16>| match sources[..] {
            [channel] => Sources::One(channel),
            _ => Sources::Sum(sources.clone()),
        };
        let (channel, channels) = match client.map.outputs() {
            [only] if only.len() == 1 => (Some(only[0]), None),
            outputs => (None, Some(outputs.iter().map(sources).collect())),
        };
        let (delay_ms, delay_samples, delay_m) = client.delay.map(Delay::keys).unwrap_or_default();
        Self {
            ip: match client.second.clone() {
                Some(second) => Hosts::Two([client.host.clone(), second]),
                None => Hosts::One(client.host.clone()),
            },
            port: client.port,
            channel,
            channels,
            wire: client.wire.map(Into::into),
            codec: client.codec,
            repair: client.repair.map(|repair| repair.to_string()),
            rtcp: client.reports.map(|reports| match reports {
                Reports::Auto => RtcpName::Auto,
                Reports::Mux => RtcpName::Mux,
                Reports::Next => RtcpName::Next,
            }),
            test: client.test,
            group: client.group.clone(),
            delay_ms,
            delay_samples,
            delay_m,
            gain_db: client.trim.gain_db,
            mute: client.trim.mute,
            invert: client.trim.invert,
        }
    }
}

/// Keeps the file's order, and refuses a name that stands twice.
struct Clients(Vec<Client>);

impl<'de> Deserialize<'de> for Clients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Clients;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "an object of clients, like {{\"Node 1\": {{\"ip\": \"192.168.2.249\", \"port\": 57001, \"channel\": 1}}}}"
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Clients, A::Error> {
                let mut clients: Vec<Client> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let entry: Entry = map.next_value()?;
                    if clients.iter().any(|client| client.name == name) {
                        return Err(de::Error::custom(format!("client `{name}` stands twice")));
                    }
                    let client = entry.into_client(name.clone());
                    clients.push(
                        client.map_err(|reason| de::Error::custom(format!("client `{name}`: {reason}")))?,
                    );
                }
                Ok(Clients(clients))
            }
        }
        deserializer.deserialize_map(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::send::Wire;
    use proptest::prelude::*;

    /// The example of the audioStreamUDP project's list, and its shape as that program writes it.
    const SEED: &str = r#"{"Node 1": {"ip": "192.168.2.249", "port": 57001, "channel": 1}}"#;

    #[test]
    fn the_seeds_form_loads_and_is_written_back_in_its_own_form() {
        let clients = parse(SEED).unwrap();
        assert_eq!(clients, ["Node 1=192.168.2.249:57001/1".parse().unwrap()]);
        let written: serde_json::Value = serde_json::from_str(&to_text(&clients)).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(SEED).unwrap());
    }

    #[test]
    fn our_own_keys_survive() {
        let text = r#"{
            "b": {"ip": "::1", "channels": [0, [1, 2], 0], "wire": "plain", "codec": "pcm16",
                  "gain_db": -3.5, "mute": true, "invert": true},
            "a": {"ip": "host.local", "port": 5, "channel": 7},
            "c": {"ip": "h", "channel": 1, "codec": {"opus": {"frame_ms": 10, "bitrate": 96000}}},
            "d": {"ip": "h", "channel": 1, "codec": "pcm24", "repair": "8+3x2", "rtcp": "next"},
            "e": {"ip": "h", "channel": 1, "group": "garden", "delay_ms": -2.5},
            "f": {"ip": "h", "channel": 1, "delay_samples": 441, "test": "identify"},
            "g": {"ip": ["h", "i"], "channel": 1, "delay_m": 3.43}
        }"#;
        let clients = parse(text).unwrap();
        assert_eq!(clients[0].map.to_string(), "0,1+2,0");
        assert_eq!((clients[0].port, clients[0].wire), (None, Some(Wire::Plain)));
        assert_eq!(clients[0].trim, Trim { gain_db: -3.5, mute: true, invert: true });
        assert_eq!(
            clients.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
            ["b", "a", "c", "d", "e", "f", "g"]
        );
        assert_eq!((clients[5].second.as_deref(), clients[6].second.as_deref()), (None, Some("i")));
        assert_eq!(clients[4].group.as_deref(), Some("garden"));
        assert_eq!((clients[4].test, clients[5].test), (None, Some(Signal::Identify)));
        assert_eq!(
            clients[3..].iter().map(|c| c.delay).collect::<Vec<_>>(),
            [None, Some(Delay::Millis(-2.5)), Some(Delay::Samples(441)), Some(Delay::Metres(3.43))]
        );
        assert_eq!((clients[2].reports, clients[3].reports), (None, Some(Reports::Next)));
        assert_eq!((clients[1].codec, clients[3].codec), (None, Some(Codec::Pcm24)));
        assert_eq!(parse(&to_text(&clients)).unwrap(), clients);
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        for (text, words) in [
            ("{\n\"a\": {\"ip\": \"h\", \"channel\": 1,,}}", "line 2 column"),
            ("[]", "expected an object of clients"),
            (r#"{"a": {"channel": 1}}"#, "missing field `ip`"),
            (r#"{"a": {"ip": "h"}}"#, "client `a`: `channel` or `channels` is missing"),
            (r#"{"a": {"ip": "h", "channel": 1, "channels": [1]}}"#, "exclude each other"),
            (r#"{"a": {"ip": "h", "channels": []}}"#, "at least one channel"),
            (r#"{"a": {"ip": "h", "channel": 1, "colour": 2}}"#, "unknown field `colour`"),
            (r#"{"a": {"ip": "h", "channel": 1, "gain_db": 99}}"#, "gain_db"),
            ("{\n\"a\": {\"ip\": \"h\", \"channel\": 1, \"codec\": \"mp3\"}}", "line 2 column"),
            (r#"{"a": {"ip": "h", "channel": 1, "repair": "much"}}"#, "client `a`: repair is off"),
            (r#"{"a": {"ip": "h", "channel": 1, "test": "loud"}}"#, "unknown variant `loud`"),
            (r#"{"a": {"ip": "h", "channel": 1, "delay_m": 1, "delay_ms": 1}}"#, "client `a`: `delay_ms`, "),
            (r#"{"a": {"ip": "h", "channel": 1, "group": " "}}"#, "client `a`: `group` is empty"),
            (r#"{"a": {"ip": "h", "channel": -1}}"#, "line 1 column"),
            (r#"{"a": {"ip": "h", "channel": 1}, "a": {"ip": "h", "channel": 2}}"#, "stands twice"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.json");
        let clients = parse(SEED).unwrap();
        save(&path, &clients).unwrap();
        assert_eq!(load(&path).unwrap(), clients);
        std::fs::write(&path, "{ broken").unwrap();
        assert!(matches!(save(&path, &clients), Err(Error::Kept { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{ broken");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
