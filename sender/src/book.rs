//! The list of clients as the send thread needs it: who shares which encoding. Kept by the control thread.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use audio::counters::ClientCounters;
use audio::send::{self, Departure, Encoding, EncodingId, EncodingSpec, Policy, Routing, Wire};
use audio::signal::Test;
use control::client::{Client, Found};
use proto::units::Sequence;

use crate::groups::{Group, Groups};
use crate::packets::Packets;

/// Those in use count from 1.
const NONE_YET: EncodingId = EncodingId(0);

/// A client that is being sent to.
#[derive(Clone, Debug)]
pub struct Active {
    /// As the list has it.
    pub client: Client,
    /// Where its packets go.
    pub address: SocketAddr,
    /// Where they go once more, by another path.
    pub second: Option<SocketAddr>,
    /// How it is encoded.
    pub spec: EncodingSpec,
    /// What is known of it.
    pub counters: Arc<ClientCounters>,
    /// Those it plays in time with; headerless PCM has none.
    pub group: Option<Group>,
    /// How much later than they it plays, in nanoseconds.
    trim_ns: i32,
    encoding: EncodingId,
    /// What it heard before the last change of the list, where that was of another encoding.
    former: Option<(EncodingId, EncodingSpec)>,
    /// Synchronisation source of its packets.
    pub ssrc: u32,
}

impl Active {
    /// Wherever its packets go.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        [Some(self.address), self.second].into_iter().flatten()
    }

    /// Whether it has an address in common with who is there: then they are one, wherever else packets for it go.
    fn is_at(&self, address: SocketAddr, second: Option<SocketAddr>) -> bool {
        self.addresses().any(|known| known == address || second == Some(known))
    }

    /// The same client in another list: by its first address rather than by any.
    fn find_in<'a>(&self, list: &'a [Self]) -> Option<&'a Self> {
        let same = list.iter().find(|other| other.address == self.address);
        same.or_else(|| list.iter().find(|other| other.is_at(self.address, self.second)))
    }

    /// What it hears, for people: its channels, or the name of a test.
    pub(crate) fn sound(&self) -> String {
        self.client.test.map_or_else(|| self.client.map.to_string(), |test| test.name().into())
    }
}

/// What the clients of a list are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// What is captured, or the test that the list asks for.
    #[default]
    Stream,
    /// The same, and only the client of this name.
    Only(String),
    /// The chirp of [`audio::align`], each client in its turn.
    Align,
}

/// Every client being sent to, and the identities of their encodings.
pub struct Book {
    packets: Packets,
    groups: Groups,
    rate: u32,
    channels: u16,
    source: String,
    bind: Option<IpAddr>,
    ttl: u8,
    purpose: Purpose,
    active: Vec<Active>,
    next_id: u64,
    /// The last synchronisation source. Those of encodings never repeat, nor do those of what repairs them, which differ in the
    /// upper two bits: nonces are made from them.
    ssrc: u32,
    /// The line of SDP that gives strangers the key; `None` where nothing is encrypted.
    crypto: Option<String>,
}

/// The bits of a synchronisation source that tell encodings apart.
const COUNTED: u32 = (1 << 30) - 1;

impl Book {
    /// An empty book for a source of this rate and so many channels, sent from `bind` or from any address.
    pub fn new(packets: Packets, (rate, channels): (u32, u16), source: String, bind: Option<IpAddr>) -> Self {
        Self {
            packets,
            groups: Groups::default(),
            rate,
            channels,
            source,
            bind,
            ttl: 1,
            purpose: Purpose::Stream,
            active: Vec::new(),
            next_id: 0,
            ssrc: os::random::bits() as u32,
            crypto: None,
        }
    }

    /// The same with groups that choose their delays by this policy.
    pub fn grouped(self, policy: Option<Policy>) -> Self {
        Self { groups: Groups::new(policy), ..self }
    }

    /// The same, encrypted: strangers need this line of SDP.
    pub fn encrypted(self, crypto: Option<String>) -> Self {
        Self { crypto, ..self }
    }

    /// The line of SDP that gives strangers the key; `None` where nothing is encrypted.
    pub fn crypto(&self) -> Option<&str> {
        self.crypto.as_deref()
    }

    /// The same where what is sent to multicast groups may cross so many networks.
    pub fn within(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// Networks that what is sent to multicast groups may cross.
    pub fn ttl(&self) -> u8 {
        self.ttl
    }

    /// How groups choose their delays; `None` where there are none.
    pub fn policy(&self) -> Option<Policy> {
        self.groups.policy()
    }

    /// The groups of those who are being sent to, in the list's order.
    pub fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = Vec::new();
        for group in self.active.iter().filter_map(|active| active.group.as_ref()) {
            if groups.iter().all(|known| known.id() != group.id()) {
                groups.push(group);
            }
        }
        groups
    }

    /// The same book for another purpose than to stream.
    pub fn meant_to(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// Frames a second of what is captured.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The address to send from, where one was asked for.
    pub fn bind(&self) -> Option<IpAddr> {
        self.bind
    }

    /// Who is being sent to, in the list's order.
    pub fn active(&self) -> &[Active] {
        &self.active
    }

    /// Takes a new list. Returns the routing for the send thread, and a line for each client that has to be
    /// left out, or is sent to by one of its two paths alone.
    pub fn update(&mut self, clients: &[Client]) -> (Box<Routing>, Vec<String>) {
        let mut problems = Vec::new();
        let mut active: Vec<Active> = Vec::new();
        for (place, client) in clients.iter().enumerate() {
            let test = match &self.purpose {
                Purpose::Only(name) if *name != client.name => continue,
                Purpose::Stream | Purpose::Only(_) => client.test.map(|signal| signal.test(place)),
                Purpose::Align => Some(Test::Chirp { turn: place as u16, turns: clients.len() as u16 }),
            };
            match self.admit(client, test, &active) {
                Ok((admitted, problem)) => {
                    active.push(admitted);
                    problems.extend(problem);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let known = self.next_id;
        self.assign(&mut active);
        let is_rtp = |active: &&Active| active.spec.wire == Wire::Rtp;
        let kept = |old: &Active| active.iter().filter(is_rtp).any(|new| old.is_at(new.address, new.second));
        // One that keeps an address goes on by that.
        let gone = |old: &&Active| is_rtp(old) && !kept(old);
        let departure = |&Active { address, second, ssrc, .. }: &Active| Departure { address, second, ssrc };
        let departures = self.active.iter().filter(gone).map(departure).collect();
        self.active = active;
        let build = |policy| self.groups().into_iter().map(|group| group.build(policy)).collect();
        let groups = self.policy().map(build).unwrap_or_default();
        (Box::new(Routing::new(self.encodings(known), departures).grouped(groups)), problems)
    }

    /// What is sent to a client, and what is the matter with its second path.
    fn admit(
        &mut self,
        client: &Client,
        test: Option<Test>,
        admitted: &[Active],
    ) -> Result<(Active, Option<String>), String> {
        let name = &client.name;
        let highest = client.map.highest();
        if test.is_none() && highest >= self.channels {
            let last = self.channels - 1;
            return Err(format!(
                "client `{name}`: there is no channel {highest}: {} has {} (0 to {last})",
                self.source, self.channels
            ));
        }
        let reachable =
            |address: &SocketAddr| self.bind.is_none_or(|bind| bind.is_ipv4() == address.is_ipv4());
        // A name server that does not answer silences nobody who is being sent to.
        let known = |old: &&Active| {
            let place = |of: &'_ Client| (of.name.clone(), of.host.clone(), of.second.clone(), of.port);
            place(&old.client) == place(client)
        };
        let former = self.active.iter().find(known).map(|old| Found {
            first: old.address,
            second: old.second,
            missing: None,
        });
        let spec = EncodingSpec { test, ..self.packets.spec(client)? };
        if spec.wire == Wire::Vban && proto::vban::rate_index(self.rate).is_none() {
            return Err(format!("client `{name}`: VBAN has no rate of {} Hz", self.rate));
        }
        let found = match (client.resolve(spec.wire, reachable), former) {
            (Ok(Found { missing: Some(_), .. }), Some(former)) if former.second.is_some() => former,
            (Ok(found), _) => found,
            (Err(problem), former) => former.ok_or(problem)?,
        };
        let Found { first: address, second, missing } = found;
        let missing =
            missing.map(|why| format!("{why}; it has one path until the list is read again (SIGHUP)"));
        if client.second.is_some() && spec.wire != Wire::Rtp {
            return Err(format!(
                "client `{name}`: only RTP goes by two paths: name one address, or send rtp"
            ));
        }
        if second == Some(address) {
            return Err(format!("client `{name}`: its two addresses are one ({address})"));
        }
        let is_group = |address: SocketAddr| address.ip().is_multicast();
        if client.second.is_some() && (is_group(address) || second.is_some_and(is_group)) {
            return Err(format!(
                "client `{name}`: a group goes by two paths where two --interface are named; it has one address"
            ));
        }
        let taken = |other: &&Active| other.is_at(address, second);
        if let Some(twin) = admitted.iter().find(|other| taken(other) || other.client.name == *name) {
            return Err(format!(
                "client `{name}`: `{}` has the same name or address ({address})",
                twin.client.name
            ));
        }
        let delay = client.delay.map_or(Ok(0), |delay| delay.nanos(self.rate));
        let trim_ns = delay.map_err(|problem| format!("client `{name}`: {problem}"))?;
        let group = match spec.wire {
            Wire::Rtp => self.groups.of(client),
            Wire::Plain | Wire::Vban if client.group.is_none() && client.delay.is_none() => None,
            Wire::Plain | Wire::Vban => {
                let wire = if spec.wire == Wire::Plain { "headerless PCM" } else { "VBAN" };
                return Err(format!(
                    "client `{name}`: {wire} has no time, so that no `group` or `delay` goes with it"
                ));
            }
        };
        let former = self.active.iter().find(|old| taken(old) && old.client.name == *name);
        let counters = former.map_or_else(Arc::default, |old| old.counters.clone());
        let client = client.clone();
        let (encoding, former, ssrc) = (NONE_YET, None, 0);
        let active =
            Active { client, address, second, spec, counters, group, trim_ns, encoding, former, ssrc };
        Ok((active, missing))
    }

    /// Says who shares which encoding. Those that hear the same as before keep theirs. Those that are to hear something else
    /// go on in their own, if nobody stays in it, or branch off together with those that go the same way. A client that has
    /// changed does not join one that hears the same already: their packets do not begin at the same frame.
    fn assign(&mut self, active: &mut [Active]) {
        let known: Vec<_> = active.iter().map(|new| new.find_in(&self.active).cloned()).collect();
        let mut taken = Vec::new();
        for (new, old) in active.iter_mut().zip(&known) {
            if let Some(old) = old.as_ref().filter(|old| old.spec == new.spec) {
                (new.encoding, new.ssrc) = (old.encoding, old.ssrc);
                taken.push(old.encoding);
            }
        }
        // Where each came from, what it is to hear, and its new encoding.
        let mut moved: Vec<(EncodingId, EncodingSpec, EncodingId, u32)> = Vec::new();
        for (new, old) in active.iter_mut().zip(&known) {
            let Some(old) = old.as_ref().filter(|old| old.spec != new.spec) else { continue };
            let alike = |(from, spec): (&EncodingId, &EncodingSpec)| {
                *from == old.encoding && *spec == new.spec && spec.is_shared()
            };
            let together = moved.iter().find(|(from, spec, ..)| alike((from, spec)));
            let goes_on = old.spec.continues_as(&new.spec);
            let (encoding, ssrc) = match together {
                Some(&(_, _, encoding, ssrc)) => (encoding, ssrc),
                None if goes_on && !taken.contains(&old.encoding) => (old.encoding, old.ssrc),
                // Two streams of one SSRC would have the same nonces.
                None if goes_on && !self.packets.secured() => (self.new_id(), old.ssrc),
                None => (self.new_id(), self.new_ssrc()),
            };
            taken.push(encoding);
            moved.push((old.encoding, new.spec.clone(), encoding, ssrc));
            (new.encoding, new.ssrc) = (encoding, ssrc);
            new.former = (encoding != old.encoding).then(|| (old.encoding, old.spec.clone()));
        }
        for index in (0..active.len()).filter(|&index| known[index].is_none()) {
            // Those who listen to a multicast group are known by what they listen to: each group has an encoding of its own.
            let alone = |active: &Active| active.address.ip().is_multicast();
            let (spec, own) = (&active[index].spec, alone(&active[index]));
            let settled = |other: &&Active| {
                let is_settled = other.encoding != NONE_YET && other.former.is_none();
                is_settled && other.spec == *spec && spec.is_shared() && !own && !alone(other)
            };
            let same = active.iter().find(settled).map(|other| (other.encoding, other.ssrc));
            let (encoding, ssrc) = same.unwrap_or_else(|| (self.new_id(), self.new_ssrc()));
            (active[index].encoding, active[index].ssrc) = (encoding, ssrc);
        }
    }

    fn new_id(&mut self) -> EncodingId {
        self.next_id += 1;
        EncodingId(self.next_id)
    }

    fn new_ssrc(&mut self) -> u32 {
        self.ssrc = self.ssrc & !COUNTED | self.ssrc.wrapping_add(1) & COUNTED;
        self.ssrc
    }

    /// All encodings, of which those up to the id `known` were in the last routing.
    fn encodings(&self, known: u64) -> Vec<Encoding> {
        let mut ids: Vec<_> = self.active.iter().map(|active| active.encoding).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| self.encoding(id, id.0 <= known)).collect()
    }

    fn encoding(&self, id: EncodingId, known: bool) -> Option<Encoding> {
        let mut members = self.active.iter().filter(|active| active.encoding == id).peekable();
        let (spec, ssrc, former) =
            members.peek().map(|first| (first.spec.clone(), first.ssrc, first.former.clone()))?;
        let clients = members
            .map(|active| {
                let Active { client, address, second, counters, group, trim_ns, .. } = active;
                let sent = send::Client::new(client.name.clone(), *address, counters.clone())
                    .also_at(*second)
                    .repaired(self.packets.repair(client))
                    .reporting(client.reports.unwrap_or_default());
                match group {
                    Some(group) => sent.grouped(group.id(), *trim_ns),
                    None => sent,
                }
            })
            .collect();
        let sequence = Sequence(os::random::bits() as u16);
        let build = if known { Encoding::resuming } else { Encoding::new };
        let encoding = build(id, spec, self.rate, ssrc, sequence, clients);
        Some(match former {
            Some((former, spec)) => encoding.after(former, &spec),
            None => encoding,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Settings;
    use control::signal::Signal;
    use proto::rtcp;
    use proto::units::RtpTime;

    fn book() -> Book {
        Book::new(Packets::new(&Settings::default()).unwrap(), (44_100, 4), "the test".into(), None)
    }

    fn clients(texts: &[&str]) -> Vec<Client> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn equal_clients_share_an_encoding_and_keep_it() {
        let mut book = book();
        book.update(&clients(&["a=127.0.0.1:1/0", "b=127.0.0.1:2/0", "c=127.0.0.1:3/1"]));
        let ids: Vec<_> = book.active().iter().map(|active| active.encoding).collect();
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
        let ssrc = book.active()[0].ssrc;
        let counters = book.active()[1].counters.clone();
        book.update(&clients(&["b=127.0.0.1:2/0", "d=127.0.0.1:4/0+1"]));
        assert_eq!((book.active()[0].encoding, book.active()[0].ssrc), (ids[0], ssrc));
        assert!(Arc::ptr_eq(&book.active()[0].counters, &counters));
    }

    #[test]
    fn a_multicast_group_has_an_encoding_of_its_own_and_keeps_it() {
        let mut book = book();
        let list = clients(&["a=239.1.2.3:1/0", "b=127.0.0.1:2/0", "c=[ff15::1]:3/0", "d=127.0.0.1:4/0"]);
        let ids = |book: &Book| book.active().iter().map(|active| active.encoding.0).collect::<Vec<_>>();
        book.update(&list);
        let first = ids(&book);
        assert!(first[1] == first[3] && first[0] != first[1] && first[2] != first[1], "{first:?}");
        assert_ne!(first[0], first[2]);
        book.update(&list);
        assert_eq!(ids(&book), first);
    }

    #[test]
    fn only_a_client_of_rtp_that_is_no_group_has_two_addresses_of_its_own() {
        for (text, words) in [
            ("a=127.0.0.1,127.0.0.1:1/0", "its two addresses are one"),
            ("a=239.1.2.3,239.1.2.4:1/0", "where two --interface are named"),
            ("a=127.0.0.2,127.0.0.3:9/0", "`b` has the same name or address"),
        ] {
            let (_, problems) = book().update(&clients(&["b=127.0.0.1,127.0.0.2:9/0", text]));
            assert!(problems.len() == 1 && problems[0].contains(words), "{problems:?}");
        }
        let mut plain = clients(&["a=127.0.0.1,127.0.0.2:1/0"]);
        plain[0].wire = Some(Wire::Plain);
        let (_, problems) = book().update(&plain);
        assert!(problems[0].contains("only RTP goes by two paths"), "{problems:?}");
    }

    #[test]
    fn a_client_of_which_one_host_is_unknown_is_sent_to_by_the_other() {
        for text in ["a=127.0.0.1,no.such.host.invalid:1/0", "a=no.such.host.invalid,127.0.0.1:1/0"] {
            let mut book = book();
            let (_, problems) = book.update(&clients(&[text]));
            let Active { address, second, .. } = &book.active()[0];
            assert_eq!((address.to_string().as_str(), *second), ("127.0.0.1:1", None), "{text}");
            assert!(problems.len() == 1 && problems[0].contains("one path until"), "{problems:?}");
        }
    }

    #[test]
    fn who_keeps_one_of_two_addresses_keeps_its_stream() {
        let mut book = book();
        let mut update = |text: &str| {
            book.update(&clients(&[text]));
            let Active { encoding, ssrc, counters, .. } = &book.active()[0];
            (*encoding, *ssrc, Arc::as_ptr(counters))
        };
        let before = update("a=127.0.0.1,127.0.0.2:1/0");
        for text in ["a=127.0.0.2,127.0.0.1:1/0", "a=127.0.0.3,127.0.0.2:1/0", "a=127.0.0.2:1/0"] {
            assert_eq!(update(text), before, "{text}");
        }
    }

    #[test]
    fn who_keeps_one_of_two_addresses_is_not_told_goodbye() {
        let mut book = book();
        let mut pipeline = send::SendPipeline::new(44_100, 4, RtpTime(0), "test".into());
        let mut goodbyes = |list: &[&str]| {
            pipeline.replace(book.update(&clients(list)).0);
            let mut told = Vec::new();
            while let Some(transmit) = pipeline.poll_transmit() {
                let mut packets = rtcp::packets(transmit.bytes);
                if packets.any(|packet| matches!(packet, Ok(rtcp::Packet::Bye { .. }))) {
                    told.extend(transmit.to.addresses().map(|address| address.to_string()));
                }
            }
            told
        };
        let none: [&str; 0] = [];
        assert_eq!(goodbyes(&["a=127.0.0.1,127.0.0.2:1/0"]), none);
        assert_eq!(goodbyes(&["a=127.0.0.2,127.0.0.1:1/0"]), none);
        assert_eq!(goodbyes(&["a=127.0.0.3,127.0.0.2:1/0"]), none);
        assert_eq!(goodbyes(&[]), ["127.0.0.3:1", "127.0.0.2:1"]);
    }

    #[test]
    fn a_test_takes_the_place_of_the_sound_and_needs_no_channel() {
        let mut list = clients(&["a=127.0.0.1:1/0", "b=127.0.0.1:2/9,0", "c=127.0.0.1:3/0"]);
        (list[1].test, list[2].test) = (Some(Signal::Identify), Some(Signal::Noise));
        let tests = |book: &Book| book.active().iter().map(|active| active.spec.test).collect::<Vec<_>>();
        let mut all = book();
        assert_eq!(all.update(&list).1, Vec::<String>::new());
        assert_eq!(tests(&all), [None, Some(Test::Beeps(2)), Some(Test::Noise)]);
        let mut one = book().meant_to(Purpose::Only("b".into()));
        one.update(&list);
        assert_eq!(tests(&one), [Some(Test::Beeps(2))]);
        let mut align = book().meant_to(Purpose::Align);
        align.update(&list);
        let turns = [0, 1, 2].map(|turn| Some(Test::Chirp { turn, turns: 3 }));
        assert_eq!(tests(&align), turns);
    }

    #[test]
    fn clients_that_name_no_group_play_together() {
        let mut book = book().grouped(Some(Policy::Fixed(40_000)));
        let list = r#"{
            "a": {"ip": "127.0.0.1", "port": 1, "channel": 0},
            "b": {"ip": "127.0.0.1", "port": 2, "channel": 0, "group": "garden"},
            "c": {"ip": "127.0.0.1", "port": 3, "channel": 0, "delay_samples": -441},
            "d": {"ip": "127.0.0.1", "port": 4, "channel": 0, "wire": "plain"},
            "e": {"ip": "127.0.0.1", "port": 5, "channel": 0, "delay_samples": 44101},
            "f": {"ip": "127.0.0.1", "port": 6, "channel": 0, "wire": "plain", "delay_m": 1}
        }"#;
        let listed = control::list::parse(list).unwrap();
        let (_, problems) = book.update(&listed);
        assert_eq!(problems[0], "client `e`: `delay_samples` lasts longer than a second at 44100 Hz");
        assert!(problems[1].starts_with("client `f`: headerless PCM has no time"), "{}", problems[1]);
        let names = |book: &Book| book.groups().iter().map(|group| group.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&book), ["default", "garden"]);
        let groups: Vec<_> = book.active().iter().map(|a| a.group.as_ref().map(Group::id)).collect();
        assert!(groups[0] == groups[2] && groups[0] != groups[1] && groups[3].is_none(), "{groups:?}");
        assert_eq!(book.active()[2].trim_ns, -10_000_000);
        let garden = book.groups()[1].counters.clone();
        book.update(&listed[..1]);
        assert_eq!(names(&book), ["default"]);
        book.update(&listed);
        assert!(Arc::ptr_eq(&book.groups()[1].counters, &garden));
    }

    #[test]
    fn streams_of_vban_have_a_name_each_and_a_port_of_their_own() {
        let settings = Settings { wire: Some(control::wire::WireName::Vban), ..Settings::default() };
        let packets = Packets::new(&settings).unwrap();
        let mut book = Book::new(packets, (44_100, 4), "the test".into(), None);
        book.update(&clients(&["a=127.0.0.1/0", "b=127.0.0.2:7/0"]));
        let ports: Vec<_> = book.active().iter().map(|active| active.address.port()).collect();
        assert_eq!(ports, [6980, 7]);
        assert_ne!(book.active()[0].encoding, book.active()[1].encoding);
        let mut odd = Book::new(packets, (44_000, 4), "the test".into(), None);
        let (_, problems) = odd.update(&clients(&["a=127.0.0.1/0"]));
        assert_eq!(problems, ["client `a`: VBAN has no rate of 44000 Hz"]);
    }

    #[test]
    fn who_changes_leaves_those_who_stay_and_goes_with_those_who_change_alike() {
        let mut book = book();
        let mut update = |texts: &[&str]| {
            book.update(&clients(texts));
            let ids = book.active().iter().map(|active| (active.encoding.0, active.ssrc));
            let (ids, ssrcs): (Vec<_>, Vec<_>) = ids.unzip();
            let formers = book.active().iter().map(|active| active.former.as_ref().map(|(id, _)| id.0));
            (ids, ssrcs, formers.collect::<Vec<_>>())
        };
        let (ids, ssrcs, _) = update(&["a=127.0.0.1:1/0", "b=127.0.0.1:2/0", "c=127.0.0.1:3/0"]);
        assert_eq!(ids, [1, 1, 1]);
        // One stream goes on, number by number, as two.
        let apart = update(&["a=127.0.0.1:1/0", "b=127.0.0.1:2/1", "c=127.0.0.1:3/1", "d=127.0.0.1:4/1"]);
        assert_eq!((&apart.0, &apart.2), (&vec![1, 2, 2, 3], &vec![None, Some(1), Some(1), None]));
        assert_eq!(apart.1[..3], ssrcs);
        // All of an encoding change alike, and one has to hear what others hear already.
        let again = update(&["a=127.0.0.1:1/2", "b=127.0.0.1:2/0", "c=127.0.0.1:3/0", "d=127.0.0.1:4/0"]);
        assert_eq!((again.0, again.1, again.2), (apart.0, apart.1, vec![None; 4]));
        // More channels are another stream, which begins where the last one ends.
        let (ids, other, formers) = update(&["a=127.0.0.1:1/2,3", "e=127.0.0.1:5/2,3"]);
        assert_eq!((ids, formers), (vec![4, 5], vec![Some(1), None]));
        assert_ne!(other[0], ssrcs[0]);
    }

    #[test]
    fn a_client_that_cannot_be_is_named_and_the_others_stay() {
        let mut book = book();
        let (_, problems) = book.update(&clients(&[
            "good=127.0.0.1:1/3",
            "deaf=127.0.0.1:2/4",
            "twin=127.0.0.1:1/0",
            "lost=no.such.host.invalid:2/0",
        ]));
        assert_eq!(book.active().len(), 1);
        assert_eq!(problems.len(), 3);
        assert_eq!(problems[0], "client `deaf`: there is no channel 4: the test has 4 (0 to 3)");
        assert!(problems[1].contains("`twin`") && problems[1].contains("`good`"));
        assert!(problems[2].contains("no.such.host.invalid"));
    }
}
