//! The thread that encodes a stream: pictures in, bits out, another encoder where one fails.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::encode::{EncodedPicture, Encoder, Error, Settings, Warning};
use crate::picture::{Picture, Size};
use crate::source::feed::Feed;
use crate::source::slot::Found;

/// Between two looks whether all shall stop.
const LOOK: Duration = Duration::from_millis(100);

/// Opens an encoder with settings.
pub type Open = Box<dyn Fn(&Settings) -> Result<Box<dyn Encoder>, Error> + Send>;

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
    /// An encoder is open.
    Opened {
        /// Its name for people.
        name: String,
        /// What it does otherwise than asked.
        warnings: Vec<Warning>,
    },
    /// An encoder could not be opened, or has failed in mid-stream; the next is tried.
    Lost(String),
    /// A change of settings was not possible; the stream goes on as before.
    Refused(String),
    /// The stream has ended: the source has, or no encoder was left, which is an error.
    Ended(Result<(), String>),
}

/// A thread to be.
pub struct Encoding {
    /// Encoders to try, the first by preference. One that has failed is not tried again.
    pub encoders: VecDeque<Open>,
    /// What they are asked for.
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
    /// Encodes until the source ends, all shall stop, or no encoder is left.
    pub fn run(mut self) {
        let ended = self.work();
        (self.tell)(News::Ended(ended));
    }

    fn work(&mut self) -> Result<(), String> {
        let mut encoder = self.next_encoder()?;
        let mut bits = VecDeque::new();
        while !self.control.stop.load(Ordering::Acquire) {
            match self.feed.pictures.take(LOOK) {
                Found::Nothing => {}
                Found::End(reason) => {
                    // What an encoder that fails now has kept back is lost, and nobody waits for more.
                    let _ = encoder.finish(&mut bits);
                    self.give(&mut bits);
                    return reason;
                }
                Found::Picture(picture) => {
                    self.heed(&mut encoder, &picture)?;
                    let key = self.control.key.swap(false, Ordering::AcqRel);
                    self.encode(&mut encoder, &picture, key, &mut bits)?;
                    self.give(&mut bits);
                    self.feed.pictures.reuse(picture);
                }
            }
        }
        Ok(())
    }

    /// Encodes a picture, with the next encoder where this one has failed.
    fn encode(
        &mut self,
        encoder: &mut Box<dyn Encoder>,
        picture: &Picture,
        key: bool,
        bits: &mut VecDeque<EncodedPicture>,
    ) -> Result<(), String> {
        while let Err(error) = encoder.encode(picture, key, bits) {
            (self.tell)(News::Lost(error.to_string()));
            *encoder = self.next_encoder()?;
        }
        Ok(())
    }

    /// Changes what was asked for, and the size where pictures have another from now on.
    fn heed(&mut self, encoder: &mut Box<dyn Encoder>, picture: &Picture) -> Result<(), String> {
        let asked = self.control.take_change();
        let size = Size { width: picture.size.width & !1, height: picture.size.height & !1 };
        if asked.is_none() && size == self.settings.size {
            return Ok(());
        }
        let settings = Settings { size, ..asked.unwrap_or_else(|| self.settings.clone()) };
        let changed = encoder.change(&settings);
        let resized = size != self.settings.size;
        match changed {
            Ok(()) => {
                self.feed.rate.set(settings.rate);
                self.settings = settings;
            }
            Err(error) if !resized => (self.tell)(News::Refused(error.to_string())),
            // The pictures are what they are: an encoder of this size has to be found.
            Err(error) => {
                (self.tell)(News::Lost(error.to_string()));
                self.settings = settings;
                *encoder = self.next_encoder()?;
            }
        }
        Ok(())
    }

    /// Opens the next encoder that can be opened.
    fn next_encoder(&mut self) -> Result<Box<dyn Encoder>, String> {
        let mut reason = "there is no encoder left".to_string();
        while let Some(open) = self.encoders.pop_front() {
            match open(&self.settings) {
                Ok(encoder) => {
                    let (name, warnings) = (encoder.name().to_string(), encoder.warnings().to_vec());
                    (self.tell)(News::Opened { name, warnings });
                    return Ok(encoder);
                }
                Err(error) => {
                    reason = error.to_string();
                    (self.tell)(News::Lost(reason.clone()));
                }
            }
        }
        Err(reason)
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
    use crate::encode::software::Software;
    use crate::encode::testing::settings;
    use crate::params::Params;
    use crate::source::feed::Opened;
    use crate::source::spec::Spec;

    /// Fails at its third picture.
    struct Frail(Box<dyn Encoder>, u32);

    impl Encoder for Frail {
        fn name(&self) -> &str {
            "frail"
        }

        fn warnings(&self) -> &[Warning] {
            &[]
        }

        fn encode(
            &mut self,
            picture: &Picture,
            key: bool,
            out: &mut VecDeque<EncodedPicture>,
        ) -> Result<(), Error> {
            self.1 += 1;
            if self.1 == 3 {
                return Err(Error::Failed("the device is lost".into()));
            }
            self.0.encode(picture, key, out)
        }

        fn change(&mut self, settings: &Settings) -> Result<(), Error> {
            self.0.change(settings)
        }

        fn finish(&mut self, out: &mut VecDeque<EncodedPicture>) -> Result<(), Error> {
            self.0.finish(out)
        }
    }

    fn frail() -> Open {
        Box::new(|settings| Ok(Box::new(Frail(Software::Openh264.open(settings)?, 0))))
    }

    fn sound() -> Open {
        Box::new(|settings| Software::Openh264.open(settings))
    }

    fn absent() -> Open {
        Box::new(|_| Err(Error::Unavailable("there is no card".into())))
    }

    /// A stream of the pattern, with what it gives and says.
    fn begin(encoders: Vec<Open>) -> (Arc<Control>, mpsc::Receiver<EncodedPicture>, mpsc::Receiver<News>) {
        let mut params = Params::default();
        for (name, value) in [("resolutionw", 320), ("resolutionh", 240), ("fps", 200)] {
            params.set(name, &value.into()).unwrap();
        }
        let settings = settings();
        let opened = Opened::new(&Spec::new(&params).unwrap(), Arc::default()).unwrap();
        let (bits, taken) = mpsc::channel();
        let (news, heard) = mpsc::channel();
        let control = Arc::<Control>::default();
        let encoding = Encoding {
            encoders: encoders.into(),
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
    fn the_next_encoder_takes_over_with_the_very_picture_at_which_one_fails() {
        let (control, taken, heard) = begin(vec![absent(), frail(), sound()]);
        let pictures: Vec<_> = taken.iter().take(6).collect();
        control.stop();
        assert_eq!(
            pictures.iter().map(|picture| picture.key).collect::<Vec<_>>(),
            [true, false, true, false, false, false]
        );
        let heard: Vec<_> = heard.iter().collect();
        assert_eq!(heard[0], News::Lost("there is no card".into()));
        assert!(matches!(&heard[1], News::Opened { name, .. } if name == "frail"));
        assert_eq!(heard[2], News::Lost("the device is lost".into()));
        assert!(matches!(&heard[3], News::Opened { name, .. } if name == "openh264"));
        assert_eq!(heard[4..], [News::Ended(Ok(()))]);
    }

    #[test]
    fn without_an_encoder_the_stream_ends_with_the_reason() {
        let (_, taken, heard) = begin(vec![frail()]);
        assert_eq!(taken.iter().count(), 2);
        let heard: Vec<_> = heard.iter().collect();
        assert_eq!(heard.last(), Some(&News::Ended(Err("there is no encoder left".into()))));
    }

    #[test]
    fn a_key_picture_that_is_asked_for_twice_comes_once() {
        let (control, taken, _heard) = begin(vec![sound()]);
        let first = taken.recv().unwrap();
        control.force_key();
        control.force_key();
        // At most one picture was under way when it was asked for; the regular ones are ten apart.
        let keys: Vec<_> = taken.iter().take(5).filter(|picture| picture.key).collect();
        control.stop();
        assert!(first.key);
        assert_eq!(keys.len(), 1);
    }
}
