//! The Transport header (RFC 2326, section 12.39).
//!
//! It is read here and not by `rtsp-types`, whose reader panics on `dest_addr="/"`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::server::Group;
use super::session::Route;

/// A transport that a client offers to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Datagrams to its ports, for packets and reports.
    Udp(u16, u16),
    /// Datagrams to a group that the server names.
    Multicast,
    /// The connection itself, on channels for packets and reports that it may name.
    Interleaved(Option<(u8, u8)>),
}

/// What a client offers, the best first. Other profiles, recording and nonsense are left out.
pub(super) fn offers(header: &str) -> impl Iterator<Item = Offer> {
    header.split(',').filter_map(offer)
}

fn offer(text: &str) -> Option<Offer> {
    let mut words = text.split(';').map(str::trim);
    let protocol = words.next()?.to_ascii_uppercase();
    let parameters: Vec<(&str, &str)> =
        words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect();
    let value = |name: &str| {
        parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if value("mode").is_some_and(|mode| !mode.to_ascii_uppercase().contains("PLAY")) {
        return None;
    }
    match protocol.as_str() {
        "RTP/AVP/TCP" => Some(Offer::Interleaved(value("interleaved").and_then(pair))),
        "RTP/AVP" | "RTP/AVP/UDP" => match value("client_port") {
            _ if value("multicast").is_some() => Some(Offer::Multicast),
            Some(ports) => {
                let (packets, reports) = pair::<u16>(ports)?;
                (packets > 0 && reports > 0).then_some(Offer::Udp(packets, reports))
            }
            // Multicast is what stands where nothing is said; who names no port can get nothing else.
            None => value("unicast").is_none().then_some(Offer::Multicast),
        },
        _ => None,
    }
}

/// `4588-4589`, or the first of two numbers that follow each other.
fn pair<N>(text: &str) -> Option<(N, N)>
where
    N: Copy + FromStr + TryFrom<u32>,
    u32: From<N>,
{
    let (first, second) = text.split_once('-').map_or((text, None), |(first, second)| (first, Some(second)));
    let first: N = first.trim().parse().ok()?;
    let second = match second {
        Some(second) => second.trim().parse().ok()?,
        None => N::try_from(u32::from(first) + 1).ok()?,
    };
    Some((first, second))
}

/// What a client is told of the transport that it gets.
pub(super) struct Agreed<'a> {
    pub route: &'a Route,
    /// The server's address and ports for datagrams.
    pub server: (SocketAddr, u16),
    pub group: Option<&'a Group>,
    pub track: usize,
    pub ssrc: u32,
}

impl fmt::Display for Agreed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.server.0.ip();
        match (self.route, self.group) {
            (Route::Udp { packets, reports, .. }, _) => write!(
                f,
                "RTP/AVP;unicast;source={source};client_port={}-{};server_port={}-{}",
                packets.port(),
                reports.port(),
                self.server.0.port(),
                self.server.1
            )?,
            (Route::Interleaved { channels: (packets, reports), .. }, _) => {
                write!(f, "RTP/AVP/TCP;unicast;interleaved={packets}-{reports}")?;
            }
            (Route::Group, Some(group)) => {
                let port = group.port_of(self.track);
                write!(
                    f,
                    "RTP/AVP;multicast;destination={};source={source};port={port}-{};ttl={}",
                    group.address,
                    port.saturating_add(1),
                    group.ttl
                )?;
            }
            (Route::Group, None) => return Err(fmt::Error),
        }
        write!(f, ";ssrc={:08X};mode=\"PLAY\"", self.ssrc)
    }
}
