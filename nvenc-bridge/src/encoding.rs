//! The thread that encodes a stream: pictures in, bits out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::encode::{EncodedPicture, Encoder, Settings, Warning};
use crate::picture::{Picture, Size};
use crate::source::feed::Feed;
use crate::source::slot::Found;

/// Between two looks whether all shall stop.
const LOOK: Duration = Duration::from_millis(100);

/// What others ask of the thread, and what it has done.
#[derive(Debug, Default)]
pub struct Control {
    key: AtomicBool,
    stop: AtomicBool,
    change: Mutex<Option<Settings>>,
    /// Pictures that came in bits.
    pub encoded: AtomicU64,
    /// Key pictures among them.
    pub keys: AtomicU64,
    /// Octets of them all.
    pub octets: AtomicU64,
    /// Nanoseconds from handing in the last of them to having it in bits.
    pub took: AtomicU64,
}

/// What the thread has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// What the encoder does otherwise than asked, whenever that changes.
    Warned(Vec<Warning>),
    /// A change of settings was not possible; the stream goes on as before.
    Refused(String),
    /// The stream has ended: the source has, or the encoder has failed for good.
    Ended(Result<(), String>),
}

/// A thread to be.
pub struct Encoding {
    /// What encodes.
    pub encoder: Box<dyn Encoder>,
    /// What it is asked for.
    pub settings: Settings,
    /// Where pictures come from.
    pub feed: Feed,
    /// What others ask.
    pub control: Arc<Control>,
    /// Where the bits go.
    pub out: Box<dyn FnMut(EncodedPicture) + Send>,
    /// Where news go.
    pub tell: Box<dyn FnMut(News) + Send>,
}

impl Control {
    /// The next picture becomes a key picture. Asked for more than once before it comes, it is one.
    pub fn force_key(&self) {
        self.key.store(true, Ordering::Release);
    }

    /// Other settings hold from the next picture on.
    pub fn change(&self, settings: Settings) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings);
    }

    /// The thread ends after the picture at hand.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    fn take_change(&self) -> Option<Settings> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn count(&self, picture: &EncodedPicture) {
        self.encoded.fetch_add(1, Ordering::Relaxed);
        self.keys.fetch_add(picture.key.into(), Ordering::Relaxed);
        self.octets.fetch_add(picture.data.len() as u64, Ordering::Relaxed);
        self.took.store(u64::try_from(picture.took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Encoding {
    /// Encodes until the source ends, all shall stop, or the encoder fails.
    pub fn run(mut self) {
        let ended = self.work();
        (self.tell)(News::Ended(ended));
    }

    fn work(&mut self) -> Result<(), String> {
        let (mut bits, mut warned) = (VecDeque::new(), Vec::new());
        while !self.control.stop.load(Ordering::Acquire) {
            if self.encoder.warnings() != warned {
                warned = self.encoder.warnings().to_vec();
                (self.tell)(News::Warned(warned.clone()));
            }
            match self.feed.pictures.take(LOOK) {
                Found::Nothing => {}
                Found::End(reason) => {
                    // What an encoder that fails now has kept back is lost, and nobody waits for more.
                    let _ = self.encoder.finish(&mut bits);
                    self.give(&mut bits);
                    return reason;
                }
                Found::Picture(picture) => {
                    self.heed(&picture)?;
                    let key = self.control.key.swap(false, Ordering::AcqRel);
                    let encoded = self.encoder.encode(&picture, key, &mut bits);
                    encoded.map_err(|error| error.to_string())?;
                    self.give(&mut bits);
                    self.feed.pictures.reuse(picture);
                }
            }
        }
        Ok(())
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
                self.settings = settings;
                Ok(())
            }
            // The pictures are what they are.
            Err(error) if resized => Err(error.to_string()),
            Err(error) => {
                (self.tell)(News::Refused(error.to_string()));
                Ok(())
            }
        }
    }

    fn give(&mut self, bits: &mut VecDeque<EncodedPicture>) {
        for picture in bits.drain(..) {
            self.control.count(&picture);
            (self.out)(picture);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

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

    type Running = (Arc<Control>, mpsc::Receiver<EncodedPicture>, mpsc::Receiver<News>);

    /// A stream of the pattern, with what it gives and says.
    fn begin(encoder: Box<dyn Encoder>, control: Control) -> Running {
        let mut params = Params::default();
        for (name, value) in [("resolutionw", 320), ("resolutionh", 240)] {
            params.set(name, &value.into()).unwrap();
        }
        let settings = settings();
        let opened = Opened::new(&Spec::new(&params).unwrap(), Arc::default()).unwrap();
        let (bits, taken) = mpsc::channel();
        let (news, heard) = mpsc::channel();
        let control = Arc::new(control);
        let encoding = Encoding {
            encoder,
            feed: opened.begin(settings.rate),
            settings,
            control: control.clone(),
            // Whoever listens may have gone.
            out: Box::new(move |picture| drop(bits.send(picture))),
            tell: Box::new(move |said| drop(news.send(said))),
        };
        std::thread::spawn(move || encoding.run());
        (control, taken, heard)
    }

    #[test]
    fn an_encoder_that_fails_ends_the_stream_with_its_reason_and_a_change_that_fails_does_not() {
        let control = Control::default();
        control.change(Settings { average_bitrate: 1, ..settings() });
        let (_, taken, heard) = begin(Box::new(Frail(openh264(), Vec::new())), control);
        assert_eq!(taken.iter().count(), 2);
        let warned = |count| {
            let warning = |n: usize| Warning { parameter: "quality", message: n.to_string() };
            News::Warned((0..count).map(warning).collect())
        };
        let expected = [
            News::Refused("it is as it is".into()),
            warned(1),
            warned(2),
            News::Ended(Err("the device is lost".into())),
        ];
        assert_eq!(heard.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_key_picture_that_is_asked_for_twice_comes_once() {
        let (control, taken, heard) = begin(openh264(), Control::default());
        let first = taken.recv().unwrap();
        control.force_key();
        control.force_key();
        // At most one picture was under way when it was asked for; the regular ones are ten apart.
        let keys: Vec<_> = taken.iter().take(5).filter(|picture| picture.key).collect();
        control.stop();
        assert!(first.key);
        assert_eq!(keys.len(), 1);
        assert_eq!(heard.iter().collect::<Vec<_>>(), [News::Ended(Ok(()))]);
        assert!(control.encoded.load(Ordering::Relaxed) >= 6);
    }

    #[test]
    fn a_rate_that_is_asked_for_holds_for_source_and_encoder() {
        let (control, taken, _heard) = begin(openh264(), Control::default());
        taken.recv().unwrap();
        control.change(Settings { rate: crate::picture::Rate { pictures: 100, seconds: 1 }, ..settings() });
        let at: Vec<_> = taken.iter().take(12).map(|picture| (picture.number, picture.at)).collect();
        control.stop();
        // By number, whatever was dropped on the way.
        let (from, to) = (at[9], at[11]);
        assert_eq!(to.1 - from.1, Duration::from_millis(10 * (to.0 - from.0)));
    }
}
