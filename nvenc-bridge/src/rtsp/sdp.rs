//! What DESCRIBE answers: the tracks of a mount (RFC 4566; RFC 2326, appendix C).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sdp_types::{Attribute, Connection, Media, MediaType, Origin, Session, TransportProto};

use super::server::Mount;

/// How a track is named behind its mount's URL.
pub(super) const TRACK: &str = "trackID=";

/// The description of a mount for a client that has connected to `local`; `number` names this run of the server.
pub(super) fn describe(mount: &Mount, local: IpAddr, number: u32) -> Vec<u8> {
    let any: IpAddr =
        if local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut session = Session::new(Origin::with_ip_addr(number, mount.version, local), &mount.name);
    session.connection = Some(Connection::from_ip_addr(any));
    session.attributes = vec![with_value("control", "*"), with_value("range", "npt=now-")];
    for (place, track) in mount.tracks.iter().enumerate() {
        let kind = if track.format.is_video() { MediaType::Video } else { MediaType::Audio };
        let port = mount.group.as_ref().map_or(0, |group| group.port_of(place));
        let payload_type = track.format.payload_type();
        let mut media = Media::new(kind, port, TransportProto::RtpAvp, payload_type);
        if let Some(group) = &mount.group {
            media.connections.push(Connection::from_ip_addr_ttl(group.address, Some(group.ttl)));
        }
        media.attributes.push(with_value("rtpmap", format!("{payload_type} {}", track.format.encoding())));
        if let Some(details) = track.format.details(&track.parameters) {
            media.attributes.push(with_value("fmtp", format!("{payload_type} {details}")));
        }
        media.attributes.push(with_value("control", format!("{TRACK}{place}")));
        session.medias.push(media);
    }
    let mut text = Vec::new();
    // A vector takes everything.
    let _ = session.write(&mut text);
    text
}

fn with_value(name: &str, value: impl ToString) -> Attribute {
    Attribute::with_value(name, value)
}
