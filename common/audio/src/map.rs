//! Which source channels a client hears, and how loud.

use std::fmt;
use std::str::FromStr;

use proto::announce::MAX_CHANNELS;

/// For each output channel, the source channels that are summed into it. Channels count from 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelMap(Vec<Vec<u16>>);

/// Why a channel map was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// No channel at all, or an output without a source.
    Empty,
    /// Not a whole number from 0 to 65 535.
    NotAChannel(String),
    /// More outputs than a stream may have.
    TooMany(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a channel map needs at least one channel for each output, like 0,1+2"),
            Self::NotAChannel(text) => {
                write!(f, "`{text}` is not a channel; channels count from 0, like 0,1+2")
            }
            Self::TooMany(count) => write!(f, "{count} output channels; at most {MAX_CHANNELS} fit a stream"),
        }
    }
}

impl std::error::Error for Error {}

impl ChannelMap {
    /// Builds a map from the sources of each output.
    pub fn new(outputs: Vec<Vec<u16>>) -> Result<Self, Error> {
        if outputs.is_empty() || outputs.iter().any(Vec::is_empty) {
            return Err(Error::Empty);
        }
        if outputs.len() > usize::from(MAX_CHANNELS) {
            return Err(Error::TooMany(outputs.len()));
        }
        Ok(Self(outputs))
    }

    /// The source channels of each output channel, in order.
    pub fn outputs(&self) -> &[Vec<u16>] {
        &self.0
    }

    /// Number of output channels.
    pub fn channels(&self) -> u16 {
        self.0.len() as u16
    }

    /// The highest source channel that is used.
    pub fn highest(&self) -> u16 {
        self.0.iter().flatten().copied().max().unwrap_or(0)
    }
}

impl FromStr for ChannelMap {
    type Err = Error;

    /// `,` separates output channels, `+` sums: `0,1+2` has two outputs.
    fn from_str(text: &str) -> Result<Self, Error> {
        let channel =
            |part: &str| part.trim().parse::<u16>().map_err(|_| Error::NotAChannel(part.trim().into()));
        let outputs = text.split(',').map(|output| output.split('+').map(channel).collect());
        Self::new(outputs.collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for ChannelMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, output) in self.0.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            let sources: Vec<_> = output.iter().map(u16::to_string).collect();
            write!(f, "{separator}{}", sources.join("+"))?;
        }
        Ok(())
    }
}

/// How loud, and which way up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trim {
    /// Gain in decibels.
    pub gain_db: f32,
    /// Sends silence.
    pub mute: bool,
    /// Inverts the polarity.
    pub invert: bool,
}

impl Default for Trim {
    fn default() -> Self {
        Self { gain_db: 0.0, mute: false, invert: false }
    }
}

impl Trim {
    /// Gains that are accepted, in decibels.
    pub const GAIN_DB: std::ops::RangeInclusive<f32> = -120.0..=40.0;

    /// The factor for each sample.
    pub fn factor(&self) -> f32 {
        let magnitude = if self.mute { 0.0 } else { 10f32.powf(self.gain_db / 20.0) };
        if self.invert { -magnitude } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_lists_repeats_and_sums() {
        let map: ChannelMap = "3, 0+1 ,3".parse().unwrap();
        assert_eq!(map.outputs(), [vec![3], vec![0, 1], vec![3]]);
        assert_eq!((map.channels(), map.highest()), (3, 3));
        assert_eq!(map.to_string(), "3,0+1,3");
    }

    #[test]
    fn refuses_what_is_no_channel() {
        assert_eq!("".parse::<ChannelMap>(), Err(Error::NotAChannel(String::new())));
        assert_eq!("0,,1".parse::<ChannelMap>(), Err(Error::NotAChannel(String::new())));
        assert_eq!("1,x".parse::<ChannelMap>(), Err(Error::NotAChannel("x".into())));
        assert_eq!("-1".parse::<ChannelMap>(), Err(Error::NotAChannel("-1".into())));
        assert_eq!(ChannelMap::new(vec![]), Err(Error::Empty));
        assert_eq!(ChannelMap::new(vec![vec![0]; 256]), Err(Error::TooMany(256)));
    }

    #[test]
    fn trim_combines_gain_mute_and_polarity() {
        assert_eq!(Trim::default().factor(), 1.0);
        assert_eq!(Trim { invert: true, ..Trim::default() }.factor(), -1.0);
        assert_eq!(Trim { mute: true, ..Trim::default() }.factor(), 0.0);
        assert!((Trim { gain_db: -6.0206, ..Trim::default() }.factor() - 0.5).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(outputs in prop::collection::vec(prop::collection::vec(any::<u16>(), 1..4), 1..8)) {
            let map = ChannelMap::new(outputs).unwrap();
            prop_assert_eq!(map.to_string().parse(), Ok(map));
        }
    }
}
