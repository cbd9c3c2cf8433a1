//! A stream that outlives its encoder: one that fails is opened anew, and where that fails too another takes over.

use std::collections::VecDeque;

use super::{EncodedPicture, Encoder, Error, Settings, Warning};
use crate::picture::Picture;

/// Opens an encoder.
pub type Open = Box<dyn FnMut(&Settings) -> Result<Box<dyn Encoder>, Error> + Send>;

/// An encoder that fails again before so many pictures is not opened a third time: whoever watches sees each of these gaps.
const PROVEN: u32 = 300;

/// An encoder, and what to do without it.
pub struct Standby {
    first: Open,
    second: Option<Open>,
    settings: Settings,
    encoder: Box<dyn Encoder>,
    warnings: Vec<Warning>,
    /// What happened, kept apart from the encoder's own warnings, which change with it.
    told: Vec<Warning>,
    /// Pictures since the encoder was opened.
    age: u32,
    on_second: bool,
}

impl Standby {
    /// Opens the first encoder, or the second where the first is not to be had. Without a second, the first is the only one.
    ///
    /// # Errors
    /// Where no encoder opens.
    pub fn new(mut first: Open, mut second: Option<Open>, settings: &Settings) -> Result<Self, Error> {
        let mut told = Vec::new();
        let (encoder, on_second) = match (first(settings), &mut second) {
            (Ok(encoder), _) => (encoder, false),
            (Err(error), None) => return Err(error),
            (Err(error), Some(open)) => {
                let encoder = open(settings)?;
                told.push(instead(&error, encoder.name()));
                (encoder, true)
            }
        };
        let mut standby = Self {
            first,
            second,
            settings: settings.clone(),
            encoder,
            warnings: Vec::new(),
            told,
            age: 0,
            on_second,
        };
        standby.gather();
        Ok(standby)
    }

    /// Whether the second encoder is at work.
    #[must_use]
    pub fn stands_in(&self) -> bool {
        self.on_second
    }

    fn gather(&mut self) {
        self.warnings = [&self.told[..], self.encoder.warnings()].concat();
    }

    /// Puts another encoder in the place of one that failed.
    fn replace(&mut self, error: Error) -> Result<(), Error> {
        let again =
            if self.on_second || self.age < PROVEN { None } else { (self.first)(&self.settings).ok() };
        if let Some(encoder) = again {
            self.told.push(Warning {
                parameter: "videocodec",
                message: format!("{error}; {} was opened anew", encoder.name()),
            });
            self.encoder = encoder;
        } else {
            let (false, Some(open)) = (self.on_second, &mut self.second) else {
                return Err(error);
            };
            self.encoder = open(&self.settings)?;
            self.told.push(instead(&error, self.encoder.name()));
            self.on_second = true;
        }
        self.age = 0;
        self.gather();
        Ok(())
    }
}

fn instead(error: &Error, name: &str) -> Warning {
    Warning { parameter: "videocodec", message: format!("{error}; {name} encodes instead") }
}

impl Encoder for Standby {
    fn name(&self) -> &str {
        self.encoder.name()
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn encode(
        &mut self,
        picture: &Picture,
        key: bool,
        out: &mut VecDeque<EncodedPicture>,
    ) -> Result<(), Error> {
        self.age = self.age.saturating_add(1);
        let Err(error) = self.encoder.encode(picture, key, out) else {
            return Ok(());
        };
        self.replace(error)?;
        // A new encoder begins with a key picture of itself.
        self.encoder.encode(picture, key, out)
    }

    fn change(&mut self, settings: &Settings) -> Result<(), Error> {
        match self.encoder.change(settings) {
            Ok(()) => self.settings = settings.clone(),
            Err(error @ Error::Unavailable(_)) => return Err(error),
            Err(error @ Error::Failed(_)) => {
                self.settings = settings.clone();
                self.replace(error)?;
            }
        }
        self.gather();
        Ok(())
    }

    fn finish(&mut self, out: &mut VecDeque<EncodedPicture>) -> Result<(), Error> {
        self.encoder.finish(out)
    }
}
