//! From what was written to what will be done: every stream decided, nothing started.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::args::Settings;
use crate::encode::software::Software;
use crate::encode::{self, Warning};
use crate::params::matrix::{Named, Protocol};
use crate::params::rules::{self, Origin};
use crate::params::{Operator, Params};
use crate::picture::Size;
use crate::rtsp::Group;
use crate::sound;
use crate::source::frames::Framing;
use crate::source::spec::Spec;

/// What the bridge will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each stream, in the order of the file.
    pub streams: Vec<Stream>,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What stands behind the `/` of its address.
    pub name: String,
    /// Of the server.
    pub port: u16,
    /// Whether it is served at all.
    pub active: bool,
    /// Whether it is served by TLS.
    pub secure: bool,
    /// Where it goes where a player does not ask otherwise; `None` for each player's own address.
    pub group: Option<Group>,
    /// How it leaves.
    pub protocol: Protocol,
    /// Its pictures, where it has any.
    pub pictures: Option<Pictures>,
    /// Its sound, where it has any.
    pub sound: Option<sound::Settings>,
    /// What is done otherwise than its parameters say, as far as is known before pictures come.
    pub warnings: Vec<Warning>,
    /// What it was made from.
    pub params: Params,
}

/// Pictures of a stream.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// Where they come from.
    pub source: Spec,
    /// What encodes them.
    pub encoder: Encoder,
}

/// `encoder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// NVENC where there is one, else software.
    Auto,
    /// NVENC or nothing.
    Nvenc,
    /// This one or nothing.
    Software(Software),
}

/// Pictures of which nothing is known yet are taken for such, so that their parameters are checked before they come.
const UNSEEN: Origin = Origin { size: Size { width: 1280, height: 720 }, rate: None, aspect: None };

impl Plan {
    /// Decides everything.
    ///
    /// # Errors
    /// One line that names the parameter, and the stream where there are several.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut streams: Vec<Stream> = Vec::new();
        let all = settings.streams();
        for params in &all {
            let place = match all.len() {
                1 => String::new(),
                _ => format!("stream `{}`: ", params.text("streamname")),
            };
            let mut stream = Stream::new(params).map_err(|reason| format!("{place}{reason}"))?;
            stream.secure = settings.tls_certificate.is_some();
            if stream.secure && stream.group.is_some() {
                return Err(format!(
                    "{place}multicast: everybody can read what goes to a group, and TLS does not protect it: leave out one of both"
                ));
            }
            if streams.iter().any(|other| other.key() == stream.key()) {
                return Err(format!("streamname: `{}` stands twice: give each stream its own", stream.name));
            }
            if let Some(other) = streams.iter().find(|other| other.meets(&stream)) {
                return Err(format!(
                    "{place}group: `{}` sends to these ports of it: give each stream four ports or a group of its own",
                    other.name
                ));
            }
            streams.push(stream);
        }
        Ok(Self { streams })
    }
}

impl Stream {
    fn new(params: &Params) -> Result<Self, String> {
        let mut warnings = params.check()?;
        let name = params.text("streamname");
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if name.is_empty() || !name.chars().all(fits) || name.split('/').any(str::is_empty) {
            return Err(format!(
                "streamname: `{name}` does not fit into an address: letters, digits, - . _ ~ do, and / between them"
            ));
        }
        let protocol = rules::protocol(params)?;
        let (sound, heard) = rules::sound(params, protocol)?;
        warnings.extend(heard);
        let pictures = match params.operator() {
            Operator::Audio => None,
            Operator::Video => Some(Pictures { source: Spec::new(params)?, encoder: Encoder::new(params)? }),
        };
        if let Some(pictures) = &pictures {
            let origin = pictures.source.known().unwrap_or(UNSEEN);
            let (settings, seen) = rules::pictures(params, protocol, &origin)?;
            warnings.extend(seen);
            if let Encoder::Software(software) = pictures.encoder {
                software.takes(settings.codec).map_err(|error| format!("encoder: {error}"))?;
            }
        }
        let group = group(params, &name, &mut warnings)?;
        Ok(Self {
            name,
            port: params.count("port") as u16,
            active: params.is_on("active"),
            secure: false,
            group,
            protocol,
            pictures,
            sound,
            warnings,
            params: params.clone(),
        })
    }

    /// Whether both send to one group, with ports in common.
    fn meets(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (self.group, other.group) else { return false };
        let end = |stream: &Self, group: Group| {
            group.port_of(usize::from(stream.pictures.is_some()) + usize::from(stream.sound.is_some()))
        };
        one.address == two.address && one.port < end(other, two) && two.port < end(self, one)
    }

    /// What requests call it: a path without further parts.
    pub fn key(&self) -> String {
        self.name.replace('/', ".")
    }

    /// Where players find it that can reach these addresses of a server.
    pub fn urls(&self, addresses: &[SocketAddr]) -> Vec<String> {
        let mut urls = Vec::new();
        for address in addresses {
            let hosts = if address.ip().is_unspecified() { own(address.ip()) } else { vec![address.ip()] };
            for host in hosts {
                let scheme = if self.secure { "rtsps" } else { "rtsp" };
                let url = format!("{scheme}://{}/{}", SocketAddr::new(host, address.port()), self.name);
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        urls
    }

    /// What the encoder is asked for, once pictures are known, and what is done otherwise than the parameters say.
    ///
    /// # Errors
    /// One line, where such pictures cannot be encoded.
    pub fn settings(&self, origin: &Origin) -> Result<(encode::Settings, Vec<Warning>), String> {
        rules::pictures(&self.params, self.protocol, origin)
    }

    /// What would be encoded, as far as is known before pictures come.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn foreseen(&self) -> Result<Option<encode::Settings>, String> {
        let Some(pictures) = &self.pictures else { return Ok(None) };
        let origin = pictures.source.known().unwrap_or(UNSEEN);
        self.settings(&origin).map(|(settings, _)| Some(settings))
    }
}

/// Addresses of this machine by which others reach it; the loopback's where there is no other.
fn own(listens: IpAddr) -> Vec<IpAddr> {
    let interfaces = os::interface::all();
    let up = interfaces.iter().filter(|interface| interface.running && !interface.loopback);
    let fits = |address: &&IpAddr| match address {
        IpAddr::V4(_) => true,
        // Addresses of one link alone need its name, which players do not take.
        IpAddr::V6(six) => listens.is_ipv6() && !six.is_unicast_link_local(),
    };
    let found: Vec<_> = up.flat_map(|interface| &interface.addresses).filter(fits).copied().collect();
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}

/// Where `multicast` sends.
fn group(params: &Params, name: &str, warnings: &mut Vec<Warning>) -> Result<Option<Group>, String> {
    let written = params.text("group");
    if !params.is_on("multicast") {
        for parameter in ["group", "ttl"].into_iter().filter(|parameter| params.is_given(parameter)) {
            let message = "does nothing while multicast is off".into();
            warnings.push(Warning { parameter, message });
        }
        return Ok(None);
    }
    let (address, port) = match written.parse::<SocketAddr>() {
        Ok(whole) => (whole.ip(), whole.port()),
        Err(_) if written.is_empty() => usual(name, params.count("port")),
        Err(_) => {
            let refused =
                |_| format!("group: `{written}` is no ADDRESS or ADDRESS:PORT, like 239.255.1.2:5004");
            (written.parse().map_err(refused)?, usual(name, params.count("port")).1)
        }
    };
    if !address.is_multicast() {
        return Err(format!(
            "group: {address} is no address of a group; 239.255.0.0 to 239.255.255.255 are for you"
        ));
    }
    if !port.is_multiple_of(2) || !(1024..=u16::MAX - 3).contains(&port) {
        return Err(format!("group: port {port} is not even, or not from 1024 to 65532"));
    }
    Ok(Some(Group { address, port, ttl: params.count("ttl").min(255) as u8 }))
}

/// A group within the own site (RFC 2365, section 6.1) that is most likely nobody else's, the same each time: its name decides.
fn usual(name: &str, port: u32) -> (IpAddr, u16) {
    // FNV-1a, 32 bits.
    let hash = name.bytes().chain(port.to_be_bytes());
    let hash = hash.fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    let [_, third, fourth, _] = hash.to_be_bytes();
    // Each group has ports of its own: sockets hear all groups of their port. Four of them: pictures and sound, with reports.
    (Ipv4Addr::new(239, 255, third, fourth).into(), 20_000 + 4 * (hash % 5_000) as u16)
}

/// Settings of an encoder in a few words.
pub fn described(settings: &encode::Settings) -> String {
    let encode::Settings { codec, size, rate, average_bitrate, .. } = settings;
    let hertz = f64::from(rate.pictures) / f64::from(rate.seconds.max(1));
    // 29.97 rather than all of its decimals.
    let hertz = (hertz * 100.0).round() / 100.0;
    format!(
        "{} {}x{}, {hertz} pictures a second, {} Mb/s",
        codec.label(),
        size.width,
        size.height,
        f64::from(*average_bitrate) / 1e6
    )
}

impl Encoder {
    fn new(params: &Params) -> Result<Self, String> {
        let name = params.text("encoder");
        match name.as_str() {
            "auto" => Ok(Self::Auto),
            "nvenc" => Ok(Self::Nvenc),
            name => Software::named(name)
                .map(Self::Software)
                .ok_or_else(|| format!("encoder: there is no `{name}`")),
        }
    }
}

impl Spec {
    /// What is known of its pictures before it is opened.
    pub fn known(&self) -> Option<Origin> {
        let (size, rate, aspect) = match self {
            Self::Pattern(size) => (*size, None, None),
            Self::Octets(_, Framing::Raw(shape)) => (shape.size, shape.rate, shape.aspect),
            Self::Octets(..) => return None,
        };
        Some(Origin { size, rate, aspect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(streams: &[&[(&str, &str)]]) -> Result<Plan, String> {
        let stream = streams.iter().map(|entries| {
            let mut params = Params::default();
            entries.iter().for_each(|(name, value)| params.set(name, &(*value).into()).unwrap());
            params
        });
        Plan::new(&Settings { stream: stream.collect(), ..Settings::default() })
    }

    #[test]
    fn nothing_at_all_is_a_test_pattern_over_rtsp() {
        let plan = plan(&[]).unwrap();
        let [stream] = &plan.streams[..] else { panic!("one stream") };
        assert_eq!((stream.name.as_str(), stream.port, stream.active), ("stream", 8554, true));
        assert!(stream.sound.is_none() && stream.warnings.is_empty() && stream.group.is_none());
        let settings = stream.foreseen().unwrap().unwrap();
        assert_eq!(settings.size, Size { width: 1280, height: 720 });
        assert_eq!((settings.average_bitrate, settings.keyframe_interval), (4_000_000, 60));
    }

    #[test]
    fn sound_alone_is_a_stream_too() {
        let plan =
            plan(&[&[("operator", "audiostreamout"), ("audiochop", "tone"), ("mode", "rtsp")]]).unwrap();
        let stream = &plan.streams[0];
        assert!(stream.pictures.is_none());
        let sound = stream.sound.as_ref().unwrap();
        assert_eq!((sound.bitrate.bits(), sound.rate, sound.channels), (128_000, 44_100, 2));
    }

    #[test]
    fn what_cannot_be_heeded_is_refused_by_name() {
        for (entries, words) in [
            (&[("mode", "srt")][..], "mode: this version does not speak srt"),
            (&[("mode", "rtsp")], "mode: Video Stream Out calls `rtsp` rtspserver"),
            (&[("url", "rtmp://h/a")], "url: it is for RTMP and SRT"),
            (&[("forcemuxrate", "on")], "forcemuxrate: it is for MPEG-TS"),
            (&[("perframemetadata", "chop1")], "perframemetadata: it is for metadata"),
            (&[("outputresolution", "half")], "outputresolution: it is for shaping"),
            (
                &[("operator", "audiostreamout"), ("audiochop", "tone"), ("fps", "30")],
                "fps: Audio Stream Out has no",
            ),
            (&[("operator", "audiostreamout")], "audiochop: "),
            (&[("streamname", "a b")], "streamname: "),
            (&[("streamname", "/a")], "streamname: "),
            (&[("forcevbvbufsize", "on")], "forcevbvbufsize: it needs vbvbufsize"),
            (&[("intrarefreshperiod", "1")], "intrarefreshperiod: "),
            (&[("encoder", "openh264"), ("videocodec", "av1")], "encoder: openh264 makes"),
            (&[("pictures", "none.mp4")], "pictures: none.mp4"),
        ] {
            let error = plan(&[entries]).unwrap_err();
            assert!(error.contains(words), "{entries:?}: {error}");
        }
        let twice = plan(&[&[("streamname", "a")], &[("streamname", "a")]]).unwrap_err();
        assert!(twice.contains("`a` stands twice"), "{twice}");
        let second = plan(&[&[("streamname", "a")], &[("streamname", "b"), ("mode", "srt")]]).unwrap_err();
        assert!(second.starts_with("stream `b`: mode: "), "{second}");
    }

    #[test]
    fn a_group_is_written_or_made_from_the_name_and_always_the_same() {
        let of = |entries: &[(&str, &str)]| plan(&[&[&[("multicast", "on")], entries].concat()]);
        let group = |entries: &[(&str, &str)]| of(entries).unwrap().streams[0].group.unwrap();
        let made = group(&[]);
        assert_eq!(made, group(&[]));
        assert!(made.address.to_string().starts_with("239.255.") && made.port.is_multiple_of(4));
        assert_ne!(made, group(&[("streamname", "other")]));
        let whole = group(&[("group", "239.1.2.3:5004"), ("ttl", "7")]);
        assert_eq!((whole.address.to_string(), whole.port, whole.ttl), ("239.1.2.3".into(), 5004, 7));
        assert_eq!(group(&[("group", "ff05::1:2")]).port, made.port);
        for (written, words) in [
            ("10.0.0.1", "is no address of a group"),
            ("here", "is no ADDRESS"),
            ("239.1.2.3:5005", "is not even"),
        ] {
            let error = of(&[("group", written)]).unwrap_err();
            assert!(error.starts_with("group: ") && error.contains(words), "{written}: {error}");
        }
        let off = plan(&[&[("group", "239.1.2.3")]]).unwrap();
        assert_eq!(off.streams[0].warnings[0].parameter, "group");
    }

    #[test]
    fn ports_of_a_group_are_of_one_stream() {
        let of = |first: &[(&str, &str)], second: &str| {
            let on = ("multicast", "on");
            let first = [&[on, ("streamname", "a"), ("group", "239.1.2.3:5004")], first].concat();
            plan(&[&first, &[on, ("streamname", "b"), ("group", second)]])
        };
        let sound = [("audiochop", "tone")];
        for (first, second) in
            [(&[][..], "239.1.2.3:5004"), (&[("port", "9000")], "239.1.2.3:5004"), (&sound, "239.1.2.3:5006")]
        {
            let error = of(first, second).unwrap_err();
            assert!(error.starts_with("stream `b`: group: `a` sends to these ports"), "{second}: {error}");
        }
        for (first, second) in
            [(&[][..], "239.1.2.3:5006"), (&sound, "239.1.2.3:5008"), (&sound, "239.1.2.4:5004")]
        {
            assert!(of(first, second).is_ok(), "{second}");
        }
    }

    #[test]
    fn players_are_told_addresses_that_they_can_reach() {
        let plan = plan(&[]).unwrap();
        let urls = |address: &str| plan.streams[0].urls(&[address.parse().unwrap()]);
        assert_eq!(urls("192.0.2.7:8554"), ["rtsp://192.0.2.7:8554/stream"]);
        assert!(urls("[::]:8554").iter().all(|url| !url.contains("[::]")));
        assert!(!urls("0.0.0.0:8554").is_empty());
        let settings =
            |params: Params| Settings { params, tls_certificate: Some("a".into()), ..Settings::default() };
        let secure = Plan::new(&settings(Params::default())).unwrap();
        let url = secure.streams[0].urls(&["192.0.2.7:8554".parse().unwrap()]);
        assert_eq!(url, ["rtsps://192.0.2.7:8554/stream"]);
        let mut group = Params::default();
        group.set("multicast", &true.into()).unwrap();
        assert!(Plan::new(&settings(group)).unwrap_err().starts_with("multicast: "));
    }

    #[test]
    fn a_value_that_changes_nothing_is_taken_also_of_a_later_part() {
        let neutral =
            [("outputresolution", "useinput"), ("npasses", "1"), ("chanmask", "rgba"), ("forcemuxrate", "0")];
        assert!(plan(&[&neutral]).unwrap().streams[0].warnings.is_empty());
    }
}
