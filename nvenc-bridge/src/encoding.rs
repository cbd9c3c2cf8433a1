//! The encoding of a stream: pictures in, bits out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::encode::{EncodedPicture, Encoder, Settings, Warning};
use crate::picture::{Picture, Size};
use crate::source::feed::Feed;
use crate::source::slot::Found;

/// Between two looks whether all shall stop where no pictures come.
const LOOK: Duration = Duration::from_millis(100);

/// What others ask of a stream.
#[derive(Debug, Default)]
pub struct Control {
    key: AtomicBool,
    pause: AtomicBool,
    stop: Arc<AtomicBool>,
    change: Mutex<Option<Settings>>,
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Which encoder is at work and what it does otherwise than asked, whenever that changes.
    Warned {
        /// Its name.
        encoder: String,
        /// What it does otherwise.
        warnings: Vec<Warning>,
    },
    /// These settings hold from now on.
    Changed(Settings),
    /// A change of settings was not possible; the stream goes on as before.
    Refused {
        /// Those that were asked for.
        asked: Settings,
        /// One line.
        reason: String,
    },
}

/// Why there are no more pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The source has ended.
    Source,
    /// A pause or the end was asked for.
    Asked,
}

/// Pictures on their way into bits.
pub struct Encoding<'a> {
    /// What encodes.
    pub encoder: &'a mut dyn Encoder,
    /// What it is asked for.
    pub settings: &'a mut Settings,
    /// Where pictures come from.
    pub feed: &'a Feed,
    /// What others ask.
    pub control: &'a Control,
    /// Called between pictures: whether those who watch need a key picture.
    pub look: &'a mut dyn FnMut() -> bool,
    /// Where the bits go.
    pub out: &'a mut dyn FnMut(EncodedPicture),
    /// Where news go.
    pub tell: &'a mut dyn FnMut(News),
}

impl Control {
    /// The next picture becomes a key picture. Asked for more than once before it comes, it is one.
    pub fn force_key(&self) {
        self.key.store(true, Ordering::Release);
    }

    /// Other settings hold from the next picture on. Whether they stand in for earlier ones that nothing has become of yet.
    pub fn change(&self, settings: Settings) -> bool {
        self.change.lock().unwrap_or_else(PoisonError::into_inner).replace(settings).is_some()
    }

    /// All ends after the picture at hand.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// No picture is encoded from now on, or pictures are again.
    pub fn pause(&self, pause: bool) {
        self.pause.store(pause, Ordering::Release);
    }

    /// Whether all is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether no picture is to be encoded for now.
    pub fn is_paused(&self) -> bool {
        self.pause.load(Ordering::Acquire)
    }

    /// Whether either was asked for.
    pub fn is_halted(&self) -> bool {
        self.is_stopped() || self.is_paused()
    }

    /// For a source that waits: set when all is to end.
    pub fn stopped(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// The settings that were asked for and that nothing has become of yet.
    pub(crate) fn take_change(&self) -> Option<Settings> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Encoding<'_> {
    /// Encodes until the source ends or something else is asked for.
    ///
    /// # Errors
    /// One line: the source or the encoder has failed for good.
    pub fn run(mut self) -> Result<Over, String> {
        let (mut bits, mut warned) = (VecDeque::new(), None);
        while !self.control.is_halted() {
            if warned.as_deref() != Some(self.encoder.warnings()) {
                let warnings = self.encoder.warnings().to_vec();
                (self.tell)(News::Warned { encoder: self.encoder.name().into(), warnings: warnings.clone() });
                warned = Some(warnings);
            }
            match self.feed.pictures.take(LOOK) {
                Found::Nothing => {}
                Found::End(reason) => {
                    // What an encoder that fails now has kept back is lost, and nobody waits for more.
                    let _ = self.encoder.finish(&mut bits);
                    self.give(&mut bits);
                    return reason.map(|()| Over::Source);
                }
                Found::Picture(picture) => {
                    self.heed(&picture)?;
                    let key = (self.look)() | self.control.key.swap(false, Ordering::AcqRel);
                    let encoded = self.encoder.encode(&picture, key, &mut bits);
                    encoded.map_err(|error| error.to_string())?;
                    self.give(&mut bits);
                    self.feed.pictures.reuse(picture);
                }
            }
        }
        Ok(Over::Asked)
    }

    /// Changes what was asked for, and the size where pictures have another from now on.
    fn heed(&mut self, picture: &Picture) -> Result<(), String> {
        let asked = self.control.take_change();
        let size = Size { width: picture.size.width & !1, height: picture.size.height & !1 };
        let resized = size != self.settings.size;
        if asked.is_none() && !resized {
            return Ok(());
        }
        let settings = Settings { size, ..asked.unwrap_or_else(|| self.settings.clone()) };
        match self.encoder.change(&settings) {
            Ok(()) => {
                self.feed.rate.set(settings.rate);
                *self.settings = settings.clone();
                (self.tell)(News::Changed(settings));
                Ok(())
            }
            // The pictures are what they are.
            Err(error) if resized => Err(error.to_string()),
            Err(error) => {
                (self.tell)(News::Refused { asked: settings, reason: error.to_string() });
                Ok(())
            }
        }
    }

    fn give(&mut self, bits: &mut VecDeque<EncodedPicture>) {
        bits.drain(..).for_each(|picture| (self.out)(picture));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::JoinHandle;

    use super::*;
    use crate::encode::Error;
    use crate::encode::software::Software;
    use crate::encode::testing::settings;
    use crate::params::Params;
    use crate::source::feed::Opened;
    use crate::source::spec::Spec;

    /// Fails at its third picture, and has a warning by then.
    struct Frail(Box<dyn Encoder>, Vec<Warning>);

    impl Encoder for Frail {
        fn name(&self) -> &str {
            "frail"
        }

        fn warnings(&self) -> &[Warning] {
            &self.1
        }

        fn encode(
            &mut self,
            picture: &Picture,
            key: bool,
            out: &mut VecDeque<EncodedPicture>,
        ) -> Result<(), Error> {
            if self.1.len() == 2 {
                return Err(Error::Failed("the device is lost".into()));
            }
            self.1.push(Warning { parameter: "quality", message: self.1.len().to_string() });
            self.0.encode(picture, key, out)
        }

        fn change(&mut self, _: &Settings) -> Result<(), Error> {
            Err(Error::Failed("it is as it is".into()))
        }

        fn finish(&mut self, out: &mut VecDeque<EncodedPicture>) -> Result<(), Error> {
            self.0.finish(out)
        }
    }

    fn openh264() -> Box<dyn Encoder> {
        Software::Openh264.open(&settings()).unwrap()
    }

    type Ended = JoinHandle<Result<Over, String>>;
    type Running = (Arc<Control>, mpsc::Receiver<EncodedPicture>, mpsc::Receiver<News>, Ended);

    /// A stream of the pattern, with what it gives and says. `look` is called before each picture is encoded.
    fn begin(
        mut encoder: Box<dyn Encoder>,
        control: Control,
        mut look: impl FnMut(&Control) -> bool + Send + 'static,
    ) -> Running {
        let mut params = Params::default();
        for (name, value) in [("resolutionw", 320), ("resolutionh", 240)] {
            params.set(name, &value.into()).unwrap();
        }
        let mut settings = settings();
        let opened = Opened::new(&Spec::new(&params).unwrap(), Arc::default()).unwrap();
        let (bits, taken) = mpsc::channel();
        let (news, heard) = mpsc::channel();
        let control = Arc::new(control);
        let its = control.clone();
        let thread = std::thread::spawn(move || {
            let feed = opened.begin(settings.rate, Arc::default()).unwrap();
            let encoding = Encoding {
                encoder: &mut *encoder,
                feed: &feed,
                settings: &mut settings,
                control: &its,
                look: &mut || look(&its),
                // Whoever listens may have gone.
                out: &mut |picture| drop(bits.send(picture)),
                tell: &mut |said| drop(news.send(said)),
            };
            encoding.run()
        });
        (control, taken, heard, thread)
    }

    #[test]
    fn an_encoder_that_fails_ends_the_stream_with_its_reason_and_a_change_that_fails_does_not() {
        let control = Control::default();
        let asked = Settings { average_bitrate: 1, ..settings() };
        control.change(asked.clone());
        let (_, taken, heard, ended) = begin(Box::new(Frail(openh264(), Vec::new())), control, |_| false);
        assert_eq!(taken.iter().count(), 2);
        let warned = |count| {
            let warning = |n: usize| Warning { parameter: "quality", message: n.to_string() };
            News::Warned { encoder: "frail".into(), warnings: (0..count).map(warning).collect() }
        };
        let refused = News::Refused { asked, reason: "it is as it is".into() };
        let expected = [warned(0), refused, warned(1), warned(2)];
        assert_eq!(heard.iter().collect::<Vec<_>>(), expected);
        assert_eq!(ended.join().unwrap(), Err("the device is lost".into()));
    }

    #[test]
    fn a_key_picture_that_is_asked_for_twice_comes_once() {
        let mut number = 0;
        let (control, taken, _heard, ended) = begin(openh264(), Control::default(), move |control| {
            number += 1;
            if number == 4 {
                control.force_key();
                control.force_key();
            }
            false
        });
        // The regular ones are ten apart.
        let keys: Vec<_> = taken.iter().take(9).map(|picture| picture.key).collect();
        control.stop();
        assert_eq!(keys, [1, 0, 0, 1, 0, 0, 0, 0, 0].map(|key| key == 1));
        assert_eq!(ended.join().unwrap(), Ok(Over::Asked));
    }

    #[test]
    fn a_rate_that_is_asked_for_holds_for_source_and_encoder() {
        let (control, taken, heard, _) = begin(openh264(), Control::default(), |_| false);
        taken.recv().unwrap();
        control.change(Settings { rate: crate::picture::Rate { pictures: 100, seconds: 1 }, ..settings() });
        assert!(heard.iter().any(|said| matches!(said, News::Changed(_))));
        // Of those that come from now on, the first few may have been due before; by number, whatever is dropped on the way.
        taken.try_iter().for_each(drop);
        let at: Vec<_> = taken.iter().take(12).map(|picture| (picture.number, picture.at)).collect();
        control.stop();
        let (from, to) = (at[9], at[11]);
        assert_eq!(to.1 - from.1, Duration::from_millis(10 * (to.0 - from.0)));
    }
}
