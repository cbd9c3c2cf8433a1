//! When an encoder is asked for a key picture: whenever somebody waits for one, but not too often.

use proto::units::Mono;

/// Between two requests: key pictures are large, and many who come at once share one.
const APART: i64 = 500_000_000;

#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Somebody who is being served has asked for one.
    wanted: bool,
    asked: Option<Mono>,
}

impl Gate {
    /// Somebody who is being served asks for a key picture.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// There is one.
    pub(super) fn came(&mut self) {
        self.wanted = false;
    }

    /// Whether the encoder is to be asked now; `waiting` is whether somebody cannot be served before.
    pub(super) fn opens(&mut self, waiting: bool, now: Mono) -> bool {
        let opens = self.due(waiting).is_some_and(|at| now >= at);
        if opens {
            self.wanted = false;
            self.asked = Some(now);
        }
        opens
    }

    /// When it is to be asked at the earliest, if it is to be.
    pub(super) fn due(&self, waiting: bool) -> Option<Mono> {
        (self.wanted || waiting).then(|| self.asked.map_or(Mono(0), |asked| asked.plus(APART)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_somebody_waits_there_are_two_requests_a_second() {
        let mut gate = Gate::default();
        let at = |millis: &i64| gate.opens((100..1700).contains(millis), Mono(millis * 1_000_000));
        let opened: Vec<_> = (0..2000).filter(at).collect();
        assert_eq!(opened, [100, 600, 1100, 1600]);
        assert_eq!(gate.due(false), None);
        assert_eq!(gate.due(true), Some(Mono(2_100_000_000)));
    }

    #[test]
    fn who_asks_is_not_forgotten_until_there_is_one() {
        let mut gate = Gate::default();
        gate.want();
        assert!(gate.opens(false, Mono(0)));
        assert!(!gate.opens(false, Mono(900_000_000)));
        for comes in [false, true] {
            gate.asked = Some(Mono(0));
            gate.want();
            assert!(!gate.opens(false, Mono(499_999_999)));
            assert_eq!(gate.due(false), Some(Mono(500_000_000)));
            if comes {
                gate.came();
            }
            assert_eq!(gate.opens(false, Mono(500_000_000)), !comes);
        }
    }
}
