//! Encoders in C behind one small interface (`c/shim.h`), one of which each feature brings.

#[allow(unsafe_code, reason = "the libraries are in C")]
mod raw;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::mapping::Mapping;
use super::{Codec, EncodedPicture, Encoder, Error, Settings, Warning};
use crate::convert;
use crate::picture::Picture;

pub use raw::Library;

/// An option of a library, with the parameter that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As the library has it.
    pub name: &'static str,
    /// As the library reads it.
    pub value: String,
}

/// What a library is given for these settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// In the order in which they are applied.
    pub options: Vec<Choice>,
    /// For people.
    pub mapping: Mapping,
}

/// An encoder and how settings become its options.
#[derive(Clone, Copy)]
pub struct Kind {
    /// For people.
    pub name: &'static str,
    /// What it makes.
    pub codec: Codec,
    /// What it is given.
    pub choose: fn(&Settings) -> Choices,
    /// Whether it makes a key picture when asked; one that does not is opened anew for it.
    pub forces_keys: bool,
    /// Options that it can change while it runs.
    pub live: &'static [&'static str],
    /// Its functions.
    pub library: fn() -> Library,
}

/// An encoder that is open.
pub struct Shim {
    kind: Kind,
    raw: raw::Raw,
    settings: Settings,
    choices: Choices,
    scratch: Vec<u8>,
    /// Pictures handed in whose bits have not come yet.
    inside: VecDeque<Inside>,
    index: i64,
    /// Bits that came before a change.
    ready: VecDeque<EncodedPicture>,
}

/// A picture that the encoder has.
struct Inside {
    index: i64,
    at: Duration,
    number: u64,
    begun: Instant,
}

impl Choices {
    /// Gives an option because of a parameter.
    pub fn set(&mut self, parameter: &'static str, name: &'static str, value: impl ToString) {
        let value = value.to_string();
        let what = format!("{name}={value}");
        match self.mapping.becomes.iter_mut().find(|becomes| becomes.parameter == parameter) {
            Some(becomes) => becomes.what = format!("{} {what}", becomes.what),
            None => self.mapping.note(parameter, what),
        }
        self.fix(name, value);
    }

    /// Gives an option that no parameter moves.
    pub fn fix(&mut self, name: &'static str, value: impl ToString) {
        self.options.push(Choice { name, value: value.to_string() });
    }

    /// Notes what is not honoured.
    pub fn warn(&mut self, parameter: &'static str, message: impl Into<String>) {
        self.mapping.warn(parameter, message);
    }
}

impl Kind {
    /// Opens an encoder of [`Kind::codec`], whatever codec the settings name.
    ///
    /// # Errors
    /// Where the library refuses an option, which is named.
    pub fn open(self, settings: &Settings) -> Result<Shim, Error> {
        let choices = (self.choose)(settings);
        let raw = raw::Raw::open((self.library)(), settings, &choices.options)
            .map_err(|refused| Error::Unavailable(format!("{} has refused {refused}", self.name)))?;
        Ok(Shim {
            kind: self,
            raw,
            settings: settings.clone(),
            choices,
            scratch: Vec::new(),
            inside: VecDeque::new(),
            index: 0,
            ready: VecDeque::new(),
        })
    }
}

impl Shim {
    /// Begins anew, and keeps the bits of pictures that were handed in before.
    fn reopen(&mut self, settings: &Settings) -> Result<(), Error> {
        let mut next = self.kind.open(settings)?;
        self.finish(&mut next.ready)?;
        *self = next;
        Ok(())
    }

    /// Takes what is ready.
    fn receive(&mut self, out: &mut VecDeque<EncodedPicture>) -> Result<(), Error> {
        let Kind { name, codec, .. } = self.kind;
        while let Some(unit) = self.raw.receive().map_err(|_| failed(name, "to encode a picture"))? {
            let place = self.inside.iter().position(|inside| inside.index == unit.index);
            let Some(inside) = place.and_then(|place| self.inside.remove(place)) else { continue };
            let data = match codec {
                Codec::Av1 => super::without_delimiter(unit.data.to_vec()),
                Codec::H264 | Codec::H265 => unit.data.to_vec(),
            };
            let Inside { at, number, begun, .. } = inside;
            out.push_back(EncodedPicture { data, key: unit.key, at, number, took: begun.elapsed() });
        }
        Ok(())
    }
}

impl Encoder for Shim {
    fn name(&self) -> &str {
        self.kind.name
    }

    fn warnings(&self) -> &[Warning] {
        &self.choices.mapping.warnings
    }

    fn encode(
        &mut self,
        picture: &Picture,
        key: bool,
        out: &mut VecDeque<EncodedPicture>,
    ) -> Result<(), Error> {
        if key && self.index > 0 && !self.kind.forces_keys {
            self.reopen(&self.settings.clone())?;
        }
        out.append(&mut self.ready);
        let (at, number, begun) = (picture.at, picture.number, Instant::now());
        let size = self.settings.size;
        let data = convert::i420(picture, size, &mut self.scratch);
        let data = data.map_err(|error| Error::Failed(format!("{}: {error}", self.kind.name)))?;
        let sent = self.raw.send(size, data, self.index, key);
        sent.map_err(|_| failed(self.kind.name, "to take a picture"))?;
        self.inside.push_back(Inside { index: self.index, at, number, begun });
        self.index += 1;
        self.receive(out)
    }

    fn change(&mut self, settings: &Settings) -> Result<(), Error> {
        let choices = (self.kind.choose)(settings);
        let same = |option: &&Choice| !self.choices.options.contains(option);
        let changed: Vec<_> = choices.options.iter().filter(same).cloned().collect();
        let alike = settings.size == self.settings.size
            && settings.rate == self.settings.rate
            && choices.options.len() == self.choices.options.len();
        let live = changed.iter().all(|option| self.kind.live.contains(&option.name));
        if !(alike && live && self.raw.change(&changed).is_ok()) {
            self.reopen(settings)?;
        }
        self.settings = settings.clone();
        self.choices = choices;
        Ok(())
    }

    fn finish(&mut self, out: &mut VecDeque<EncodedPicture>) -> Result<(), Error> {
        out.append(&mut self.ready);
        self.raw.end().map_err(|_| failed(self.kind.name, "to end"))?;
        self.receive(out)
    }
}

fn failed(name: &str, what: &str) -> Error {
    Error::Failed(format!("{name} has failed {what}"))
}

#[cfg(test)]
mod tests;
