//! The server with other people's clients, and with bad ones.

mod bad;
mod canned;
mod client;
mod measures;
mod players;
mod tls;

use std::net::SocketAddr;

use canned::{Canned, Player};
use nvenc_bridge::rtsp::{Credentials, Group};
use nvenc_bridge::serve::{Server, Settings, Stream};

/// A server of this machine alone.
fn settings() -> Settings {
    // Both ends of each connection are in this process.
    os::descriptors::allow(4096);
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    Settings { listen, credentials: None, tls: None, max_connections: 512 }
}

fn server(credentials: Option<Credentials>) -> Server {
    Server::new(Settings { credentials, ..settings() }).unwrap()
}

/// Serves canned streams as one, in real time.
fn play(server: &Server, name: &str, canned: Vec<Canned>, group: Option<Group>) -> (Player, SocketAddr) {
    let formats = canned.iter().map(|canned| canned.format.clone()).collect();
    let (stream, feeds) = server.mount(name, formats, group).unwrap();
    let address = stream.addresses()[0];
    (Player::new(stream, feeds, canned), address)
}

/// Waits for something to become so, for as long as a busy machine may take.
fn becomes(what: &str, mut is: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn clients(stream: &Stream) -> usize {
    stream.info().clients.len()
}
