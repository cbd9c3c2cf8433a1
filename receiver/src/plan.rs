//! From what was written to what will be done: every number decided, nothing started.

use std::path::{Path, PathBuf};

use audio::depth::Preset;
use audio::map::ChannelMap;
use audio::receive::{Adapt, Config};
use audio::send::Wire;
use control::key;
use control::sdp::Description;
use device::playback::Sink;
use proto::announce::Format;
use proto::units;

use crate::args::{BufferChoice, DriftChoice, Settings, SyncChoice, WireChoice};
use crate::listen::Ears;

/// What the receiver will do.
pub struct Plan {
    /// What to listen with.
    pub ears: Ears,
    /// What the pipeline is built for.
    pub pipeline: Config,
    /// What to tell the user of the key's file.
    pub warning: Option<String>,
    /// Where to play.
    pub output: OutputPlan,
    /// End with the stream.
    pub exit_after_stream: bool,
}

/// Where to play, whatever the stream turns out to be.
#[derive(Clone, Debug)]
pub struct OutputPlan {
    /// Which sink.
    pub sink: Sink,
    /// Channels, where they were asked for.
    pub channels: Option<u16>,
    /// What is played of the stream's channels, where not all of them.
    pub map: Option<ChannelMap>,
    /// Frames a second until a stream says otherwise.
    pub rate: u32,
    /// Resample to the device's clock.
    pub steered: bool,
    /// Frames in a device's period.
    pub period: u32,
}

const DEFAULT_LATENCY: i64 = 30_000_000;
/// Most latency of a buffer that adapts, unless something else is said.
const DEFAULT_MOST: i64 = 250_000_000;
const MAX_LATENCY: i64 = 10_000_000_000;
const MAX_TRIM: i64 = 1_000_000_000;

impl OutputPlan {
    /// The sink for a stream of so many channels; a second file has a name of its own.
    pub fn sink(&self, number: u32) -> Sink {
        match &self.sink {
            Sink::Wav(path) if number > 1 => Sink::Wav(numbered(path, number)),
            sink => sink.clone(),
        }
    }

    /// Channels to open the sink with.
    pub fn channels(&self, stream: Option<u16>) -> u16 {
        let stream = self.map.as_ref().map(ChannelMap::channels).or(stream);
        let own = if self.sink.has_clock() { Some(2) } else { stream };
        self.channels.or(own).unwrap_or(1)
    }
}

fn numbered(path: &std::path::Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{number}.wav"))
}

impl Plan {
    /// Decides everything and binds the sockets. Where the stream is described, that says where to listen, and what comes.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn new(settings: &Settings, description: Option<&Description>) -> Result<Self, String> {
        let latency = settings.latency.map_or(DEFAULT_LATENCY, |span| span.nanos);
        if latency > MAX_LATENCY {
            return Err("--latency is at most 10s".into());
        }
        let rate = settings.rate.unwrap_or(44_100);
        if !proto::announce::RATES.contains(&rate) {
            return Err(format!("--rate {rate}: it goes from 8000 to 192000"));
        }
        for (option, channels) in
            [("--channels", settings.channels), ("--plain-channels", settings.plain_channels)]
        {
            if channels.is_some_and(|channels| !(1..=255).contains(&channels)) {
                return Err(format!("{option} goes from 1 to 255"));
            }
        }
        let sink = settings.playback.as_deref().unwrap_or("default");
        let sink: Sink = sink.parse().map_err(|error| format!("--playback {error}"))?;
        if let Sink::Wav(path) = &sink {
            check_folder(path)?;
        }
        let (wire, format) = match description {
            Some(description) => (Some(Wire::Rtp), Some(description.format)),
            None => (wire(settings), settings.rtpmap.as_deref().map(rtpmap).transpose()?),
        };
        let loaded = settings.key.as_deref().map(key::load).transpose()?;
        if let Some(wire) = wire.filter(|wire| loaded.is_some() && *wire != Wire::Rtp) {
            return Err(format!("--wire {}: only RTP can be encrypted; leave --key out", wire.name()));
        }
        match description.map(|description| description.encrypted) {
            Some(true) if loaded.is_none() => {
                return Err("the session is encrypted: name the sender's key with --key FILE".into());
            }
            Some(false) if loaded.is_some() => {
                return Err(
                    "the session is not encrypted: leave --key out, or give the sender the same".into()
                );
            }
            _ => {}
        }
        let (key, warning) = loaded.map_or((None, None), |loaded| (Some(loaded.key), loaded.warning));
        let apart = description.is_some_and(|description| description.rtcp.is_some());
        Ok(Self {
            ears: Ears::open(settings, description)?,
            pipeline: Config {
                wire,
                latency,
                // Only senders of our own make tell the time, and those report on the media's port.
                trim: trim(settings)?.filter(|_| !apart),
                adapt: adapt(settings, latency)?,
                format,
                plain_rate: rate,
                plain_channels: settings.plain_channels.unwrap_or(1),
                cname: format!("{:016x}@receiver", os::random::bits()),
                ssrc: os::random::bits() as u32,
                secret: key.map(key::secret).transpose()?,
                from: settings.from.clone(),
            },
            warning,
            output: OutputPlan {
                sink,
                channels: settings.channels,
                map: settings
                    .map
                    .as_deref()
                    .map(str::parse)
                    .transpose()
                    .map_err(|error| format!("--map {error}"))?,
                rate,
                steered: settings.drift != Some(DriftChoice::Off),
                period: settings.period.unwrap_or_else(|| period(latency, rate)).clamp(16, 8192),
            },
            exit_after_stream: settings.exit_after_stream,
        })
    }
}

fn wire(settings: &Settings) -> Option<Wire> {
    match settings.wire {
        Some(WireChoice::Rtp) => Some(Wire::Rtp),
        Some(WireChoice::Plain) => Some(Wire::Plain),
        Some(WireChoice::Vban) => Some(Wire::Vban),
        Some(WireChoice::Auto) | None => None,
    }
}

/// Reads what an SDP file describes.
///
/// # Errors
/// One line: the file cannot be read, or nothing in it can be played.
pub fn description(path: &Path) -> Result<Description, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("--sdp {}: {error}", path.display()))?;
    control::sdp::parse(&text).map_err(|error| format!("--sdp {}: {error}", path.display()))
}

/// What is added to the group's delay; nothing to go by the arrivals.
fn trim(settings: &Settings) -> Result<Option<i64>, String> {
    let trim = settings.trim.map(|trim| trim.nanos);
    match trim {
        Some(nanos) if nanos.abs() > MAX_TRIM => Err("--trim is at most 1s either way".into()),
        Some(_) if settings.sync == Some(SyncChoice::Off) => {
            Err("--trim needs the group's time: leave out --sync off, or change --latency".into())
        }
        _ if settings.sync == Some(SyncChoice::Off) => Ok(None),
        _ => Ok(Some(trim.unwrap_or(0))),
    }
}

/// How the latency adapts, if it does.
fn adapt(settings: &Settings, latency: i64) -> Result<Option<Adapt>, String> {
    let preset = match settings.buffer {
        None | Some(BufferChoice::Fixed) if settings.latency_min.or(settings.latency_max).is_some() => {
            return Err(
                "--latency-min and --latency-max need a --buffer that adapts: live, normal or safe".into()
            );
        }
        None | Some(BufferChoice::Fixed) => return Ok(None),
        Some(BufferChoice::Live) => Preset::Live,
        Some(BufferChoice::Normal) => Preset::Normal,
        Some(BufferChoice::Safe) => Preset::Safe,
    };
    let least = settings.latency_min.map_or(0, |span| span.nanos);
    let most = settings.latency_max.map_or(DEFAULT_MOST.max(latency), |span| span.nanos);
    if most > MAX_LATENCY || least > latency || latency > most {
        return Err(
            "--latency-min is at most --latency, and that is at most --latency-max, which is at most 10s"
                .into(),
        );
    }
    Ok(Some(Adapt { preset, least, most }))
}

/// A payload type and what it means, as the `rtpmap` attribute of SDP says it (RFC 8866, 6.6).
fn rtpmap(text: &str) -> Result<Format, String> {
    let read = || {
        let (payload_type, encoding) = text.trim().split_once(' ')?;
        let payload_type = payload_type.parse().ok().filter(|number| (96..128).contains(number))?;
        control::sdp::encoded(payload_type, encoding)
    };
    read().ok_or_else(|| {
        format!("--rtpmap {text}: write a payload type from 96 to 127 and L16, L24 or opus with rate and channels, like \"97 opus/48000/2\"")
    })
}

/// A card holds two periods and the ring before it one or two more: an eighth of the latency for each leaves half of
/// it to the network.
fn period(latency: i64, rate: u32) -> u32 {
    let eighth = units::nanos_to_frames(latency / 8, rate).clamp(64, 1024) as u32;
    1 << eighth.ilog2()
}

fn check_folder(path: &std::path::Path) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(format!("--playback {}: there is no folder `{}`", path.display(), folder.display()))
        }
        _ if path.is_dir() => Err(format!("--playback {}: it is a folder", path.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::announce::Codec;

    #[test]
    fn the_period_leaves_half_of_the_latency_to_the_network() {
        for (latency_ms, frames) in [(2, 64), (30, 128), (60, 256), (100, 512), (1000, 1024)] {
            assert_eq!(period(latency_ms * 1_000_000, 44_100), frames, "{latency_ms} ms");
        }
    }

    #[test]
    fn what_is_out_of_range_is_said() {
        let fresh = || Settings { listen: vec!["127.0.0.1:0".into()], ..Settings::default() };
        let span = |text: &str| Some(text.parse().unwrap());
        for (settings, words) in [
            (Settings { latency: span("11s"), ..fresh() }, "--latency"),
            (Settings { latency_max: span("90ms"), ..fresh() }, "--buffer"),
            (
                Settings { latency_max: span("9ms"), buffer: Some(BufferChoice::Live), ..fresh() },
                "--latency-max",
            ),
            (Settings { trim: Some("-2s".parse().unwrap()), ..fresh() }, "--trim is at most"),
            (
                Settings { trim: Some("1ms".parse().unwrap()), sync: Some(SyncChoice::Off), ..fresh() },
                "--sync off",
            ),
            (Settings { rate: Some(1), ..fresh() }, "--rate"),
            (Settings { channels: Some(0), ..fresh() }, "--channels"),
            (Settings { map: Some("0,x".into()), ..fresh() }, "--map `x` is not a channel"),
            (Settings { plain_channels: Some(300), ..fresh() }, "--plain-channels"),
            (Settings { playback: Some("/no/such/folder/a.wav".into()), ..fresh() }, "no folder"),
            (Settings { listen: vec!["192.0.2.1:5000".into()], ..fresh() }, "no such address"),
        ] {
            let error = Plan::new(&settings, None).err().expect(words);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn rtpmaps_are_read_as_sdp_has_them() {
        let format =
            |codec, payload_type, rate, channels| Format { payload_type, codec, channels, rate, frames: 0 };
        assert_eq!(rtpmap("97 opus/48000/2"), Ok(format(Codec::Opus, 97, 48_000, 2)));
        assert_eq!(rtpmap("96 L16/44100"), Ok(format(Codec::L16, 96, 44_100, 1)));
        assert_eq!(rtpmap("100 L24/48000/8"), Ok(format(Codec::L24, 100, 48_000, 8)));
        for nonsense in [
            "",
            "97",
            "97 opus",
            "97 opus/44100/2",
            "11 L16/44100",
            "97 mp3/90000",
            "97 L16/1/1",
            "97 L16/44100/0",
        ] {
            assert!(rtpmap(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn what_is_described_says_where_to_listen() {
        let described = |lines: &str| {
            control::sdp::parse(&format!("v=0\ns=x\nm=audio 0 x\n{lines}")).unwrap_or_else(|e| panic!("{e}"))
        };
        let ports = |lines: &str| {
            let plan = Plan::new(&Settings::default(), Some(&described(lines)))?;
            let format = plan.pipeline.format.map(|format| format.payload_type);
            let addresses = plan.ears.sockets.iter().map(|socket| socket.local_addr().unwrap().to_string());
            Ok::<_, String>((format, addresses.collect::<Vec<_>>()))
        };
        let at = |address: &str, rest: &str| {
            format!("m=audio 45872 RTP/AVP 99\nc=IN IP4 {address}\na=rtpmap:99 L24/48000/2\n{rest}")
        };
        assert_eq!(ports(&at("127.0.0.1", "a=rtcp-mux")), Ok((Some(99), vec!["127.0.0.1:45872".into()])));
        assert_eq!(
            ports(&at("198.51.100.1", "a=rtcp:45875")),
            Ok((Some(99), vec!["0.0.0.0:45872".into(), "0.0.0.0:45875".into()]))
        );
        let group = Plan::new(&Settings::default(), Some(&described(&at("239.1.2.3/32", "")))).unwrap().ears;
        assert_eq!(group.addresses, ["239.1.2.3:45872".parse().unwrap()]);
        assert_eq!(group.memberships.len(), 1);
    }

    #[test]
    fn a_second_file_has_a_name_of_its_own() {
        assert_eq!(numbered("a/take.wav".as_ref(), 2), PathBuf::from("a/take-2.wav"));
    }
}
