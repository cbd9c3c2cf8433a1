use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use proto::units::{Mono, RtpTime};
use rtsp_types::{Request, Response, StatusCode, headers};

use super::transport::{Offer, offers};
use super::*;
use crate::encode::Codec;
use crate::rtp::{Format, Parameters};

const URL: &str = "rtsp://192.0.2.1:8554/hall/north";
const SECOND: i64 = 1_000_000_000;

struct Even;

impl Ports for Even {
    fn ports(&mut self, local: IpAddr) -> Option<(SocketAddr, u16)> {
        Some(((local, 6000).into(), 6001))
    }
}

struct NoSockets;

impl Ports for NoSockets {
    fn ports(&mut self, _: IpAddr) -> Option<(SocketAddr, u16)> {
        None
    }
}

/// A server with pictures and sound on one mount, and the first connection to it.
struct Hall {
    server: Server,
    peer: Peer,
    now: Mono,
    sequence: u32,
    session: String,
}

fn hall(group: Option<Group>, credentials: Option<Credentials>) -> Hall {
    let mut server = Server::new(credentials, 7, |octets| octets.copy_from_slice(&[0xab; 16]));
    let track = |format, ssrc| MountedTrack {
        format,
        ssrc,
        origin: RtpTime(1000),
        parameters: Parameters::default(),
    };
    let tracks = vec![track(Format::Video(Codec::H264), 0xa), track(Format::Mp3 { rate: 44_100 }, 0xb)];
    let mount = Mount { name: "hall/north".into(), tracks, group, version: 1 };
    assert!(server.mount(mount.clone()) && !server.mount(mount));
    let (remote, local) = ("192.0.2.9".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let peer = Peer { connection: 3, remote, local, nonce: "n0".into() };
    Hall { server, peer, now: Mono(10 * SECOND), sequence: 0, session: String::new() }
}

fn parsed(text: &str) -> Request<Vec<u8>> {
    let mut reader = Reader::default();
    reader.push(text.as_bytes());
    match reader.fetch() {
        Ok(Some(Incoming::Request(request))) => request,
        other => panic!("{text}: {other:?}"),
    }
}

impl Hall {
    fn ask(&mut self, line: &str, lines: &str) -> Response<Vec<u8>> {
        self.sequence += 1;
        let session =
            if self.session.is_empty() { String::new() } else { format!("Session: {}\r\n", self.session) };
        let text = format!("{line} RTSP/1.0\r\nCSeq: {}\r\n{session}{lines}\r\n", self.sequence);
        let response = self.server.answer(&self.peer, &parsed(&text), &mut Even, self.now);
        assert_eq!(header(&response, headers::CSEQ), self.sequence.to_string());
        response
    }

    fn set_up(&mut self, track: &str, transport: &str) -> Response<Vec<u8>> {
        let response = self.ask(&format!("SETUP {URL}{track}"), &format!("Transport: {transport}\r\n"));
        if let Some(session) = response.header(&headers::SESSION) {
            self.session = session.as_str().split(';').next().unwrap().into();
        }
        response
    }

    fn play(&mut self) -> Response<Vec<u8>> {
        self.ask(&format!("PLAY {URL}"), "")
    }
}

fn header(response: &Response<Vec<u8>>, name: headers::HeaderName) -> &str {
    response.header(&name).map_or("", |value| value.as_str())
}

#[test]
fn a_client_is_told_what_there_is_sets_it_up_plays_and_leaves() {
    let mut hall = hall(None, None);
    let described = hall.ask(&format!("DESCRIBE {URL}?x=1"), "Accept: application/sdp\r\n");
    assert_eq!(header(&described, headers::CONTENT_BASE), format!("{URL}/"));
    let text = String::from_utf8(described.body().clone()).unwrap();
    let expected = "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=hall/north\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n\
        a=range:npt=now-\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n\
        a=control:trackID=0\r\nm=audio 0 RTP/AVP 14\r\na=rtpmap:14 MPA/90000\r\na=control:trackID=1\r\n";
    assert_eq!(text, expected);
    let setup = hall.set_up("/trackID=0", "RTP/AVP;unicast;client_port=5000-5001");
    assert_eq!(
        header(&setup, headers::TRANSPORT),
        "RTP/AVP;unicast;source=192.0.2.1;client_port=5000-5001;server_port=6000-6001;ssrc=0000000A;mode=\"PLAY\""
    );
    assert_eq!(header(&setup, headers::SESSION), format!("{};timeout=60", "AB".repeat(16)));
    let setup = hall.set_up("/trackID=1/", "RTP/AVP/TCP;unicast;interleaved=4-5");
    let transport = header(&setup, headers::TRANSPORT);
    assert_eq!(transport, "RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=0000000B;mode=\"PLAY\"");
    assert_eq!(hall.server.next_event(), None);
    let play = hall.play();
    // Ten seconds of 90 000 ticks after the origin.
    let info = format!("url={URL}/trackID=0;rtptime=901000,url={URL}/trackID=1;rtptime=901000");
    assert_eq!(header(&play, headers::RTP_INFO), info);
    let udp = Route::Udp {
        local: hall.peer.local,
        packets: "192.0.2.9:5000".parse().unwrap(),
        reports: "192.0.2.9:5001".parse().unwrap(),
    };
    let tcp = Route::Interleaved { connection: 3, channels: (4, 5) };
    let started = |since| Event::Started {
        session: 1,
        mount: "hall/north".into(),
        routes: vec![(0, udp), (1, tcp)],
        since,
    };
    assert_eq!(hall.server.next_event(), Some(started(hall.now)));
    assert_eq!(hall.play().status(), StatusCode::Ok);
    assert_eq!(hall.server.next_event(), None);
    assert_eq!(hall.ask(&format!("PAUSE {URL}"), "").status(), StatusCode::Ok);
    assert_eq!(hall.server.next_event(), Some(Event::Stopped { session: 1 }));
    hall.play();
    assert_eq!(hall.server.next_event(), Some(started(hall.now)));
    assert_eq!(hall.ask(&format!("TEARDOWN {URL}/"), "").status(), StatusCode::Ok);
    assert_eq!(hall.server.next_event(), Some(Event::Stopped { session: 1 }));
    assert_eq!(hall.play().status(), StatusCode::SessionNotFound);
    assert_eq!(hall.server.sessions(), 0);
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let mut hall = hall(None, None);
    let url = format!("{URL}/trackID=0");
    let transport = "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n";
    for (line, lines, status) in [
        ("DESCRIBE rtsp://192.0.2.1/hall/south".into(), "", 404),
        (format!("SETUP {URL}/trackID=2"), transport, 404),
        (format!("SETUP {URL}/trackID=x"), transport, 404),
        (format!("SETUP {URL}"), transport, 459),
        (format!("SETUP {url}"), "", 400),
        (format!("SETUP {url}"), "Transport: RTP/SAVP;unicast;client_port=5000-5001\r\n", 461),
        (format!("SETUP {url}"), "Transport: RTP/AVP;multicast\r\n", 461),
        (format!("SETUP {url}"), "Transport: RTP/AVP;unicast;client_port=0-1\r\n", 461),
        (format!("SETUP {url}"), "Transport: RTP/AVP/TCP;interleaved=0-1;mode=RECORD\r\n", 461),
        (format!("DESCRIBE {URL}"), "Accept: application/x-wms\r\n", 406),
        (format!("DESCRIBE {URL}"), "Require: com.example.more\r\n", 551),
        (format!("PLAY {URL}"), "", 454),
        (format!("PLAY {URL}"), "Session: 12345678\r\n", 454),
        ("OPTIONS *".into(), "Session: 12345678\r\n", 454),
        (format!("ANNOUNCE {URL}"), "", 405),
        (format!("JUMP {URL}"), "", 501),
        (format!("GET_PARAMETER {URL}"), "Content-Length: 4\r\n\r\nname", 451),
        ("DESCRIBE *".into(), "", 400),
    ] {
        let response = hall.ask(&line, lines);
        assert_eq!(u16::from(response.status()), status, "{line} {lines}");
    }
    assert_eq!(hall.server.sessions(), 0);
    assert_eq!(hall.server.next_event(), None);
    hall.set_up("/trackID=0", "RTP/AVP;unicast;client_port=5000-5001");
    hall.play();
    let again = hall.set_up("/trackID=1", "RTP/AVP;unicast;client_port=5002-5003");
    assert_eq!(again.status(), StatusCode::MethodNotValidInThisState);
}

#[test]
fn a_request_without_a_number_or_of_another_version_is_refused() {
    let Hall { mut server, peer, now, .. } = hall(None, None);
    for (text, status) in [
        ("OPTIONS * RTSP/1.0\r\n\r\n", StatusCode::BadRequest),
        ("OPTIONS * RTSP/1.0\r\nCSeq: one\r\n\r\n", StatusCode::BadRequest),
        ("OPTIONS * RTSP/1.0\r\nCSeq: -1\r\n\r\n", StatusCode::BadRequest),
        ("OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", StatusCode::RTSPVersionNotSupported),
    ] {
        assert_eq!(server.answer(&peer, &parsed(text), &mut Even, now).status(), status, "{text}");
    }
}

#[test]
fn of_several_transports_the_first_that_can_be_used_is() {
    let group = Group { address: "239.1.2.3".parse().unwrap(), port: 5004, ttl: 2 };
    let mut hall = hall(Some(group), None);
    let setup = hall.set_up(
        "/trackID=1",
        "RTP/AVP/UDP;unicast;client_port=5000-5001;mode=\"PLAY\",RTP/AVP/UDP;multicast,RTP/AVP/TCP;interleaved=0-1",
    );
    assert_eq!(
        header(&setup, headers::TRANSPORT),
        "RTP/AVP;multicast;destination=239.1.2.3;source=192.0.2.1;port=5006-5007;ttl=2;ssrc=0000000B;mode=\"PLAY\""
    );
    let text = String::from_utf8(hall.ask(&format!("DESCRIBE {URL}"), "").into_body()).unwrap();
    assert!(text.contains("m=audio 5006 RTP/AVP 14\r\nc=IN IP4 239.1.2.3/2\r\n"), "{text}");
}

#[test]
fn channels_that_are_in_use_are_not_given_again() {
    let mut hall = hall(None, None);
    for (track, offer, given) in [
        ("/trackID=0", "RTP/AVP/TCP;interleaved=0-1", "0-1"),
        ("/trackID=1", "RTP/AVP/TCP;interleaved=1-2", "2-3"),
        ("/trackID=0", "RTP/AVP/TCP;interleaved=0-1", "0-1"),
        ("/trackID=1", "RTP/AVP/TCP;interleaved=8-9", "8-9"),
        ("/trackID=0", "RTP/AVP/TCP;interleaved=9-9", "0-1"),
    ] {
        let setup = hall.set_up(track, offer);
        let transport = header(&setup, headers::TRANSPORT);
        assert!(transport.contains(&format!(";interleaved={given};")), "{offer}: {transport}");
    }
    hall.session.clear();
    let setup = hall.set_up("/trackID=0", "RTP/AVP/TCP");
    assert!(header(&setup, headers::TRANSPORT).contains("interleaved=2-3"));
}

#[test]
fn an_address_has_only_so_many_sessions_on_all_its_connections() {
    let mut hall = hall(None, None);
    for (host, first) in [(9, 0), (10, 1000)] {
        hall.peer.remote = [192, 0, 2, host].into();
        let mut set_up = |attempt: u64| {
            hall.peer.connection = first + attempt / 8;
            hall.session.clear();
            hall.set_up("/trackID=0", "RTP/AVP;unicast;client_port=5000-5001").status()
        };
        let refused: Vec<_> = (0..520).filter(|attempt| set_up(*attempt) != StatusCode::Ok).collect();
        assert_eq!(refused, (512..520).collect::<Vec<_>>(), "192.0.2.{host}");
    }
}

#[test]
fn who_is_not_admitted_is_not_let_in() {
    let owner = Credentials { user: "ann".into(), password: "s3cret".into() };
    let transport = "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n";
    for (credentials, expected) in [(Some(owner), [false; 4]), (None, [false, true, true, false])] {
        let mut hall = hall(None, credentials);
        let requests = [
            ("OPTIONS *".to_owned(), ""),
            (format!("DESCRIBE {URL}"), ""),
            (format!("SETUP {URL}/trackID=0"), transport),
            (format!("DESCRIBE {URL}/vault"), ""),
        ];
        let answers = requests.map(|(line, lines)| {
            let answer = hall.ask(&line, lines);
            lets_in(&parsed(&format!("{line} RTSP/1.0\r\nCSeq: 1\r\n{lines}\r\n")), &answer)
        });
        assert_eq!(answers, expected);
    }
}

#[test]
fn a_connection_has_only_so_many_sessions() {
    let mut hall = hall(None, None);
    let mut refused = 0;
    for _ in 0..20 {
        let setup = hall.set_up("/trackID=0", "RTP/AVP;unicast;client_port=5000-5001");
        hall.session.clear();
        refused += usize::from(setup.status() == StatusCode::NotEnoughBandwidth);
    }
    assert_eq!((refused, hall.server.sessions()), (12, 8));
}

#[test]
fn without_sockets_there_is_the_connection() {
    let Hall { mut server, peer, now, .. } = hall(None, None);
    let text = format!(
        "SETUP {URL}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP\r\n\r\n"
    );
    let response = server.answer(&peer, &parsed(&text), &mut NoSockets, now);
    assert!(header(&response, headers::TRANSPORT).contains("interleaved=0-1"));
}

#[test]
fn sessions_end_where_nothing_is_heard_of_them() {
    let mut hall = hall(None, None);
    hall.set_up("/trackID=0", "RTP/AVP;unicast;client_port=5000-5001");
    let (start, end) = (hall.now, |hall: &mut Hall, seconds: i64| {
        let now = hall.now.plus(seconds * SECOND);
        hall.server.expire(now);
        hall.server.sessions() == 0
    });
    assert!(!end(&mut hall, 60));
    // A request, and then a report, each keep it.
    hall.now = start.plus(60 * SECOND);
    hall.ask(&format!("GET_PARAMETER {URL}"), "");
    assert!(!end(&mut hall, 60));
    hall.server.heard(1, start.plus(120 * SECOND));
    assert!(!end(&mut hall, 120));
    assert!(end(&mut hall, 126));
    assert_eq!(hall.server.next_event(), Some(Event::Stopped { session: 1 }));
}

#[test]
fn a_lost_connection_ends_what_came_over_it_and_soon_the_rest() {
    let mut first = hall(None, None);
    first.set_up("/trackID=0", "RTP/AVP/TCP;interleaved=0-1");
    first.server.closed(4, first.now);
    assert_eq!(first.server.sessions(), 1);
    first.server.closed(3, first.now);
    assert_eq!(first.server.next_event(), Some(Event::Stopped { session: 1 }));
    for comes_back in [false, true] {
        let mut second = hall(None, None);
        second.set_up("/trackID=0", "RTP/AVP;unicast;client_port=5000-5001");
        second.server.closed(3, second.now);
        if comes_back {
            second.peer.connection = 9;
            assert_eq!(second.ask("OPTIONS *", "").status(), StatusCode::Ok);
        }
        second.server.expire(second.now.plus(11 * SECOND));
        assert_eq!(second.server.sessions(), usize::from(comes_back));
    }
}

#[test]
fn a_session_is_of_no_use_to_others() {
    let mut hall = hall(None, None);
    hall.set_up("/trackID=0", "RTP/AVP;unicast;client_port=5000-5001");
    hall.peer.remote = "192.0.2.10".parse().unwrap();
    assert_eq!(hall.play().status(), StatusCode::SessionNotFound);
}

#[test]
fn sessions_end_with_their_mount() {
    let mut hall = hall(None, None);
    hall.set_up("/trackID=0", "RTP/AVP;unicast;client_port=5000-5001");
    hall.server.unmount("hall/north");
    assert_eq!(hall.server.next_event(), Some(Event::Dismissed { session: 1, connection: 3 }));
    assert_eq!(hall.ask(&format!("DESCRIBE {URL}"), "").status(), StatusCode::SessionNotFound);
}

#[test]
fn who_does_not_know_the_password_is_asked_for_it() {
    let mut hall = hall(None, Some(Credentials { user: "ann".into(), password: "s3cret".into() }));
    assert_eq!(hall.ask("OPTIONS *", "").status(), StatusCode::Ok);
    for lines in
        ["", "Authorization: Digest username=\"ann\"\r\n", "Authorization: Basic YW5uOnMzY3JldA==\r\n"]
    {
        let response = hall.ask(&format!("DESCRIBE {URL}"), lines);
        assert_eq!(response.status(), StatusCode::Unauthorized);
        let asked = "Digest realm=\"nvenc-bridge\", nonce=\"n0\", algorithm=\"MD5\"";
        assert_eq!(header(&response, headers::WWW_AUTHENTICATE), asked);
    }
}

#[test]
fn one_track_can_be_left_out_of_a_session() {
    let mut hall = hall(None, None);
    hall.set_up("/trackID=0", "RTP/AVP/TCP;interleaved=0-1");
    hall.set_up("/trackID=1", "RTP/AVP/TCP;interleaved=2-3");
    hall.play();
    hall.server.next_event();
    hall.ask(&format!("TEARDOWN {URL}/trackID=0"), "");
    assert_eq!(hall.server.next_event(), Some(Event::Stopped { session: 1 }));
    let Some(Event::Started { routes, .. }) = hall.server.next_event() else { panic!("not started") };
    assert_eq!(routes, [(1, Route::Interleaved { connection: 3, channels: (2, 3) })]);
}

#[test]
fn requests_are_read_however_they_are_cut_and_however_many_come_at_once() {
    let stream = b"\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\x00\x03abc\
        SET_PARAMETER rtsp://h/x RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 5\r\n\r\na: $bOPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n";
    let read = |sizes: usize| {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for part in stream.chunks(sizes) {
            reader.push(part);
            while let Some(incoming) = reader.fetch().unwrap() {
                seen.push(match incoming {
                    Incoming::Request(request) => {
                        format!("{}{:?}", header_of(&request), String::from_utf8_lossy(request.body()))
                    }
                    Incoming::Data { channel, packet } => format!("{channel} {packet:?}"),
                    Incoming::Response => "response".into(),
                });
            }
        }
        assert!(!reader.is_within());
        seen
    };
    for sizes in [1, 2, 3, 7, 40, stream.len()] {
        assert_eq!(read(sizes), ["1\"\"", "1 [97, 98, 99]", "2\"a: $b\"", "3\"\""], "{sizes}");
    }
}

fn header_of(request: &Request<Vec<u8>>) -> &str {
    request.header(&headers::CSEQ).map_or("", |value| value.as_str())
}

#[test]
fn what_is_no_request_or_too_long_ends_the_connection() {
    let long = format!("OPTIONS * RTSP/1.0\r\nX: {}\r\n", "x".repeat(9000));
    let body = format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999\r\n\r\n{}", "x".repeat(5000));
    for (text, reason) in [
        ("\u{16}\u{3}\u{1}", Malformed::Broken),
        ("GET / HTTP/1.1\r\n\r\n", Malformed::Broken),
        ("DESCRIBE hall RTSP/1.0\r\n\r\n", Malformed::Broken),
        ("OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n", Malformed::Broken),
        (&long, Malformed::TooLong),
        (&body, Malformed::TooLong),
    ] {
        let mut reader = Reader::default();
        reader.push(text.as_bytes());
        assert_eq!(reader.fetch(), Err(reason), "{}", &text[..30.min(text.len())]);
    }
}

#[test]
fn offers_are_read_as_clients_write_them() {
    for (text, expected) in [
        ("RTP/AVP;unicast;client_port=5000", vec![Offer::Udp(5000, 5001)]),
        ("rtp/avp/udp; unicast; client_port=5000-5007", vec![Offer::Udp(5000, 5007)]),
        ("RTP/AVP;client_port=65535", vec![]),
        ("RTP/AVP", vec![Offer::Multicast]),
        ("RTP/AVP;unicast", vec![]),
        ("RTP/AVP/TCP;interleaved=255", vec![Offer::Interleaved(None)]),
        ("RTP/AVP/TCP;interleaved=6-9;mode=play", vec![Offer::Interleaved(Some((6, 9)))]),
        ("RTP/AVP;dest_addr=\"/\", RTP/AVP/TCP", vec![Offer::Multicast, Offer::Interleaved(None)]),
    ] {
        assert_eq!(offers(text).collect::<Vec<_>>(), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn any_conversation_is_answered(texts in prop::collection::vec(
        "(OPTIONS|SETUP|PLAY|TEARDOWN|PAUSE|DESCRIBE) (\\*|rtsp://h/(hall/north)?(/trackID=[0-2])?) RTSP/1.0\r\n(CSeq: 1\r\n)?\
         (Session: (AB){16}\r\n)?(Transport: (RTP/AVP|/TCP|;|,|client_port=|interleaved=|[0-9-]|unicast){0,9}\r\n)?\r\n|\\PC{0,20}|\\$..",
        0..12)) {
        let Hall { mut server, peer, now, .. } = hall(None, None);
        let mut reader = Reader::default();
        for text in texts {
            reader.push(text.as_bytes());
            while let Ok(Some(incoming)) = reader.fetch() {
                if let Incoming::Request(request) = incoming {
                    let response = server.answer(&peer, &request, &mut Even, now);
                    let mut octets = Vec::new();
                    prop_assert!(response.write(&mut octets).is_ok());
                }
            }
        }
        prop_assert!(server.sessions() <= 8);
    }
}
