//! A mount and those who get its tracks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use os::fan::{Destination, MAX_DATAGRAMS, Refusal};
use proto::rtcp::{self, Builder, Packet, SenderInfo};
use proto::units::{Mono, Ntp, RtpTime};

use super::connections::{Connections, Room};
use super::info::{Client, Figures};
use super::key::Gate;
use super::ports::{Place, Sockets};
use crate::rtp::{Unit, ticks};
use crate::rtsp::{Group, Route};

/// Between reports on a track (RFC 3550, section 6.2, has 5 s as the least; its bandwidth allows for less, and receivers can
/// align sound and pictures the sooner).
const REPORTS: i64 = 2_000_000_000;
/// Payload-specific feedback (RFC 4585, section 6.3) that asks for a key picture: a picture loss indication (1) or a full intra
/// request (RFC 5104, section 4.3.1: 4).
const PICTURE_FEEDBACK: u8 = 206;
const ASKS_FOR_KEY: [u8; 2] = [1, 4];

/// Packets of an access unit from which on it is spread over time: some 90 KB, what small switches and access points have room for.
const LARGE: usize = 64;
/// Packets of it that are sent at a time.
const PORTION: usize = 24;
/// Over what it is spread at most: half of the time until the next one, and this.
const SPREAD: Duration = Duration::from_millis(20);

/// Sockets and connections.
#[derive(Default)]
pub(super) struct Net {
    pub connections: Connections,
    pub sockets: Sockets,
    /// Connections to be closed.
    pub broken: Vec<u64>,
}

/// What is known of a track.
struct Track {
    ssrc: u32,
    clock: u32,
    video: bool,
    /// The unit that came last: RTP time and when it was captured.
    last: Option<(RtpTime, Duration)>,
    packets: u32,
    octets: u32,
    report: Mono,
}

/// One track on its way to one client.
struct Listener {
    session: u64,
    track: usize,
    route: Route,
    /// Where packets go, where that is by datagrams.
    destination: Option<Destination>,
    /// Sound that was captured earlier is not for it.
    since: Duration,
    /// For the next key picture.
    waits: bool,
    /// Something has been sent.
    began: bool,
    figures: Client,
}

/// An access unit in datagrams, some of which are to be sent later.
struct Parcel {
    track: usize,
    unit: Unit,
    to: Vec<Party>,
    /// Runs that are sent.
    sent: usize,
    /// When the next run is due.
    due: Mono,
    /// Nanoseconds from one run to the next; 0 where all are sent at once.
    gap: i64,
}

/// An access unit as it goes over connections, on a channel.
type Framed = (u8, Arc<[u8]>);

/// Those who are sent to by the same sockets, and their sessions.
struct Party {
    place: Place,
    to: Vec<Destination>,
    sessions: Vec<u64>,
}

pub(super) struct Stage {
    pub name: String,
    pub group: Option<Group>,
    tracks: Vec<Track>,
    listeners: Vec<Listener>,
    /// At most one of each track.
    parcels: Vec<Parcel>,
    gate: Gate,
    figures: Arc<Figures>,
    cname: String,
}

impl Stage {
    pub(super) fn new(
        name: String,
        group: Option<Group>,
        tracks: impl Iterator<Item = (u32, u32, bool)>,
        figures: Arc<Figures>,
    ) -> Self {
        let track = |(ssrc, clock, video)| Track {
            ssrc,
            clock,
            video,
            last: None,
            packets: 0,
            octets: 0,
            report: Mono(0),
        };
        let cname = format!("{name}@nvenc-bridge");
        Self {
            name,
            group,
            tracks: tracks.map(track).collect(),
            listeners: Vec::new(),
            parcels: Vec::new(),
            gate: Gate::default(),
            figures,
            cname,
        }
    }

    /// A session gets these tracks from now on.
    pub(super) fn start(
        &mut self,
        session: u64,
        routes: Vec<(usize, Route)>,
        since: Mono,
        connections: &Connections,
    ) {
        for (track, route) in routes {
            let group = self.group.map(|group| SocketAddr::new(group.address, group.port_of(track)));
            let to = match route {
                Route::Udp { packets, .. } => Some(packets),
                Route::Group => group,
                Route::Interleaved { .. } => None,
            };
            let client = match route {
                Route::Interleaved { connection, .. } => connections.remote(connection),
                _ => to,
            };
            let Some(waits) = self.tracks.get(track).map(|track| track.video) else { continue };
            self.listeners.push(Listener {
                session,
                track,
                route,
                destination: to.map(Destination::from),
                // Pictures begin with the next key picture, which may be under way already.
                since: if waits { Duration::ZERO } else { Duration::from_nanos(since.0.max(0) as u64) },
                waits,
                began: false,
                figures: Client::new(session, track, &route, client),
            });
        }
    }

    /// A session gets nothing more; with `farewell`, it is told so.
    pub(super) fn stop(&mut self, session: u64, farewell: bool, net: &mut Net, now: Mono) {
        let gone: Vec<_> = self.listeners.extract_if(.., |listener| listener.session == session).collect();
        if farewell {
            gone.iter().for_each(|listener| self.report(listener, true, net, now));
        }
    }

    /// Whether a session gets something from here.
    pub(super) fn has(&self, session: u64) -> bool {
        self.listeners.iter().any(|listener| listener.session == session)
    }

    /// Sends an access unit to all who are to have it.
    pub(super) fn send(&mut self, place: usize, unit: Unit, net: &mut Net, now: Mono) {
        self.hurry(place, net);
        let Some(track) = self.tracks.get_mut(place).filter(|_| unit.count() > 0) else { return };
        if track.video && unit.key {
            self.gate.came();
        }
        let before = track.last.replace((unit.time, unit.at));
        track.packets = track.packets.wrapping_add(unit.count() as u32);
        track.octets = track.octets.wrapping_add(unit.payload() as u32);
        let mut framed = Vec::new();
        let mut parties: Vec<Party> = Vec::new();
        let (mut first, mut copies) = (Vec::new(), 0);
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            if listener.track != place || !listener.is_due(&unit, &net.connections) {
                continue;
            }
            match listener.place(self.group.as_ref()) {
                Some(place) => listener.join(place, &mut parties),
                None => {
                    listener.interleave(&unit, &mut framed, net, now);
                    copies += usize::from(!listener.waits);
                }
            }
            if !listener.waits {
                listener.figures.units += 1;
                if !std::mem::replace(&mut listener.began, true) {
                    first.push(number);
                }
            }
        }
        for number in first {
            self.report(&self.listeners[number], false, net, now);
        }
        copies += parties.iter().map(|party| party.to.len()).sum::<usize>();
        self.figures.count(copies * unit.count(), copies * unit.octets());
        let at = unit.at;
        let gap = gap(&unit, before.map(|(_, at)| at));
        self.deliver(Parcel { track: place, unit, to: parties, sent: 0, due: now, gap }, net, now);
        if self.tracks[place].video || self.tracks.iter().all(|track| !track.video) {
            self.figures.sent(at, os::clock::now());
        }
    }

    /// Sends the runs of a parcel that are due.
    fn deliver(&mut self, mut parcel: Parcel, net: &mut Net, now: Mono) {
        let most = if parcel.gap > 0 { PORTION } else { MAX_DATAGRAMS };
        for run in parcel.unit.short_runs(most).skip(parcel.sent) {
            if parcel.due > now {
                self.parcels.push(parcel);
                return;
            }
            for party in &parcel.to {
                net.sockets.send(party.place, run, &party.to, |at, why| {
                    let its = |listener: &&mut Listener| {
                        (listener.session, listener.track) == (party.sessions[at], parcel.track)
                    };
                    if let Some(listener) = self.listeners.iter_mut().find(its) {
                        listener.lost(why);
                    }
                });
            }
            parcel.sent += 1;
            parcel.due = parcel.due.plus(parcel.gap);
        }
    }

    /// Sends the rest of what is under way on a track, as what follows must not overtake it.
    fn hurry(&mut self, track: usize, net: &mut Net) {
        if let Some(place) = self.parcels.iter().position(|parcel| parcel.track == track) {
            let parcel = self.parcels.swap_remove(place);
            self.deliver(parcel, net, Mono(i64::MAX));
        }
    }

    /// Whether somebody waits for a key picture who has room for it.
    fn is_waited_for(&self, net: &Net) -> bool {
        self.listeners.iter().any(|listener| {
            listener.waits && self.tracks[listener.track].video && listener.has_room(&net.connections)
        })
    }

    /// Does what is due. When it is to be called again at the latest.
    pub(super) fn tick(&mut self, net: &mut Net, now: Mono) -> Mono {
        for parcel in std::mem::take(&mut self.parcels) {
            self.deliver(parcel, net, now);
        }
        let waiting = self.is_waited_for(net);
        if self.gate.opens(waiting, now) {
            self.figures.want_key();
        }
        let mut next = self.gate.due(waiting).unwrap_or(now.plus(REPORTS));
        next = self.parcels.iter().fold(next, |next, parcel| next.min(parcel.due));
        for place in 0..self.tracks.len() {
            if now >= self.tracks[place].report {
                self.tracks[place].report = now.plus(REPORTS);
                let mut group = false;
                for listener in self.listeners.iter().filter(|it| it.track == place && it.began) {
                    let again = listener.route == Route::Group && std::mem::replace(&mut group, true);
                    if !again {
                        self.report(listener, false, net, now);
                    }
                }
            }
            next = next.min(self.tracks[place].report);
        }
        next
    }

    /// Makes known what is known of those who listen.
    pub(super) fn publish(&self) {
        self.figures.clients(self.listeners.iter().map(|listener| &listener.figures));
    }

    /// Sends a sender report on a listener's track, with a farewell if it is the last.
    fn report(&self, listener: &Listener, farewell: bool, net: &mut Net, now: Mono) {
        let track = &self.tracks[listener.track];
        let Some((time, at)) = track.last else { return };
        let since = Duration::from_nanos(now.0.max(0) as u64).saturating_sub(at);
        let info = SenderInfo {
            ntp: Ntp::from_unix_nanos(os::clock::unix_nanos().max(0) as u64),
            rtp_time: RtpTime(time.0.wrapping_add(ticks(since, track.clock) as u32)),
            packets: track.packets,
            octets: track.octets,
        };
        let mut room = [0; rtcp::MAX_COMPOUND];
        let mut builder = Builder::new(&mut room);
        builder.sender_report(track.ssrc, &info);
        builder.description(track.ssrc, &self.cname);
        if farewell {
            builder.bye(track.ssrc);
        }
        let Some(length) = builder.finish() else { return };
        let report = &room[..length];
        match listener.route {
            Route::Udp { local, reports, .. } => net.sockets.report(Place::Local(local), report, reports),
            Route::Group => {
                if let Some(group) = self.group {
                    let to = SocketAddr::new(group.address, group.port_of(listener.track).saturating_add(1));
                    net.sockets.report(Place::Group(group.address, group.port), report, to);
                }
            }
            Route::Interleaved { connection, channels } => {
                let mut octets = Vec::with_capacity(4 + length);
                interleave(report, channels.1, &mut octets);
                net.connections.push(connection, octets, now);
                if !net.connections.write(connection, now) {
                    net.broken.push(connection);
                }
            }
        }
    }

    /// Takes a report that came from an address. The session it is of.
    pub(super) fn heard_from(&mut self, from: SocketAddr, report: &[u8]) -> Option<u64> {
        self.heard(report, |route| match route {
            Route::Udp { reports, .. } => *reports == from,
            _ => false,
        })
    }

    /// Takes a report that came on a connection's channel. The session it is of.
    pub(super) fn heard_on(&mut self, connection: u64, channel: u8, report: &[u8]) -> Option<u64> {
        self.heard(report, |route| match route {
            Route::Interleaved { connection: its, channels } => *its == connection && channels.1 == channel,
            _ => false,
        })
    }

    fn heard(&mut self, report: &[u8], from: impl Fn(&Route) -> bool) -> Option<u64> {
        let listener = self.listeners.iter_mut().find(|listener| from(&listener.route))?;
        let ssrc = self.tracks[listener.track].ssrc;
        for packet in rtcp::packets(report).map_while(Result::ok) {
            match packet {
                Packet::Receiver { mut blocks, .. } | Packet::Sender { mut blocks, .. } => {
                    if let Some(block) = blocks.find(|block| block.ssrc == ssrc) {
                        listener.figures.reported(&block);
                    }
                }
                Packet::Other { packet_type: PICTURE_FEEDBACK, count } if ASKS_FOR_KEY.contains(&count) => {
                    self.gate.want();
                }
                _ => {}
            }
        }
        Some(listener.session)
    }

    /// When connections of interleaved sessions last took something.
    pub(super) fn interleaved(&self) -> impl Iterator<Item = (u64, u64)> {
        self.listeners.iter().filter_map(|listener| match listener.route {
            Route::Interleaved { connection, .. } => Some((listener.session, connection)),
            _ => None,
        })
    }

    /// Whether sockets are needed for it.
    pub(super) fn needs(&self, place: &Place) -> bool {
        match (place, &self.group) {
            (Place::Group(address, port), Some(group)) => (group.address, group.port) == (*address, *port),
            _ => false,
        }
    }
}

impl Listener {
    /// Whether it is to get a unit.
    fn is_due(&mut self, unit: &Unit, connections: &Connections) -> bool {
        if unit.at < self.since {
            return false;
        }
        if self.waits && !(unit.key && self.has_room(connections)) {
            self.figures.left_out += u64::from(self.began);
            return false;
        }
        self.waits = false;
        true
    }

    /// Whether it may begin, at first or anew: on a connection, with nothing that is late.
    fn has_room(&self, connections: &Connections) -> bool {
        match self.route {
            Route::Interleaved { connection, .. } => connections.is_idle(connection),
            _ => true,
        }
    }

    /// By which sockets it gets its packets.
    fn place(&self, group: Option<&Group>) -> Option<Place> {
        match self.route {
            Route::Udp { local, .. } => Some(Place::Local(local)),
            Route::Group => group.map(|group| Place::Group(group.address, group.port)),
            Route::Interleaved { .. } => None,
        }
    }

    fn join(&self, place: Place, parties: &mut Vec<Party>) {
        let Some(destination) = &self.destination else { return };
        let known = parties.iter().position(|party| party.place == place);
        let number = known.unwrap_or_else(|| {
            parties.push(Party { place, to: Vec::new(), sessions: Vec::new() });
            parties.len() - 1
        });
        let party = &mut parties[number];
        // A group is one destination, however many have joined it.
        if matches!(place, Place::Local(_)) || party.to.is_empty() {
            party.to.push(destination.clone());
            party.sessions.push(self.session);
        }
    }

    fn interleave(&mut self, unit: &Unit, framed: &mut Vec<Framed>, net: &mut Net, now: Mono) {
        let Route::Interleaved { connection, channels } = self.route else { return };
        let octets = match framed.iter().find(|(channel, _)| *channel == channels.0) {
            Some((_, octets)) => octets.clone(),
            None => {
                let mut octets = Vec::with_capacity(unit.payload() + 16 * unit.count());
                unit.packets().for_each(|packet| interleave(packet, channels.0, &mut octets));
                framed.push((channels.0, octets.into()));
                framed[framed.len() - 1].1.clone()
            }
        };
        match net.connections.push_media(connection, &octets, now) {
            Room::Taken => {
                if !net.connections.write(connection, now) {
                    net.broken.push(connection);
                }
            }
            Room::None => {
                self.figures.left_out += 1;
                self.waits = true;
            }
        }
    }

    /// A run did not go out to it.
    fn lost(&mut self, why: Refusal) {
        self.figures.unsent += 1;
        // Where there is no way to a client, key pictures would not get there either.
        self.waits |= why == Refusal::Full;
    }
}

/// Nanoseconds between portions of a large unit; 0 for all at once.
fn gap(unit: &Unit, before: Option<Duration>) -> i64 {
    if unit.count() <= LARGE {
        return 0;
    }
    let interval = before.map_or(Duration::ZERO, |before| unit.at.saturating_sub(before));
    let portions = unit.count().div_ceil(PORTION) as u32;
    ((interval / 2).min(SPREAD) / portions).as_nanos() as i64
}

/// Behind a `$`, the channel and the length (RFC 2326, section 10.12).
fn interleave(packet: &[u8], channel: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'$', channel]);
    out.extend_from_slice(&(packet.len() as u16).to_be_bytes());
    out.extend_from_slice(packet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Codec;
    use crate::rtp::{Access, Format, Track};

    #[test]
    fn pictures_begin_with_the_next_key_picture_whenever_it_was_taken_and_sound_with_what_is_new() {
        let formats = [Format::Video(Codec::H264), Format::Mp3 { rate: 44_100 }];
        let mut tracks = formats.map(|format| Track::new(format, [1, 2]));
        let known: Vec<_> =
            tracks.iter().map(|it| (it.ssrc(), it.format().clock(), it.format().is_video())).collect();
        let mut stage = Stage::new("hall".into(), None, known.into_iter(), Arc::default());
        let connections = Connections::default();
        let local = [127, 0, 0, 1].into();
        let route = Route::Udp { local, packets: (local, 9).into(), reports: (local, 10).into() };
        stage.start(1, vec![(0, route), (1, route)], Mono(1_000_000_000), &connections);
        let mut is_due = |track: usize, millis: u64, key: bool| {
            let at = Duration::from_millis(millis);
            let unit = tracks[track].pack(&Access { data: &[0, 0, 1, 0x65, 9], key, at, frames: 1152 });
            stage.listeners[track].is_due(&unit, &connections)
        };
        let pictures = [(900, false), (950, true), (990, false), (1030, false)];
        assert_eq!(pictures.map(|(at, key)| is_due(0, at, key)), [false, true, true, true]);
        assert_eq!([990, 1010].map(|at| is_due(1, at, true)), [false, true]);
    }
}
