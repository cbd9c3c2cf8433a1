//! What clients say to the RTSP server, in pieces of any size, with every kind of what they may say about sessions that exist.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvenc_bridge::encode::Codec;
use nvenc_bridge::rtp::{Format, Parameters};
use nvenc_bridge::rtsp::{
    Credentials, Event, Group, Incoming, Mount, MountedTrack, Peer, Ports, Reader, Server,
};
use proto::units::{Mono, RtpTime};

#[derive(Arbitrary, Debug)]
enum Act<'a> {
    Says { connection: bool, octets: &'a [u8] },
    Asks { connection: bool, method: u8, place: u8, header: u8, value: &'a str },
    Closes { connection: bool },
    Waits { seconds: u8 },
    Heard { session: u64 },
    Gone,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    multicast: bool,
    guarded: bool,
    datagrams: bool,
    acts: Vec<Act<'a>>,
}

const METHODS: [&str; 8] =
    ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER"];
const PLACES: [&str; 4] = ["a", "a/trackID=0", "a/trackID=1", "b"];
const HEADERS: [&str; 6] = ["Transport", "Authorization", "Require", "Range", "Accept", "Session"];

/// A request with one header that is anything, in the session that was given last.
fn request(method: u8, place: u8, header: u8, value: &str, session: &str) -> String {
    let of = |words: &[&'static str], number: u8| words[usize::from(number) % words.len()];
    let (method, place) = (of(&METHODS, method), of(&PLACES, place));
    let value = value.replace(['\r', '\n'], " ");
    let header = of(&HEADERS, header);
    format!("{method} rtsp://192.0.2.2/{place} RTSP/1.0\r\nCSeq: 1\r\n{session}{header}: {value}\r\n\r\n")
}

struct Sockets(bool);

impl Ports for Sockets {
    fn ports(&mut self, local: IpAddr) -> Option<(SocketAddr, u16)> {
        self.0.then(|| ((local, 6000).into(), 6001))
    }
}

/// Gives octets to the server, and what it answers to all that is whole.
fn answer(
    server: &mut Server,
    reader: &mut Reader,
    connection: bool,
    octets: &[u8],
    sockets: &mut Sockets,
    now: Mono,
) -> String {
    let peer = Peer {
        connection: u64::from(connection),
        remote: [192, 0, 2, 1].into(),
        local: [192, 0, 2, 2].into(),
        nonce: "n".into(),
    };
    let mut all = Vec::new();
    reader.push(octets);
    while let Ok(Some(incoming)) = reader.fetch() {
        let Incoming::Request(request) = incoming else { continue };
        let mut out = Vec::new();
        server.answer(&peer, &request, sockets, now).write(&mut out).unwrap();
        assert!(out.starts_with(b"RTSP/1.0 ") && out.len() < 20_000);
        all.extend(out);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fuzz_target!(|input: Input<'_>| {
    let credentials = Credentials { user: "u".into(), password: "p".into() };
    let mut server =
        Server::new(input.guarded.then_some(credentials), 1, |octets| octets.copy_from_slice(&[0xaa; 16]));
    let track =
        |format| MountedTrack { format, ssrc: 1, origin: RtpTime(0), parameters: Parameters::default() };
    let tracks = vec![track(Format::Video(Codec::H264)), track(Format::Opus { channels: 2 })];
    let group = Group { address: [239, 1, 1, 1].into(), port: 5004, ttl: 1 };
    server.mount(Mount { name: "a".into(), tracks, group: input.multicast.then_some(group), version: 1 });
    let mut readers = [Reader::default(), Reader::default()];
    let (mut sockets, mut session) = (Sockets(input.datagrams), String::new());
    let mut now = Mono(0);
    let mut playing = std::collections::BTreeSet::new();
    for act in input.acts {
        match act {
            Act::Says { connection, octets } => {
                let reader = &mut readers[usize::from(connection)];
                answer(&mut server, reader, connection, octets, &mut sockets, now);
            }
            Act::Asks { connection, method, place, header, value } => {
                let reader = &mut readers[usize::from(connection)];
                let text = request(method, place, header, value, &session);
                let out = answer(&mut server, reader, connection, text.as_bytes(), &mut sockets, now);
                let given = out.split_once("Session: ").and_then(|(_, rest)| rest.split([';', '\r']).next());
                session = given.map_or(session, |given| format!("Session: {given}\r\n"));
            }
            Act::Closes { connection } => {
                readers[usize::from(connection)] = Reader::default();
                server.closed(u64::from(connection), now);
            }
            Act::Waits { seconds } => {
                now = now.plus(i64::from(seconds) * 1_000_000_000);
                server.expire(now);
            }
            Act::Heard { session } => server.heard(session, now),
            Act::Gone => server.unmount("a"),
        }
        while let Some(event) = server.next_event() {
            match event {
                Event::Started { session, routes, .. } => {
                    assert!(!routes.is_empty() && playing.insert(session), "started twice");
                }
                Event::Stopped { session } | Event::Dismissed { session, .. } => {
                    playing.remove(&session);
                }
            }
        }
        assert!(playing.len() <= server.sessions() && server.sessions() <= 4096);
    }
    server.expire(now.plus(100_000_000_000));
    assert_eq!(server.sessions(), 0);
});
