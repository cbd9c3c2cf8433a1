//! Waits for a session that is announced (SAP, RFC 2974).

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use control::display::Display;
use control::sdp::{self, Description};
use control::signals::Signals;
use proto::sap;
use serde_json::json;

/// How often the sockets are looked at.
const TICK: Duration = Duration::from_millis(40);
/// Octets of the longest announcement that is read; RFC 2974, 6, recommends at most 1024.
const ROOM: usize = 16_384;

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
    let ears = listen().map_err(|error| format!("--sap: cannot listen to announcements: {error}"))?;
    let wanted = if name.is_empty() { "what is".into() } else { format!("`{name}` to be") };
    display.event(&format!("waiting for {wanted} announced"), "waiting", json!({ "name": name }));
    let mut heard = Vec::new();
    let mut octets = vec![0; ROOM];
    while !signals.stop() {
        for ear in &ears {
            while let Ok((length, _)) = ear.recv_from(&mut octets) {
                let Some(text) = announced(&octets[..length]) else { continue };
                let found = sdp::parse(text);
                if !heard.contains(&found) {
                    tell(&found, display);
                    heard.push(found.clone());
                }
                match found {
                    Ok(session) if !name.is_empty() && session.name == name => return Ok(Some(session)),
                    _ => {}
                }
            }
        }
        std::thread::sleep(TICK);
    }
    Ok(None)
}

fn listen() -> io::Result<Vec<UdpSocket>> {
    let groups = [sap::GROUPS_V4.map(Into::into), sap::GROUPS_V6.map(Into::into)];
    let ears: Vec<_> = groups.iter().map(|groups| os::group::listen(sap::PORT, groups)).collect();
    if ears.iter().all(Result::is_err) {
        return ears.into_iter().collect();
    }
    let ears: Vec<_> = ears.into_iter().flatten().collect();
    ears.iter().try_for_each(|ear| ear.set_nonblocking(true))?;
    Ok(ears)
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
