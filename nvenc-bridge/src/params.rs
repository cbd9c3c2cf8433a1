//! Parameters of a stream, under the names of the operators Video Stream Out and Audio Stream Out.
//!
//! A [table](table::TABLE) has them all. The command line, files and requests fill [`Params`]; [`rules`] turns these into
//! what encoders are asked for, with a warning for each that does not become what it says, and [`matrix`] knows which codec
//! goes over which protocol. None is ignored in silence.

pub mod becomes;
pub mod matrix;
pub mod parameter;
pub mod rules;
pub mod table;

mod pixels;

use std::collections::BTreeMap;
use std::fmt;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgMatches, ValueEnum};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;

use crate::encode::Warning;
use parameter::{Kind, Page, Parameter, Standing, Value};

/// What was said of a stream, and nothing of what was not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(BTreeMap<&'static str, Value>);

/// Which operator a stream follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Pictures, with or without sound.
    Video,
    /// Sound alone.
    Audio,
}

impl Page {
    /// Whether an operator has the parameters of this page.
    pub fn has(self, operator: Operator) -> bool {
        match self {
            Self::Video => operator == Operator::Video,
            Self::Audio => operator == Operator::Audio,
            Self::Both | Self::Own => true,
        }
    }
}

impl Params {
    /// Takes a value from a file or a request. `resolution` and `aspect` take both of their numbers at once, as a list.
    ///
    /// # Errors
    /// One line that names the parameter and what it takes.
    pub fn set(&mut self, name: &str, value: &Json) -> Result<(), String> {
        let parts = match name {
            "resolution" => ["resolutionw", "resolutionh"],
            "aspect" => ["aspect1", "aspect2"],
            _ => return self.set_one(name, value),
        };
        match value.as_array().map(Vec::as_slice) {
            Some([first, second]) => {
                self.set_one(parts[0], first)?;
                self.set_one(parts[1], second)
            }
            _ => Err(format!(
                "{name}: a list of two numbers, or each by itself as {} and {}",
                parts[0], parts[1]
            )),
        }
    }

    fn set_one(&mut self, name: &str, value: &Json) -> Result<(), String> {
        let parameter = table::find(name).ok_or_else(|| {
            format!("there is no parameter `{name}`; `nvenc-bridge params` prints those there are")
        })?;
        let value = parameter.read(value).map_err(|reason| format!("{name}: {reason}"))?;
        self.0.insert(parameter.name, value);
        Ok(())
    }

    /// What `stream` says, and the same as here where it says nothing. What only the other operator has stays here.
    #[must_use]
    pub fn under(&self, stream: &Self) -> Self {
        let said = |params: &Self| params.0.clone().into_iter();
        let mut all = Self(said(self).chain(said(stream)).collect());
        let operator = all.operator();
        let fits = |name: &str| table::find(name).is_some_and(|parameter| parameter.page.has(operator));
        all.0.retain(|name, _| stream.is_given(name) || fits(name));
        all
    }

    /// Forgets what was said.
    pub fn clear(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Has of these what `other` says, also where that is nothing.
    pub fn adopt(&mut self, other: &Self, names: &[&str]) {
        self.0.retain(|name, _| !names.contains(name));
        self.0.extend(
            other
                .0
                .iter()
                .filter(|(name, _)| names.contains(name))
                .map(|(name, value)| (*name, value.clone())),
        );
    }

    /// What was said, else the default.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned().or_else(|| table::find(name)?.default())
    }

    /// Whether anything was said.
    pub fn is_given(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A toggle.
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some(Value::Toggle(true))
    }

    /// A whole number, at least 0.
    pub fn count(&self, name: &str) -> u32 {
        match self.value(name) {
            Some(Value::Int(number)) => number.clamp(0, i64::from(u32::MAX)) as u32,
            _ => 0,
        }
    }

    /// A number, where it was said or has a default.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.value(name) {
            Some(Value::Float(number)) => Some(number),
            Some(Value::Int(number)) => Some(number as f64),
            _ => None,
        }
    }

    /// A text or a menu's name; empty where nothing was said and nothing holds by default.
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    /// A menu's entry.
    pub fn entry<E: ValueEnum>(&self, name: &str) -> Option<E> {
        E::from_str(&self.text(name), false).ok()
    }

    /// Which operator this is.
    pub fn operator(&self) -> Operator {
        if self.text("operator") == "audiostreamout" { Operator::Audio } else { Operator::Video }
    }

    /// What was said that cannot be heeded: warnings for what has no meaning here.
    ///
    /// # Errors
    /// One line for the first that is refused: it belongs to the other operator or to a later version.
    pub fn check(&self) -> Result<Vec<Warning>, String> {
        let mut warnings = Vec::new();
        for (name, value) in &self.0 {
            let Some(parameter) = table::find(name) else { continue };
            let operator = self.operator();
            if !parameter.page.has(operator) {
                return Err(format!("{name}: {operator:?} Stream Out has no such parameter"));
            }
            match parameter.standing {
                Standing::Later(part) if Some(value) != parameter.default().as_ref() => {
                    return Err(format!("{name}: it is for {part}"));
                }
                Standing::Elsewhere => {
                    let message = "does nothing here: it is for TouchDesigner's own windows".into();
                    warnings.push(Warning { parameter: parameter.name, message });
                }
                Standing::Later(_) | Standing::Here => {}
            }
        }
        Ok(warnings)
    }
}

impl clap::Args for Params {
    fn augment_args(command: clap::Command) -> clap::Command {
        table::TABLE.iter().fold(command, |command, parameter| command.arg(argument(parameter)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Params {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut params = Self::default();
        params.update_from_arg_matches(matches)?;
        Ok(params)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for parameter in table::TABLE {
            if let Some(value) = matches.get_one::<Value>(parameter.name) {
                self.0.insert(parameter.name, value.clone());
            }
        }
        Ok(())
    }
}

/// The option of a parameter. Its name on the page is understood too.
fn argument(parameter: &'static Parameter) -> Arg {
    let default = match parameter.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let argument = Arg::new(parameter.name)
        .long(parameter.flag)
        .help(format!("{}{default}", parameter.help))
        .help_heading(match parameter.page {
            Page::Own => "Stream",
            Page::Video => "Video Stream Out",
            Page::Audio => "Audio Stream Out",
            Page::Both => "Video and Audio Stream Out",
        })
        .hide(parameter.standing != Standing::Here);
    let argument = if parameter.flag == parameter.name { argument } else { argument.alias(parameter.name) };
    match parameter.kind {
        Kind::Menu(entries) => {
            let entries = entries.iter().map(|(name, label)| PossibleValue::new(*name).help(*label));
            argument.value_name("NAME").value_parser(PossibleValuesParser::new(entries).map(Value::Text))
        }
        kind => {
            let argument = match kind {
                Kind::Toggle | Kind::Pulse => {
                    argument.value_name("on|off").num_args(0..=1).default_missing_value("on")
                }
                Kind::Int(..) => argument.value_name("N").allow_negative_numbers(true),
                Kind::Float(..) => argument.value_name("NUMBER").allow_negative_numbers(true),
                Kind::Text | Kind::Menu(_) => argument.value_name("TEXT").allow_hyphen_values(true),
            };
            argument.value_parser(|text: &str| parameter.parse(text))
        }
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, &Json::from(value))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Params;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("parameters by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
                let mut params = Params::default();
                while let Some((name, value)) = map.next_entry::<String, Json>()? {
                    params.set(&name, &value).map_err(de::Error::custom)?;
                }
                Ok(params)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

#[cfg(test)]
mod complete;
#[cfg(test)]
mod tests;
