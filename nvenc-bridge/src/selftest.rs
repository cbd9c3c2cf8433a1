//! One report for those who have a card that encodes: each codec is opened and made to do what the bridge asks of it.
//!
//! The project is developed on machines without such a card, so that this report is how it learns of real ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::encode::nvenc::Nvenc;
use crate::encode::nvenc::library::{Driver, Paths};
use crate::encode::{BitrateMode, Codec, EncodedPicture, Encoder, Error, Profile, Quality, Settings};
use crate::picture::{Format, Picture, Rate, Size};
use crate::probe::Report;

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Selftest {
    /// What the machine has.
    pub machine: Report,
    /// What was tried on it.
    pub trials: Vec<Trial>,
}

/// One stream of `PICTURES` pictures.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Which card.
    pub card: u32,
    /// Which codec.
    pub codec: Codec,
    /// What was asked of it.
    pub name: &'static str,
    /// Why it is not as it should be; nothing where all is well.
    pub problem: Option<String>,
    /// What the encoder does otherwise than asked.
    pub warnings: Vec<String>,
    /// Milliseconds from handing in a picture to having its bits, the median.
    pub median_ms: f64,
    /// The longest.
    pub longest_ms: f64,
    /// Of the stream, at its nominal rate.
    pub bits_per_second: u64,
}

/// In each trial: two seconds.
const PICTURES: u64 = 120;
const SIZE: Size = Size { width: 1280, height: 720 };
const RATE: Rate = Rate { pictures: 60, seconds: 1 };
/// The picture that is asked to be a key picture.
const FORCED: u64 = 50;
/// The picture before which the bitrate is halved.
const CHANGED: u64 = 80;

impl Selftest {
    /// Tries all cards with all codecs that they have; some seconds each.
    #[must_use]
    pub fn run(paths: &Paths) -> Self {
        let machine = Report::new(paths);
        let mut trials = Vec::new();
        if let Ok(driver) = Driver::open(paths) {
            for card in &machine.cards {
                for codec in card.codecs.iter().map(|caps| caps.codec) {
                    trials.extend(
                        kinds(codec).map(|(name, settings)| Trial::run(&driver, card.index, name, &settings)),
                    );
                }
            }
        }
        Self { machine, trials }
    }

    /// Whether there is a card, and all is well with it.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.machine.usable && self.trials.iter().all(|trial| trial.problem.is_none())
    }
}

fn kinds(codec: Codec) -> impl Iterator<Item = (&'static str, Settings)> {
    let plain = Settings {
        codec,
        profile: Profile::Main,
        quality: Quality::LowLatencyMedium,
        size: SIZE,
        rate: RATE,
        aspect: None,
        keyframe_interval: 0,
        max_b_frames: 0,
        intra_refresh_period: 0,
        intra_refresh_length: 0,
        bitrate_mode: BitrateMode::Constant,
        average_bitrate: 4_000_000,
        max_bitrate: 0,
        vbv: None,
        slices: 1,
    };
    let refresh = Settings { intra_refresh_period: 30, intra_refresh_length: 10, ..plain.clone() };
    let slices = Settings { slices: 4, bitrate_mode: BitrateMode::ConstantHq, ..plain.clone() };
    let late = Settings {
        quality: Quality::HighLatencyHigh,
        max_b_frames: 2,
        bitrate_mode: BitrateMode::VariableHq,
        max_bitrate: 6_000_000,
        ..plain.clone()
    };
    let ultra = Settings { quality: Quality::HighLatencyUltraHigh, ..late.clone() };
    [
        ("low latency", plain),
        ("intra-refresh", refresh),
        ("four slices, two passes", slices),
        ("B-pictures, lookahead", late),
        ("ultra-high quality", ultra),
    ]
    .into_iter()
}

impl Trial {
    fn run(driver: &Arc<Driver>, card: u32, name: &'static str, settings: &Settings) -> Self {
        let mut trial = Self {
            card,
            codec: settings.codec,
            name,
            problem: None,
            warnings: Vec::new(),
            median_ms: 0.0,
            longest_ms: 0.0,
            bits_per_second: 0,
        };
        match trial.encode(driver, settings) {
            Ok(bits) => trial.judge(&bits),
            Err(error) => trial.problem = Some(error.to_string()),
        }
        trial
    }

    fn encode(&mut self, driver: &Arc<Driver>, settings: &Settings) -> Result<Vec<EncodedPicture>, Error> {
        let mut encoder = Nvenc::open(driver, Some(self.card), settings, Format::Nv12)?;
        let told = encoder.warnings().iter();
        self.warnings = told.map(ToString::to_string).collect();
        let mut out = VecDeque::new();
        for number in 0..PICTURES {
            if number == CHANGED {
                let halved = Settings { average_bitrate: settings.average_bitrate / 2, ..settings.clone() };
                encoder.change(&halved)?;
            }
            encoder.encode(&picture(number), number == FORCED, &mut out)?;
        }
        encoder.finish(&mut out)?;
        Ok(out.into())
    }

    fn judge(&mut self, bits: &[EncodedPicture]) {
        let mut took: Vec<_> = bits.iter().map(|unit| unit.took).collect();
        took.sort_unstable();
        let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        (self.median_ms, self.longest_ms) = (ms(took.get(took.len() / 2)), ms(took.last()));
        let octets: u64 = bits.iter().map(|unit| unit.data.len() as u64).sum();
        self.bits_per_second = octets * 8 * u64::from(RATE.pictures) / PICTURES;
        let mut numbers: Vec<_> = bits.iter().map(|unit| unit.number).collect();
        numbers.sort_unstable();
        let keys: Vec<_> = bits.iter().filter(|unit| unit.key).map(|unit| unit.number).collect();
        let headless = bits.iter().find(|unit| unit.key && !begins_with_parameters(self.codec, &unit.data));
        self.problem = if numbers != (0..PICTURES).collect::<Vec<_>>() {
            Some(format!("{} of {PICTURES} pictures came", numbers.len()))
        } else if keys != [0, FORCED] {
            Some(format!("key pictures are {keys:?} instead of 0 and {FORCED}"))
        } else {
            headless.map(|unit| format!("key picture {} is without parameter sets", unit.number))
        };
    }
}

/// Whether a decoder can begin with these bits: SPS of H.264, VPS of H.265, sequence header of AV1, behind delimiters or not.
fn begins_with_parameters(codec: Codec, data: &[u8]) -> bool {
    if codec == Codec::Av1 {
        return data.first().is_some_and(|octet| octet >> 3 & 15 == 1);
    }
    let units = data.windows(4).filter(|window| window[..3] == [0, 0, 1]).map(|window| window[3]);
    let mut kinds = units.map(|header| match codec {
        Codec::H264 => (header & 31, 9, 7),
        _ => (header >> 1 & 63, 35, 32),
    });
    kinds
        .find(|(kind, delimiter, _)| kind != delimiter)
        .is_some_and(|(kind, _, parameters)| kind == parameters)
}

/// A bright bar that moves over a slope.
fn picture(number: u64) -> Picture {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let mut data = vec![128; Format::Nv12.octets(SIZE)];
    let bar = number as usize * 8 % (width - 64);
    for (y, row) in data.chunks_exact_mut(width).take(height).enumerate() {
        row.fill((16 + y * 200 / height) as u8);
        row[bar..bar + 64].fill(235);
    }
    Picture { format: Format::Nv12, size: SIZE, data, at: Duration::from_micros(number * 16_667), number }
}
