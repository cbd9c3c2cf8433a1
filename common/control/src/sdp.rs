//! Descriptions of sessions: SDP (RFC 8866), as far as it says what can be played here. What is not understood is passed over,
//! as the specification has it.

use std::net::IpAddr;

use audio::opus::Layout;
use proto::announce::{self, Codec, Format};
use proto::payload_type;

/// The first stream of a session that can be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The session's name.
    pub name: String,
    /// Where the stream goes to: an address of the receiver, or a multicast group. `None` where it is not said.
    pub address: Option<IpAddr>,
    /// The only ones that send to a group, where they are named (RFC 4570).
    pub sources: Vec<IpAddr>,
    /// Where the stream goes to.
    pub port: u16,
    /// Where reports go to; `None` where they share the stream's port (RFC 5761).
    pub rtcp: Option<u16>,
    /// What the packets hold; of those that are encrypted, once they are opened.
    pub format: Format,
    /// They are encrypted as our own are: who has the installation's key can play them.
    pub encrypted: bool,
}

/// Why nothing of a session can be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin as SDP does.
    #[error("this is no SDP: it does not begin with `v=0`")]
    Other,
    /// The only sound is encrypted or does not come by RTP.
    #[error(
        "`{0}` is not played; it has to be RTP/AVP or RTP/AVPF, or RTP/SAVPF as `sender --key` describes it"
    )]
    Transport(String),
    /// The only sound is coded otherwise.
    #[error("`{0}` is not played; it has to be L16, L24 or Opus, at 8000 to 192000 Hz")]
    Encoding(String),
    /// There is none.
    #[error("nothing in it is sound: there is no `m=audio` line with a port")]
    Silent,
}

/// Reads a description.
///
/// # Errors
/// Why the last stream that is sound cannot be played, where none can.
pub fn parse(text: &str) -> Result<Description, Error> {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    if lines.next() != Some("v=0") {
        return Err(Error::Other);
    }
    let lines: Vec<_> = lines.filter_map(|line| line.split_once('=')).collect();
    let mut sections = lines.chunk_by(|_, (kind, _)| *kind != "m");
    let begins_with_media = lines.first().is_some_and(|(kind, _)| *kind == "m");
    let session = if begins_with_media { &[][..] } else { sections.next().unwrap_or_default() };
    let mut refusal = Error::Silent;
    for media in sections {
        match stream(session, media) {
            Some(Ok(description)) => return Ok(description),
            Some(Err(error)) => refusal = error,
            None => {}
        }
    }
    Err(refusal)
}

/// What stands behind the letter and `=`.
type Lines<'a> = &'a [(&'a str, &'a str)];

fn values<'a>(lines: Lines<'a>, kind: &'a str) -> impl Iterator<Item = &'a str> {
    lines.iter().filter(move |(other, _)| *other == kind).map(|(_, value)| *value)
}

/// The values of an attribute.
fn attributes<'a>(lines: Lines<'a>, name: &'a str) -> impl Iterator<Item = &'a str> {
    values(lines, "a").filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':') }
    })
}

/// The stream of a section, if it is sound that is sent.
fn stream(session: Lines<'_>, media: Lines<'_>) -> Option<Result<Description, Error>> {
    let mut words = values(media, "m").next()?.split_ascii_whitespace();
    if words.next() != Some("audio") {
        return None;
    }
    // A second number counts ports for layers, of which there are none.
    let port: u16 = words.next()?.split('/').next()?.parse().ok().filter(|port| *port > 0)?;
    let transport = words.next()?;
    let encrypted = transport == SECURE && is_ours(media);
    if !encrypted && !["RTP/AVP", "RTP/AVPF"].contains(&transport) {
        return Some(Err(Error::Transport(transport.into())));
    }
    let mut refused = String::new();
    let format = words
        .find_map(|word| format_of(media, word.parse().ok()?).map_err(|encoding| refused = encoding).ok());
    let Some(mut format) = format else { return Some(Err(Error::Encoding(refused))) };
    if encrypted {
        let Some(plain) = payload_type::decrypted(format.payload_type) else {
            return Some(Err(Error::Transport(transport.into())));
        };
        format.payload_type = plain;
    }
    let connection = values(media, "c").chain(values(session, "c")).next();
    let multiplexed = attributes(media, "rtcp-mux").next().is_some();
    let named = attributes(media, "rtcp").next();
    let named = named.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok());
    Some(Ok(Description {
        name: values(session, "s").next().unwrap_or_default().trim().into(),
        address: connection.and_then(address),
        sources: attributes(media, "source-filter")
            .chain(attributes(session, "source-filter"))
            .next()
            .map_or_else(Vec::new, sources),
        port,
        rtcp: if multiplexed { None } else { named.or(port.checked_add(1)) },
        format,
        encrypted,
    }))
}

/// The profile of what is encrypted (RFC 5124).
const SECURE: &str = "RTP/SAVPF";

/// Whether what is encrypted may be so as our own streams are: a description that is handed to everybody does not say how, one for
/// strangers names the suite (RFC 4568). The key in it is for who does not have the file.
fn is_ours(media: Lines<'_>) -> bool {
    let suite =
        |crypto: &str| crypto.split_ascii_whitespace().nth(1).map(|suite| suite == "AEAD_AES_128_GCM");
    attributes(media, "crypto").all(|crypto| suite(crypto) == Some(true))
}

/// `IN IP4 239.1.2.3/32`: behind the address stand a TTL, for IPv4, and a number of groups.
fn address(connection: &str) -> Option<IpAddr> {
    let text = connection.split_ascii_whitespace().nth(2)?;
    text.split('/').next()?.parse().ok().filter(|address: &IpAddr| !address.is_unspecified())
}

/// `incl IN IP4 239.1.2.3 192.0.2.1 192.0.2.2`.
fn sources(filter: &str) -> Vec<IpAddr> {
    let mut words = filter.split_ascii_whitespace();
    if words.next() != Some("incl") {
        return Vec::new();
    }
    words.skip(3).filter_map(|word| word.parse().ok()).collect()
}

/// What a payload type of this section means, or else how it is called.
fn format_of(media: Lines<'_>, number: u8) -> Result<Format, String> {
    let its = |name: &'static str| {
        let of_number =
            move |value: &&str| value.split_once(' ').is_some_and(|(n, _)| n.parse() == Ok(number));
        attributes(media, name)
            .find(of_number)
            .and_then(|value| value.split_once(' '))
            .map(|(_, value)| value)
    };
    let mut format = match its("rtpmap") {
        Some(encoding) => encoded(number, encoding).ok_or(encoding)?,
        None => payload_type::static_format(number).ok_or(format!("payload type {number}"))?,
    };
    if format.codec == Codec::Opus && format.channels > 2 && !its("fmtp").is_some_and(|p| fits(&format, p)) {
        return Err(format!("multiopus with {} channels in another order", format.channels));
    }
    let millis = attributes(media, "ptime").next().and_then(|value| value.trim().parse::<f64>().ok());
    // Out of range, it becomes the nearest number; what is no number becomes 0, which means unknown.
    format.frames = millis.map_or(0, |millis| (millis * f64::from(format.rate) / 1e3).round() as u16);
    Ok(format)
}

/// The format of an encoding as `rtpmap` has it: `L24/48000/2`. `None` where it is not played here.
pub fn encoded(payload_type: u8, encoding: &str) -> Option<Format> {
    let mut parts = encoding.trim().split('/');
    let codec = match parts.next()?.to_ascii_lowercase().as_str() {
        "l16" => Codec::L16,
        "l24" => Codec::L24,
        "opus" | "multiopus" => Codec::Opus,
        _ => return None,
    };
    let rate = parts.next()?.parse().ok().filter(|rate| announce::RATES.contains(rate))?;
    let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok())?;
    let sane = (1..=announce::MAX_CHANNELS).contains(&channels)
        && parts.next().is_none()
        && (codec != Codec::Opus || rate == announce::OPUS_RATE);
    sane.then_some(Format { payload_type, codec, channels, rate, frames: 0 })
}

/// Whether streams of Opus lie in a packet as they do in ours.
fn fits(format: &Format, parameters: &str) -> bool {
    let layout = Layout::of(format.channels);
    let value = |name: &str| {
        let mut pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let number = |name| value(name).and_then(|value| value.parse::<u8>().ok());
    let mapping: Option<Vec<u8>> =
        value("channel_mapping").and_then(|v| v.split(',').map(|place| place.trim().parse().ok()).collect());
    (number("num_streams"), number("coupled_streams"), mapping)
        == (Some(layout.streams), Some(layout.coupled), Some(layout.mapping))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn media(lines: &str) -> Result<Description, Error> {
        parse(&format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=Hall\r\nc=IN IP4 239.1.2.3/32\r\nt=0 0\r\n{lines}"
        ))
    }

    fn format(codec: Codec, payload_type: u8, rate: u32, channels: u16, frames: u16) -> Format {
        Format { payload_type, codec, channels, rate, frames }
    }

    #[test]
    fn what_aes67_gear_says_is_read() {
        let text = "a=clock-domain:PTPv2 0\nm=audio 5004 RTP/AVP 98\nc=IN IP4 239.69.1.2/15\na=source-filter: incl IN IP4 239.69.1.2 192.0.2.9\n\
            a=rtpmap:98 L24/48000/8\na=ptime:1\na=ts-refclk:ptp=IEEE1588-2008:00-1D-C1-FF-FE-12-34-56:0\na=mediaclk:direct=0\n";
        let description = media(text).unwrap();
        assert_eq!(description.name, "Hall");
        assert_eq!(description.address, Some("239.69.1.2".parse().unwrap()));
        assert_eq!(description.sources, ["192.0.2.9".parse::<IpAddr>().unwrap()]);
        assert_eq!((description.port, description.rtcp), (5004, Some(5005)));
        assert_eq!(description.format, format(Codec::L24, 98, 48_000, 8, 48));
    }

    #[test]
    fn encodings_static_types_and_many_channels() {
        for (lines, expected) in [
            ("m=audio 6 RTP/AVP 11", format(Codec::L16, 11, 44_100, 1, 0)),
            ("m=audio 6/2 RTP/AVPF 0 10", format(Codec::L16, 10, 44_100, 2, 0)),
            (
                "m=audio 6 RTP/AVP 97\na=rtpmap:97 opus/48000/2\na=ptime:20",
                format(Codec::Opus, 97, 48_000, 2, 960),
            ),
            (
                "m=audio 6 RTP/AVP 97\na=rtpmap:97 multiopus/48000/3\n\
                 a=fmtp:97 num_streams=2;coupled_streams=1; channel_mapping=0,1,2",
                format(Codec::Opus, 97, 48_000, 3, 0),
            ),
            (
                "m=video 4 RTP/AVP 96\nm=audio 6 RTP/AVP 96\na=rtpmap:96 L16/96000",
                format(Codec::L16, 96, 96_000, 1, 0),
            ),
        ] {
            let description = media(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
            assert_eq!(description.format, expected, "{lines}");
            assert_eq!(description.port, 6);
        }
    }

    #[test]
    fn what_a_sender_with_a_key_describes_is_read_as_what_it_is_once_opened() {
        for crypto in ["", "a=crypto:1 AEAD_AES_128_GCM inline:x"] {
            let lines = format!("m=audio 6 RTP/SAVPF 104\na=rtpmap:104 L24/48000/3\n{crypto}");
            let description = media(&lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
            assert_eq!(description.format, format(Codec::L24, 97, 48_000, 3, 0));
            assert!(description.encrypted);
        }
    }

    #[test]
    fn reports_share_the_port_where_it_is_said_or_have_one_of_their_own() {
        let rtcp = |line: &str| media(&format!("m=audio 60 RTP/AVP 10\n{line}")).unwrap().rtcp;
        assert_eq!(rtcp("a=rtcp-mux"), None);
        assert_eq!(rtcp("a=rtcp:77 IN IP4 192.0.2.1"), Some(77));
        assert_eq!(rtcp("a=rtcp-muxer"), Some(61));
    }

    #[test]
    fn what_cannot_be_played_is_said() {
        for (text, words) in [
            ("m=audio 6 RTP/SAVP 10", "`RTP/SAVP` is not played"),
            ("m=audio 6 RTP/SAVPF 10", "`RTP/SAVPF` is not played"),
            (
                "m=audio 6 RTP/SAVPF 101\na=rtpmap:101 L16/44100/2\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
                "`RTP/SAVPF` is not played",
            ),
            ("m=audio 6 RTP/AVP 0", "`payload type 0`"),
            ("m=audio 6 RTP/AVP 96\na=rtpmap:96 MP4A-LATM/44100", "`MP4A-LATM/44100`"),
            ("m=audio 6 RTP/AVP 96\na=rtpmap:96 opus/44100/2", "`opus/44100/2`"),
            ("m=audio 6 RTP/AVP 96\na=rtpmap:96 multiopus/48000/3\na=fmtp:96 num_streams=3", "another order"),
            ("m=audio 0 RTP/AVP 10", "no `m=audio`"),
            ("m=video 6 RTP/AVP 96", "no `m=audio`"),
        ] {
            let error = media(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert_eq!(parse("{}"), Err(Error::Other));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(m=audio|a=rtpmap:|a=fmtp:|c=IN IP4 | |6|/|RTP/AVP|L16|\n|\\PC){0,30}") {
            let _ = parse(&format!("v=0\n{text}"));
        }
    }
}
