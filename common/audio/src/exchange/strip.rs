//! The widest strip between questions and answers.

use proto::units::Mono;

use super::POINTS;

/// By how much the rate of two clocks may change, as a share each second: what an older exchange says counts for less
/// by what that adds up to. A crystal that is being warmed does 0.1 ppm.
const WANDER: f64 = 0.1e-6;
/// Largest difference of two rates that is believed: clocks that are being set slew by 500 ppm.
const MOST: f64 = 2_000e-6;
/// Steps that find the slope: 2^-28 of the range above is less than a nanosecond in the time that is remembered.
const STEPS: u32 = 28;
/// Least mean delay beyond the least one that is reckoned with, in nanoseconds.
const QUIET: f64 = 1_000.0;

/// One exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Point {
    /// When it was asked and when the answer came, on the local clock.
    pub(super) asked: Mono,
    pub(super) came: Mono,
    /// By how much the peer was ahead as the question and the answer show it, in nanoseconds: too much and too little.
    pub(super) question: i64,
    pub(super) answer: i64,
}

impl Point {
    pub(super) fn round_trip(&self) -> i64 {
        self.question.saturating_sub(self.answer)
    }
}

/// By how much the peer's clock is ahead: so much at an instant of the local clock, and more by a share since then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    at: Mono,
    ahead: i64,
    pub(super) gain: f64,
    /// Of the strip whose middle this is, in nanoseconds: negative where no line has all questions above and all answers
    /// below.
    pub(super) width: f64,
}

impl Line {
    pub(super) fn remote_of(&self, local: Mono) -> Mono {
        let since = local.since(self.at);
        local.plus(self.ahead).plus((self.gain * since as f64).round() as i64)
    }

    pub(super) fn local_of(&self, remote: Mono) -> Mono {
        let since = remote.plus(-self.ahead).since(self.at);
        self.at.plus(since).plus(-(self.gain / (1.0 + self.gain) * since as f64).round() as i64)
    }
}

/// What is known of the gain beforehand: a normal distribution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assumed {
    pub(super) gain: f64,
    pub(super) deviation: f64,
}

/// The middle of the widest strip that has all questions above and all answers below. There is at least one point; `gain`
/// is the last fit's.
pub(super) fn fit(points: &[Point], gain: f64, assumed: Assumed) -> Line {
    let newest = points[points.len() - 1];
    let cloud = Cloud::new(points, newest.came, newest.answer);
    let count = points.len() as f64;
    let widths = points.iter().map(|point| point.round_trip() as f64).sum::<f64>();
    let excess = (widths / count - cloud.strip(gain).width()).max(QUIET);
    // The logarithm of the likelihood is concave in the slope: its derivative has one zero. Where questions and answers
    // overlap, it is minus infinity, and only less overlap counts.
    let rises = |slope: f64| {
        let strip = cloud.strip(slope);
        let unlikely = (slope - assumed.gain) / (assumed.deviation * assumed.deviation) * excess / count;
        strip.lower.1 - strip.upper.1 > if strip.width() < 0.0 { 0.0 } else { unlikely }
    };
    let (mut low, mut high) = (-MOST, MOST);
    for _ in 0..STEPS {
        let middle = (low + high) / 2.0;
        if rises(middle) { low = middle } else { high = middle }
    }
    let gain = (low + high) / 2.0;
    let strip = cloud.strip(gain);
    let middle = (strip.upper.0 + strip.lower.0) / 2.0;
    let ahead = newest.answer.saturating_add(middle.round() as i64);
    Line { at: newest.came, ahead, gain, width: strip.width() }
}

/// The points as they are seen from an instant and a lead near the newest one, so that floating point is exact enough.
struct Cloud {
    /// Time and height of a question, and of an answer, in nanoseconds.
    marks: [[(f64, f64); 2]; POINTS],
    count: usize,
}

/// Two parallel lines: the height of each where the cloud is seen from, and the time of the point that holds it there, in
/// nanoseconds.
struct Strip {
    upper: (f64, f64),
    lower: (f64, f64),
}

impl Strip {
    fn width(&self) -> f64 {
        self.upper.0 - self.lower.0
    }
}

impl Cloud {
    fn new(points: &[Point], at: Mono, ahead: i64) -> Self {
        let mut marks = [[(0.0, 0.0); 2]; POINTS];
        for (mark, point) in marks.iter_mut().zip(points) {
            let seen = |time: Mono, lead: i64| (time.since(at) as f64, lead.saturating_sub(ahead) as f64);
            let (question, answer) = (seen(point.asked, point.question), seen(point.came, point.answer));
            let slack = WANDER / 2.0 * 1e-9 * answer.0 * answer.0;
            *mark = [(question.0, question.1 + slack), (answer.0, answer.1 - slack)];
        }
        Self { marks, count: points.len().min(POINTS) }
    }

    fn strip(&self, slope: f64) -> Strip {
        let mut strip = Strip { upper: (f64::INFINITY, 0.0), lower: (f64::NEG_INFINITY, 0.0) };
        for [question, answer] in &self.marks[..self.count] {
            let above = question.1 - slope * question.0;
            if above < strip.upper.0 {
                strip.upper = (above, question.0);
            }
            let below = answer.1 - slope * answer.0;
            if below > strip.lower.0 {
                strip.lower = (below, answer.0);
            }
        }
        strip
    }
}
