//! From what was written to what will be done: every number decided, nothing started.

use std::path::PathBuf;
use std::time::Duration;

use audio::send::Policy;
use control::client::Client;
use control::config::Span;
use control::key;
use device::capture::{self, Capture, Source};

use crate::Party;
use crate::args::Settings;
use crate::book::Purpose;
use crate::groups;
use crate::network::Network;
use crate::packets::Packets;

/// What the sender will do.
pub struct Plan {
    /// The opened source.
    pub capture: Capture,
    /// Clients from the command line; they stay whatever the list says.
    pub fixed: Vec<Client>,
    /// The list's file.
    pub clients: Option<PathBuf>,
    /// Where the list is written.
    pub save: Option<PathBuf>,
    /// Where streams are described for programs that are not ours.
    pub sdp: Option<PathBuf>,
    /// Time between two announcements of the streams, where they are announced.
    pub sap: Option<Duration>,
    /// What the clients are sent.
    pub purpose: Purpose,
    /// How packets are made.
    pub packets: Packets,
    /// How groups of clients choose their delay, where they have one.
    pub delay: Option<Policy>,
    /// Who this sender is on the network.
    pub party: Party,
    /// What to tell the user of the key's file.
    pub warning: Option<String>,
    /// How datagrams leave.
    pub network: Network,
    /// JSON on standard output.
    pub json: bool,
    /// Time between status reports.
    pub status_interval: Option<Duration>,
}

impl Plan {
    /// Decides everything and opens the source.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let (fixed, listed) = (fixed(settings)?, listed(settings)?);
        let highest = |client: &Client| client.map.highest().saturating_add(1);
        let wanted = fixed.iter().chain(&listed).map(highest).max();
        let wanted = wanted.ok_or("there are no clients: name one with --client NAME=ADDRESS:PORT/CHANNELS, or a list with --clients FILE.json")?;
        Self::with(settings, fixed, wanted)
    }

    /// The same with these clients and those of the list, if any, from a source that should have so many channels.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with(settings: &Settings, fixed: Vec<Client>, wanted: u16) -> Result<Self, String> {
        let packets = Packets::new(settings)?;
        let delay = groups::policy(settings)?;
        let loaded = settings.key.as_deref().map(key::load).transpose()?;
        let (key, warning) = loaded.map_or((None, None), |loaded| (Some(loaded.key), loaded.warning));
        let network = Network::new(settings)?;
        let rate = settings.rate.unwrap_or(44_100);
        if !proto::announce::RATES.contains(&rate) {
            return Err(format!("--rate {rate}: it goes from 8000 to 192000"));
        }
        let source = settings.capture.as_deref().ok_or(
            "there is nothing to capture: name it with --capture; `sender devices` lists the sound cards, `--capture tone` needs none",
        )?;
        let request = capture::Request {
            source: source.parse::<Source>().map_err(|error| format!("--capture {error}"))?,
            rate,
            channels: settings.channels,
            wanted: wanted.min(255),
            period: settings.period.unwrap_or(128).clamp(16, 8192),
            repeat: settings.repeat,
        };
        if settings.channels.is_some_and(|channels| !(1..=255).contains(&channels)) {
            return Err("--channels goes from 1 to 255".into());
        }
        Ok(Self {
            capture: capture::open(&request).map_err(|error| format!("--capture: {error}"))?,
            fixed,
            clients: settings.clients.clone(),
            save: settings.save.clone(),
            sdp: settings.sdp.clone(),
            sap: settings.sap.map(Span::duration),
            purpose: Purpose::Stream,
            packets,
            delay,
            party: Party::new(key)?,
            warning,
            network,
            json: settings.json,
            status_interval: settings.status_interval.map(Span::duration),
        })
    }
}

/// The clients of the command line.
pub(crate) fn fixed(settings: &Settings) -> Result<Vec<Client>, String> {
    let fixed = settings.client.iter().map(|text| text.parse::<Client>());
    let fixed: Vec<_> = fixed.collect::<Result<_, _>>().map_err(|error| format!("--client {error}"))?;
    match (1..fixed.len()).find(|&n| fixed[..n].iter().any(|other| other.name == fixed[n].name)) {
        Some(twin) => Err(format!("--client: `{}` stands twice", fixed[twin].name)),
        None => Ok(fixed),
    }
}

/// The clients of the list, if there is one.
pub(crate) fn listed(settings: &Settings) -> Result<Vec<Client>, String> {
    let load = |path: &PathBuf| control::list::load(path).map_err(|error| error.to_string());
    settings.clients.as_ref().map_or(Ok(Vec::new()), load)
}

/// Everybody. The command line's clients stand before those of the same name in the list.
pub(crate) fn merged(fixed: &[Client], listed: &[Client]) -> Vec<Client> {
    let others = listed.iter().filter(|client| !fixed.iter().any(|f| f.name == client.name));
    fixed.iter().chain(others).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_out_of_range_is_said() {
        let tone = Settings { capture: Some("tone".into()), ..Settings::default() };
        let client = vec!["a=127.0.0.1:5000/0".to_string()];
        for (settings, words) in [
            (tone.clone(), "no clients"),
            (Settings { client: client.clone(), ..Settings::default() }, "--capture"),
            (Settings { client: vec!["a".into()], ..tone.clone() }, "--client"),
            (Settings { client: [client.clone(), client.clone()].concat(), ..tone.clone() }, "stands twice"),
            (Settings { client: client.clone(), frames: Some(31), ..tone.clone() }, "--frames 31"),
            (Settings { client: client.clone(), delay: Some("x".into()), ..tone.clone() }, "--delay is"),
            (Settings { client: client.clone(), mtu: Some(100), ..tone.clone() }, "--mtu 100"),
            (Settings { client: client.clone(), dscp: Some("x".into()), ..tone.clone() }, "--dscp x"),
            (Settings { client: client.clone(), rate: Some(1), ..tone.clone() }, "--rate 1"),
            (Settings { client: client.clone(), channels: Some(0), ..tone.clone() }, "--channels"),
            (Settings { client, capture: Some("none.wav".into()), ..tone }, "none.wav"),
        ] {
            let error = Plan::new(&settings).err().expect(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
