//! Which codec a client is sent, as people write it: `"pcm16"`, `"pcm24"`, `"opus"`, or
//! `{"opus": {"frame_ms": 5, "bitrate": 96000}}` with any of its options.

use std::fmt;
use std::str::FromStr;

use audio::opus::{self, FrameTime};
use clap::ValueEnum;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A codec that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// 16-bit linear PCM.
    Pcm16,
    /// 24-bit linear PCM.
    Pcm24,
    /// Opus; what its options leave open follows the sender's defaults.
    Opus(OpusOptions),
}

/// Settings of Opus. What is `None` follows the sender's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpusOptions {
    /// How long a packet lasts.
    #[serde(rename = "frame_ms", skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
    /// Bit/s, all channels together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u32>,
    /// Effort, 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complexity: Option<u8>,
    /// What to tune for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<Application>,
    /// How the bit rate is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_control: Option<RateControl>,
    /// Loss to prepare for, 0 to 100 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_loss: Option<u8>,
}

impl OpusOptions {
    /// Checks what does not depend on the number of channels.
    ///
    /// # Errors
    /// What is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let most = opus::MAX_COMPLEXITY;
        match (self.complexity, self.expected_loss) {
            (Some(complexity), _) if complexity > most => {
                Err(format!("Opus's complexity is {complexity}; it goes from 0 to {most}"))
            }
            (_, Some(loss)) if loss > 100 => {
                Err(format!("the loss that Opus is to expect is {loss} %; it goes from 0 to 100"))
            }
            _ => Ok(()),
        }
    }

    /// The settings, with those of `defaults` where nothing was asked for.
    pub fn over(&self, defaults: opus::Spec) -> opus::Spec {
        opus::Spec {
            frame: self.frame.map_or(defaults.frame, |frame| frame.0),
            bitrate: self.bitrate.or(defaults.bitrate),
            complexity: self.complexity.unwrap_or(defaults.complexity),
            application: self.application.map_or(defaults.application, Into::into),
            rate_control: self.rate_control.map_or(defaults.rate_control, Into::into),
            expected_loss: self.expected_loss.unwrap_or(defaults.expected_loss),
        }
    }
}

/// The length of a packet; in files a number of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Frame(pub FrameTime);

impl TryFrom<f64> for Frame {
    type Error = String;

    fn try_from(millis: f64) -> Result<Self, String> {
        let found = FrameTime::ALL.into_iter().find(|frame| frame.millis() == millis);
        found.map(Self).ok_or_else(|| format!("a packet of Opus lasts 2.5, 5, 10 or 20 ms, not {millis}"))
    }
}

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.millis();
        if millis.fract() == 0.0 {
            serializer.serialize_u64(millis as u64)
        } else {
            serializer.serialize_f64(millis)
        }
    }
}

/// What Opus is tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Application {
    /// Faithful to any sound; 4 ms later than lowdelay
    Audio,
    /// Intelligible speech; 4 ms later than lowdelay
    Voip,
    /// The shortest delay
    LowDelay,
}

impl From<Application> for opus::Application {
    fn from(name: Application) -> Self {
        match name {
            Application::Audio => Self::Audio,
            Application::Voip => Self::Voip,
            Application::LowDelay => Self::LowDelay,
        }
    }
}

/// How Opus keeps its bit rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RateControl {
    /// Variable within limits
    Cvbr,
    /// Constant
    Cbr,
}

impl From<RateControl> for opus::RateControl {
    fn from(name: RateControl) -> Self {
        match name {
            RateControl::Cvbr => Self::ConstrainedVbr,
            RateControl::Cbr => Self::Cbr,
        }
    }
}

/// Bit/s as people write them on command lines: `96k` or `96000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct BitRate(pub u32);

impl FromStr for BitRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, factor) = text.strip_suffix(['k', 'K']).map_or((text, 1), |digits| (digits, 1000));
        let bits = digits.parse::<u32>().ok().and_then(|number| number.checked_mul(factor));
        bits.map(Self).ok_or_else(|| format!("`{text}` is not a bit rate; write it like 96k or 96000"))
    }
}

impl TryFrom<String> for BitRate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BitRate> for String {
    fn from(rate: BitRate) -> Self {
        rate.0.to_string()
    }
}

impl Serialize for Codec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Pcm16 => serializer.serialize_str("pcm16"),
            Self::Pcm24 => serializer.serialize_str("pcm24"),
            Self::Opus(options) if *options == OpusOptions::default() => serializer.serialize_str("opus"),
            Self::Opus(options) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("opus", options)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Codec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Codec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a codec: \"pcm16\", \"pcm24\", \"opus\" or {{\"opus\": {{…}}}}")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Codec, E> {
                match name {
                    "pcm16" => Ok(Codec::Pcm16),
                    "pcm24" => Ok(Codec::Pcm24),
                    "opus" => Ok(Codec::Opus(OpusOptions::default())),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Codec, A::Error> {
                let Some(name) = map.next_key::<String>()? else {
                    return Err(de::Error::invalid_length(0, &self));
                };
                if name != "opus" {
                    return Err(de::Error::unknown_field(&name, &["opus"]));
                }
                let options: OpusOptions = map.next_value()?;
                options.check().map_err(de::Error::custom)?;
                match map.next_key::<String>()? {
                    Some(more) => Err(de::Error::unknown_field(&more, &["opus"])),
                    None => Ok(Codec::Opus(options)),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Codec, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_is_read_and_written() {
        for text in [
            r#""pcm16""#,
            r#""pcm24""#,
            r#""opus""#,
            r#"{"opus":{"frame_ms":2.5}}"#,
            r#"{"opus":{"frame_ms":5,"bitrate":96000,"complexity":5,"application":"voip","rate_control":"cbr","expected_loss":10}}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), text);
        }
        assert_eq!(read(r#"{"opus": {}}"#), Ok(Codec::Opus(OpusOptions::default())));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            (r#""mp3""#, r#"invalid value: string "mp3", expected a codec: "pcm16""#),
            ("16", "expected a codec"),
            ("{}", "expected a codec"),
            (r#"{"mp3": {}}"#, "unknown field `mp3`"),
            (r#"{"opus": {}, "pcm16": {}}"#, "unknown field `pcm16`"),
            (r#"{"opus": {"frame_ms": 7}}"#, "2.5, 5, 10 or 20 ms, not 7"),
            (r#"{"opus": {"complexity": 11}}"#, "complexity is 11"),
            (r#"{"opus": {"expected_loss": 101}}"#, "101 %"),
            (r#"{"opus": {"application": "music"}}"#, "unknown variant `music`"),
            (r#"{"opus": {"speed": 1}}"#, "unknown field `speed`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_left_open_follows_the_defaults() {
        let defaults = opus::Spec { bitrate: Some(1), complexity: 9, ..opus::Spec::default() };
        let Ok(Codec::Opus(options)) = read(r#"{"opus": {"frame_ms": 20, "complexity": 2}}"#) else {
            panic!()
        };
        let expected = opus::Spec { frame: FrameTime::Ms20, complexity: 2, ..defaults };
        assert_eq!(options.over(defaults), expected);
    }

    #[test]
    fn bit_rates_count_thousands() {
        assert_eq!("96k".parse(), Ok(BitRate(96_000)));
        assert_eq!("64000".parse(), Ok(BitRate(64_000)));
        for nonsense in ["", "k", "96kb", "-1", "9999999k", "1.5k"] {
            assert!(nonsense.parse::<BitRate>().is_err(), "{nonsense}");
        }
    }
}
