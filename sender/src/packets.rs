//! How packets are made: wire format, codec and length, from the options and from what a client says.

use audio::opus;
use audio::send::{Codec, EncodingSpec, Repair, Wire};
use control::client::Client;
use control::codec::{Frame, OpusOptions};
use proto::{srtp, vban};

use crate::args::{CodecName, Settings};

/// How packets are made where a client does not say.
#[derive(Clone, Copy, Debug)]
pub struct Packets {
    wire: Wire,
    codec: CodecName,
    opus: opus::Spec,
    frames: Option<u16>,
    mtu: u16,
    repair: Repair,
    /// Everything is encrypted.
    secured: bool,
}

const UNENCRYPTABLE: &str = "only RTP can be encrypted: leave --key out, or send rtp";
const FRAMES: std::ops::RangeInclusive<u16> = 32..=1024;
/// Most that fits plain Ethernet over IPv4, and the least that every IPv4 host takes.
const MTU: std::ops::RangeInclusive<u16> = 576..=1472;
/// Most octets that a UDP datagram can carry over IPv4.
const LARGEST_DATAGRAM: usize = 65_507;
/// Frames of an RTP packet and of a headerless datagram, as audioStreamUDP has it.
const DEFAULT_FRAMES: u16 = 128;
const DEFAULT_PLAIN_FRAMES: u16 = 1024;

impl Packets {
    /// What the settings say of packets.
    ///
    /// # Errors
    /// One line that names the option that is out of its range.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mtu = settings.mtu.unwrap_or(1200);
        if !MTU.contains(&mtu) {
            return Err(format!("--mtu {mtu}: it goes from {} to {}", MTU.start(), MTU.end()));
        }
        if let Some(frames) = settings.frames.filter(|frames| !FRAMES.contains(frames)) {
            return Err(format!("--frames {frames}: it goes from {} to {}", FRAMES.start(), FRAMES.end()));
        }
        let wire = settings.wire.map_or(Wire::Rtp, Wire::from);
        let codec = settings.codec.unwrap_or(CodecName::Pcm16);
        if wire == Wire::Plain && codec != CodecName::Pcm16 {
            return Err(
                "--wire plain: headerless PCM has 16 bits, so that only --codec pcm16 goes with it".into()
            );
        }
        if wire == Wire::Vban && codec == CodecName::Opus {
            return Err("--wire vban: VBAN carries PCM: --codec pcm16 or pcm24 goes with it".into());
        }
        let secured = settings.key.is_some();
        if secured && wire != Wire::Rtp {
            return Err(format!("--wire {}: {UNENCRYPTABLE}", wire.name()));
        }
        let mtu = if secured { mtu - srtp::OVERHEAD as u16 } else { mtu };
        let repair = settings.repair.as_deref().unwrap_or("auto").parse();
        let repair = repair.map_err(|error| format!("--repair: {error}"))?;
        Ok(Self {
            wire,
            codec,
            opus: opus_defaults(settings)?,
            frames: settings.frames,
            mtu,
            repair,
            secured,
        })
    }

    /// Whether everything is encrypted.
    pub fn secured(&self) -> bool {
        self.secured
    }

    /// How a client's losses are repaired.
    pub fn repair(&self, client: &Client) -> Repair {
        client.repair.unwrap_or(self.repair)
    }

    /// How a client is encoded. Packets of PCM in RTP or VBAN shrink until they fit the MTU; headerless ones are sent as
    /// audioStreamUDP sends them, whole, as long as a datagram can hold them.
    ///
    /// # Errors
    /// One line that names the client, where its codec cannot be had as it was asked for.
    pub fn spec(&self, client: &Client) -> Result<EncodingSpec, String> {
        let wire = client.wire.unwrap_or(self.wire);
        if self.secured && wire != Wire::Rtp {
            return Err(format!("client `{}`: {UNENCRYPTABLE}", client.name));
        }
        if wire == Wire::Plain && client.codec.is_some_and(|codec| codec != control::codec::Codec::Pcm16) {
            return Err(format!("client `{}`: headerless PCM has 16 bits: its codec is pcm16", client.name));
        }
        if wire == Wire::Vban && matches!(client.codec, Some(control::codec::Codec::Opus(_))) {
            return Err(format!("client `{}`: VBAN carries PCM: its codec is pcm16 or pcm24", client.name));
        }
        let default = if wire == Wire::Plain { DEFAULT_PLAIN_FRAMES } else { DEFAULT_FRAMES };
        let mut spec = EncodingSpec {
            wire,
            codec: match (wire, self.codec(client)) {
                (Wire::Plain, _) | (Wire::Vban, Codec::Opus(_)) => Codec::Pcm16,
                (Wire::Rtp | Wire::Vban, codec) => codec,
            },
            map: client.map.clone(),
            factor: client.trim.factor(),
            test: None,
            frames: self.frames.unwrap_or(default),
            mtu: self.mtu,
        };
        if let Codec::Opus(settings) = spec.codec() {
            check_opus(client, &settings, &spec)?;
            return Ok(spec);
        }
        if wire == Wire::Vban {
            spec.frames = spec.frames.min(vban::MAX_FRAMES);
        }
        let limit = match wire {
            Wire::Rtp => usize::from(self.mtu),
            Wire::Plain => LARGEST_DATAGRAM,
            Wire::Vban => usize::from(self.mtu).min(vban::HEADER_LENGTH + vban::MAX_PAYLOAD),
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use control::codec::BitRate;
    use control::config::Span;
    use control::wire::WireName;

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
    fn headerless_pcm_has_no_other_codec() {
        let list = r#"{"a": {"ip": "h", "channel": 0, "codec": "pcm24"}}"#;
        let plain = Settings { wire: Some(WireName::Plain), ..Settings::default() };
        let error = Packets::new(&plain).unwrap().spec(&control::list::parse(list).unwrap()[0]).unwrap_err();
        assert!(error.contains("client `a`: headerless PCM has 16 bits"), "{error}");
    }

    #[test]
    fn with_a_key_packets_leave_room_for_the_tag_and_all_but_rtp_is_refused() {
        let keyed = Settings { key: Some("sound.key".into()), ..Settings::default() };
        let eight = "a=h/0,1,2,3,4,5,6,7";
        assert!(spec(eight, &keyed).unwrap().packet_length() + 16 <= 1200);
        let packets = Packets::new(&keyed).unwrap();
        for (name, wire) in [("plain", WireName::Plain), ("vban", WireName::Vban)] {
            let list = format!(r#"{{"old": {{"ip": "h", "channel": 0, "wire": "{name}"}}}}"#);
            let error = packets.spec(&control::list::parse(&list).unwrap()[0]).unwrap_err();
            assert_eq!(error, format!("client `old`: {UNENCRYPTABLE}"));
            assert!(Packets::new(&Settings { wire: Some(wire), ..keyed.clone() }).is_err());
        }
    }

    #[test]
    fn vban_has_its_own_bounds_and_carries_pcm() {
        let vban = Settings { wire: Some(WireName::Vban), frames: Some(1024), ..Settings::default() };
        assert_eq!(frames("a=h/0", &vban), 256);
        let wide = spec("a=h/0,1,2,3,4,5,6,7", &Settings { mtu: Some(1472), ..vban.clone() }).unwrap();
        assert!(wide.packet_length() <= 1464 && wide.frames > 60, "{wide:?}");
        let opus = Settings { codec: Some(CodecName::Opus), ..Settings::default() };
        let list = |codec| format!(r#"{{"a": {{"ip": "h", "channel": 0, "wire": "vban"{codec}}}}}"#);
        let entry = |codec| control::list::parse(&list(codec)).unwrap().remove(0);
        let packets = Packets::new(&opus).unwrap();
        assert_eq!(packets.spec(&entry("")).unwrap().codec(), Codec::Pcm16);
        let error = packets.spec(&entry(r#", "codec": "opus""#)).unwrap_err();
        assert!(error.contains("client `a`: VBAN carries PCM"), "{error}");
        let error = Packets::new(&Settings { wire: Some(WireName::Vban), ..opus }).err().unwrap();
        assert!(error.contains("--wire vban"), "{error}");
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
}
