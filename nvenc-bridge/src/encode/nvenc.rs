//! NVIDIA's encoder, by its own interface.
//!
//! [`library`] opens the driver, [`session`] makes its calls, [`caps`] asks what a card can do, [`config`] turns settings into
//! fields, and [`Nvenc`] is an [`Encoder`]. Only [`abi`], [`library`] and [`session`] hold code that Rust cannot check.
//!
//! All of it is tested on a stand-in for the driver, which cannot show the quality, speed and quirks of real ones: encoding on a
//! real card has not been run by the project. [`crate::selftest`] makes one report for those who have a card.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::convert;
use crate::cuda::Card;
use crate::encode::mapping::Mapping;
use crate::encode::{Codec, EncodedPicture, Encoder, Error, Settings, Warning};
use crate::picture::{Format, Picture};

#[allow(unsafe_code)]
pub mod abi;
pub mod caps;
pub mod config;
pub mod fault;
#[allow(unsafe_code)]
pub mod library;
pub mod mapping;
mod planes;
#[allow(unsafe_code)]
pub mod session;
mod work;

use caps::Caps;
use fault::Fault;
use library::Driver;
use session::{Bits, Frame, Taken};
use work::{SLOTS, Work, check_size, native, patiently};

/// An encoder on a card.
pub struct Nvenc {
    driver: Arc<Driver>,
    card: Card,
    name: String,
    settings: Settings,
    format: Format,
    work: Work,
    shown: VecDeque<Shown>,
    ready: VecDeque<EncodedPicture>,
    sequence: u64,
    failed: Option<String>,
    /// A converted picture, kept for the next.
    scratch: Vec<u8>,
}

/// A picture whose bits have not come yet.
struct Shown {
    sequence: u64,
    at: Duration,
    number: u64,
    since: Instant,
}

impl Nvenc {
    /// Opens a session for pictures of a format. P010 is coded in 10 bits where codec and card have them; all others may come
    /// in place of each other, and are converted. Without `card`, takes the first that does it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with one line that says why no card does it.
    pub fn open(
        driver: &Arc<Driver>,
        card: Option<u32>,
        settings: &Settings,
        format: Format,
    ) -> Result<Self, Error> {
        let cards = driver.cuda.cards().map_err(Error::Unavailable)?;
        let mut reason = match card {
            Some(index) => format!("there is no card {index}: `nvenc-bridge probe` lists the cards"),
            None => String::new(),
        };
        for card in cards.into_iter().filter(|found| card.is_none_or(|index| found.index == index)) {
            match Work::open(driver, &card, settings, format) {
                Ok(work) => {
                    return Ok(Self {
                        driver: driver.clone(),
                        name: format!("NVENC on {}", card.name),
                        card,
                        settings: settings.clone(),
                        format: work.format,
                        work,
                        shown: VecDeque::new(),
                        ready: VecDeque::new(),
                        sequence: 0,
                        failed: None,
                        scratch: Vec::new(),
                    });
                }
                Err(why) => reason = format!("{}: {why}", card.name),
            }
        }
        Err(Error::Unavailable(reason))
    }

    /// What becomes of the settings.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        mapping::of(&self.settings, &self.work.plan)
    }

    /// What the card can do of the codec in use.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.work.caps
    }

    /// The picture's octets in the session's format and size.
    fn converted<'a>(&self, picture: &'a Picture, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], String> {
        let size = self.settings.size;
        let as_it_is = picture.format == self.format && picture.size == size;
        if as_it_is && picture.data.len() == self.format.octets(size) {
            return Ok(&picture.data);
        }
        let converted = match self.format {
            Format::I420 => convert::i420(picture, size, scratch),
            Format::P010 => {
                return Err(
                    "NVENC was opened for whole pictures of 10 bits: open it anew for others".to_owned()
                );
            }
            _ => convert::nv12(picture, size, scratch),
        };
        converted.map_err(|error| format!("NVENC: {error}"))
    }

    fn submit(
        &mut self,
        picture: &Picture,
        data: &[u8],
        (key, since): (bool, Instant),
        out: &mut VecDeque<EncodedPicture>,
    ) -> Result<(), Fault> {
        let (sequence, settings) = (self.sequence, &self.settings);
        let (width, height) = (settings.size.width, settings.size.height);
        let format = native(self.format);
        let work = &mut self.work;
        let slot = match work.free.pop_front() {
            Some(slot) => slot,
            None if work.slots < SLOTS => {
                work.session.add_slot(width, height, format).inspect(|_| work.slots += 1)?
            }
            None => {
                return Err(Fault::cuda(format!(
                    "NVENC keeps back more than {SLOTS} pictures: choose a quality of low latency"
                )));
            }
        };
        let rows = planes::rows(height);
        let pitch = patiently(|| {
            work.session.write(slot, rows, |buffer, pitch| {
                planes::copy(data, self.format, settings.size, buffer, pitch)
            })
        })?;
        let frame = Frame {
            width,
            height,
            pitch,
            format,
            flags: if key { abi::flag::FORCE_IDR | abi::flag::OUTPUT_PARAMETER_SETS } else { 0 },
            timestamp: sequence,
        };
        let taken = patiently(|| work.session.encode(slot, frame))?;
        work.idle = false;
        work.pending.push_back(slot);
        if taken == Taken::Done {
            work.covered = work.pending.len();
        }
        self.sequence += 1;
        self.shown.push_back(Shown { sequence, at: picture.at, number: picture.number, since });
        self.collect(self.work.plan.kept, out)
    }

    /// Reads what may be read, but for the last `kept` pictures, for which the card might have to wait.
    fn collect(&mut self, kept: usize, out: &mut VecDeque<EncodedPicture>) -> Result<(), Fault> {
        while self.work.covered > 0 && self.work.pending.len() > kept {
            let Some(slot) = self.work.pending.pop_front() else { break };
            self.work.covered -= 1;
            let bits = patiently(|| self.work.session.read(slot))?;
            self.work.free.push_back(slot);
            out.extend(self.finished(bits));
        }
        Ok(())
    }

    fn finished(&mut self, bits: Bits) -> Option<EncodedPicture> {
        let place = self.shown.iter().position(|shown| shown.sequence == bits.timestamp)?;
        let shown = self.shown.remove(place)?;
        let data = match self.settings.codec {
            Codec::Av1 => super::without_delimiter(bits.data),
            Codec::H264 | Codec::H265 => bits.data,
        };
        // A picture that rate control skipped has no bits.
        (!data.is_empty()).then(|| EncodedPicture {
            data,
            key: bits.key,
            at: shown.at,
            number: shown.number,
            took: shown.since.elapsed(),
        })
    }

    fn drain(&mut self, out: &mut VecDeque<EncodedPicture>) -> Result<(), Fault> {
        if self.work.idle {
            return Ok(());
        }
        self.work.idle = true;
        patiently(|| self.work.session.end())?;
        self.work.covered = self.work.pending.len();
        let done = self.collect(0, out);
        self.shown.clear();
        done
    }

    /// Remembers a failure: nothing more comes of this session.
    fn fail(&mut self, fault: Fault) -> Error {
        let line = format!("{}: {}", self.card.name, fault.line);
        self.failed = Some(line.clone());
        Error::Failed(line)
    }

    fn usable(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), |line| Err(Error::Failed(line)))
    }

    fn resize(&mut self, settings: &Settings) -> Result<(), Error> {
        check_size(settings, &self.work.caps).map_err(Error::Unavailable)?;
        let mut ready = std::mem::take(&mut self.ready);
        let drained = self.drain(&mut ready);
        self.ready = ready;
        drained.map_err(|fault| self.fail(fault))?;
        self.settings = settings.clone();
        let fits = settings.size.width <= self.work.largest.width
            && settings.size.height <= self.work.largest.height;
        if fits && self.work.caps.dynamic_size && self.work.resize(settings).is_ok() {
            return Ok(());
        }
        match Work::open(&self.driver, &self.card, settings, self.format) {
            Ok(work) => {
                self.work = work;
                Ok(())
            }
            Err(line) => Err(self.fail(Fault::cuda(line))),
        }
    }
}

impl Encoder for Nvenc {
    fn name(&self) -> &str {
        &self.name
    }

    fn warnings(&self) -> &[Warning] {
        &self.work.plan.warnings
    }

    fn encode(
        &mut self,
        picture: &Picture,
        key: bool,
        out: &mut VecDeque<EncodedPicture>,
    ) -> Result<(), Error> {
        self.usable()?;
        out.append(&mut self.ready);
        let since = Instant::now();
        let mut scratch = std::mem::take(&mut self.scratch);
        let encoded = match self.converted(picture, &mut scratch) {
            Ok(data) => self.submit(picture, data, (key, since), out).map_err(|fault| self.fail(fault)),
            Err(line) => Err(Error::Failed(line)),
        };
        self.scratch = scratch;
        encoded
    }

    fn change(&mut self, settings: &Settings) -> Result<(), Error> {
        self.usable()?;
        let mut same = settings.clone();
        (same.size, same.rate, same.aspect) = (self.settings.size, self.settings.rate, self.settings.aspect);
        (same.average_bitrate, same.max_bitrate, same.vbv) =
            (self.settings.average_bitrate, self.settings.max_bitrate, self.settings.vbv);
        if same != self.settings {
            return Err(Error::Unavailable("in mid-stream only bitrates, VBV buffer, picture rate, size and aspect change: open the encoder anew for the rest".to_owned()));
        }
        if settings.size != self.settings.size {
            return self.resize(settings);
        }
        let bits = |of: &Settings| (of.average_bitrate, of.max_bitrate, of.vbv);
        if bits(settings) != bits(&self.settings) && !self.work.caps.dynamic_bitrate {
            return Err(Error::Unavailable(format!(
                "{} does not change bitrates in mid-stream: open the encoder anew",
                self.card.name
            )));
        }
        self.work.reconfigure(settings, false).map_err(|fault| Error::Unavailable(fault.line))?;
        self.settings = settings.clone();
        Ok(())
    }

    fn finish(&mut self, out: &mut VecDeque<EncodedPicture>) -> Result<(), Error> {
        self.usable()?;
        out.append(&mut self.ready);
        self.drain(out).map_err(|fault| self.fail(fault))
    }
}
