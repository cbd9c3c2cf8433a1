//! A description of each RTP stream for programs that are not ours: SDP (RFC 8866), in a file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use audio::opus::{self, Layout, RateControl};
use audio::send::{Codec, EncodingSpec, Reports, Wire};
use proto::announce::Format;
use proto::payload_type;

use crate::book::{Active, Book};

/// Writes a file for each RTP client into `folder`, which is made where it is not there. Those of clients that have left
/// stay.
///
/// # Errors
/// One line that names the file.
pub(crate) fn write(folder: &Path, book: &Book) -> Result<(), String> {
    let refuse = |path: &Path, error: std::io::Error| format!("--sdp: {}: {error}", path.display());
    std::fs::create_dir_all(folder).map_err(|error| refuse(folder, error))?;
    let version = version();
    for active in book.active().iter().filter(|active| active.spec.wire == Wire::Rtp) {
        let path = folder.join(file_name(&active.client.name));
        let origin = origin(book.bind(), active);
        let text = text(active, book, origin, version, book.crypto());
        write_file(&path, &text, book.crypto().is_some()).map_err(|error| refuse(&path, error))?;
    }
    Ok(())
}

/// A number that grows from one description of a session to the next.
pub(crate) fn version() -> u64 {
    os::clock::unix_nanos() as u64 / 1_000_000_000
}

/// A file name for any client's name, different for different ones: what is no letter, digit, space, `-` or `_` is
/// written as `%` and its octet in hexadecimal.
fn file_name(client: &str) -> String {
    let mut name = String::new();
    for octet in client.bytes() {
        if octet.is_ascii_alphanumeric() || b" -_".contains(&octet) {
            name.push(char::from(octet));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "%{octet:02X}");
        }
    }
    name + ".sdp"
}

/// The address that this machine sends from, as far as it is known.
pub(crate) fn origin(bind: Option<IpAddr>, active: &Active) -> IpAddr {
    let unspecified = os::udp::any(active.address.ip());
    // Connecting a socket for datagrams sends none, but chooses the way.
    let chosen = || {
        let socket = UdpSocket::bind((unspecified, 0)).ok()?;
        socket.connect(active.address).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    bind.or_else(chosen).unwrap_or(unspecified)
}

/// What holds a key is for its owner alone.
fn write_file(path: &Path, text: &str, private: bool) -> std::io::Result<()> {
    if !private {
        return std::fs::write(path, text);
    }
    // One that is there may be readable by others.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => control::key::private().create_new(true).open(path)?.write_all(text.as_bytes()),
    }
}

/// `crypto` is the line that gives the key, for those who may have it.
pub(crate) fn text(
    active: &Active,
    book: &Book,
    origin: IpAddr,
    version: u64,
    crypto: Option<&str>,
) -> String {
    let format = active.spec.format(book.rate());
    let plain = format.payload_type;
    let payload_type = book.crypto().and_then(|_| payload_type::encrypted(plain)).unwrap_or(plain);
    let profile = if book.crypto().is_some() { "RTP/SAVPF" } else { "RTP/AVP" };
    let mut lines = vec![
        "v=0".into(),
        format!("o=- {} {version} IN {}", active.ssrc, address(origin)),
        format!("s={}", active.client.name),
        format!("c=IN {}{}", address(active.address.ip()), scope(active.address.ip(), book.ttl())),
        "t=0 0".into(),
        format!("m=audio {} {profile} {payload_type}", active.address.port()),
        format!("a=rtpmap:{payload_type} {}", encoding(&active.spec, &format)),
    ];
    if let Codec::Opus(settings) = active.spec.codec() {
        lines.push(format!("a=fmtp:{payload_type} {}", opus_parameters(&settings, format.channels)));
    }
    lines.push(format!("a=ptime:{}", packet_time(&active.spec, &format)));
    lines.extend(crypto.map(str::to_owned));
    lines.push(match active.client.reports {
        Some(Reports::Next) => format!("a=rtcp:{}", active.address.port().saturating_add(1)),
        _ => "a=rtcp-mux".into(),
    });
    lines.push("a=recvonly".into());
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// A group of IPv4 says how far it reaches (RFC 8866, 5.7).
fn scope(address: IpAddr, ttl: u8) -> String {
    if address.is_ipv4() && address.is_multicast() { format!("/{ttl}") } else { String::new() }
}

fn address(address: IpAddr) -> String {
    format!("{} {address}", if address.is_ipv4() { "IP4" } else { "IP6" })
}

fn encoding(spec: &EncodingSpec, format: &Format) -> String {
    let (rate, channels) = (format.rate, format.channels);
    match spec.codec() {
        Codec::Pcm16 => format!("L16/{rate}/{channels}"),
        Codec::Pcm24 => format!("L24/{rate}/{channels}"),
        // Opus always says two; how many there are is a parameter (RFC 7587, section 7).
        Codec::Opus(_) if channels <= 2 => "opus/48000/2".into(),
        Codec::Opus(_) => format!("multiopus/48000/{channels}"),
    }
}

/// RFC 7587, section 6.1; for more than two channels, as libwebrtc has it.
fn opus_parameters(settings: &opus::Spec, channels: u16) -> String {
    let layout = Layout::of(channels);
    let mut parameters = match channels {
        1 => vec!["stereo=0".into(), "sprop-stereo=0".into()],
        2 => vec!["stereo=1".into(), "sprop-stereo=1".into()],
        _ => {
            let mapping: Vec<_> = layout.mapping.iter().map(u8::to_string).collect();
            vec![
                format!("num_streams={}", layout.streams),
                format!("coupled_streams={}", layout.coupled),
                format!("channel_mapping={}", mapping.join(",")),
            ]
        }
    };
    parameters.push(format!("maxaveragebitrate={}", settings.total_bitrate(channels)));
    parameters.push(format!("cbr={}", u8::from(settings.rate_control == RateControl::Cbr)));
    parameters.push(format!("useinbandfec={}", u8::from(settings.expected_loss > 0)));
    parameters.join(";")
}

/// Milliseconds in a packet. Those of Opus are whole, rounded up (RFC 7587, section 6.1).
fn packet_time(spec: &EncodingSpec, format: &Format) -> String {
    let millis = f64::from(format.frames) * 1e3 / f64::from(format.rate);
    match spec.codec() {
        Codec::Opus(_) => millis.ceil().to_string(),
        Codec::Pcm16 | Codec::Pcm24 => ((millis * 1e3).round() / 1e3).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Settings;
    use crate::packets::Packets;

    /// A book of the list's clients, captured at 44.1 kHz.
    fn book(list: &str) -> Book {
        let mut book =
            Book::new(Packets::new(&Settings::default()).unwrap(), (44_100, 4), "test".into(), None);
        let (_, problems) = book.update(&control::list::parse(list).unwrap());
        assert!(problems.is_empty(), "{problems:?}");
        book
    }

    /// The media's lines of the only client, its codec written like this.
    fn media(channels: &str, codec: &str) -> String {
        let list = format!(
            r#"{{"Door": {{"ip": "192.0.2.7", "port": 5004, "channels": {channels}, "codec": {codec}}}}}"#
        );
        let book = book(&list);
        let text = text(&book.active()[0], &book, [192, 0, 2, 1].into(), 17, book.crypto());
        let head = format!(
            "v=0\r\no=- {} 17 IN IP4 192.0.2.1\r\ns=Door\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 5004 RTP/AVP ",
            book.active()[0].ssrc
        );
        let media = text.strip_prefix(&head).unwrap_or_else(|| panic!("{text}"));
        media
            .strip_suffix("a=rtcp-mux\r\na=recvonly\r\n")
            .unwrap_or_else(|| panic!("{text}"))
            .replace("\r\n", "|")
    }

    #[test]
    fn every_codec_is_described() {
        assert_eq!(media("[0, 1]", r#""pcm16""#), "10|a=rtpmap:10 L16/44100/2|a=ptime:2.902|");
        assert_eq!(media("[0, 1, 2]", r#""pcm24""#), "97|a=rtpmap:97 L24/44100/3|a=ptime:2.902|");
        assert_eq!(
            media("[0, 1]", r#""opus""#),
            "98|a=rtpmap:98 opus/48000/2|a=fmtp:98 stereo=1;sprop-stereo=1;maxaveragebitrate=192000;cbr=0;useinbandfec=0|a=ptime:5|"
        );
        assert_eq!(
            media(
                "[0]",
                r#"{"opus": {"frame_ms": 2.5, "bitrate": 64000, "rate_control": "cbr", "expected_loss": 5}}"#
            ),
            "98|a=rtpmap:98 opus/48000/2|a=fmtp:98 stereo=0;sprop-stereo=0;maxaveragebitrate=64000;cbr=1;useinbandfec=1|a=ptime:3|"
        );
        assert_eq!(
            media("[0, 1, 2]", r#"{"opus": {"bitrate": 300000}}"#),
            "98|a=rtpmap:98 multiopus/48000/3|a=fmtp:98 num_streams=2;coupled_streams=1;channel_mapping=0,1,2;maxaveragebitrate=300000;cbr=0;useinbandfec=0|a=ptime:5|"
        );
    }

    #[test]
    #[cfg(unix)]
    fn what_is_encrypted_comes_with_its_key_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sdp");
        std::fs::write(&path, "readable by others").unwrap();
        let list = r#"{"a": {"ip": "127.0.0.1", "port": 5004, "channels": [0, 1]}}"#;
        let book = book(list).encrypted(Some("a=crypto:1 X inline:Y".into()));
        write(folder.path(), &book).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("m=audio 5004 RTP/SAVPF 101\r\na=rtpmap:101 L16/44100/2\r\n"), "{text}");
        assert!(text.contains("\r\na=crypto:1 X inline:Y\r\na=rtcp-mux\r\n"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_group_says_how_far_it_reaches() {
        let book = book(r#"{"a": {"ip": "239.1.2.3", "channel": 0}, "b": {"ip": "ff15::1", "channel": 0}}"#)
            .within(7);
        let text = |n: usize| text(&book.active()[n], &book, [192, 0, 2, 1].into(), 17, None);
        assert!(text(0).contains("c=IN IP4 239.1.2.3/7\r\n"), "{}", text(0));
        assert!(text(1).contains("c=IN IP6 ff15::1\r\n"), "{}", text(1));
    }

    #[test]
    fn a_file_for_each_rtp_client_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let book = book(
            r#"{"../a b": {"ip": "127.0.0.1", "port": 5004, "channel": 0},
                "old": {"ip": "127.0.0.1", "port": 5006, "channel": 0, "wire": "plain"}}"#,
        );
        write(folder.path(), &book).unwrap();
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.collect();
        assert_eq!(names, ["%2E%2E%2Fa b.sdp"]);
        let text = std::fs::read_to_string(folder.path().join("%2E%2E%2Fa b.sdp")).unwrap();
        assert!(text.contains("IN IP4 127.0.0.1\r\ns=../a b\r\n"));
    }
}
