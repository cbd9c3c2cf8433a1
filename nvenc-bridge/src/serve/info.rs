//! What is known of a stream: for people, and for the Info channels.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use os::clock;
use proto::rtcp::ReportBlock;
use proto::units::{Mono, Ntp, round_trip};

use crate::rtsp::Route;

/// What is known of one track on its way to one client.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Client {
    /// Names its session.
    #[serde(skip)]
    pub session: u64,
    /// Place of the track in its mount.
    pub track: usize,
    /// By which way: `udp`, `multicast` or `tcp`.
    pub transport: &'static str,
    /// Where datagrams go to, or the other end of the connection.
    pub address: Option<SocketAddr>,
    /// Access units that were sent.
    pub units: u64,
    /// Access units that were left out since it was too slow.
    pub left_out: u64,
    /// Runs of packets that the system did not take.
    pub unsent: u64,
    /// Share of packets that it says were lost since its report before, 0 to 1.
    pub loss: f32,
    /// Packets that it says were lost since it began.
    pub lost: i32,
    /// Interarrival jitter that it reports, in ticks of the track's clock.
    pub jitter: u32,
    /// As its last report shows.
    #[serde(skip)]
    pub round_trip: Option<Duration>,
}

impl Client {
    pub(super) fn new(session: u64, track: usize, route: &Route, address: Option<SocketAddr>) -> Self {
        let transport = match route {
            Route::Udp { .. } => "udp",
            Route::Group => "multicast",
            Route::Interleaved { .. } => "tcp",
        };
        Self {
            session,
            track,
            transport,
            address,
            units: 0,
            left_out: 0,
            unsent: 0,
            loss: 0.0,
            lost: 0,
            jitter: 0,
            round_trip: None,
        }
    }

    /// For people.
    pub fn name(&self) -> String {
        match self.address {
            Some(address) => format!("{address} by {}", self.transport),
            None => format!("somebody by {}", self.transport),
        }
    }

    pub(super) fn reported(&mut self, block: &ReportBlock) {
        self.loss = f32::from(block.fraction_lost) / 256.0;
        self.lost = block.cumulative_lost;
        self.jitter = block.jitter;
        let now = Ntp::from_unix_nanos(clock::unix_nanos().max(0) as u64);
        self.round_trip = round_trip(now, block.last_sr, block.delay_since_last_sr)
            .and_then(|nanos| u64::try_from(nanos).ok())
            .map(Duration::from_nanos);
    }
}

/// What is known of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info {
    /// Each track on its way to each client, as of at most 0.25 s ago.
    pub clients: Vec<Client>,
    /// Packets to all of them, since it was mounted.
    pub packets: u64,
    /// Octets in these.
    pub octets: u64,
    /// Access units sent to nobody since the server was busy.
    pub overrun: u64,
    /// `last_send_delay`: from the capture of a picture, or of sound where there are no pictures, until its packets were handed to
    /// the system; of a large one that is spread over time, the first portion of them.
    pub last_send_delay: Duration,
    /// `packet_loss_ratio`: of the client that loses most, 0 to 1: what its last report says, or the share of units that were left
    /// out on its connection since it began.
    pub packet_loss_ratio: f32,
}

impl Info {
    /// How many watch or listen.
    pub fn sessions(&self) -> usize {
        let mut sessions: Vec<_> = self.clients.iter().map(|client| client.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions.len()
    }
}

/// Tells what is known of a stream, also when that is served no longer.
#[derive(Clone, Debug)]
pub struct Watcher(Arc<Figures>);

impl Watcher {
    pub(super) fn new(figures: Arc<Figures>) -> Self {
        Self(figures)
    }

    /// What is known.
    pub fn info(&self) -> Info {
        self.0.info()
    }
}

/// Shared by the server and those who feed it.
#[derive(Debug, Default)]
pub(super) struct Figures {
    key: AtomicBool,
    delay: AtomicU64,
    packets: AtomicU64,
    octets: AtomicU64,
    pub overrun: AtomicU64,
    clients: Mutex<Vec<Client>>,
}

impl Figures {
    pub(super) fn want_key(&self) {
        self.key.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_key(&self) -> bool {
        self.key.swap(false, Ordering::Relaxed)
    }

    /// So many packets of so many octets have gone out.
    pub(super) fn count(&self, packets: usize, octets: usize) {
        self.packets.fetch_add(packets as u64, Ordering::Relaxed);
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, at: Duration, now: Mono) {
        let delay = now.0.saturating_sub(at.as_nanos() as i64).max(0);
        self.delay.store(delay as u64, Ordering::Relaxed);
    }

    pub(super) fn clients<'a>(&self, clients: impl Iterator<Item = &'a Client>) {
        let mut known = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        known.clear();
        known.extend(clients.cloned());
    }

    pub(super) fn info(&self) -> Info {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loss = |client: &Client| {
            let offered = client.units + client.left_out;
            let left_out = if offered > 0 { client.left_out as f32 / offered as f32 } else { 0.0 };
            client.loss.max(left_out)
        };
        Info {
            packets: self.packets.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
            overrun: self.overrun.load(Ordering::Relaxed),
            last_send_delay: Duration::from_nanos(self.delay.load(Ordering::Relaxed)),
            packet_loss_ratio: clients.iter().map(loss).fold(0.0, f32::max),
            clients,
        }
    }
}
