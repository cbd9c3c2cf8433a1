//! What came of a run for one receiver.

use std::sync::Arc;

use audio::counters::{ClientCounters, GroupCounters, ReceiveCounters};
use audio::receive::Latency;

use crate::figures::sorted;

/// One moment at the ear.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When, in seconds of true time.
    pub at: f64,
    /// From the ADC to the DAC, in nanoseconds. Of a pilot, that of the possible ones (a cycle apart) which is nearest to what
    /// the receiver shows.
    pub latency: f64,
}

/// What a receiver shows of its playback.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// When, in seconds of true time.
    pub at: f64,
    /// The latency at that moment, in nanoseconds.
    pub latency: f64,
    /// How late it says that it was since it last said so, in the mean, in nanoseconds.
    pub error: f64,
}

/// What came of a run for one receiver.
#[derive(Default)]
pub struct Outcome {
    /// The receiver's own counts.
    pub counters: Arc<ReceiveCounters>,
    /// The sender's counts of the client.
    pub client: Arc<ClientCounters>,
    /// What the sender shows of all.
    pub group: Arc<GroupCounters>,
    /// Media packets that the sender made for it.
    pub sent: u64,
    /// Latencies at a card after settling: of a ramp, one for each period that was heard whole; of a pilot, one for each
    /// window.
    pub heard: Vec<Heard>,
    /// Frames after settling that were not the sender's own.
    pub wrong: u64,
    /// Frames judged.
    pub judged: u64,
    /// What a card played of a tone after settling.
    pub played: Vec<f32>,
    /// When a pilot bent more sharply than in a crossfade, in seconds, after settling.
    pub clicks: Vec<f64>,
    /// What went over the wire.
    pub octets: Traffic,
    /// What the receiver has shown of its playback, in each of its reports.
    pub shown: Vec<Shown>,
    /// Changes of the latency that was aimed for, each with its time in seconds.
    pub changes: Vec<(f64, Latency)>,
    /// Deepest the buffer was, in frames.
    pub deepest: u64,
    /// Longest time before the DAC at which samples were taken from the buffer, in nanoseconds.
    pub lead: i64,
}

impl Outcome {
    /// Latencies in milliseconds, ascending.
    pub fn latencies(&self) -> Vec<f64> {
        sorted(self.heard.iter().map(|heard| heard.latency / 1e6))
    }
}

/// Octets on the wire, headers of IP and UDP included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Media as it is sent first.
    pub media: u64,
    /// Everything else from the sender.
    pub forward: u64,
    /// Everything from the receiver.
    pub back: u64,
}

impl Traffic {
    /// Octets beside the media, as a share of it.
    pub fn extra(&self) -> f64 {
        (self.forward + self.back) as f64 / self.media as f64
    }
}
