//! What of NVIDIA's this machine has, for people and for programs: driver, cards, codecs, limits.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use serde::Serialize;

use crate::cuda::{Card, Cuda};
use crate::encode::nvenc::abi;
use crate::encode::nvenc::caps::{self, Caps};
use crate::encode::nvenc::fault::Fault;
use crate::encode::nvenc::library::{self, Driver, Paths};
use crate::encode::nvenc::session::Session;
use crate::encode::{Codec, Error};

/// All that can be found out without encoding a picture.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether a card encodes.
    pub usable: bool,
    /// What there is, or why there is nothing and what to do: one line.
    pub summary: String,
    /// The driver's version by which NVIDIA numbers its downloads, where the system tells it.
    pub driver: Option<String>,
    /// The oldest driver that will do.
    pub driver_needed: &'static str,
    /// Newest version of CUDA that the driver has.
    pub cuda: Option<String>,
    /// Newest version of the encoder's interface that the driver has.
    pub api: Option<String>,
    /// The version that is announced to it.
    pub api_needed: String,
    /// All cards.
    pub cards: Vec<Found>,
}

/// A card.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Place among the cards, from 0.
    pub index: u32,
    /// As the driver calls it.
    pub name: String,
    /// Compute capability.
    pub compute: String,
    /// Why it does not encode, where it does not.
    pub problem: Option<String>,
    /// What it does of each codec that it has.
    pub codecs: Vec<Caps>,
}

impl Report {
    /// Looks.
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        let mut report = Self {
            usable: false,
            summary: String::new(),
            driver: library::system_version(),
            driver_needed: abi::DRIVER_NEEDED,
            cuda: None,
            api: None,
            api_needed: dotted((abi::API_NEEDED >> 4, abi::API_NEEDED & 15)),
            cards: Vec::new(),
        };
        report.summary = match report.look(paths) {
            Ok(()) => report.cards_in_words(),
            Err(line) => line,
        };
        report
    }

    fn look(&mut self, paths: &Paths) -> Result<(), String> {
        let cuda = Arc::new(Cuda::open(&paths.cuda)?);
        self.cuda = cuda.version().ok().map(dotted);
        let cards = cuda.cards()?;
        self.cards = cards.iter().map(Found::new).collect();
        let driver = Driver::on(cuda, &paths.nvenc).map_err(|error| match error {
            Error::Unavailable(line) | Error::Failed(line) => line,
        })?;
        self.api = Some(dotted(driver.api));
        for (found, card) in self.cards.iter_mut().zip(&cards) {
            match ask(&driver, card) {
                Ok(codecs) => found.codecs = codecs,
                Err(fault) => found.problem = Some(fault.line),
            }
        }
        self.usable = self.cards.iter().any(|card| !card.codecs.is_empty());
        Ok(())
    }

    fn cards_in_words(&self) -> String {
        let words = self.cards.iter().map(|card| match &card.problem {
            Some(problem) => format!("{}: {problem}", card.name),
            None => format!("{}: {}", card.name, names(card)),
        });
        words.collect::<Vec<_>>().join("; ")
    }

    /// With the limits of each codec.
    #[must_use]
    pub fn details(&self) -> String {
        let mut text = self.to_string();
        for card in &self.cards {
            for codec in &card.codecs {
                text.push_str(&format!("\n\ncard {}, {}\n{}", card.index, label(codec.codec), limits(codec)));
            }
        }
        text
    }
}

fn ask(driver: &Arc<Driver>, card: &Card) -> Result<Vec<Caps>, Fault> {
    let session = Session::open(driver, card)?;
    caps::codecs(&session)?.into_iter().map(|codec| Caps::of(&session, codec)).collect()
}

impl Found {
    fn new(card: &Card) -> Self {
        Self {
            index: card.index,
            name: card.name.clone(),
            compute: dotted(card.compute),
            problem: None,
            codecs: Vec::new(),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary)?;
        let or_unknown = |version: &Option<String>| version.clone().unwrap_or_else(|| "not known".to_owned());
        write!(
            f,
            "driver {} ({} or newer needed), CUDA {}, NVENC {} ({} or newer needed)",
            or_unknown(&self.driver),
            self.driver_needed,
            or_unknown(&self.cuda),
            or_unknown(&self.api),
            self.api_needed
        )?;
        for card in &self.cards {
            let codecs = if card.codecs.is_empty() { "does not encode".to_owned() } else { names(card) };
            write!(f, "\ncard {}: {}, compute capability {}: {codecs}", card.index, card.name, card.compute)?;
        }
        Ok(())
    }
}

fn limits(caps: &Caps) -> String {
    let numbers = [
        format!(
            "  sizes                  {} × {} to {} × {}",
            caps.min_width, caps.min_height, caps.max_width, caps.max_height
        ),
        format!(
            "  blocks of 16 × 16      {} a second over all sessions, by the driver's estimate",
            caps.max_blocks_per_second
        ),
        format!("  B-pictures in a row    {}", caps.max_b_frames),
        format!("  engines                {}", caps.engines),
    ];
    let flags = [
        ("intra-refresh", caps.intra_refresh),
        ("  in one slice", caps.single_slice_intra_refresh),
        ("VBV buffer's size", caps.custom_vbv),
        ("lookahead", caps.lookahead),
        ("temporal AQ", caps.temporal_aq),
        ("10 bits", caps.ten_bit),
        ("size in mid-stream", caps.dynamic_size),
        ("bitrate in mid-stream", caps.dynamic_bitrate),
    ];
    let flags = flags.map(|(name, has)| format!("  {name:<23}{}", if has { "yes" } else { "no" }));
    [&numbers[..], &flags[..]].concat().join("\n")
}

fn names(card: &Found) -> String {
    card.codecs.iter().map(|caps| label(caps.codec)).collect::<Vec<_>>().join(", ")
}

fn label(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H.264",
        Codec::H265 => "H.265",
        Codec::Av1 => "AV1",
    }
}

fn dotted((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}
