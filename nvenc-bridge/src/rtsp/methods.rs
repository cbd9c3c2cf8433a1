//! The methods (RFC 2326, section 10).

use proto::units::Mono;
use rtsp_types::headers::{
    ACCEPT, AUTHORIZATION, CONTENT_BASE, CONTENT_TYPE, CSEQ, PUBLIC, RANGE, REQUIRE, RTP_INFO, SERVER,
    SESSION, TRANSPORT, UNSUPPORTED, WWW_AUTHENTICATE,
};
use rtsp_types::{HeaderName, Method, Request, Response, StatusCode, Url, Version};

use super::digest;
use super::sdp::{self, TRACK};
use super::server::{Event, Mount, Peer, Ports, Server};
use super::session::{Route, SESSION_TIMEOUT, Session};
use super::transport::{Agreed, Offer, offers};
use crate::rtp;

/// Sessions that a connection may have, that an address may have, and that there may be: those of connections that are gone last
/// for a while.
const MAX_SESSIONS: usize = 8;
const MAX_HOST_SESSIONS: usize = 512;
const MAX_ALL_SESSIONS: usize = 4096;
const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// What stands in an answer besides its status.
#[derive(Default)]
struct Answer {
    headers: Vec<(HeaderName, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

type Outcome = Result<Answer, StatusCode>;

/// Whether a client was let in by an answer: it was told what there is, or has a session.
pub fn lets_in(request: &Request<Vec<u8>>, answer: &Response<Vec<u8>>) -> bool {
    let has_session = || answer.header(&SESSION).is_some();
    answer.status() == StatusCode::Ok && (*request.method() == Method::Describe || has_session())
}

/// What a request's URL names.
struct Place<'a> {
    mount: &'a Mount,
    track: Option<usize>,
    /// URL of the mount, with a `/` behind it.
    base: String,
}

impl Server {
    /// Answers a request.
    pub fn answer(
        &mut self,
        peer: &Peer,
        request: &Request<Vec<u8>>,
        ports: &mut dyn Ports,
        now: Mono,
    ) -> Response<Vec<u8>> {
        let number = request.header(&CSEQ).and_then(|text| text.as_str().trim().parse::<u32>().ok());
        let outcome = match number {
            Some(_) => self.outcome(peer, request, ports, now),
            None => Err(StatusCode::BadRequest),
        };
        let (status, answer) = match outcome {
            Ok(answer) => (StatusCode::Ok, answer),
            Err(status) => (status, self.explained(peer, request, status)),
        };
        let mut response =
            Response::builder(Version::V1_0, status).header(SERVER, "nvenc-bridge").build(answer.body);
        if let Some(number) = number {
            response.insert_header(CSEQ, number.to_string());
        }
        for (name, value) in answer.headers {
            response.insert_header(name, value);
        }
        response
    }

    /// What helps a client to do better.
    fn explained(&self, peer: &Peer, request: &Request<Vec<u8>>, status: StatusCode) -> Answer {
        match status {
            StatusCode::Unauthorized => {
                Answer::default().with(WWW_AUTHENTICATE, digest::challenge(&peer.nonce))
            }
            StatusCode::OptionNotSupported => {
                let asked = request.header(&REQUIRE).map_or("", |value| value.as_str());
                Answer::default().with(UNSUPPORTED, asked)
            }
            StatusCode::MethodNotAllowed | StatusCode::NotImplemented => {
                Answer::default().with(PUBLIC, METHODS)
            }
            _ => Answer::default(),
        }
    }

    fn outcome(
        &mut self,
        peer: &Peer,
        request: &Request<Vec<u8>>,
        ports: &mut dyn Ports,
        now: Mono,
    ) -> Outcome {
        if request.version() != Version::V1_0 {
            return Err(StatusCode::RTSPVersionNotSupported);
        }
        if request.header(&REQUIRE).is_some() {
            return Err(StatusCode::OptionNotSupported);
        }
        // Clients ask for options before they know that they have to name themselves.
        if *request.method() != Method::Options && !self.admits(peer, request) {
            return Err(StatusCode::Unauthorized);
        }
        let session = self.session(peer, request, now)?;
        match (request.method(), session) {
            (Method::Options, _) => Ok(Answer::default().with(PUBLIC, METHODS)),
            (Method::Describe, _) => self.describe_to(peer, request),
            (Method::Setup, _) => self.set_up(peer, request, session, ports, now),
            (Method::Play, Some(session)) => self.play(request, session, now),
            (Method::Pause, Some(session)) => Ok(self.pause(session)),
            (Method::Teardown, Some(session)) => Ok(self.tear_down(request, session, now)),
            (Method::GetParameter | Method::SetParameter, _) if request.body().is_empty() => {
                Ok(self.named(session))
            }
            (Method::GetParameter | Method::SetParameter, _) => Err(StatusCode::ParameterNotUnderstood),
            (Method::Play | Method::Pause | Method::Teardown, None) => Err(StatusCode::SessionNotFound),
            (Method::Announce | Method::Record, _) => Err(StatusCode::MethodNotAllowed),
            _ => Err(StatusCode::NotImplemented),
        }
    }

    fn admits(&self, peer: &Peer, request: &Request<Vec<u8>>) -> bool {
        let Some(credentials) = &self.credentials else { return true };
        request.header(&AUTHORIZATION).is_some_and(|header| {
            let method: &str = request.method().into();
            credentials.admit(&peer.nonce, method, request.request_uri(), header.as_str())
        })
    }

    /// The session that a request names, which has then been heard of.
    fn session(
        &mut self,
        peer: &Peer,
        request: &Request<Vec<u8>>,
        now: Mono,
    ) -> Result<Option<u64>, StatusCode> {
        let Some(header) = request.header(&SESSION) else { return Ok(None) };
        let id = header.as_str().split(';').next().unwrap_or_default().trim();
        let (number, session) = self
            .sessions
            .iter_mut()
            .find(|(_, session)| session.id == id && session.remote == peer.remote)
            .ok_or(StatusCode::SessionNotFound)?;
        session.connection = peer.connection;
        session.refresh(now);
        Ok(Some(*number))
    }

    fn place(&self, request: &Request<Vec<u8>>) -> Result<Place<'_>, StatusCode> {
        let url = request.request_uri().ok_or(StatusCode::BadRequest)?;
        let path = decoded(url.path());
        let path = path.trim_matches('/');
        let (name, track) = match path.rsplit_once('/') {
            Some((name, last)) if last.starts_with(TRACK) => {
                let number = last[TRACK.len()..].parse().map_err(|_| StatusCode::NotFound)?;
                (name.trim_end_matches('/'), Some(number))
            }
            _ => (path, None),
        };
        let mount = self.mounts.get(name).ok_or(StatusCode::NotFound)?;
        if track.is_some_and(|track| track >= mount.tracks.len()) {
            return Err(StatusCode::NotFound);
        }
        Ok(Place { mount, track, base: base(url, track.is_some()) })
    }

    fn describe_to(&self, peer: &Peer, request: &Request<Vec<u8>>) -> Outcome {
        let place = self.place(request)?;
        let accepted = request.header(&ACCEPT).map(|header| header.as_str().to_ascii_lowercase());
        let fits = |kinds: &String| kinds.contains("application/sdp") || kinds.contains("*/*");
        if accepted.is_some_and(|kinds| !fits(&kinds)) {
            return Err(StatusCode::NotAcceptable);
        }
        let body = sdp::describe(place.mount, peer.local, self.run);
        let answer = Answer { headers: Vec::new(), body };
        Ok(answer.with(CONTENT_TYPE, "application/sdp").with(CONTENT_BASE, place.base))
    }

    fn set_up(
        &mut self,
        peer: &Peer,
        request: &Request<Vec<u8>>,
        session: Option<u64>,
        ports: &mut dyn Ports,
        now: Mono,
    ) -> Outcome {
        let place = self.place(request)?;
        let track = match (place.track, place.mount.tracks.len()) {
            (Some(track), _) => track,
            (None, 1) => 0,
            (None, _) => return Err(StatusCode::AggregateOperationNotAllowed),
        };
        let mount = place.mount.clone();
        let header = request.header(&TRANSPORT).ok_or(StatusCode::BadRequest)?;
        if let Some(session) = session.and_then(|number| self.sessions.get_mut(&number)) {
            if session.mount != mount.name {
                return Err(StatusCode::AggregateOperationNotAllowed);
            }
            if session.playing {
                return Err(StatusCode::MethodNotValidInThisState);
            }
            session.routes[track] = None;
        } else if self.is_full(peer) {
            return Err(StatusCode::NotEnoughBandwidth);
        }
        let server = ports.ports(peer.local);
        let route = offers(header.as_str())
            .find_map(|offer| self.route(peer, &mount, offer, server.is_some()))
            .ok_or(StatusCode::UnsupportedTransport)?;
        let transport = Agreed {
            route: &route,
            server: server.unwrap_or_else(|| ((peer.local, 0).into(), 0)),
            group: mount.group.as_ref(),
            track,
            ssrc: mount.tracks[track].ssrc,
        }
        .to_string();
        let number = session.unwrap_or_else(|| self.begin(&mount.name, mount.tracks.len(), peer, now));
        if let Some(session) = self.sessions.get_mut(&number) {
            session.connection = peer.connection;
            session.routes[track] = Some(route);
        }
        Ok(self.named(Some(number)).with(TRANSPORT, transport))
    }

    fn is_full(&self, peer: &Peer) -> bool {
        let has = |fits: &dyn Fn(&Session) -> bool| self.sessions.values().filter(|it| fits(it)).count();
        has(&|session| session.connection == peer.connection) >= MAX_SESSIONS
            || has(&|session| session.remote == peer.remote) >= MAX_HOST_SESSIONS
            || self.sessions.len() >= MAX_ALL_SESSIONS
    }

    /// The route that an offer leads to, if it is one for this mount.
    fn route(&self, peer: &Peer, mount: &Mount, offer: Offer, datagrams: bool) -> Option<Route> {
        match offer {
            Offer::Udp(packets, reports) if mount.group.is_none() && datagrams => Some(Route::Udp {
                local: peer.local,
                packets: (peer.remote, packets).into(),
                reports: (peer.remote, reports).into(),
            }),
            Offer::Multicast if mount.group.is_some() => Some(Route::Group),
            Offer::Interleaved(wanted) => {
                let connection = peer.connection;
                let used: Vec<u8> =
                    self.sessions.values().flat_map(|session| session.channels(connection)).collect();
                let free =
                    |pair: &(u8, u8)| pair.0 != pair.1 && !used.contains(&pair.0) && !used.contains(&pair.1);
                let others = (0..=126u8).map(|half| (2 * half, 2 * half + 1));
                let channels = wanted.into_iter().chain(others).find(free)?;
                Some(Route::Interleaved { connection, channels })
            }
            Offer::Udp(..) | Offer::Multicast => None,
        }
    }

    fn play(&mut self, request: &Request<Vec<u8>>, number: u64, now: Mono) -> Outcome {
        let place = self.place(request)?;
        let session = self.sessions.get(&number).ok_or(StatusCode::SessionNotFound)?;
        if session.mount != place.mount.name {
            return Err(StatusCode::AggregateOperationNotAllowed);
        }
        let routes: Vec<_> =
            session.routes.iter().enumerate().filter_map(|(track, route)| Some((track, (*route)?))).collect();
        if routes.is_empty() {
            return Err(StatusCode::MethodNotValidInThisState);
        }
        let time = |track: usize| {
            let track = &place.mount.tracks[track];
            let ticks =
                rtp::ticks(std::time::Duration::from_nanos(now.0.max(0) as u64), track.format.clock());
            track.origin.0.wrapping_add(ticks as u32)
        };
        // Without the sequence number: nobody knows yet how many packets the next key picture is away.
        let infos: Vec<_> = routes
            .iter()
            .map(|(track, _)| format!("url={}{TRACK}{track};rtptime={}", place.base, time(*track)))
            .collect();
        let mount = session.mount.clone();
        if !session.playing {
            self.events.push_back(Event::Started { session: number, mount, routes, since: now });
        }
        if let Some(session) = self.sessions.get_mut(&number) {
            session.playing = true;
        }
        Ok(self.named(Some(number)).with(RTP_INFO, infos.join(",")).with(RANGE, "npt=now-"))
    }

    fn pause(&mut self, number: u64) -> Answer {
        if let Some(session) = self.sessions.get_mut(&number).filter(|session| session.playing) {
            session.playing = false;
            self.events.push_back(Event::Stopped { session: number });
        }
        self.named(Some(number))
    }

    /// Ends a session, or leaves one track out of it where several are set up and one is named.
    fn tear_down(&mut self, request: &Request<Vec<u8>>, number: u64, now: Mono) -> Answer {
        let track = self.place(request).ok().and_then(|place| place.track);
        let answer = self.named(Some(number));
        let Some(session) = self.sessions.get_mut(&number) else { return answer };
        if let Some(route) = track.and_then(|track| session.routes.get_mut(track)) {
            *route = None;
        }
        let rest: Vec<_> =
            session.routes.iter().enumerate().filter_map(|(track, route)| Some((track, (*route)?))).collect();
        if track.is_none() || rest.is_empty() {
            self.end(number);
        } else if session.playing {
            let mount = session.mount.clone();
            self.events.push_back(Event::Stopped { session: number });
            self.events.push_back(Event::Started { session: number, mount, routes: rest, since: now });
        }
        answer
    }

    fn named(&self, session: Option<u64>) -> Answer {
        match session.and_then(|number| self.sessions.get(&number)) {
            Some(session) => {
                Answer::default().with(SESSION, format!("{};timeout={SESSION_TIMEOUT}", session.id))
            }
            None => Answer::default(),
        }
    }
}

/// The URL of the mount, as the client writes it, without queries and with a `/` behind it.
fn base(url: &Url, of_track: bool) -> String {
    let mut base = url.clone();
    base.set_query(None);
    base.set_fragment(None);
    let _ = base.set_username("");
    let _ = base.set_password(None);
    let text = base.as_str().trim_end_matches('/');
    let mount = if of_track { text.rsplit_once('/').map_or(text, |(mount, _)| mount) } else { text };
    format!("{}/", mount.trim_end_matches('/'))
}

/// Without `%20` and the like.
fn decoded(path: &str) -> String {
    let mut octets = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|two| {
            let text = std::str::from_utf8(two).ok()?;
            u8::from_str_radix(text, 16).ok()
        });
        octets.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&octets).into_owned()
}
