//! When a position would have arrived with the least delay: the sender's clock as the packets show it.
//!
//! Without the sender's own word, the packets that met the least delay are the best witness of it. The arrivals of
//! each quarter of a second leave their earliest one; the line that lies under all of those of the last sixteen
//! seconds, and nearest to them, gives the sender's rate and its offset (after Moon, Skelly and Towsley, "Estimation
//! and removal of clock skew from network delay measurements", 1999). No stall and no queue moves it.

use proto::units::{self, Mono, Position};

/// Arrivals within this span leave one point, in nanoseconds.
const BUCKET: i64 = 250_000_000;
/// Points kept: 16 s.
const POINTS: usize = 64;
/// Points from which on a rate is believed: 1 s.
const ENOUGH: usize = 4;
/// Largest rate that is believed, beside 1.
const MAX_SLOPE: f64 = 2_000e-6;
/// An arrival this much before the line is a path that became shorter, in nanoseconds.
const SHORTER: i64 = 300_000;

/// An arrival: the media time of its position, and how long after that it came, both in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    media: i64,
    offset: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    rate: u32,
    /// A position near the stream's current one, so that no product grows beyond exact arithmetic.
    base: Position,
    /// The points, oldest first, and how many there are.
    points: [Point; POINTS],
    count: usize,
    /// The earliest arrival of the bucket that is being filled.
    current: Option<Point>,
    bucket_ends: Mono,
    /// The line: a point on it, and its rise for each nanosecond of media time. `None` before the first arrival.
    line: Option<(Point, f64)>,
}

impl Timeline {
    pub(crate) fn new(rate: u32, base: Position) -> Self {
        Self {
            rate,
            base,
            points: [Point::default(); POINTS],
            count: 0,
            current: None,
            bucket_ends: Mono(i64::MIN),
            line: None,
        }
    }

    /// Takes the arrival of a packet that begins with `position`. Returns how late it came, in nanoseconds.
    pub(crate) fn note(&mut self, position: Position, at: Mono) -> i64 {
        let media = self.media_time(position);
        let point = Point { media, offset: at.0.saturating_sub(media) };
        let Some((anchor, slope)) = self.line else {
            self.line = Some((point, 0.0));
            self.current = Some(point);
            self.bucket_ends = at.plus(BUCKET);
            return 0;
        };
        let late = point.offset - on_line(anchor, slope, media);
        if late < -SHORTER {
            self.shift(late);
        } else if late < 0 && self.count < ENOUGH {
            // There is no rate yet, and waiting for the bucket's end would cost latency.
            self.line = Some((point, slope));
        }
        if at >= self.bucket_ends {
            self.close_bucket();
            self.bucket_ends = at.plus(BUCKET);
        }
        let residual = |p: Point| p.offset - on_line(anchor, slope, p.media);
        if self.current.is_none_or(|least| residual(point) < residual(least)) {
            self.current = Some(point);
        }
        late.max(0)
    }

    /// When `position` would have arrived with the least delay; `None` before the first arrival.
    pub(crate) fn arrival_of(&self, position: Position) -> Option<Mono> {
        let (anchor, slope) = self.line?;
        let media = self.media_time(position);
        Some(Mono(media.saturating_add(on_line(anchor, slope, media))))
    }

    /// The position that would have arrived at `at` with the least delay.
    pub(crate) fn position_at(&self, at: Mono) -> Option<Position> {
        let (anchor, slope) = self.line?;
        let since_anchor = at.0.saturating_sub(anchor.media).saturating_sub(anchor.offset);
        let media = anchor.media.saturating_add((since_anchor as f64 / (1.0 + slope)).round() as i64);
        let frames = units::nanos_to_frames(media, self.rate);
        Some(Position(self.base.0.saturating_add_signed(frames)))
    }

    /// By which share the sender's clock runs slow: 1e-6 is one part per million.
    pub(crate) fn slow(&self) -> f64 {
        self.line.map_or(0.0, |(_, slope)| slope)
    }

    fn media_time(&self, position: Position) -> i64 {
        units::frames_to_nanos(position.since(self.base), self.rate)
    }

    fn shift(&mut self, by: i64) {
        self.points[..self.count].iter_mut().for_each(|point| point.offset += by);
        if let Some(current) = &mut self.current {
            current.offset += by;
        }
        if let Some((anchor, _)) = &mut self.line {
            anchor.offset += by;
        }
    }

    fn close_bucket(&mut self) {
        let Some(point) = self.current.take() else { return };
        if self.count == POINTS {
            self.points.rotate_left(1);
            self.count -= 1;
        }
        self.points[self.count] = point;
        self.count += 1;
        let points = &self.points[..self.count];
        let slope = if self.count < ENOUGH { 0.0 } else { slope(points).clamp(-MAX_SLOPE, MAX_SLOPE) };
        let beneath = |p: &Point| p.offset - (slope * (p.media - point.media) as f64) as i64;
        let offset = points.iter().map(beneath).min().unwrap_or(point.offset);
        self.line = Some((Point { media: point.media, offset }, slope));
    }
}

fn on_line(anchor: Point, slope: f64, media: i64) -> i64 {
    anchor.offset + (slope * (media.saturating_sub(anchor.media)) as f64) as i64
}

/// The rise of the lower hull's edge under the middle of the points: of all lines that no point lies below, the one
/// nearest to them.
fn slope(points: &[Point]) -> f64 {
    let rise = |from: Point, to: Point| {
        let run = (to.media - from.media).max(1);
        (to.offset - from.offset) as f64 / run as f64
    };
    let mut hull = [Point::default(); POINTS];
    let mut length = 0;
    for &point in points {
        while length >= 2 && rise(hull[length - 2], point) <= rise(hull[length - 2], hull[length - 1]) {
            length -= 1;
        }
        hull[length] = point;
        length += 1;
    }
    let first = points[0].media;
    let middle = first + points.iter().map(|p| p.media - first).sum::<i64>() / points.len() as i64;
    let edge = hull[..length].windows(2).find(|edge| edge[1].media >= middle);
    edge.map_or(0.0, |edge| rise(edge[0], edge[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn the_earliest_arrival_counts() {
        let mut timeline = Timeline::new(48_000, Position(1000));
        assert_eq!(timeline.arrival_of(Position(1000)), None);
        assert_eq!(timeline.note(Position(1000), Mono(50 * MS)), 0);
        assert_eq!(timeline.note(Position(1480), Mono(53 * MS)), 0);
        assert_eq!(timeline.note(Position(1960), Mono(90 * MS)), 27 * MS);
        assert_eq!(timeline.arrival_of(Position(1480)), Some(Mono(53 * MS)));
        assert_eq!(timeline.arrival_of(Position(1000)), Some(Mono(43 * MS)));
        assert_eq!(timeline.position_at(Mono(53 * MS)), Some(Position(1480)));
        assert_eq!(timeline.position_at(Mono(33 * MS)), Some(Position(520)));
    }

    /// A minute of 10 ms packets from a sender that is off by `ppm`, each delayed by `delay(n)`; returns the error of the
    /// line at each packet from the fifth second on, in nanoseconds.
    fn errors(ppm: f64, delay: impl Fn(i64) -> i64) -> Vec<i64> {
        let mut timeline = Timeline::new(48_000, Position(0));
        let mut errors = Vec::new();
        for packet in 0..6000i64 {
            let sent = (packet as f64 * 10e6 * (1.0 + ppm * 1e-6)) as i64;
            let position = Position(packet as u64 * 480);
            timeline.note(position, Mono(sent + delay(packet)));
            if packet > 500 {
                errors.push(timeline.arrival_of(position).unwrap().0 - sent);
            }
        }
        errors
    }

    fn worst(errors: &[i64]) -> i64 {
        errors.iter().map(|e| e.abs()).max().unwrap()
    }

    #[test]
    fn follows_a_sender_at_any_rate() {
        for ppm in [-300.0, -100.0, 0.0, 100.0, 1000.0] {
            assert!(worst(&errors(ppm, |_| 0)) < 1_000, "{ppm} ppm: {} ns", worst(&errors(ppm, |_| 0)));
        }
    }

    #[test]
    fn stalls_do_not_move_it() {
        // 60 ms of stall every second, and up to 0.9 ms of jitter by a stride that meets zero often.
        let delay = |n: i64| if n % 100 < 6 { (6 - n % 100) * 10 * MS } else { n * 7 % 10 * MS / 10 };
        assert!(worst(&errors(100.0, delay)) < 5_000, "{} ns", worst(&errors(100.0, delay)));
    }

    #[test]
    fn a_shorter_path_counts_at_once_and_a_longer_one_within_the_window() {
        let shorter = errors(50.0, |n| if n < 3000 { 5 * MS } else { 0 });
        assert!(shorter[3000..].iter().all(|e| e.abs() < 20_000), "{:?}", shorter[3000..].iter().max());
        let longer = errors(50.0, |n| if n < 3000 { 0 } else { 5 * MS });
        assert!((longer.last().unwrap() - 5 * MS).abs() < 20_000, "{:?}", longer.last());
    }
}
