//! What plays at a receiver: a card with its ring, or a file.

use std::collections::VecDeque;

use audio::receive::{Ahead, CHUNK, Incoming, Output, Pace, PlaybackStamp, ReceivePipeline};
use proto::units::{Mono, frames_to_nanos};
use sim::card::{Card, CardSpec, Direction, Period};
use sim::clock::Clock;

use super::judge::{FileJudge, Judge, Played};
use super::outcome::Outcome;
use super::scenario::{Receiver, Scenario, Sound};
use super::{RATE, live, local_stamp, scenario};

/// What plays while a receiver runs.
pub(super) enum Player {
    Card(Box<CardPlayer>),
    File { judge: FileJudge, sound: Sound, settle: Mono },
}

/// Frames that a card holds which takes sound ahead of its time, and down to how many it does not ask for more: 80 and 40 ms.
const DEPTH: usize = RATE as usize * 2 / 25;
const ENOUGH: usize = DEPTH / 2;
/// How long it asks all the same, in nanoseconds.
const FINDING: i64 = 10_000_000_000;

pub(super) struct CardPlayer {
    pub(super) card: Card,
    pace: Pace,
    ring: VecDeque<f32>,
    /// What the card was handed ahead of its time, if it is one for that.
    queue: Option<VecDeque<f32>>,
    found: Mono,
    taken: u64,
    rate: u32,
    period: usize,
    frame_ns: f64,
    judge: Judge,
}

impl Player {
    /// A player that starts at `start`, and the output that feeds it.
    pub(super) fn new(scenario: &Scenario, receiver: &Receiver, start: Mono) -> (Self, Box<Output>) {
        let rate = receiver.codec.clock_rate(RATE);
        let codec = match receiver.codec {
            audio::send::Codec::Pcm16 => proto::announce::Codec::L16,
            audio::send::Codec::Pcm24 => proto::announce::Codec::L24,
            audio::send::Codec::Opus(_) => proto::announce::Codec::Opus,
        };
        let settle = Mono((scenario.settle * 1e9) as i64);
        let (player, output) = match receiver.ear {
            scenario::Ear::File => {
                let (judge, sound) = (FileJudge::default(), scenario.sound);
                (Self::File { judge, sound, settle }, Output::stream_clocked(1, rate))
            }
            scenario::Ear::Card(card, period) | scenario::Ear::DeepCard(card, period) => {
                let judge = Judge::new(
                    scenario.sound,
                    settle,
                    frame_ns(RATE, scenario.capture.0),
                    receiver.card_rate,
                );
                let mut player = CardPlayer::new(card, receiver.card_rate, period, start, judge);
                player.queue = matches!(receiver.ear, scenario::Ear::DeepCard(..)).then(VecDeque::new);
                (Self::Card(Box::new(player)), Output::device(1, receiver.card_rate, true))
            }
        };
        let output = output.playing(Incoming { rate, channels: 1, codec });
        (player, Box::new(output.expect("an output for the stream")))
    }

    /// Takes from the pipeline what is due.
    pub(super) fn feed(
        &mut self,
        (now, local): (Mono, Mono),
        pipeline: &mut ReceivePipeline,
        outcome: &mut Outcome,
    ) {
        match self {
            Self::Card(player) => player.feed(local, pipeline, outcome),
            Self::File { judge, sound, settle } => {
                let mut block = [0.0; 1024];
                loop {
                    let frames = live(|| pipeline.pull_stream(&mut block));
                    if frames == 0 {
                        break;
                    }
                    if *sound == Sound::Ramp {
                        judge.judge(&block[..frames], now >= *settle, outcome);
                    }
                }
            }
        }
    }
}

impl CardPlayer {
    fn new(spec: CardSpec, rate: u32, period: u32, start: Mono, judge: Judge) -> Self {
        Self {
            card: Card::new(spec, Direction::Playback, rate, period, start),
            pace: Pace::new(rate),
            ring: VecDeque::new(),
            queue: None,
            found: start.plus(FINDING),
            taken: 0,
            rate,
            period: period as usize,
            frame_ns: frame_ns(rate, spec),
            judge,
        }
    }

    fn feed(&mut self, now: Mono, pipeline: &mut ReceivePipeline, outcome: &mut Outcome) {
        let mut chunk = [0.0; CHUNK];
        while let Some(due) = live(|| self.pace.next_chunk(self.ring.len(), pipeline.latency())) {
            outcome.lead = outcome.lead.max(due.at.since(due.latest(now)) + frames_to_nanos(96, RATE));
            if !live(|| pipeline.pull_device(now, due, &mut chunk)) {
                break;
            }
            self.ring.extend(chunk);
            self.pace.pushed(CHUNK);
        }
    }

    /// What the card's callback does, and what is heard of it.
    pub(super) fn play(
        &mut self,
        clock: &mut Clock,
        period: Period,
        pipeline: &mut ReceivePipeline,
        outcome: &mut Outcome,
    ) {
        let at = local_stamp(clock, period);
        let (stamp, samples) = match self.queue.take() {
            Some(queue) => self.call_ahead(at, queue, period),
            None => self.call(at),
        };
        let now = clock.local(period.callback);
        live(|| {
            if stamp.is_some_and(|stamp| self.pace.note(stamp, now)) {
                pipeline.realign();
            }
        });
        if period.lost > 0 {
            self.judge.interrupted();
        }
        let shown = pipeline.latency_us() as f64 * 1e3;
        let played = Played { samples: &samples, from: period.converter, frame_ns: self.frame_ns, shown };
        self.judge.judge(&played, outcome);
    }

    /// Takes one period out of the ring.
    fn call(&mut self, at: Mono) -> (Option<PlaybackStamp>, Vec<f32>) {
        let given = self.ring.len().min(self.period);
        let (asked, missing) = (self.period as u32, (self.period - given) as u32);
        let stamp = PlaybackStamp { taken: self.taken, asked, missing, at, ahead: None };
        self.taken += given as u64;
        let silence = std::iter::repeat_n(0.0, self.period - given);
        (Some(stamp), self.ring.drain(..given).chain(silence).collect())
    }

    /// Plays one period of what the card holds, and fills it up if that is not enough; `at` is when that period is heard.
    fn call_ahead(
        &mut self,
        at: Mono,
        mut queue: VecDeque<f32>,
        Period { callback, lost, .. }: Period,
    ) -> (Option<PlaybackStamp>, Vec<f32>) {
        let (period, restarted) = (self.period, lost > 0);
        let enough = if callback < self.found { DEPTH - period } else { ENOUGH };
        let silence = std::iter::repeat(0.0);
        let played = queue.len().min(period);
        let samples = queue.drain(..played).chain(silence.clone()).take(period).collect();
        if queue.len() > enough && !restarted {
            self.queue = Some(queue);
            return (None, samples);
        }
        let held = period + queue.len();
        let given = self.ring.len().min(DEPTH - queue.len());
        queue.extend(self.ring.drain(..given));
        let least = 2 * period + period / 4;
        let missing = least.saturating_sub(queue.len());
        queue.extend(silence.take(missing));
        let ahead = Ahead {
            held: held as u32,
            room: (DEPTH - queue.len().min(enough)) as u32,
            least: least as u32,
            pause: queue.len().saturating_sub(enough) as u32,
            delay: 2 * period as u32,
            restarted,
        };
        let stamp = PlaybackStamp {
            taken: self.taken,
            asked: (given + missing) as u32,
            missing: missing as u32,
            at: at.plus(frames_to_nanos(held as i64, self.rate)),
            ahead: Some(ahead),
        };
        self.taken += given as u64;
        self.queue = Some(queue);
        (Some(stamp), samples)
    }
}

/// How long a frame of a card lasts, in nanoseconds of true time.
pub(super) fn frame_ns(rate: u32, card: CardSpec) -> f64 {
    1e9 / (f64::from(rate) * (1.0 + card.ppm * 1e-6))
}
