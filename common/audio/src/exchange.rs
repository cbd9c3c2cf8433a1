//! Another machine's clock, from questions and answers over a network that delays them as it likes.
//!
//! Every question came in later than it was asked, every answer was written before it came: in a plot of what the peer's
//! clock is ahead against time, the questions lie above the truth and the answers below it, each by its delay. Both
//! clocks run evenly, so the truth is a line between the two clouds. Of all pairs of parallel lines with all questions
//! above and all answers below, the one furthest apart is the likeliest where delays fall off exponentially; the
//! truth is taken to lie in its middle. Queues and stalls, in one direction or both, move points away from the strip and
//! change nothing; only paths whose least delays differ remain unseen, by half of the difference.

mod strip;

use proto::exchange::{Reply, Request};
use proto::units::Mono;

use crate::scatter::Scatter;

use strip::{Assumed, Line, Point, fit};

/// Exchanges that are remembered: 16 s, in which the clocks' rates hardly change.
const POINTS: usize = 64;
/// Exchanges from which on the clock is believed.
const ENOUGH: usize = 4;
/// What is known of two clocks' rates before their exchanges say better.
const ANY: Assumed = Assumed { gain: 0.0, deviation: 60e-6 };
/// Exchanges over this time, in nanoseconds, tell the gain...
const LONG: i64 = 12_000_000_000;
/// ...about so well.
const STEADY: f64 = 3e-6;
/// After a step the rates are likely to be what they were; but it may be them that have changed.
const DOUBTFUL: f64 = 20e-6;
/// Questions that may go unanswered before they become rare.
const UNANSWERED: u32 = 32;
/// Time between two questions at first, in nanoseconds: jitter that one meets is over for the next.
const QUICK: i64 = 25_000_000;
/// Then as far apart as this part of the time that they cover: early ones are dense, since few points far apart let jitter
/// pass for a rate.
const PART: i64 = 32;
/// Afterwards, unless the peer has many to answer. Four a second are a hundredth of the stream's packets, and find the least
/// delay in a few seconds.
const CALM: i64 = 250_000_000;
/// Where nobody answers.
const PATIENT: i64 = 2_000_000_000;
/// Longest that an answer may take, in nanoseconds.
const LONGEST: i64 = 2_000_000_000;
/// Questions that may be open at a time.
const OPEN: usize = 16;
/// Exchanges in a row that the line contradicts, before it is given up: a clock was set, or its rate was.
const CONTRADICTIONS: usize = 3;
/// A contradiction is one by more than this, in nanoseconds: clocks that are read take that long.
const TOLERANCE: f64 = 10_000.0;

/// Follows the clock of one peer.
#[derive(Clone, Debug)]
pub struct PeerClock {
    /// Exchanges, oldest first, and how many there are.
    points: [Point; POINTS],
    count: usize,
    line: Option<Line>,
    /// The rates of two clocks, as far as they are known: without it, paths that become longer would leave old exchanges
    /// alone to say both where the clocks are and how fast they drift.
    assumed: Assumed,
    /// Questions without an answer so far.
    open: [Option<Mono>; OPEN],
    next_open: usize,
    next_question: Mono,
    /// Questions since the last answer.
    unanswered: u32,
    /// Exchanges in a row that contradicted the line, and when the last was asked for that agreed.
    contradictions: usize,
    agreed: Option<Mono>,
    /// How often the line was given up.
    breaks: u32,
    /// Time between two questions in the long run, in nanoseconds.
    calm: i64,
    /// Peers that began together do not ask together.
    scatter: Scatter,
}

impl PeerClock {
    /// Knows nothing yet. `seed` spreads the questions of many in time: each has its own.
    pub fn new(seed: u32) -> Self {
        Self {
            points: [Point::default(); POINTS],
            count: 0,
            line: None,
            assumed: ANY,
            open: [None; OPEN],
            next_open: 0,
            next_question: Mono(i64::MIN),
            unanswered: 0,
            contradictions: 0,
            agreed: None,
            breaks: 0,
            calm: CALM,
            scatter: Scatter::new(seed),
        }
    }

    /// Forgets everything: another peer answers from now on.
    pub fn restart(&mut self) {
        *self = Self { scatter: self.scatter.clone(), ..Self::new(0) };
    }

    /// Asks once in so many nanoseconds in the long run, as the peer wants it; `None` for four times a second.
    pub fn pace(&mut self, calm: Option<i64>) {
        self.calm = calm.map_or(CALM, |calm| calm.max(CALM));
    }

    /// When [`poll_request`](Self::poll_request) has something to ask.
    pub fn poll_timeout(&self) -> Mono {
        self.next_question
    }

    /// Has the next question asked at once: there is something to tell with it.
    pub fn hurry(&mut self) {
        self.next_question = Mono(i64::MIN);
    }

    /// The next question, if it is due. It is to be sent at `now`. `wanted_us` is told with it, and the source that is played.
    pub fn poll_request(&mut self, now: Mono, wanted_us: u32, media: u32) -> Option<Request> {
        if now < self.next_question {
            return None;
        }
        let pause = match self.contradictions {
            0 if self.unanswered >= UNANSWERED => PATIENT.max(self.calm),
            0 => (self.covered() / PART).clamp(QUICK, self.calm),
            _ => QUICK,
        };
        self.next_question = now.plus(pause + self.spread(pause / 4));
        self.unanswered = self.unanswered.saturating_add(1);
        self.open[self.next_open] = Some(now);
        self.next_open = (self.next_open + 1) % OPEN;
        Some(Request { written: now, wanted_us, media })
    }

    /// Takes an answer that came at `at`. Returns whether it was awaited and makes sense.
    pub fn handle_reply(&mut self, at: Mono, reply: &Reply) -> bool {
        let Some(open) = self.open.iter_mut().find(|open| **open == Some(reply.asked)) else { return false };
        *open = None;
        let taken = at.since(reply.asked);
        let spent = reply.answered.since(reply.received);
        if !(0..=LONGEST).contains(&taken) || !(0..=taken + taken / 1000).contains(&spent) {
            return false;
        }
        if std::mem::take(&mut self.unanswered) >= UNANSWERED {
            self.hurry();
        }
        let point = Point {
            asked: reply.asked,
            came: at,
            question: reply.received.since(reply.asked),
            answer: reply.answered.since(at),
        };
        if self.count == POINTS {
            self.points.rotate_left(1);
            self.count -= 1;
        }
        self.points[self.count] = point;
        let former = self.line.map_or(0.0, |line| line.gain);
        let line = fit(&self.points[..=self.count], former, self.assumed);
        if line.width < -TOLERANCE {
            self.doubt(point);
            return true;
        }
        self.contradictions = 0;
        self.agreed = Some(reply.asked);
        self.count += 1;
        self.line = Some(line);
        if self.assumed.deviation == STEADY {
            self.assumed.gain += (line.gain - self.assumed.gain) / POINTS as f64;
        } else if self.covered() >= LONG {
            self.assumed = Assumed { gain: line.gain, deviation: STEADY };
        }
        true
    }

    /// Time between the first and the last exchange that are remembered, in nanoseconds.
    fn covered(&self) -> i64 {
        let last = self.points[..self.count].last();
        last.map_or(0, |last| last.asked.since(self.points[0].asked))
    }

    /// An exchange says that those before it are wrong, or it is wrong itself: the next ones decide.
    fn doubt(&mut self, point: Point) {
        self.contradictions += 1;
        if self.contradictions == CONTRADICTIONS {
            self.contradictions = 0;
            self.breaks = self.breaks.wrapping_add(1);
            self.points[0] = point;
            self.count = 1;
            self.assumed.deviation = self.assumed.deviation.max(DOUBTFUL);
            self.line = Some(fit(&self.points[..1], self.assumed.gain, self.assumed));
        }
        self.next_question = self.next_question.min(point.came.plus(QUICK));
    }

    /// When the peer's clock shows `remote`, on the local one; `None` before the first exchange.
    pub fn local_of(&self, remote: Mono) -> Option<Mono> {
        self.line.map(|line| line.local_of(remote))
    }

    /// What the peer's clock shows at `local`; `None` before the first exchange.
    pub fn remote_of(&self, local: Mono) -> Option<Mono> {
        self.line.map(|line| line.remote_of(local))
    }

    /// By which share the peer's clock runs slow: 1e-6 is one part per million, a second of it then lasts 1 000 001 local
    /// microseconds. In the mean of the last quarter of a minute, once it is known for that long.
    pub fn slow(&self) -> f64 {
        let known = self.assumed.deviation == STEADY;
        let gain = if known { self.assumed.gain } else { self.line.map_or(0.0, |line| line.gain) };
        1.0 / (1.0 + gain) - 1.0
    }

    /// The least round trip of late, in nanoseconds, without the time that the peer took for its answer.
    pub fn round_trip(&self) -> Option<i64> {
        self.points[..self.count].iter().map(Point::round_trip).min()
    }

    /// Whether both clocks are known to have gone on evenly until `since`, on the local one, or to have begun anew.
    pub fn holds(&self, since: Mono) -> bool {
        self.contradictions == 0 && self.agreed.is_some_and(|asked| asked >= since)
    }

    /// How often one of the clocks was found to have been set.
    pub fn breaks(&self) -> u32 {
        self.breaks
    }

    /// Enough is known to place playback by it.
    pub fn ready(&self) -> bool {
        self.count >= ENOUGH
    }

    /// Between 0 and `most`, another one each time.
    fn spread(&mut self, most: i64) -> i64 {
        ((i128::from(self.scatter.bits()) * i128::from(most)) >> 32) as i64
    }
}

#[cfg(test)]
mod tests;
