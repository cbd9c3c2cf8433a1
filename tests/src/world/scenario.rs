//! What is simulated: the machines, their cards and clocks, the paths between them, and what befalls them.

use std::f64::consts::TAU;

use audio::receive::Adapt;
use audio::send::{Codec, Policy, Repair};
use sim::card::CardSpec;
use sim::clock::ClockSpec;
use sim::link::{Jitter, LinkSpec};

use super::RATE;

/// Amplitude of a tone: 1 dB below full scale.
pub const AMPLITUDE: f64 = 0.891_250_938;
/// Amplitude of a pilot.
pub(super) const PILOT_AMPLITUDE: f64 = 0.5;

/// What is captured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sound {
    /// At frame n the value n, wrapping, in 16 bits.
    Ramp,
    /// A sine of so many hertz by the sender's card, of which what is played is kept.
    Tone(f64),
    /// A [pilot](crate::pilot) of so many hertz by the sender's card.
    Pilot(f64),
}

impl Sound {
    pub(super) fn sample(self, frame: u64) -> f32 {
        let sine = |hertz: f64| (TAU * hertz * frame as f64 / f64::from(RATE)).sin();
        match self {
            Self::Ramp => proto::pcm::sample(frame as i16),
            Self::Tone(hertz) => (AMPLITUDE * sine(hertz)) as f32,
            Self::Pilot(hertz) => (PILOT_AMPLITUDE * sine(hertz)) as f32,
        }
    }
}

/// What plays the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ear {
    /// A card of its own clock, in periods of so many frames.
    Card(CardSpec, u32),
    /// One that takes sound ahead of its time.
    DeepCard(CardSpec, u32),
    /// A file that follows the stream.
    File,
}

/// A sender and those who hear it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Length of the run in seconds.
    pub seconds: f64,
    /// What is captured.
    pub sound: Sound,
    /// Frames in a packet of PCM.
    pub frames: u16,
    /// The sender's card, and the frames in its period.
    pub capture: (CardSpec, u32),
    /// The clock of the sender's machine.
    pub clock: ClockSpec,
    /// Times (from, until, in seconds) at which the sender does not run. It ends without a word and comes back at another port.
    pub away: Vec<(f64, f64)>,
    /// How the receivers' common delay is chosen; `None` where each plays by itself.
    pub delay: Option<Policy>,
    /// How losses are repaired.
    pub repair: Repair,
    /// Changes of the routing: from when on (in seconds) which repair.
    pub routings: Vec<(f64, Repair)>,
    /// Frees former routings where the send thread runs, as the programs must not.
    pub careless: bool,
    /// What is heard before this many seconds is not judged.
    pub settle: f64,
    /// Those who hear it: at least one.
    pub receivers: Vec<Receiver>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seconds: 60.0,
            sound: Sound::Ramp,
            frames: 128,
            capture: (CardSpec::default(), 128),
            clock: ClockSpec::default(),
            away: Vec::new(),
            delay: None,
            repair: Repair::default(),
            routings: Vec::new(),
            careless: false,
            settle: 0.0,
            receivers: vec![Receiver::default()],
        }
    }
}

impl Scenario {
    /// The same with one receiver, this one.
    pub fn heard_by(&self, receiver: Receiver) -> Self {
        Self { receivers: vec![receiver], ..self.clone() }
    }
}

/// A receiver, its machine, and the way to it.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// How the sound is coded for it.
    pub codec: Codec,
    /// What plays.
    pub ear: Ear,
    /// Frames a second that a card which plays claims. A ramp can be judged at [`RATE`] only.
    pub card_rate: u32,
    /// The clock of its machine.
    pub clock: ClockSpec,
    /// From the sender, and from when on (in seconds).
    pub forward: Vec<(f64, LinkSpec)>,
    /// To the sender.
    pub back: LinkSpec,
    /// Times (from, until, in seconds) at which nothing comes through, either way.
    pub blackouts: Vec<(f64, f64)>,
    /// Another path, both ways, that everything is sent by too.
    pub second: Option<SecondPath>,
    /// Times (from, until, in seconds) at which it does not run. It ends without a word.
    pub away: Vec<(f64, f64)>,
    /// What the sender's list adds to the group's delay for it, in nanoseconds.
    pub trim_ns: i32,
    /// What it adds itself; `None` where it goes by the arrivals.
    pub trim: Option<i64>,
    /// In nanoseconds.
    pub latency: i64,
    /// How the latency adapts.
    pub adapt: Option<Adapt>,
}

/// A second path from and to the sender.
#[derive(Clone, Debug, Default)]
pub struct SecondPath {
    /// Either way.
    pub link: LinkSpec,
    /// Times (from, until, in seconds) at which nothing comes through, either way.
    pub blackouts: Vec<(f64, f64)>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            codec: Codec::Pcm16,
            ear: Ear::File,
            card_rate: RATE,
            clock: ClockSpec::default(),
            forward: vec![(0.0, LinkSpec::default())],
            back: LinkSpec::default(),
            blackouts: Vec::new(),
            second: None,
            away: Vec::new(),
            trim_ns: 0,
            trim: None,
            latency: 30_000_000,
            adapt: None,
        }
    }
}

impl Receiver {
    /// The same behind such a path, both ways.
    pub fn over(&self, path: LinkSpec) -> Self {
        Self { forward: vec![(0.0, path)], back: path, ..self.clone() }
    }
}

/// A card that is off by so many parts per million, and whose callbacks come up to 0.1 ms late.
pub fn card(ppm: f64) -> CardSpec {
    CardSpec { ppm, jitter: 100_000, seed: 5, ..CardSpec::default() }
}

/// A cable and a switch: 0.1 ms and a little jitter.
pub fn wired() -> LinkSpec {
    let jitter = Jitter::Normal { sigma: 50_000 };
    LinkSpec { delay: 100_000, jitter, in_order: true, ..LinkSpec::default() }
}
