//! What a parameter is, and how its value is read.

use std::fmt;

use serde_json::Value as Json;

/// One parameter of a stream.
#[derive(Debug)]
pub struct Parameter {
    /// Its name in files and on the wire, as the operator's page has it.
    pub name: &'static str,
    /// Its name on the command line, without the dashes.
    pub flag: &'static str,
    /// Its label on the page.
    pub label: &'static str,
    /// One line.
    pub help: &'static str,
    /// Which operators have it.
    pub page: Page,
    /// Which values it takes.
    pub kind: Kind,
    /// What holds where nothing is said, in the form of the command line; empty for nothing.
    pub default: &'static str,
    /// What this version makes of it.
    pub standing: Standing,
    /// Whether it may change while the stream runs.
    pub live: bool,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Video Stream Out alone.
    Video,
    /// Audio Stream Out alone.
    Audio,
    /// Both.
    Both,
    /// Neither: this program's own, for what wires and windows do elsewhere.
    Own,
}

/// Values of a parameter.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// On or off.
    Toggle,
    /// Something that is done once, when asked.
    Pulse,
    /// A whole number from the first to the second.
    Int(i64, i64),
    /// A number from the first to the second.
    Float(f64, f64),
    /// Any line of text.
    Text,
    /// One of these: name and label.
    Menu(&'static [(&'static str, &'static str)]),
}

/// What becomes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does what its page says.
    Here,
    /// It belongs to a part that this version lacks, which is named. Anything but the default is refused.
    Later(&'static str),
    /// It has a meaning in TouchDesigner's own windows alone. A value is taken, and said to do nothing.
    Elsewhere,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a toggle or a pulse.
    Toggle(bool),
    /// Of a whole number.
    Int(i64),
    /// Of a number.
    Float(f64),
    /// Of a text, or a menu's name.
    Text(String),
}

impl Parameter {
    /// Reads a value from the command line.
    ///
    /// # Errors
    /// What it should have been; without the parameter's name.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            Kind::Toggle | Kind::Pulse => match text {
                "1" | "on" | "true" => Ok(Value::Toggle(true)),
                "0" | "off" | "false" => Ok(Value::Toggle(false)),
                _ => Err(self.should_be(&text)),
            },
            Kind::Int(least, most) => match text.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(Value::Int(number)),
                _ => Err(self.should_be(&text)),
            },
            Kind::Float(least, most) => match text.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(Value::Float(number)),
                _ => Err(self.should_be(&text)),
            },
            Kind::Text if text.chars().any(char::is_control) => Err(self.should_be(&text.escape_debug())),
            Kind::Text => Ok(Value::Text(text.into())),
            Kind::Menu(entries) if entries.iter().any(|entry| entry.0 == text) => {
                Ok(Value::Text(text.into()))
            }
            Kind::Menu(_) => Err(self.should_be(&text)),
        }
    }

    /// Reads a value from a file or a request.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn read(&self, value: &Json) -> Result<Value, String> {
        match (value, self.kind) {
            (Json::String(text), _) => self.parse(text),
            (Json::Bool(on), Kind::Toggle | Kind::Pulse) => Ok(Value::Toggle(*on)),
            (Json::Number(number), Kind::Toggle | Kind::Pulse | Kind::Int(..) | Kind::Float(..)) => {
                self.parse(&number.to_string())
            }
            _ => Err(self.should_be(value)),
        }
    }

    /// What holds where nothing is said.
    pub fn default(&self) -> Option<Value> {
        self.parse(self.default).ok().filter(|_| !self.default.is_empty())
    }

    fn should_be(&self, found: &dyn fmt::Display) -> String {
        match self.kind {
            Kind::Toggle | Kind::Pulse => format!("`{found}` is not `on` or `off`"),
            Kind::Int(least, most) => format!("`{found}` is not a whole number from {least} to {most}"),
            Kind::Float(least, most) => format!("`{found}` is not a number from {least} to {most}"),
            Kind::Text => format!("`{found}` is not a line of text"),
            Kind::Menu(entries) => {
                let names: Vec<_> = entries.iter().map(|entry| entry.0).collect();
                format!("`{found}` is not one of: {}", names.join(", "))
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toggle(on) => f.write_str(if *on { "on" } else { "off" }),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Toggles are 0 and 1, as in the operator, so that a file's `on` can be put off on the command line.
impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        match value {
            Value::Toggle(on) => u8::from(*on).into(),
            Value::Int(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
        }
    }
}
