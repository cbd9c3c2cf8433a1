//! A small API over HTTP, for control pages, scripts and Prometheus.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /api` | the program's state, a JSON object |
//! | `GET /api/streams/door` | a part of it: members by name, items of a list by number |
//! | `PATCH /api/streams/door` with an object, `Content-Type: application/json` | takes its members as settings; that part of the state as it is then |
//! | `POST /api/streams/door/forceidr` | a pulse: the setting `forceidr` with the value `true`; the same |
//! | `GET /metrics` | figures for Prometheus |
//!
//! What is refused is answered by an object with an `error`, a line for people.
//!
//! The server's thread holds nothing of the program. It hands each request to the control thread, which looks for them as it
//! looks for everything else, with [`Server::poll`]; one that gets no answer within two seconds is told that the program is
//! busy.
//!
//! Without a token, the server listens on this computer alone, and nothing is answered that comes by another computer's name
//! or from another site's page: a web page that somebody looks at here cannot reach it. With a token, every request has to
//! bring it: `Authorization: Bearer TOKEN`.

mod gate;
mod serve;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::key;
use crate::metrics::Metrics;

/// Requests that the control thread has not seen yet.
const WAITING: usize = 16;
/// Characters of the shortest token: 64 bits, as hexadecimal digits.
const SHORTEST_TOKEN: usize = 16;

/// Where to listen, and to whom.
#[derive(Clone, Debug)]
pub struct Settings {
    address: SocketAddr,
    token: Option<String>,
    /// One line for the user, about the token's file.
    pub warning: Option<String>,
}

impl Settings {
    /// Listens at `ADDRESS:PORT`, or a port of this computer alone; the token is what the file holds, beside lines that begin
    /// with `#`.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn new(address: &str, token: Option<&Path>) -> Result<Self, String> {
        let port = address.strip_prefix(':').unwrap_or(address).parse::<u16>();
        let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let address = port.map(here).or_else(|_| address.parse()).map_err(|_| {
            format!("--http {address}: write ADDRESS:PORT, like 127.0.0.1:8080, or a port alone")
        })?;
        if token.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(format!(
                "--http {address}: other computers may ask only with a token: name its file with --http-token, or listen on 127.0.0.1"
            ));
        }
        let warning = token.filter(|path| key::is_open(path)).map(|path| {
            let path = path.display();
            format!("--http-token {path}: other users of this computer can read it; `chmod 600 {path}` keeps it private")
        });
        Ok(Self { address, token: token.map(load).transpose()?, warning })
    }
}

fn load(path: &Path) -> Result<String, String> {
    let refuse = |reason: &str| format!("--http-token {}: {reason}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error.to_string()))?;
    let mut words = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    let token = words.next().filter(|word| word.len() >= SHORTEST_TOKEN && word.is_ascii());
    match (token, words.next()) {
        (Some(token), None) => Ok(token.into()),
        _ => Err(refuse("it takes one word of 16 characters or more; `keygen FILE` makes such a file")),
    }
}

/// What somebody asks.
#[derive(Debug)]
pub enum Request {
    /// How everything is: an object, whose members paths name.
    State(Reply<Value>),
    /// Figures.
    Metrics(Reply<Metrics>),
    /// To change something.
    Change(Change, Reply<()>),
}

/// A change that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What of: the members that lead there.
    pub path: Vec<String>,
    /// What becomes of it.
    pub values: Map<String, Value>,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing.
    Missing(String),
    /// It cannot be so. One line that says what to do.
    Invalid(String),
}

/// Where an answer goes to. Without one, the asker is told that the program is busy.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<Result<T, Refusal>>);

impl<T> Reply<T> {
    /// Answers.
    pub fn send(self, answer: Result<T, Refusal>) {
        // Who has gone does not want to know.
        let _ = self.0.send(answer);
    }
}

/// A server that runs. Dropping it frees its port.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    requests: Receiver<Request>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts its thread.
    ///
    /// # Errors
    /// One line that says what to do.
    pub fn start(settings: Settings) -> Result<Self, String> {
        let Settings { address, token, .. } = settings;
        let refuse = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!(
                    "--http {address}: the port is in use; choose another, or end the program that has it"
                )
            }
            std::io::ErrorKind::AddrNotAvailable => {
                format!("--http {address}: this machine has no such address")
            }
            _ => format!("--http {address}: {error}"),
        };
        let listener = TcpListener::bind(address).map_err(refuse)?;
        listener.set_nonblocking(true).map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refuse)?;
        let (requests_in, requests) = sync_channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        let body = move || serve::run(&runtime, listener, token, requests_in, stopped);
        let thread = std::thread::Builder::new().name("http".into()).spawn(body).map_err(refuse)?;
        Ok(Self { address, requests, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request, if there is one. To be called often: somebody waits.
    pub fn poll(&self) -> Option<Request> {
        self.requests.try_recv().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
