//! Waits for a session that is announced (SAP, RFC 2974).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use control::display::Display;
use control::sdp::{self, Description};
use control::signals::Signals;
use os::multicast::{self, Membership};
use os::udp::{Inbox, Socket};
use proto::sap;
use serde_json::json;

/// How often the sockets are looked at.
const TICK: Duration = Duration::from_millis(40);
/// How often links are looked at: announcements come far more rarely.
const LINKS: Duration = Duration::from_secs(2);

/// Says what is announced, each session once, until one has this name and can be played. `None` where a signal stops it
/// before; without a name, only that does.
///
/// # Errors
/// One line: announcements cannot be listened to.
pub(crate) fn wait_for(
    name: &str,
    signals: &Signals,
    display: &mut Display,
) -> Result<Option<Description>, String> {
    let mut ears = listen().map_err(|error| format!("--sap: cannot listen to announcements: {error}"))?;
    let wanted = if name.is_empty() { "what is".into() } else { format!("`{name}` to be") };
    display.event(&format!("waiting for {wanted} announced"), "waiting", json!({ "name": name }));
    let (mut heard, mut chosen, mut inbox) = (Vec::new(), None, Inbox::default());
    let mut looked = Instant::now();
    while !signals.stop() && chosen.is_none() {
        for (ear, _) in &ears {
            inbox.receive(ear, |_, _, datagram| {
                let Some(found) = announced(datagram).map(sdp::parse) else { return };
                if heard.contains(&found) {
                    return;
                }
                tell(&found, display);
                heard.push(found.clone());
                chosen = chosen.take().or(found.ok().filter(|found| !name.is_empty() && found.name == name));
            });
        }
        if looked.elapsed() > LINKS {
            looked = Instant::now();
            // One that can be joined nowhere now may be later.
            ears.iter_mut().for_each(|(_, membership)| drop(membership.refresh()));
        }
        std::thread::sleep(TICK);
    }
    Ok(chosen)
}

/// A socket for each group that there can be one for.
fn listen() -> Result<Vec<(Socket, Membership)>, String> {
    let groups = sap::GROUPS_V4.map(IpAddr::from).into_iter().chain(sap::GROUPS_V6.map(IpAddr::from));
    let (mut ears, mut refusal, mut joined) = (Vec::new(), String::new(), false);
    for group in groups {
        match multicast::listen(SocketAddr::new(group, sap::PORT), Vec::new(), Vec::new()) {
            Ok((ear, mut membership)) => {
                match membership.refresh() {
                    Ok(_) => joined = true,
                    Err(error) => refusal = error,
                }
                ears.push((ear, membership));
            }
            Err(error) => refusal = error.to_string(),
        }
    }
    if joined { Ok(ears) } else { Err(refusal) }
}

/// The description in a datagram that announces a session.
fn announced(datagram: &[u8]) -> Option<&str> {
    let packet = sap::Packet::parse(datagram).ok()?;
    let is_sdp = packet.payload_type.eq_ignore_ascii_case(sap::SDP);
    str::from_utf8(packet.payload).ok().filter(|_| is_sdp && !packet.deletion)
}

fn tell(found: &Result<Description, sdp::Error>, display: &mut Display) {
    let Ok(session) = found else { return };
    let format = session.format;
    let to = session.address.map_or(String::new(), |address| format!("{address} "));
    let text = format!(
        "`{}` is announced: {}, {} channels, {} Hz, to {to}port {}",
        session.name,
        format.codec.name(),
        format.channels,
        format.rate,
        session.port
    );
    let details = json!({ "name": session.name, "codec": format.codec.name(), "channels": format.channels,
        "rate": format.rate, "address": session.address.map(|address| address.to_string()), "port": session.port });
    display.event(&text, "announced", details);
}
