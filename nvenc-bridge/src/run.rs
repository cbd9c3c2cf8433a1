//! The control thread: starts the streams, answers requests, shows the state, stops cleanly.

mod clients;
mod desk;
mod encoder;
mod life;
mod live;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::cli::Outcome;
use control::config::Span;
use control::display::Display;
use control::signals::Signals;
use control::{http, key};
use serde_json::json;

use crate::args::Settings;
use crate::plan::Plan;
use crate::rtsp::Credentials;
use crate::serve::{self, Server};
use crate::tls;
use life::News;
use live::{Live, State};

/// How often the control thread looks around.
const TICK: Duration = Duration::from_millis(10);
/// How long streams may take to end. A source or a driver that holds its thread for longer is left to the system.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections at a time where nothing else is said.
const CONNECTIONS: usize = 1000;
/// Descriptors besides those of players' connections: sources, encoders and their libraries, sockets for datagrams, requests over
/// HTTP.
const DESCRIPTORS: u64 = 256;

/// Streams until the sources end or a signal stops it.
///
/// # Errors
/// One line: it could not start as asked.
pub fn run(settings: &Settings) -> Result<Outcome, String> {
    let plan = Plan::new(settings)?;
    let signals = Signals::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let mut display = Display::new(settings.json, false, settings.status_interval.map(Span::duration));
    let api = api(settings, &mut display)?;
    let servers = servers(settings, &plan, &mut display)?;
    let mut streams = Vec::new();
    for stream in plan.streams {
        let server = servers.get(&stream.port).ok_or("a stream has no server")?;
        streams.push(Live::start(stream, server.clone())?);
    }
    let outcome = attend(&signals, api.as_ref(), &mut streams, &mut display);
    streams.iter().for_each(|live| live.orders.control.stop());
    let deadline = Instant::now() + PATIENCE;
    while streams.iter().any(|live| live.state != State::Ended) && Instant::now() < deadline {
        streams.iter_mut().for_each(|live| live.heed(|_, _| ()));
        std::thread::sleep(TICK);
    }
    if outcome.is_ok() {
        let text = status::summary(&streams);
        display.event(
            &text,
            "summary",
            serde_json::to_value(status::event("summary", &streams)).unwrap_or_default(),
        );
    }
    outcome
}

/// Where requests come in, if anywhere.
fn api(settings: &Settings, display: &mut Display) -> Result<Option<http::Server>, String> {
    let Some(address) = &settings.http else { return Ok(None) };
    let asked = http::Settings::new(address, settings.http_token.as_deref())?;
    asked.warning.iter().for_each(|warning| display.warn(warning));
    let server = http::Server::start(asked)?;
    let address = server.address();
    let text = format!("requests at http://{address}/api, figures at http://{address}/metrics");
    display.event(&text, "http", json!({ "address": address.to_string() }));
    Ok(Some(server))
}

/// A server for each port. It listens while it has a stream.
fn servers(
    settings: &Settings,
    plan: &Plan,
    display: &mut Display,
) -> Result<BTreeMap<u16, Arc<Server>>, String> {
    let credentials = settings.login.as_deref().map(login).transpose()?;
    let tls = tls::of(settings)?;
    if let Some(path) = settings.tls_key.as_deref().filter(|path| key::is_open(path)) {
        let path = path.display();
        display.warn(&format!(
            "--tls-key {path}: other users of this computer can read it; `chmod 600 {path}` keeps it private"
        ));
    }
    if settings.bind.len() > serve::MAX_LISTENERS {
        return Err(format!(
            "--bind: {} addresses at most; without it, all are served",
            serve::MAX_LISTENERS
        ));
    }
    let hosts = if settings.bind.is_empty() { vec![everywhere()] } else { settings.bind.clone() };
    let ports: BTreeSet<_> = plan.streams.iter().map(|stream| stream.port).collect();
    let asked = settings.max_connections.unwrap_or(CONNECTIONS);
    let wanted = DESCRIPTORS.saturating_add(asked.saturating_mul(ports.len()) as u64);
    let max_connections = connections(asked, ports.len(), os::descriptors::allow(wanted));
    if max_connections < asked {
        display.warn(&format!(
            "--max-connections: the system allows for {max_connections} of {asked}; `ulimit -n {wanted}` before, or LimitNOFILE={wanted} in a systemd service, allows for all"
        ));
    }
    let mut servers = BTreeMap::new();
    for port in ports {
        let asked = serve::Settings {
            listen: hosts.iter().map(|host| SocketAddr::new(*host, port)).collect(),
            credentials: credentials.clone(),
            tls: tls.clone(),
            max_connections,
        };
        servers.insert(port, Arc::new(Server::new(asked).map_err(|error| error.to_string())?));
    }
    Ok(servers)
}

/// How many of the connections asked for each server may have where so many descriptors are allowed.
fn connections(asked: usize, servers: usize, allowed: u64) -> usize {
    let room = allowed.saturating_sub(DESCRIPTORS) / servers.max(1) as u64;
    // With fewer than one, nobody could ever be served.
    asked.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

/// Every address of this machine, of both versions of IP where it has both.
fn everywhere() -> IpAddr {
    let six = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    if UdpSocket::bind((six, 0)).is_ok() { six } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// Who may watch, as a file says: `NAME:PASSWORD`.
fn login(path: &Path) -> Result<Credentials, String> {
    let refuse = |reason: &str| format!("--login {}: {reason}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error.to_string()))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (user, password) = lines
        .next()
        .and_then(|line| line.split_once(':'))
        .filter(|(user, password)| !user.is_empty() && !user.contains('"') && !password.is_empty())
        .filter(|_| lines.next().is_none())
        .ok_or_else(|| refuse("it takes one line: NAME:PASSWORD"))?;
    Ok(Credentials { user: user.into(), password: password.into() })
}

fn attend(
    signals: &Signals,
    api: Option<&http::Server>,
    streams: &mut [Live],
    display: &mut Display,
) -> Result<Outcome, String> {
    let mut failed = false;
    while !signals.stop() && streams.iter().any(|live| live.state != State::Ended) {
        while let Some(request) = api.and_then(http::Server::poll) {
            desk::answer(request, streams);
        }
        let several = streams.len() > 1;
        let mut refused = None;
        // A stream that runs goes on, whatever becomes of one that waits for its first picture.
        let runs = streams.iter().any(|live| live.state == State::Running);
        for live in streams.iter_mut() {
            let begun = live.state != State::Waiting;
            live.heed(|name, news| match news {
                News::Ended(Err(reason)) if !begun && !runs => {
                    let place = if several { format!("stream `{name}`: ") } else { String::new() };
                    refused = Some(format!("{place}{reason}"));
                }
                news => {
                    failed |= matches!(&news, News::Ended(Err(_)));
                    tell(name, news, display);
                }
            });
            live.clients.tell(&live.plan.name, &live.info, display);
        }
        if let Some(reason) = refused {
            return Err(reason);
        }
        if display.due() {
            let lines = status::lines(streams);
            display.state(&lines, || status::event("status", streams));
        }
        std::thread::sleep(TICK);
    }
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

fn tell(name: &str, news: News, display: &mut Display) {
    match news {
        News::Serving { urls, what } => {
            let text = format!("{name}: {what} at {}", urls.join(", "));
            display.event(&text, "serving", json!({ "stream": name, "urls": urls, "what": what }));
        }
        News::Rests => {
            display.event(&format!("{name}: not active"), "inactive", json!({ "stream": name }));
        }
        News::Warned(message) => warn(name, &message, display),
        // Who asked sees it, and so does who sends pictures of another size.
        News::Changed(_) => {}
        News::Refused { reason, .. } => {
            let details = json!({ "stream": name, "reason": reason });
            display.event(&format!("{name}: it stays as it was: {reason}"), "refused", details);
        }
        News::Sound(text) => {
            display.event(&format!("{name}: {text}"), "sound", json!({ "stream": name, "message": text }));
        }
        News::Ended(Ok(())) => {
            display.event(&format!("{name}: ended"), "ended", json!({ "stream": name }));
        }
        News::Ended(Err(reason)) => {
            let details = json!({ "stream": name, "reason": reason });
            display.event(&format!("{name}: failed: {reason}"), "failed", details);
        }
    }
}

fn warn(name: &str, message: &str, display: &mut Display) {
    let details = json!({ "stream": name, "message": message });
    display.event(&format!("warning: {name}: {message}"), "warning", details);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_by_the_descriptors_there_are() {
        for (asked, servers, allowed, expected) in [
            (1000, 1, 1256, 1000),
            (1000, 1, 1024, 768),
            (1000, 2, 1256, 500),
            (1000, 1, 64, 1),
            (10, 3, u64::MAX, 10),
            (0, 0, 0, 1),
        ] {
            assert_eq!(connections(asked, servers, allowed), expected, "{asked} {servers} {allowed}");
        }
    }

    #[test]
    fn who_may_watch_is_one_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("login");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            login(&path)
        };
        let taken = of("# Ours.\n\nguest:a:b c\n").unwrap();
        assert_eq!((taken.user.as_str(), taken.password.as_str()), ("guest", "a:b c"));
        for text in ["", "guest", ":x", "guest:", "a\"b:c", "guest:a\nother:b"] {
            let error = of(text).unwrap_err();
            assert!(error.starts_with("--login ") && error.ends_with("NAME:PASSWORD"), "{text}: {error}");
        }
        assert!(login(&folder.path().join("none")).unwrap_err().starts_with("--login "));
    }
}
