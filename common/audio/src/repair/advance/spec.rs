//! How much parity is sent, and how far it lies apart.

use std::fmt;
use std::str::FromStr;

use proto::parity::{PACKETS, ROWS, SPREADS};

/// `m` rows of parity for every `k` packets, which lie `spread` packets apart: as text `8+3x2`, or `8+3` for a
/// spread of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    k: u8,
    m: u8,
    spread: u8,
}

/// The text or the numbers were not a specification within the ranges of [`proto::parity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (k, m, spread) = (PACKETS.end(), ROWS.end(), SPREADS.end());
        write!(f, "needs K+M or K+MxSPREAD with up to {k}+{m}x{spread}, like 8+3x2, or `duplicate`")
    }
}

impl std::error::Error for Error {}

impl Spec {
    /// Each packet once more, two packets later.
    pub const DUPLICATE: Self = Self { k: 1, m: 1, spread: 2 };

    /// `m` (1 to 16) rows for every `k` (1 to 32) packets that lie `spread` (1 to 64) packets apart.
    ///
    /// # Errors
    /// Where one of them is out of its range.
    pub fn new(k: u8, m: u8, spread: u8) -> Result<Self, Error> {
        let sane = PACKETS.contains(&k) && ROWS.contains(&m) && SPREADS.contains(&spread);
        if sane { Ok(Self { k, m, spread }) } else { Err(Error) }
    }

    /// Packets of a block.
    pub fn k(self) -> u8 {
        self.k
    }

    /// Rows of parity of a block.
    pub fn m(self) -> u8 {
        self.m
    }

    /// Packets from one of a block to its next.
    pub fn spread(self) -> u8 {
        self.spread
    }

    /// Rows of a block that are sent at a time: one, unless there are more rows than packets.
    pub(super) fn share(self) -> u8 {
        self.m.div_ceil(self.k)
    }

    /// Packets from a block's first to the one that its last row of parity follows. A receiver that waits as
    /// long has the use of all of it.
    pub fn reach(self) -> u32 {
        let steps = self.m.div_ceil(self.share());
        u32::from(self.spread) * (u32::from(self.k) - 1 + u32::from(steps))
    }
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "duplicate" {
            return Ok(Self::DUPLICATE);
        }
        let (k, rest) = text.split_once('+').ok_or(Error)?;
        let (m, spread) = rest.split_once('x').unwrap_or((rest, "1"));
        let number = |text: &str| text.parse().map_err(|_| Error);
        Self::new(number(k)?, number(m)?, number(spread)?)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.k, self.m)?;
        if self.spread > 1 { write!(f, "x{}", self.spread) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_both_ways() {
        for (text, k, m, spread) in [("8+3x2", 8, 3, 2), ("4+1", 4, 1, 1), ("32+16x64", 32, 16, 64)] {
            let spec = Spec::new(k, m, spread).unwrap();
            assert_eq!(text.parse(), Ok(spec));
            assert_eq!(spec.to_string(), text);
        }
        assert_eq!("duplicate".parse(), Spec::new(1, 1, 2));
        for text in ["", "8", "0+1", "33+1", "8+0", "8+17", "8+3x0", "8+3x65", "8+3x", "8+3x2x2", "8 + 3"] {
            assert_eq!(text.parse::<Spec>(), Err(Error), "{text}");
        }
    }

    #[test]
    fn the_last_row_comes_a_reach_after_the_first_packet() {
        let reach = |text: &str| text.parse::<Spec>().unwrap().reach();
        assert_eq!(reach("8+3x2"), 20);
        assert_eq!(reach("duplicate"), 2);
        assert_eq!(reach("2+5"), 3);
    }
}
