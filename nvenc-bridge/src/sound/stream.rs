//! Sound of a sender: packets, as a receiver takes them, played to a card that does not exist and keeps this machine's clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::counters::ReceiveCounters;
use audio::receive::{CHUNK, Config, Due, End, Event, Incoming, Output, ReceivePipeline, StreamInfo};
use os::clock;
use os::multicast::{Change, Membership};
use os::udp::{Inbox, Socket};
use os::wait::{Waker, Wakeup};
use proto::units::{self, Mono};
use receiver::mouths::Mouths;
use receiver::plan::{self, Plan};

use super::Settings;
use super::work::Intake;
use crate::encode::Error;

/// How often sound is asked for. Packets may lie in the socket meanwhile: the system keeps their times.
const TICK: Duration = Duration::from_millis(5);
/// How often links are looked at where a group is listened to.
const LINKS: Duration = Duration::from_millis(500);
/// What is this much behind its time is given up, in nanoseconds: the machine was held up.
const STALLED: i64 = 200_000_000;
/// How long after its time in the buffer sound may come, in nanoseconds.
const PATIENCE: i64 = 100_000_000;

/// What becomes of packets, without sockets or a clock.
pub(crate) struct Player {
    pub(crate) pipeline: ReceivePipeline,
    counters: Arc<ReceiveCounters>,
    rate: u32,
    channels: u16,
    /// When the next chunk leaves.
    due: Option<Mono>,
    /// The stream is there, or what is left of it until then.
    live: Option<Mono>,
    news: Vec<String>,
    chunk: Vec<f32>,
}

impl Player {
    pub(crate) fn new(config: Config, rate: u32, channels: u16) -> Self {
        let counters = Arc::new(ReceiveCounters::default());
        Self {
            pipeline: ReceivePipeline::new(config, counters.clone()),
            counters,
            rate,
            channels,
            due: None,
            live: None,
            news: Vec::new(),
            chunk: vec![0.0; CHUNK * usize::from(channels)],
        }
    }

    /// Hands out what is due by `now`, each chunk with the time at which it was captured, as far as the sender tells that, or
    /// else at which it arrived.
    pub(crate) fn advance(&mut self, now: Mono, emit: &mut dyn FnMut(&[f32], Mono)) {
        self.pipeline.handle_timeout(now);
        while let Some(event) = self.pipeline.poll_event() {
            self.heed(event, now);
        }
        let mut due = self.due.unwrap_or(now);
        if now.since(due) > STALLED {
            due = now;
            self.pipeline.realign();
        }
        let length = units::frames_to_nanos(CHUNK as i64, self.rate);
        while due <= now {
            self.pipeline.pull_device(now, Due::from(due), &mut self.chunk);
            let latency = self.pipeline.latency_us() as i64 * 1000;
            if latency > 0 && self.live.is_some_and(|until| due < until) {
                emit(&self.chunk, due.plus(-latency));
            }
            due = due.plus(length);
        }
        self.due = Some(due);
    }

    fn heed(&mut self, event: Event, now: Mono) {
        match event {
            Event::Stream(stream) => {
                if let Err(reason) = self.play(&stream) {
                    self.news.push(format!("the stream of sound is not played: {reason}"));
                    return;
                }
                self.live = Some(Mono(i64::MAX));
                self.news.push(format!(
                    "sound from {}: {}, {} channels, {} Hz",
                    stream.from,
                    stream.codec.name(),
                    stream.channels,
                    stream.rate
                ));
            }
            Event::Ended(end) => {
                self.live = Some(now.plus(self.pipeline.latency()));
                let why = match end {
                    End::Bye => "the sender said goodbye",
                    End::Silent => "nothing came for two seconds",
                };
                self.news.push(format!("the stream of sound has ended: {why}"));
            }
            Event::Conflict(from) => {
                self.news.push(format!("another sender ({from}) sends to this port and is not played"));
            }
            Event::Secrecy(from, secrecy) => self.news.push(format!("{from}: {}", secrecy.describe())),
            Event::Latency(_) | Event::Sync(_) | Event::Path(_) => {}
        }
    }

    fn play(&mut self, stream: &StreamInfo) -> Result<(), &'static str> {
        let &StreamInfo { rate, channels, codec, .. } = stream;
        let output = Output::device(self.channels, self.rate, true);
        let output = output.playing(Incoming { rate, channels, codec })?;
        self.pipeline.replace_output(Box::new(output));
        Ok(())
    }
}

pub(crate) struct Received {
    player: Player,
    description: String,
    sockets: Vec<Socket>,
    inbox: Inbox,
    memberships: Vec<Membership>,
    mouths: Mouths,
    looked: Instant,
    /// What was said last of a group that cannot be joined.
    told: Option<String>,
    wakeup: Wakeup,
    /// Kept, since nothing else holds the other end.
    _waker: Waker,
}

impl Received {
    /// Listens as the settings say.
    ///
    /// # Errors
    /// One line: the address, the description or the key cannot be used.
    pub(crate) fn new(settings: &Settings, asked: &receiver::args::Settings) -> Result<Self, Error> {
        let refused =
            |reason: String| Error::Unavailable(format!("sound from {}: {reason}", settings.source));
        let description = asked.sdp.as_deref().map(plan::description).transpose().map_err(refused)?;
        let plan = Plan::new(asked, description.as_ref()).map_err(refused)?;
        let (waker, wakeup) = os::wait::pair().map_err(|error| refused(error.to_string()))?;
        let mut player = Player::new(plan.pipeline, settings.rate, settings.channels);
        player.news.extend(plan.warning);
        player
            .news
            .extend(plan.ears.sockets.iter().filter_map(Socket::short_buffer).min().map(os::udp::remedy));
        let addresses: Vec<_> = plan.ears.addresses.iter().map(ToString::to_string).collect();
        Ok(Self {
            player,
            description: format!("what comes to {}", addresses.join(" and ")),
            mouths: Mouths::new(&plan.ears.sockets, plan.ears.media),
            sockets: plan.ears.sockets,
            inbox: Inbox::default(),
            memberships: plan.ears.memberships,
            // Long enough ago.
            looked: Instant::now().checked_sub(LINKS).unwrap_or_else(Instant::now),
            told: None,
            wakeup,
            _waker: waker,
        })
    }

    fn look(&mut self) {
        if self.looked.elapsed() < LINKS {
            return;
        }
        self.looked = Instant::now();
        let news = &mut self.player.news;
        for membership in &mut self.memberships {
            match membership.refresh() {
                Ok(changes) => news.extend(changes.into_iter().map(|change| match change {
                    Change::Joined(name) => format!("joined the group of the sound on {name}"),
                    Change::Lost(name) => format!("{name} is gone, and the group of the sound with it"),
                })),
                Err(reason) if self.told.as_ref() == Some(&reason) => {}
                Err(reason) => {
                    news.push(format!(
                        "the group of the sound is joined nowhere: {reason}; it is tried until it is"
                    ));
                    self.told = Some(reason);
                }
            }
        }
    }
}

impl Intake for Received {
    fn description(&self) -> String {
        self.description.clone()
    }

    fn patience(&self) -> i64 {
        let delay =
            (self.player.counters.group_delay_us.get() as i64 * 1000).max(self.player.pipeline.latency());
        delay + PATIENCE
    }

    fn wait(&mut self) {
        self.wakeup.wait(&[], TICK);
    }

    fn take(&mut self, emit: &mut dyn FnMut(&[f32], Mono)) {
        self.look();
        self.mouths.hear(&self.sockets, &mut self.inbox, &mut self.player.pipeline);
        self.player.advance(clock::now(), emit);
        // Questions about the sender's clock say when they were written: each gets the time anew.
        while let Some(transmit) = self.player.pipeline.poll_transmit(clock::now()) {
            self.mouths.send(&self.sockets, &transmit);
        }
    }

    fn poll_news(&mut self) -> Option<String> {
        (!self.player.news.is_empty()).then(|| self.player.news.remove(0))
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(goodbye) = self.player.pipeline.goodbye() {
            self.mouths.send(&self.sockets, &goodbye);
        }
    }
}

#[cfg(test)]
mod tests;
