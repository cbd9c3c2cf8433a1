//! How long to wait for packets: from how late they come.
//!
//! The lateness of every packet goes into a histogram of the last minute; the time by which all but a small share have
//! come is the depth that is needed. A long memory keeps the depth calm while conditions hold; two tests on the last
//! seconds notice when they do not, and then the older memory is dropped.

use proto::units::Mono;

/// How careful the buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// As short as can be: up to 1 packet in 100 may come too late.
    Live,
    /// 1 in 2000, with a millisecond to spare.
    Normal,
    /// 1 in 10 000, with 3 ms to spare, and slow to come down.
    Safe,
}

impl Preset {
    /// Its name on command lines, in files and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Normal => "normal",
            Self::Safe => "safe",
        }
    }

    /// Share of the packets that may be late.
    fn late_share(self) -> f64 {
        match self {
            Self::Live => 1e-2,
            Self::Normal => 5e-4,
            Self::Safe => 1e-4,
        }
    }

    /// Added to what was measured, in nanoseconds.
    fn spare(self) -> i64 {
        match self {
            Self::Live => 300_000,
            Self::Normal => 1_000_000,
            Self::Safe => 3_000_000,
        }
    }

    /// Less by a smaller share is no change: the rarer the late packets, the less is known of how late they are.
    fn deadband(self) -> f64 {
        match self {
            Self::Live => 0.12,
            Self::Normal | Self::Safe => 0.25,
        }
    }

    /// How much less the last seconds have to need for older ones to be dropped.
    fn different(self) -> f64 {
        match self {
            Self::Live => 1.5,
            Self::Normal | Self::Safe => 2.0,
        }
    }

    /// By which part of the depth it may run dry without growing.
    fn indulgence(self) -> i64 {
        match self {
            Self::Live => 2,
            Self::Normal | Self::Safe => 8,
        }
    }

    /// Calm seconds before the depth comes down.
    fn patience(self) -> usize {
        match self {
            Self::Live => 3,
            Self::Normal => 5,
            Self::Safe => 15,
        }
    }
}

/// Why the depth changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Packets came later than before.
    LatePackets,
    /// The buffer ran dry while packets were on their way.
    RanDry,
    /// Packets come in better time than before.
    Calm,
}

/// Seconds of memory.
const SECONDS: usize = 64;
/// Seconds that are looked at for a change for the worse.
const ALARM: usize = 2;
/// Bins to an octave, and bins in all: from 16 µs to 2 s in steps of 4 %.
const OCTAVE_BITS: u32 = 4;
const BINS: usize = 18 << OCTAVE_BITS;
/// More by a smaller share is no change either; nor is one smaller than the other, in nanoseconds.
const GROWTH: f64 = 0.12;
const DEADBAND: i64 = 1_000_000;
/// How different the last seconds have to be for older ones to be dropped, in nanoseconds.
const DIFFERENT: i64 = 1_500_000;
/// Late packets that are chance whatever their share.
const STRAYS: u32 = 2;
/// Growth within this time after the depth came down doubles the patience, unless it is to be as short as can be. In
/// nanoseconds.
const REGRET: i64 = 12_000_000_000;
/// Calm time after which the patience is the preset's again, in nanoseconds.
const FORGIVEN: i64 = 120_000_000_000;
const SECOND: i64 = 1_000_000_000;

type Counts = [u16; BINS];

/// Finds the depth that is needed.
#[derive(Debug)]
pub(crate) struct Depth {
    preset: Preset,
    /// Histograms of single seconds: a ring.
    seconds: Vec<Counts>,
    /// The second that is being filled, and how many full ones before it are remembered.
    head: usize,
    remembered: usize,
    second_ends: Mono,
    /// What is needed, in nanoseconds beyond the earliest arrival.
    needed: i64,
    /// That was found out, not assumed.
    found: bool,
    /// Calm seconds before the depth comes down, however long a calm was seen: the preset's, doubled after each regret.
    least_patience: usize,
    /// When a second last needed most of the depth, and the longest calm between two such.
    uneasy: Option<Mono>,
    longest_calm: i64,
    /// When the depth last grew and last came down.
    grown: Option<Mono>,
    lowered: Option<Mono>,
}

impl Depth {
    /// Starts from a depth in nanoseconds.
    pub(crate) fn new(preset: Preset, needed: i64) -> Self {
        Self {
            preset,
            seconds: vec![[0; BINS]; SECONDS],
            head: 0,
            remembered: 0,
            second_ends: Mono(i64::MIN),
            needed,
            found: false,
            least_patience: preset.patience(),
            uneasy: None,
            longest_calm: 0,
            grown: None,
            lowered: None,
        }
    }

    /// What is needed, in nanoseconds beyond the earliest arrival.
    pub(crate) fn needed(&self) -> i64 {
        self.needed
    }

    /// Begins with another depth, unless it is known by now what is needed.
    pub(crate) fn assume(&mut self, needed: i64) {
        if !self.found {
            self.needed = needed.max(0);
        }
    }

    /// A new stream: what was measured is void, what is needed stays until something else is known.
    pub(crate) fn restart(&mut self) {
        self.remembered = 0;
        self.seconds[self.head] = [0; BINS];
        self.second_ends = Mono(i64::MIN);
    }

    /// Takes a packet's arrival and how late it was. Says why where the depth has to change.
    pub(crate) fn note(&mut self, at: Mono, late: i64) -> Option<Reason> {
        if self.second_ends.0 == i64::MIN {
            self.second_ends = at.plus(SECOND);
        }
        let reason = if at >= self.second_ends { self.close_second(at) } else { None };
        let count = &mut self.seconds[self.head][bin(late)];
        *count = count.saturating_add(1);
        reason
    }

    /// The buffer ran dry and now waits for this long, in nanoseconds.
    pub(crate) fn ran_dry(&mut self, at: Mono, depth: i64) -> Option<Reason> {
        // A little is what the late share allows for.
        if depth < self.needed + DIFFERENT + self.needed / self.preset.indulgence() {
            return None;
        }
        (self.needed, self.found) = (depth, true);
        self.note_growth(at);
        Some(Reason::RanDry)
    }

    fn note_growth(&mut self, at: Mono) {
        let too_soon = self.lowered.is_some_and(|lowered| at.since(lowered) < REGRET);
        if too_soon && self.preset != Preset::Live {
            self.least_patience = (self.least_patience * 2).min(SECONDS - 4);
            self.lowered = None;
        }
        self.grown = Some(at);
    }

    fn close_second(&mut self, at: Mono) -> Option<Reason> {
        self.note_calm(at);
        self.head = (self.head + 1) % SECONDS;
        self.remembered = (self.remembered + 1).min(SECONDS - 1);
        self.seconds[self.head] = [0; BINS];
        self.second_ends = at.plus(SECOND);
        if self.grown.is_none_or(|grown| at.since(grown) > FORGIVEN) {
            self.least_patience = self.preset.patience();
        }
        if self.remembered >= ALARM && self.got_worse() {
            self.remembered = ALARM;
        }
        let patience = self.patience();
        if self.remembered > patience && self.got_better() {
            self.remembered = patience;
        }
        self.decide(at)
    }

    /// Takes note whether the second that ends would have done with much less.
    fn note_calm(&mut self, at: Mono) {
        let much_less = (self.needed as f64 / self.preset.different()) as i64;
        if self.seconds[self.head][bin(much_less)..].iter().any(|count| *count > 0) {
            let calm = self.uneasy.map_or(0, |uneasy| at.since(uneasy));
            self.longest_calm = self.longest_calm.max(calm);
            self.uneasy = Some(at);
        }
    }

    /// Calm seconds before the depth comes down: twice as many as there were between two stalls, unless it is to be as short as
    /// can be.
    fn patience(&self) -> usize {
        let seen = (self.longest_calm / (SECOND / 2)) as usize;
        let seen = if self.preset == Preset::Live { 0 } else { seen.min(SECONDS - 4) };
        self.least_patience.max(seen)
    }

    /// Clearly more packets than expected came clearly later than the buffer waits.
    fn got_worse(&self) -> bool {
        let limit = self.needed as f64 * 1.25;
        let (mut late, mut all) = (0u32, 0u32);
        for counts in self.last(ALARM) {
            all += counts.iter().map(|&n| u32::from(n)).sum::<u32>();
            late += counts[bin(limit as i64)..].iter().map(|&n| u32::from(n)).sum::<u32>();
        }
        f64::from(late) >= (4.0 * f64::from(all) * self.preset.late_share()).max(4.0)
    }

    /// The last calm seconds would have done with much less.
    fn got_better(&self) -> bool {
        let recent = self.quantile(self.patience()) + self.preset.spare();
        let factor = self.needed as f64 / recent.max(1) as f64;
        self.needed - recent > DIFFERENT && factor > self.preset.different()
    }

    fn decide(&mut self, at: Mono) -> Option<Reason> {
        if self.remembered < ALARM {
            return None;
        }
        let measured = self.quantile(self.remembered) + self.preset.spare();
        let change = measured - self.needed;
        let share = if change > 0 { GROWTH } else { self.preset.deadband() };
        if change.abs() < DEADBAND.max((self.needed as f64 * share) as i64) {
            return None;
        }
        if change > 0 {
            (self.needed, self.found) = (measured, true);
            self.note_growth(at);
            return Some(Reason::LatePackets);
        }
        let patience = self.patience();
        let calm_for = patience as i64 * SECOND;
        if self.remembered < patience || self.grown.is_some_and(|grown| at.since(grown) < calm_for) {
            return None;
        }
        (self.needed, self.found) = (measured, true);
        self.lowered = Some(at);
        (self.uneasy, self.longest_calm) = (None, 0);
        Some(Reason::Calm)
    }

    /// The full seconds before the one that is being filled, newest first.
    fn last(&self, seconds: usize) -> impl Iterator<Item = &Counts> {
        let before_head = (1..=seconds.min(self.remembered)).map(|n| (self.head + SECONDS - n) % SECONDS);
        before_head.map(|index| &self.seconds[index])
    }

    /// The lateness that all but the preset's share of the packets stayed within, in nanoseconds.
    fn quantile(&self, seconds: usize) -> i64 {
        let mut sums = [0u32; BINS];
        for counts in self.last(seconds) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u32::from(*count));
        }
        let all: u32 = sums.iter().sum();
        let allowed = ((f64::from(all) * self.preset.late_share()) as u32).max(STRAYS);
        let mut later = 0;
        for (index, count) in sums.iter().enumerate().rev() {
            later += count;
            if later > allowed {
                return upper_edge(index);
            }
        }
        0
    }
}

/// The bin of a lateness in nanoseconds: sixteen to an octave of microseconds.
fn bin(late: i64) -> usize {
    let micros = (late / 1000).clamp(1 << OCTAVE_BITS, (1 << 21) - 1) as u32;
    let octave = micros.ilog2() - OCTAVE_BITS;
    let within = (micros >> octave) as usize & ((1 << OCTAVE_BITS) - 1);
    ((octave as usize) << OCTAVE_BITS | within).min(BINS - 1)
}

/// The end of a bin in nanoseconds.
fn upper_edge(bin: usize) -> i64 {
    let octave = bin >> OCTAVE_BITS;
    let within = (bin & ((1 << OCTAVE_BITS) - 1)) | 1 << OCTAVE_BITS;
    ((within as i64 + 1) << octave) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// Packets of 5 ms, each late by what `late` says of its number; the depth's changes with their times in seconds.
    fn run(
        depth: &mut Depth,
        packets: std::ops::Range<i64>,
        late: impl Fn(i64) -> i64,
    ) -> Vec<(i64, Reason)> {
        packets
            .filter_map(|n| {
                let at = Mono(n * 5 * MS);
                depth.note(at, late(n)).map(|reason| (at.0 / SECOND, reason))
            })
            .collect()
    }

    /// 0 to 10 ms, evenly, in an order without a pattern.
    fn even(n: i64) -> i64 {
        n * 7919 % 1000 * 10_000
    }

    #[test]
    fn bins_hold_what_they_say() {
        for micros in [1, 15, 16, 17, 31, 32, 1000, 65_535, 2_000_000, 1 << 30] {
            let edge = upper_edge(bin(micros * 1000));
            let clamped = micros.clamp(16, (1 << 21) - 1) * 1000;
            assert!(edge > clamped && edge as f64 <= clamped as f64 * 1.07, "{micros} µs: {edge}");
        }
    }

    #[test]
    fn finds_the_quantile_and_then_stays() {
        let mut depth = Depth::new(Preset::Live, 30 * MS);
        let changes = run(&mut depth, 0..24_000, even);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!((depth.needed() - 9_900_000 - 300_000).abs() < 500_000, "{}", depth.needed());
    }

    #[test]
    fn follows_a_step_up_within_seconds_and_down_after_its_patience() {
        let mut depth = Depth::new(Preset::Live, 10 * MS);
        run(&mut depth, 0..12_000, even);
        let up = run(&mut depth, 12_000..14_000, |n| 3 * even(n));
        assert!(up.iter().any(|&(at, reason)| at <= 64 && reason == Reason::LatePackets), "{up:?}");
        assert!((depth.needed() - 30 * MS).abs() < 2 * MS, "{}", depth.needed());
        let down = run(&mut depth, 14_000..16_000, even);
        assert!(down.iter().any(|&(at, reason)| at <= 77 && reason == Reason::Calm), "{down:?}");
        assert!((depth.needed() - 10 * MS).abs() < 2 * MS, "{}", depth.needed());
    }

    #[test]
    fn stalls_that_keep_coming_are_waited_for() {
        // A stall of 50 ms every seven seconds: longer than the first patience.
        let late = |n: i64| if n % 1400 < 10 { (10 - n % 1400) * 5 * MS } else { MS };
        let mut depth = Depth::new(Preset::Normal, 20 * MS);
        run(&mut depth, 0..20_000, late);
        let lowered =
            run(&mut depth, 20_000..40_000, late).iter().filter(|(_, r)| *r == Reason::Calm).count();
        assert!(lowered <= 1, "came down {lowered} times");
        assert!(depth.needed() >= 40 * MS, "{}", depth.needed());
    }

    #[test]
    fn one_stall_is_forgotten() {
        let late = |n: i64| if (4000..4012).contains(&n) { (4012 - n) * 5 * MS } else { MS };
        let mut depth = Depth::new(Preset::Normal, 20 * MS);
        run(&mut depth, 0..4010, late);
        depth.ran_dry(Mono(4010 * 5 * MS), 60 * MS);
        assert_eq!(depth.needed(), 60 * MS);
        run(&mut depth, 4010..6000, late);
        assert!(depth.needed() <= 3 * MS, "{}", depth.needed());
    }
}
