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

struct Sockets(bool);

impl Ports for Sockets {
    fn ports(&mut self, local: IpAddr) -> Option<(SocketAddr, u16)> {
        self.0.then(|| ((local, 6000).into(), 6001))
    }
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
    let mut now = Mono(0);
    let mut playing = std::collections::BTreeSet::new();
    for act in input.acts {
        match act {
            Act::Says { connection, octets } => {
                let place = usize::from(connection);
                let peer = Peer {
                    connection: place as u64,
                    remote: [192, 0, 2, 1].into(),
                    local: [192, 0, 2, 2].into(),
                    nonce: "n".into(),
                };
                readers[place].push(octets);
                while let Ok(Some(incoming)) = readers[place].fetch() {
                    let Incoming::Request(request) = incoming else { continue };
                    let mut out = Vec::new();
                    server
                        .answer(&peer, &request, &mut Sockets(input.datagrams), now)
                        .write(&mut out)
                        .unwrap();
                    assert!(out.starts_with(b"RTSP/1.0 ") && out.len() < 20_000);
                }
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
