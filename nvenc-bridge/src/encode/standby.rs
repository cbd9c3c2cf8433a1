//! A stream that outlives its encoder: one that fails is opened anew, and where that fails too another takes over.

use std::collections::VecDeque;

use super::{EncodedPicture, Encoder, Error, Settings, Warning};
use crate::picture::Picture;

/// Opens an encoder.
pub type Open = Box<dyn FnMut(&Settings) -> Result<Box<dyn Encoder>, Error> + Send>;

/// An encoder that fails before so many pictures is not opened anew: whoever watches sees each of these gaps.
const PROVEN: u32 = 300;

/// An encoder, and what to do without it.
pub struct Standby {
    first: Open,
    second: Option<Open>,
    settings: Settings,
    /// Nothing where all have failed, which is for good.
    encoder: Result<Box<dyn Encoder>, Error>,
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
    pub fn new(mut first: Open, second: Option<Open>, settings: &Settings) -> Result<Self, Error> {
        let opened = first(settings);
        let mut standby = Self {
            first,
            second,
            settings: settings.clone(),
            encoder: opened,
            warnings: Vec::new(),
            told: Vec::new(),
            age: 0,
            on_second: false,
        };
        match &standby.encoder {
            Ok(_) => standby.gather(),
            Err(error) => standby.replace(error.clone())?,
        }
        Ok(standby)
    }

    /// Whether the second encoder is at work.
    #[must_use]
    pub fn stands_in(&self) -> bool {
        self.on_second
    }

    fn gather(&mut self) {
        let own = self.encoder.as_ref().map_or(&[][..], |encoder| encoder.warnings());
        self.warnings = [&self.told[..], own].concat();
    }

    /// Puts another encoder in the place of one that failed.
    fn replace(&mut self, error: Error) -> Result<(), Error> {
        // What it holds of the card is given back before another asks for it.
        self.encoder = Err(error.clone());
        let again = !self.on_second && self.age >= PROVEN;
        self.age = 0;
        let mut opened = if again { (self.first)(&self.settings) } else { Err(error.clone()) };
        let mut how = "was opened anew";
        if let (Err(_), false, Some(open)) = (&opened, self.on_second, &mut self.second) {
            (opened, how) = (open(&self.settings), "encodes instead");
            self.on_second = true;
        }
        let encoder = opened.map_err(|last| if last == error { last } else { both(&error, &last) })?;
        let warning =
            Warning { parameter: "videocodec", message: format!("{error}; {} {how}", encoder.name()) };
        if !self.told.contains(&warning) {
            self.told.push(warning);
        }
        self.encoder = Ok(encoder);
        self.gather();
        Ok(())
    }
}

/// Why neither encodes.
fn both(first: &Error, second: &Error) -> Error {
    Error::Unavailable(format!("{first}; and {second}"))
}

impl Encoder for Standby {
    fn name(&self) -> &str {
        self.encoder.as_ref().map_or("none", |encoder| encoder.name())
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
        let encoder = self.encoder.as_mut().map_err(|error| error.clone())?;
        let Err(error) = encoder.encode(picture, key, out) else {
            return Ok(());
        };
        self.replace(error)?;
        // A new encoder begins with a key picture of itself.
        self.encoder.as_mut().map_err(|error| error.clone())?.encode(picture, key, out)
    }

    fn change(&mut self, settings: &Settings) -> Result<(), Error> {
        match self.encoder.as_mut().map_err(|error| error.clone())?.change(settings) {
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
        self.encoder.as_mut().map_err(|error| error.clone())?.finish(out)
    }
}
