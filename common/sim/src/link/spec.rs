//! How a path treats its datagrams.

use crate::random::Random;

/// The conditions on a path. The default is a perfect one. Shares are 0.0..=1.0 of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkSpec {
    /// Datagrams that never arrive.
    pub loss: Loss,
    /// What every datagram takes at least, in nanoseconds.
    pub delay: i64,
    /// What is added to the delay, anew for each datagram.
    pub jitter: Jitter,
    /// Times at which nothing gets through.
    pub stalls: Option<Stalls>,
    /// Share of datagrams that take [`reorder_by`](Self::reorder_by) more, so that others overtake them.
    pub reorder: f64,
    /// In nanoseconds.
    pub reorder_by: i64,
    /// Share of datagrams of which a copy follows, by a jitter of its own.
    pub duplicate: f64,
    /// The narrowest line on the path.
    pub rate: Option<Rate>,
    /// Jitter never reorders: each datagram arrives no earlier than the one before, save for those of `reorder`.
    pub in_order: bool,
}

/// Which datagrams the line loses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// This share, each on its own.
    Random(f64),
    /// In bursts (Gilbert: a bad state loses everything, a good one nothing, and both last geometrically).
    Gilbert {
        /// Mean loss, at most `burst / (burst + 1)`.
        share: f64,
        /// Mean number of consecutive losses, from 1.0.
        burst: f64,
    },
}

/// How the delay varies. All in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Evenly from 0.
    Uniform {
        /// Up to here.
        most: i64,
    },
    /// Half-normal: the magnitude of a normal value, 0.8 `sigma` in the mean.
    Normal {
        /// Deviation of the normal value.
        sigma: i64,
    },
    /// Long-tailed (Lomax): `scale * (u^(-1/shape) - 1)` for a uniform u.
    Pareto {
        /// Mean of the delay times `shape - 1`.
        scale: i64,
        /// The smaller, the longer the tail.
        shape: f64,
        /// Longer ones are cut to this.
        most: i64,
    },
}

/// Times at which nothing arrives. What would have arrived comes at the end, all at once and in the order in which it was
/// sent. All in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// Mean time from the end of one to the next, exponential.
    pub every: i64,
    /// They last evenly from this...
    pub shortest: i64,
    /// ...to this.
    pub longest: i64,
}

/// A line with a queue before it that drops what does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bits of IP datagrams each second, headers included.
    pub bits_per_second: u64,
    /// Longest wait for the line in nanoseconds; a datagram that would wait longer is dropped.
    pub queue: i64,
}

impl Jitter {
    /// What it adds for one datagram.
    pub(super) fn draw(self, mut random: Random) -> i64 {
        match self {
            Self::None => 0,
            Self::Uniform { most } => (random.unit() * most as f64) as i64,
            Self::Normal { sigma } => (random.normal().abs() * sigma as f64) as i64,
            Self::Pareto { scale, shape, most } => {
                let tail = (1.0 - random.unit()).powf(-1.0 / shape) - 1.0;
                ((tail * scale as f64) as i64).min(most)
            }
        }
    }
}
