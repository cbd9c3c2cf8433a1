//! The life of a stream, on a thread of its own: its source, its encoder, its sound, and the server they go to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use super::encoder;
use super::live::Orders;
use crate::encode::{EncodedPicture, Encoder, Settings, Warning};
use crate::encoding::{self, Encoding, Over};
use crate::info::Info;
use crate::params::rules::Origin;
use crate::plan;
use crate::rtp::{Access, Format};
use crate::serve::{self, Feed, Server};
use crate::sound::{EncodedSound, Sound};
use crate::source::feed::{self, Opened};
use crate::source::slot::Found;

/// Between two looks while there are no pictures.
const LOOK: Duration = Duration::from_millis(50);

/// What a stream has to say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// It is served from now on: where, and what it is.
    Serving { urls: Vec<String>, what: String },
    /// It is served no longer, as was asked.
    Rests,
    /// Something is done otherwise than asked.
    Warned(String),
    /// Its pictures are encoded so from now on.
    Changed(Settings),
    /// What was asked for is not to be had; all stays as it was. Without settings, it stays at rest.
    Refused { asked: Option<Settings>, reason: String },
    /// Of its sound.
    Sound(String),
    /// It is over.
    Ended(Result<(), String>),
}

pub(super) struct Life {
    plan: plan::Stream,
    server: Arc<Server>,
    info: Arc<Info>,
    orders: Arc<Orders>,
    tell: SyncSender<News>,
}

/// Pictures of a source that runs.
struct Pictures {
    feed: feed::Feed,
    settings: Settings,
}

/// What there is while the stream is served.
struct Served {
    stream: serve::Stream,
    encoder: Option<(Box<dyn Encoder>, Feed)>,
    sound: Option<Sound>,
    /// Of sound and of parameters, which hold whatever the encoder is.
    warnings: Vec<Warning>,
}

impl Life {
    pub(super) fn new(
        plan: plan::Stream,
        server: Arc<Server>,
        info: Arc<Info>,
        orders: Arc<Orders>,
        tell: SyncSender<News>,
    ) -> Self {
        Self { plan, server, info, orders, tell }
    }

    pub(super) fn run(mut self) {
        let ended = self.live();
        self.info.active.store(false, Ordering::Release);
        if let Err(reason) = &ended {
            self.info.note_error(reason);
        }
        // Nobody is told where all has ended.
        let _ = self.tell.send(News::Ended(ended));
    }

    fn say(&self, news: News) {
        // What nobody reads, nobody misses.
        let _ = self.tell.try_send(news);
    }

    fn warn(&self, warnings: &[Warning]) {
        warnings.iter().for_each(|warning| self.say(News::Warned(warning.to_string())));
    }

    /// Passes on what the sound has to say.
    ///
    /// # Errors
    /// It has failed.
    fn hear(&self, sound: Option<&Sound>) -> Result<(), String> {
        let Some(sound) = sound else { return Ok(()) };
        let failed = sound.counters.failed.load(Ordering::Acquire);
        while let Some(news) = sound.poll_news() {
            self.say(News::Sound(news));
        }
        if failed { Err(format!("{} brings no more sound", sound.description)) } else { Ok(()) }
    }

    fn live(&mut self) -> Result<(), String> {
        self.warn(&self.plan.warnings);
        let mut pictures = self.open()?;
        // One that begins at rest has started as asked.
        let mut before = self.orders.control.is_paused();
        if before {
            self.say(News::Rests);
        }
        while !self.orders.control.is_stopped() {
            if self.orders.control.is_paused() {
                if let Some(ended) = pass(pictures.as_ref()) {
                    return ended;
                }
                continue;
            }
            let served = match self.begin(pictures.as_ref()) {
                Ok(served) => served,
                // While it was not served, somebody else may have taken its port, card or device.
                Err(reason) if before => {
                    self.orders.control.pause(true);
                    self.info.active.store(false, Ordering::Release);
                    self.info.note_error(&reason);
                    self.say(News::Refused { asked: None, reason });
                    continue;
                }
                Err(reason) => return Err(reason),
            };
            before = true;
            let over = self.serve(served, pictures.as_mut());
            self.info.set_urls(Vec::new());
            match over? {
                Over::Source => return Ok(()),
                Over::Asked => self.say(News::Rests),
            }
        }
        Ok(())
    }

    /// Opens the source of pictures, where there is to be one, and has it begin.
    fn open(&mut self) -> Result<Option<Pictures>, String> {
        let Some(pictures) = &self.plan.pictures else { return Ok(None) };
        let opened = Opened::new(&pictures.source, self.orders.control.stopped())?;
        let shape = opened.shape();
        let origin = Origin { size: shape.size, rate: shape.rate, aspect: shape.aspect };
        let (settings, warnings) = self.plan.settings(&origin)?;
        self.orders.set_origin(origin);
        for warning in warnings {
            if !self.plan.warnings.contains(&warning) {
                self.plan.warnings.push(warning);
            }
        }
        self.warn(&self.plan.warnings);
        let feed = opened.begin(settings.rate, self.info.taking.clone())?;
        Ok(Some(Pictures { feed, settings }))
    }

    /// Opens encoders and sound, and has the server serve them.
    fn begin(&mut self, pictures: Option<&Pictures>) -> Result<Served, String> {
        let mut formats = Vec::new();
        let mut encoder: Option<Box<dyn Encoder>> = None;
        if let (Some(pictures), Some(plan)) = (pictures, &self.plan.pictures) {
            let settings = &pictures.settings;
            let opened = encoder::open(plan.encoder, settings, pictures.feed.shape.format);
            encoder = Some(Box::new(opened.map_err(|error| format!("encoder: {error}"))?));
            formats.push(Format::Video(settings.codec));
        }
        let (hand, handed) = sync_channel::<Feed>(1);
        let mut warnings = self.plan.warnings.clone();
        let mut sound = None;
        if let Some(settings) = &self.plan.sound {
            let mut feed = None;
            let deliver = move |unit: EncodedSound| {
                if feed.is_none() {
                    feed = handed.try_recv().ok();
                }
                if let Some(feed) = &mut feed {
                    let EncodedSound { data, at, frames, .. } = &unit;
                    feed.send(&Access { data, key: true, at: *at, frames: *frames });
                }
            };
            let started = Sound::start(settings, deliver).map_err(|error| format!("audio: {error}"))?;
            formats.push(started.track.format());
            warnings.extend_from_slice(&started.warnings);
            sound = Some(started);
        }
        let mounted = self.server.mount(&self.plan.name, formats, self.plan.group);
        let (stream, feeds) = mounted.map_err(|error| error.to_string())?;
        let mut feeds = feeds.into_iter();
        let encoder = encoder.and_then(|encoder| Some((encoder, feeds.next()?)));
        if let Some(feed) = feeds.next() {
            // There is room for one.
            let _ = hand.try_send(feed);
        }
        Ok(Served { stream, encoder, sound, warnings })
    }

    /// Serves until the source ends or something else is asked for.
    fn serve(&mut self, served: Served, pictures: Option<&mut Pictures>) -> Result<Over, String> {
        let Served { stream, encoder, sound, warnings } = served;
        let orders = self.orders.clone();
        let info = self.info.clone();
        let urls = self.plan.urls(stream.addresses());
        info.set_urls(urls.clone());
        info.watch(stream.watcher());
        info.set_sound(sound.as_ref());
        info.set_encoder("none", &warnings);
        self.warn(&warnings);
        let heard = sound.as_ref().map(|sound| sound.description.clone());
        let (Some((mut encoder, mut feed)), Some(pictures)) = (encoder, pictures) else {
            let what = heard.unwrap_or_default();
            self.say(News::Serving { urls, what });
            while !orders.control.is_halted() {
                self.hear(sound.as_ref())?;
                std::thread::sleep(LOOK);
            }
            return Ok(Over::Asked);
        };
        let mut settings = pictures.settings.clone();
        let mut what = format!("{} by {}", plan::described(&settings), encoder.name());
        if let Some(heard) = heard {
            what.push_str(" with sound of ");
            what.push_str(&heard);
        }
        self.say(News::Serving { urls, what });
        info.encoding.begin(&settings);
        let life = &*self;
        let over = Encoding {
            encoder: &mut *encoder,
            settings: &mut settings,
            feed: &pictures.feed,
            control: &orders.control,
            look: &mut || {
                // Pictures go on where sound has failed, which is told.
                let _ = life.hear(sound.as_ref());
                stream.takes_key()
            },
            out: &mut |picture: EncodedPicture| {
                info.encoding.note(&picture);
                feed.send(&Access { data: &picture.data, key: picture.key, at: picture.at, frames: 0 });
            },
            tell: &mut |news| match news {
                encoding::News::Warned { encoder, warnings: its } => {
                    info.set_encoder(&encoder, &[&warnings[..], &its].concat());
                    life.warn(&its);
                }
                encoding::News::Changed(settings) => {
                    info.encoding.begin(&settings);
                    life.say(News::Changed(settings));
                }
                encoding::News::Refused { asked, reason } => {
                    info.note_error(&reason);
                    life.say(News::Refused { asked: Some(asked), reason });
                }
            },
        }
        .run();
        pictures.settings = settings;
        over
    }
}

/// Lets a picture of a stream pass that is not served. How the source has ended, if it has.
fn pass(pictures: Option<&Pictures>) -> Option<Result<(), String>> {
    let Some(Pictures { feed, .. }) = pictures else {
        std::thread::sleep(LOOK);
        return None;
    };
    match feed.pictures.take(LOOK) {
        Found::Picture(picture) => feed.pictures.reuse(picture),
        Found::Nothing => {}
        Found::End(reason) => return Some(reason),
    }
    None
}
