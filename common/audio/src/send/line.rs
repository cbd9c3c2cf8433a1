//! The capture clock in the sender's time: what every client is told of when frames were captured.

use proto::timing::Anchor;
use proto::units::{Mono, Position};

use super::Shape;
use super::encoding::Encoding;

/// A captured frame, when it was captured, and by which share the capture clock runs slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) position: Position,
    pub(super) at: Mono,
    pub(super) slow: f64,
}

impl Line {
    /// The same by the RTP times of an encoding: when what its packets hold was captured.
    pub(super) fn anchor(&self, encoding: &Encoding, shape: &Shape) -> Anchor {
        let most = f64::from(Anchor::MAX_SLOW);
        let rounding = self.position.rounding_at_rate(encoding.format(shape.rate).rate, shape.rate);
        Anchor {
            rtp_time: encoding.rtp_time(self.position, shape),
            captured: self.at.plus(rounding + encoding.shift()),
            slow_ppb: (self.slow * 1e9).clamp(-most, most) as i32,
        }
    }
}
