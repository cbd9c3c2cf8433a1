//! From what was written to what will be done: every number decided, nothing started.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use audio::opus;
use audio::send::{Codec, EncodingSpec, Wire};
use control::client::Client;
use control::codec::{Frame, OpusOptions};
use device::capture::{self, Capture, Source};

use crate::args::{CodecName, Settings, WireName};

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
    /// How packets are made.
    pub packets: Packets,
    /// Local address to send from.
    pub bind: Option<IpAddr>,
    /// JSON on standard output.
    pub json: bool,
    /// Time between status reports.
    pub status_interval: Option<Duration>,
}

/// How packets are made where a client does not say.
#[derive(Clone, Copy, Debug)]
pub struct Packets {
    wire: Wire,
    codec: CodecName,
    opus: opus::Spec,
    frames: Option<u16>,
    mtu: u16,
}

const FRAMES: std::ops::RangeInclusive<u16> = 32..=1024;
/// Most that fits plain Ethernet over IPv4, and the least that every IPv4 host takes.
const MTU: std::ops::RangeInclusive<u16> = 576..=1472;
/// Most octets that a UDP datagram can carry over IPv4.
const LARGEST_DATAGRAM: usize = 65_507;
/// Frames of an RTP packet and of a headerless datagram, as audioStreamUDP has it.
const DEFAULT_FRAMES: u16 = 128;
const DEFAULT_PLAIN_FRAMES: u16 = 1024;

impl Packets {
    fn new(settings: &Settings) -> Result<Self, String> {
        let mtu = settings.mtu.unwrap_or(1200);
        if !MTU.contains(&mtu) {
            return Err(format!("--mtu {mtu}: it goes from {} to {}", MTU.start(), MTU.end()));
        }
        if let Some(frames) = settings.frames.filter(|frames| !FRAMES.contains(frames)) {
            return Err(format!("--frames {frames}: it goes from {} to {}", FRAMES.start(), FRAMES.end()));
        }
        let wire = match settings.wire {
            Some(WireName::Plain) => Wire::Plain,
            Some(WireName::Rtp) | None => Wire::Rtp,
        };
        let codec = settings.codec.unwrap_or(CodecName::Pcm16);
        if wire == Wire::Plain && codec != CodecName::Pcm16 {
            return Err(
                "--wire plain: headerless PCM has 16 bits, so that only --codec pcm16 goes with it".into()
            );
        }
        Ok(Self { wire, codec, opus: opus_defaults(settings)?, frames: settings.frames, mtu })
    }

    /// How a client is encoded. RTP packets of PCM shrink until they fit the MTU; headerless ones are sent as
    /// audioStreamUDP sends them, whole, as long as a datagram can hold them.
    ///
    /// # Errors
    /// One line that names the client, where Opus cannot have the bit rate that was asked for.
    pub fn spec(&self, client: &Client) -> Result<EncodingSpec, String> {
        let wire = client.wire.unwrap_or(self.wire);
        let default = if wire == Wire::Plain { DEFAULT_PLAIN_FRAMES } else { DEFAULT_FRAMES };
        let mut spec = EncodingSpec {
            wire,
            codec: if wire == Wire::Plain { Codec::Pcm16 } else { self.codec(client) },
            map: client.map.clone(),
            factor: client.trim.factor(),
            frames: self.frames.unwrap_or(default),
            mtu: self.mtu,
        };
        if let Codec::Opus(settings) = spec.codec() {
            check_opus(client, &settings, &spec)?;
            return Ok(spec);
        }
        let limit = if wire == Wire::Plain { LARGEST_DATAGRAM } else { usize::from(self.mtu) };
        while spec.packet_length() > limit && spec.frames > 1 {
            spec.frames = if spec.frames > 2 { spec.frames * 3 / 4 } else { 1 };
        }
        Ok(spec)
    }

    fn codec(&self, client: &Client) -> Codec {
        match (client.codec, self.codec) {
            (Some(control::codec::Codec::Opus(options)), _) => Codec::Opus(options.over(self.opus)),
            (Some(control::codec::Codec::Pcm24), _) | (None, CodecName::Pcm24) => Codec::Pcm24,
            (Some(control::codec::Codec::Pcm16), _) | (None, CodecName::Pcm16) => Codec::Pcm16,
            (None, CodecName::Opus) => Codec::Opus(self.opus),
        }
    }
}

fn opus_defaults(settings: &Settings) -> Result<opus::Spec, String> {
    let frame = settings.opus_frame.map(|span| Frame::try_from(span.nanos as f64 / 1e6)).transpose();
    let options = OpusOptions {
        frame: frame.map_err(|error| format!("--opus-frame: {error}"))?,
        bitrate: settings.opus_bitrate.map(|rate| rate.0),
        complexity: settings.opus_complexity,
        application: settings.opus_application,
        rate_control: settings.opus_rate_control,
        expected_loss: settings.opus_loss,
    };
    options.check()?;
    Ok(options.over(opus::Spec::default()))
}

fn check_opus(client: &Client, settings: &opus::Spec, spec: &EncodingSpec) -> Result<(), String> {
    let (name, channels) = (&client.name, spec.map.channels());
    let (least, most) = opus::BITRATES.into_inner();
    let range = least * u32::from(channels)..=most * u32::from(channels);
    if let Some(bitrate) = settings.bitrate.filter(|bitrate| !range.contains(bitrate)) {
        return Err(format!(
            "client `{name}`: Opus cannot send {channels} channels at {bitrate} bit/s; it goes from {} to {}",
            range.start(),
            range.end()
        ));
    }
    if spec.packet_length() > usize::from(spec.mtu) {
        return Err(format!(
            "client `{name}`: {} ms of Opus at {} bit/s need packets of {} octets, and --mtu is {}: \
             ask for shorter packets or a lower bit rate",
            settings.frame.millis(),
            settings.total_bitrate(channels),
            spec.packet_length(),
            spec.mtu
        ));
    }
    Ok(())
}

impl Plan {
    /// Decides everything and opens the source.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let packets = Packets::new(settings)?;
        let fixed = settings.client.iter().map(|text| text.parse::<Client>());
        let fixed: Vec<_> = fixed.collect::<Result<_, _>>().map_err(|error| format!("--client {error}"))?;
        if let Some(twin) =
            (1..fixed.len()).find(|&n| fixed[..n].iter().any(|other| other.name == fixed[n].name))
        {
            return Err(format!("--client: `{}` stands twice", fixed[twin].name));
        }
        let listed = match &settings.clients {
            Some(path) => control::list::load(path).map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        let all = || fixed.iter().chain(&listed);
        if all().next().is_none() {
            return Err("there are no clients: name one with --client NAME=ADDRESS:PORT/CHANNELS, or a list with --clients FILE.json".into());
        }
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
            wanted: all().map(|client| client.map.highest().saturating_add(1)).max().unwrap_or(1).min(255),
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
            packets,
            bind: settings.bind,
            json: settings.json,
            status_interval: settings.status_interval.map(|span| Duration::from_nanos(span.nanos as u64)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::codec::BitRate;
    use control::config::Span;

    fn spec(client: &str, settings: &Settings) -> Result<EncodingSpec, String> {
        Packets::new(settings)?.spec(&client.parse().unwrap())
    }

    fn frames(client: &str, settings: &Settings) -> u16 {
        spec(client, settings).unwrap().frames
    }

    #[test]
    fn packets_shrink_until_they_fit() {
        let settings = Settings::default();
        assert_eq!(frames("a=h/0", &settings), 128);
        let eight = "a=h/0,1,2,3,4,5,6,7";
        for (codec, least) in [(CodecName::Pcm16, 54), (CodecName::Pcm24, 37)] {
            let settings = Settings { codec: Some(codec), ..Settings::default() };
            let spec = spec(eight, &settings).unwrap();
            assert!(spec.packet_length() <= 1200 && spec.frames >= least, "{spec:?}");
        }
        let plain = Settings { wire: Some(WireName::Plain), ..Settings::default() };
        assert_eq!(frames(eight, &plain), 1024);
        assert_eq!(frames("a=h/0", &Settings { frames: Some(64), ..plain.clone() }), 64);
        let wide = format!("a=h/{}", vec!["0"; 100].join(","));
        assert_eq!(frames(&wide, &plain), 324);
    }

    #[test]
    fn a_client_has_its_own_codec_or_the_default() {
        let settings = Settings {
            codec: Some(CodecName::Opus),
            opus_bitrate: Some(BitRate(64_000)),
            opus_complexity: Some(3),
            ..Settings::default()
        };
        let packets = Packets::new(&settings).unwrap();
        let list = r#"{"a": {"ip": "h", "channel": 0}, "b": {"ip": "h", "channel": 0, "codec": "pcm24"},
            "c": {"ip": "h", "channel": 0, "codec": {"opus": {"complexity": 7}}},
            "d": {"ip": "h", "channel": 0, "wire": "plain"}}"#;
        let codecs =
            control::list::parse(list).unwrap().into_iter().map(|c| packets.spec(&c).unwrap().codec());
        let settings = opus::Spec { bitrate: Some(64_000), complexity: 3, ..opus::Spec::default() };
        let own = opus::Spec { complexity: 7, ..settings };
        assert_eq!(
            codecs.collect::<Vec<_>>(),
            [Codec::Opus(settings), Codec::Pcm24, Codec::Opus(own), Codec::Pcm16]
        );
    }

    #[test]
    fn opus_has_bounds() {
        let opus = Settings { codec: Some(CodecName::Opus), ..Settings::default() };
        let span = |millis: i64| Some(Span { nanos: millis * 1_000_000 });
        let bits = |bits| Some(BitRate(bits));
        let wide = format!("a=h/{}", vec!["0"; 32].join(","));
        for (client, settings, words) in [
            ("a=h/0", Settings { opus_frame: span(7), ..opus.clone() }, "--opus-frame"),
            ("a=h/0", Settings { opus_complexity: Some(11), ..opus.clone() }, "complexity"),
            ("a=h/0", Settings { wire: Some(WireName::Plain), ..opus.clone() }, "--wire plain"),
            ("a=h/0,1", Settings { opus_bitrate: bits(11_999), ..opus.clone() }, "12000 to 1020000"),
            (
                "a=h/0",
                Settings { opus_bitrate: bits(510_000), opus_frame: span(20), ..opus.clone() },
                "1287 octets",
            ),
            (wide.as_str(), opus.clone(), "lower bit rate"),
        ] {
            let error = spec(client, &settings).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

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
            (Settings { client: client.clone(), mtu: Some(100), ..tone.clone() }, "--mtu 100"),
            (Settings { client: client.clone(), rate: Some(1), ..tone.clone() }, "--rate 1"),
            (Settings { client: client.clone(), channels: Some(0), ..tone.clone() }, "--channels"),
            (Settings { client, capture: Some("none.wav".into()), ..tone }, "none.wav"),
        ] {
            let error = Plan::new(&settings).err().expect(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
