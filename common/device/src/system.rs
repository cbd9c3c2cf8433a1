//! Sound cards, as cpal finds them. It drives those of JACK, CoreAudio and WASAPI; we drive ALSA's.

use std::sync::Arc;
use std::time::Duration;

use audio::counters::Counter;
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, ErrorKind, HostId, SampleFormat, StreamConfig, SupportedStreamConfigRange};
use os::clock;
use proto::units::frames_to_nanos;
use serde::Serialize;

#[cfg(target_os = "linux")]
use crate::alsa_card::Card;
use crate::capture::Feeder;
use crate::convert::CardSample;
use crate::error::Error;
use crate::keeper::Stream;
use crate::playback::Drain;
use crate::watch::Signs;

/// Rates that are looked for in a device's list, in Hz.
const COMMON_RATES: [u32; 6] = [44_100, 48_000, 88_200, 96_000, 176_400, 192_000];
/// Formats that carry every value we make, best first.
const FORMATS: [SampleFormat; 3] = [SampleFormat::I32, SampleFormat::F32, SampleFormat::I16];
/// How long a stream may take to open.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What can be said of one device.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The audio system: `alsa`, `jack`, `coreaudio`, `wasapi`.
    pub host: String,
    /// Stays the same over restarts; `--capture` and `--playback` take it.
    pub id: String,
    /// For people.
    pub name: String,
    /// Most channels that can be captured; 0 for none.
    pub capture_channels: u16,
    /// Most channels that can be played; 0 for none.
    pub playback_channels: u16,
    /// Common sample rates that it takes, in Hz.
    pub rates: Vec<u32>,
    /// The system captures from it unless told otherwise.
    pub default_capture: bool,
    /// The system plays to it unless told otherwise.
    pub default_playback: bool,
}

/// Every device of every audio system on this machine that can be opened.
pub fn list() -> Vec<Listed> {
    hosts(host_ids()).flat_map(|host| list_host(&host)).collect()
}

/// The list as people read it, or as JSON.
pub fn table(json: bool) -> String {
    let devices = list();
    if json {
        return serde_json::to_string_pretty(&devices).unwrap_or_default() + "\n";
    }
    if devices.is_empty() {
        return "this machine has no sound card that can be opened; WAV files, `-`, `tone` and `null` need none\n".into();
    }
    let mut text = format!("{:<34} {:>7} {:>8}  {:<36} {}\n", "id", "capture", "playback", "rates", "name");
    for device in devices {
        let channels = |count: u16, default: bool| match (count, default) {
            (0, _) => "-".to_string(),
            (count, true) => format!("*{count}"),
            (count, false) => count.to_string(),
        };
        let rates: Vec<_> = device.rates.iter().map(|rate| format!("{}k", f64::from(*rate) / 1e3)).collect();
        text += &format!(
            "{:<34} {:>7} {:>8}  {:<36} {}\n",
            device.id,
            channels(device.capture_channels, device.default_capture),
            channels(device.playback_channels, device.default_playback),
            rates.join(" "),
            device.name,
        );
    }
    text + "Columns 2 and 3 are channels; * is the system's default. --capture and --playback take an id, a name or a part of one.\n"
}

fn list_host(host: &cpal::Host) -> Vec<Listed> {
    let id_of = |device: Option<cpal::Device>| device.and_then(|device| device.id().ok());
    let (capture, playback) = (id_of(host.default_input_device()), id_of(host.default_output_device()));
    let devices = host.devices().into_iter().flatten();
    let listed = devices.filter_map(|device| {
        let id = device.id().ok()?;
        let inputs: Vec<_> = device.supported_input_configs().into_iter().flatten().collect();
        let outputs: Vec<_> = device.supported_output_configs().into_iter().flatten().collect();
        let most =
            |ranges: &[SupportedStreamConfigRange]| ranges.iter().map(|r| r.channels()).max().unwrap_or(0);
        let takes = |rate: &u32| inputs.iter().chain(&outputs).any(|range| range.contains_rate(*rate));
        Some(Listed {
            host: host.id().name().to_lowercase(),
            id: id.to_string(),
            name: name_of(&device),
            capture_channels: most(&inputs),
            playback_channels: most(&outputs),
            rates: COMMON_RATES.into_iter().filter(takes).collect(),
            default_capture: capture.as_ref() == Some(&id),
            default_playback: playback.as_ref() == Some(&id),
        })
    });
    listed.filter(|device| device.capture_channels > 0 || device.playback_channels > 0).collect()
}

fn name_of(device: &cpal::Device) -> String {
    device.description().map_or_else(|_| device.to_string(), |description| description.name().to_string())
}

/// Hosts are made as they are asked for: JACK's has clients made in the server to look around.
fn hosts(ids: Vec<HostId>) -> impl Iterator<Item = cpal::Host> {
    ids.into_iter().filter_map(|id| cpal::host_from_id(id).ok())
}

fn host_ids() -> Vec<HostId> {
    silence_alsa();
    let mut ids = cpal::available_hosts();
    // The system's own host first; JACK answers only where a server runs.
    ids.sort_by_key(|id| id.name() == "JACK");
    ids.retain(|id| id.name() != "JACK" || jack_server_runs());
    ids
}

/// ALSA writes to standard error whenever a device that it knows of cannot be opened; trying them is how a list is made.
/// What matters comes back as an error.
#[cfg(target_os = "linux")]
pub(crate) fn silence_alsa() {
    // Holds for this thread from here on; what was kept since the last time is thrown away. Without memory for it, ALSA
    // stays loud.
    let _ = alsa::Output::local_error_handler();
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn silence_alsa() {}

/// libjack complains on standard error when it finds no server, so it is asked only where one left its traces.
fn jack_server_runs() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| name.starts_with("jack_"))
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Capture,
    Playback,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Playback => "playback",
        }
    }

    fn configs(self, device: &cpal::Device) -> Vec<SupportedStreamConfigRange> {
        match self {
            Self::Capture => device.supported_input_configs().into_iter().flatten().collect(),
            Self::Playback => device.supported_output_configs().into_iter().flatten().collect(),
        }
    }
}

/// How to look for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// For the first time: an error names the devices that there are, and for that each has to be opened.
    Around,
    /// For one that went away, again and again: the others are left alone.
    Ahead,
}

/// A device with the format it will be opened in.
pub(crate) struct Opening {
    device: cpal::Device,
    config: StreamConfig,
    /// In frames.
    period: u32,
    format: SampleFormat,
}

impl Opening {
    pub(crate) fn capture(
        name: &str,
        rate: u32,
        wanted: u16,
        exact: bool,
        period: u32,
        look: Look,
    ) -> Result<Self, Error> {
        let device = find(name, Direction::Capture, look)?;
        let configs = Direction::Capture.configs(&device);
        let offered = configs.iter().filter(|range| range.contains_rate(rate)).map(|range| range.channels());
        let channels = if exact {
            wanted
        } else {
            // What the device calls its own, or more where the clients ask for more.
            let own = device.default_input_config().map_or(wanted, |config| config.channels());
            let enough = offered.clone().filter(|channels| *channels >= wanted.max(own)).min();
            enough.or(offered.max()).unwrap_or(wanted)
        };
        Self::new(device, &configs, Direction::Capture, rate, channels, period)
    }

    pub(crate) fn playback(
        name: &str,
        rate: u32,
        channels: u16,
        period: u32,
        look: Look,
    ) -> Result<Self, Error> {
        let device = find(name, Direction::Playback, look)?;
        let configs = Direction::Playback.configs(&device);
        Self::new(device, &configs, Direction::Playback, rate, channels, period)
    }

    fn new(
        device: cpal::Device,
        configs: &[SupportedStreamConfigRange],
        direction: Direction,
        rate: u32,
        channels: u16,
        period: u32,
    ) -> Result<Self, Error> {
        if configs.is_empty() {
            return Err(Error::Unavailable { device: name_of(&device), direction: direction.name() });
        }
        let fits = |format: &SampleFormat| {
            configs.iter().any(|range| {
                range.channels() == channels && range.contains_rate(rate) && range.sample_format() == *format
            })
        };
        let Some(format) = FORMATS.into_iter().find(fits) else {
            let offered = offered(configs);
            return Err(Error::UnsupportedFormat { device: name_of(&device), rate, channels, offered });
        };
        let config = StreamConfig { channels, sample_rate: rate, buffer_size: BufferSize::Fixed(period) };
        Ok(Self { device, config, period, format })
    }

    pub(crate) fn description(&self) -> String {
        name_of(&self.device)
    }

    pub(crate) fn channels(&self) -> u16 {
        self.config.channels
    }

    pub(crate) fn start_capture(self, feeder: Feeder) -> Result<Stream, Error> {
        match self.format {
            SampleFormat::I32 => self.build_capture::<i32>(feeder),
            SampleFormat::F32 => self.build_capture::<f32>(feeder),
            _ => self.build_capture::<i16>(feeder),
        }
    }

    pub(crate) fn start_playback(self, drain: Drain) -> Result<Stream, Error> {
        match self.format {
            SampleFormat::I32 => self.build_playback::<i32>(drain),
            SampleFormat::F32 => self.build_playback::<f32>(drain),
            _ => self.build_playback::<i16>(drain),
        }
    }

    fn build_capture<T: CardSample>(self, mut feeder: Feeder) -> Result<Stream, Error> {
        #[cfg(target_os = "linux")]
        if let Some((card, signs)) = self.alsa_card(alsa::Direction::Capture)? {
            let period = card.period();
            return Ok(Stream::card(card.capture::<T>(feeder, signs.clone())?, signs, period));
        }
        let (signs, errors) = (Arc::new(Signs::default()), feeder.counters());
        let flow = signs.clone();
        let callback = move |block: &[T], info: &cpal::InputCallbackInfo| {
            flow.note_callback();
            let stamp = info.timestamp();
            let age = stamp.callback.saturating_duration_since(stamp.capture);
            feeder.feed(block, clock::now().plus(-nanos(age)), T::to_f32);
        };
        let noted = signs.clone();
        let on_error = move |error: cpal::Error| note(&noted, &errors.xruns, error.kind());
        let stream = self.device.build_input_stream(self.config, callback, on_error, Some(TIMEOUT));
        self.play(stream, signs)
    }

    fn build_playback<T: CardSample>(self, mut drain: Drain) -> Result<Stream, Error> {
        #[cfg(target_os = "linux")]
        if let Some((card, signs)) = self.alsa_card(alsa::Direction::Playback)? {
            let period = card.period();
            return Ok(Stream::card(card.playback::<T>(drain, signs.clone())?, signs, period));
        }
        let (signs, counters, errors) = (Arc::new(Signs::default()), drain.counters(), drain.counters());
        let flow = signs.clone();
        let callback = move |block: &mut [T], info: &cpal::OutputCallbackInfo| {
            flow.note_callback();
            let stamp = info.timestamp();
            let ahead = nanos(stamp.playback.saturating_duration_since(stamp.callback));
            counters.latency_us.set((ahead / 1000) as u64);
            drain.fill(block, clock::now().plus(ahead), T::from_f32);
        };
        let noted = signs.clone();
        let on_error = move |error: cpal::Error| note(&noted, &errors.xruns, error.kind());
        let stream = self.device.build_output_stream(self.config, callback, on_error, Some(TIMEOUT));
        self.play(stream, signs)
    }

    /// Where the device is one of ALSA's.
    #[cfg(target_os = "linux")]
    fn alsa_card(&self, direction: alsa::Direction) -> Result<Option<(Card, Arc<Signs>)>, Error> {
        let id = self.device.id().map(|id| id.to_string()).unwrap_or_default();
        let Some(name) = id.strip_prefix("alsa:") else { return Ok(None) };
        let opened = Card::open(name, direction, self.config, self.period, self.format);
        let refused =
            |error: alsa::Error| Error::Refused { device: name_of(&self.device), reason: error.to_string() };
        Ok(Some((opened.map_err(refused)?, Arc::default())))
    }

    fn play(&self, stream: Result<cpal::Stream, cpal::Error>, signs: Arc<Signs>) -> Result<Stream, Error> {
        let refused =
            |error: cpal::Error| Error::Refused { device: name_of(&self.device), reason: error.to_string() };
        let stream = stream.map_err(refused)?;
        stream.play().map_err(refused)?;
        let period = frames_to_nanos(i64::from(self.period), self.config.sample_rate);
        Ok(Stream::card(stream, signs, period))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(0)
}

fn note(signs: &Signs, xruns: &Counter, kind: ErrorKind) {
    match kind {
        // The stream lives on.
        ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable | ErrorKind::StreamInvalidated => {
            signs.note_gone();
        }
        ErrorKind::Xrun => {
            xruns.add(1);
            signs.note_error();
        }
        // Some pass: whenever ALSA starts a stream of PulseAudio's, its calls fail until the server has answered, a
        // hundred thousand times a second.
        _ => signs.note_error(),
    }
}

fn offered(configs: &[SupportedStreamConfigRange]) -> String {
    let rates: Vec<_> = COMMON_RATES
        .iter()
        .filter(|rate| configs.iter().any(|range| range.contains_rate(**rate)))
        .map(|rate| format!("{rate} Hz"))
        .collect();
    let mut channels: Vec<_> = configs.iter().map(|range| range.channels()).collect();
    channels.sort_unstable();
    channels.dedup();
    let channels = match (channels.first(), channels.last()) {
        (Some(least), Some(most)) if least != most => format!("{least} to {most} channels"),
        (Some(only), _) => format!("{only} channels"),
        _ => "no channels".into(),
    };
    if rates.is_empty() { channels } else { format!("{} with {channels}", rates.join(", ")) }
}

/// By id, by name, by the whole of a name without regard to case, or by a part that fits one device only.
fn find(name: &str, direction: Direction, look: Look) -> Result<cpal::Device, Error> {
    let host_name = name.split(':').next().unwrap_or("");
    let mut candidates = Vec::new();
    let mut ids = host_ids();
    let is_named = |id: &HostId| id.name().eq_ignore_ascii_case(host_name);
    if ids.iter().any(is_named) {
        ids.retain(is_named);
    }
    for host in hosts(ids) {
        let is_host = is_named(&host.id());
        let named_default = name.eq_ignore_ascii_case("default") || (is_host && !name.contains(':'));
        let default = match direction {
            Direction::Capture => host.default_input_device(),
            Direction::Playback => host.default_output_device(),
        };
        if let Some(device) = default.filter(|device| named_default && !direction.configs(device).is_empty())
        {
            return Ok(device);
        }
        // Ids such as `alsa:hw:1,0`, and bare ALSA names such as `hw:1,0`.
        let id =
            if is_host { name.to_string() } else { format!("{}:{name}", host.id().name().to_lowercase()) };
        if let Some(device) = id.parse().ok().and_then(|id| host.device_by_id(&id)) {
            return Ok(device);
        }
        candidates.extend(host.devices().into_iter().flatten().map(|device| (name_of(&device), device)));
    }
    let lower = name.to_lowercase();
    let usable = |device: &cpal::Device| !direction.configs(device).is_empty();
    let whole = candidates.iter().find(|(name, device)| name.to_lowercase() == lower && usable(device));
    if let Some((_, device)) = whole {
        return Ok(device.clone());
    }
    let fits = |(name, _): &&(String, cpal::Device)| name.to_lowercase().contains(&lower);
    let fitting: Vec<_> = candidates.iter().filter(fits).filter(|(_, device)| usable(device)).collect();
    match fitting[..] {
        [(_, device)] => Ok(device.clone()),
        [] => {
            let all = candidates.iter().filter(|(_, device)| look == Look::Around && usable(device));
            let known = all.map(|(name, device)| labelled(name, device)).collect();
            Err(Error::UnknownDevice { name: name.into(), direction: direction.name(), known })
        }
        _ => {
            let known = fitting.iter().map(|(name, device)| labelled(name, device)).collect();
            Err(Error::AmbiguousDevice { name: name.into(), direction: direction.name(), known })
        }
    }
}

fn labelled(name: &str, device: &cpal::Device) -> String {
    device.id().map_or_else(|_| format!("`{name}`"), |id| format!("`{name}` ({id})"))
}
