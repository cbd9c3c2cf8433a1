//! Configuration files: TOML or JSON, with the names of the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Why a configuration file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", .path.display())]
pub struct Error {
    path: PathBuf,
    reason: String,
}

/// Reads a file. A name that ends in `.json` is JSON, any other TOML. Unknown keys are for `T` to refuse.
///
/// # Errors
/// The file's name with the system's reason, or what is wrong with line and column.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let refuse = |reason: String| Error { path: path.into(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if is_json {
        serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
    } else {
        toml::from_str(&text).map_err(|error| refuse(error.to_string()))
    }
}

/// Settings in which the command line's stand before the file's. A setting that was not made is null, false or empty.
///
/// # Errors
/// Only where `T` cannot be written and read back as JSON.
pub fn merge<T: Serialize + DeserializeOwned>(command_line: &T, file: &T) -> Result<T, serde_json::Error> {
    let mut merged = serde_json::to_value(file)?;
    let over = serde_json::to_value(command_line)?;
    if let (Value::Object(merged), Value::Object(over)) = (&mut merged, over) {
        let made = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(items) => !items.is_empty(),
            _ => true,
        };
        merged.extend(over.into_iter().filter(|(_, value)| made(value)));
    }
    serde_json::from_value(merged)
}

/// What may stand once, as text, or several times, as a list.
///
/// # Errors
/// The format's own: it is neither.
pub fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::One(one) => vec![one],
        Written::Several(several) => several,
    })
}

/// A span of time as people write it: `30ms`, `1.5s`, `500us`; a bare number counts milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    /// Nanoseconds, from 0 to an hour.
    pub nanos: i64,
}

impl Span {
    /// The same for the standard library.
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.nanos as u64)
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "us" => 1e3,
            "" | "ms" => 1e6,
            "s" => 1e9,
            _ => return Err(format!("`{text}` is not a time; write it like 30ms, 1.5s or 500us")),
        };
        match digits.trim().parse::<f64>().map(|number| number * unit) {
            Ok(nanos) if (0.0..=3.6e12).contains(&nanos) => Ok(Self { nanos: nanos.round() as i64 }),
            _ => Err(format!("`{text}` is not a time from 0 to an hour; write it like 30ms, 1.5s or 500us")),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        format!("{}us", span.nanos as f64 / 1e3)
    }
}

/// A span of time that may be negative: `2ms`, `-0.5ms`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shift {
    /// Nanoseconds, at most an hour either way.
    pub nanos: i64,
}

impl std::str::FromStr for Shift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sign, length) = text.strip_prefix('-').map_or((1, text), |length| (-1, length));
        length.parse().map(|span: Span| Self { nanos: sign * span.nanos })
    }
}

impl TryFrom<String> for Shift {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Shift> for String {
    fn from(shift: Shift) -> Self {
        format!("{}us", shift.nanos as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        frames: u16,
    }

    #[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
    #[serde(default)]
    struct Both {
        rate: Option<u32>,
        latency: Option<Span>,
        json: bool,
        client: Vec<String>,
    }

    #[test]
    fn the_command_line_stands_before_the_file() {
        let file = Both { rate: Some(48_000), latency: None, json: true, client: vec!["a".into()] };
        let latency = Some(Span { nanos: 30_000_000 });
        let line = Both { rate: Some(44_100), latency, json: false, client: vec![] };
        let expected = Both { rate: Some(44_100), latency, json: true, client: vec!["a".into()] };
        assert_eq!(merge(&line, &file).unwrap(), expected);
        assert_eq!(merge(&Both::default(), &file).unwrap(), file);
    }

    #[test]
    fn times_have_units() {
        let nanos = |text: &str| text.parse::<Span>().map(|span| span.nanos);
        assert_eq!(nanos("30ms"), Ok(30_000_000));
        assert_eq!(nanos("30"), Ok(30_000_000));
        assert_eq!(nanos("1.5s"), Ok(1_500_000_000));
        assert_eq!(nanos("500us"), Ok(500_000));
        for nonsense in ["", "ms", "-1ms", "2h", "1e9s", "NaN", "inf"] {
            assert!(nanos(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn shifts_have_a_sign_and_come_back_as_they_were() {
        for (text, nanos) in [("-0.5ms", -500_000), ("2", 2_000_000), ("-3s", -3_000_000_000)] {
            let shift: Shift = text.parse().unwrap();
            assert_eq!(shift.nanos, nanos);
            assert_eq!(String::from(shift).parse(), Ok(shift));
        }
        assert!("--1ms".parse::<Shift>().is_err() && "-".parse::<Shift>().is_err());
    }

    #[test]
    fn both_forms_load_and_both_say_where_they_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        for (name, good, bad) in [
            ("a.toml", "frames = 64\n", "frames = 64\ncolour = 1\n"),
            ("a.json", "{\"frames\": 64}", "{\"frames\": 64,\n\"colour\": 1}"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, good).unwrap();
            assert_eq!(load::<Settings>(&path).unwrap(), Settings { frames: 64 });
            std::fs::write(&path, bad).unwrap();
            let error = load::<Settings>(&path).unwrap_err().to_string();
            assert!(error.contains("colour") && error.contains("line 2"), "{error}");
        }
        let missing = load::<Settings>(&folder.path().join("b.toml")).unwrap_err();
        assert!(missing.to_string().contains("b.toml"));
    }
}
