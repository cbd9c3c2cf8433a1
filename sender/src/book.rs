//! The list of clients as the send thread needs it: who shares which encoding. Kept by the control thread.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use audio::counters::ClientCounters;
use audio::send::{self, Departure, Encoding, EncodingId, EncodingSpec, Policy, Routing, Wire};
use control::client::Client;
use proto::units::Sequence;

use crate::groups::{Group, Groups};
use crate::packets::Packets;

/// A client that is being sent to.
#[derive(Clone, Debug)]
pub struct Active {
    /// As the list has it.
    pub client: Client,
    /// Where its packets go.
    pub address: SocketAddr,
    /// How it is encoded.
    pub spec: EncodingSpec,
    /// What is known of it.
    pub counters: Arc<ClientCounters>,
    /// Those it plays in time with; headerless PCM has none.
    pub group: Option<Group>,
    /// How much later than they it plays, in nanoseconds.
    trim_ns: i32,
    encoding: EncodingId,
    /// Synchronisation source of its packets.
    pub ssrc: u32,
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
    active: Vec<Active>,
    next_id: u64,
}

impl Book {
    /// An empty book for a source of this rate and so many channels, sent from `bind` or from any address.
    pub fn new(packets: Packets, (rate, channels): (u32, u16), source: String, bind: Option<IpAddr>) -> Self {
        let groups = Groups::default();
        Self { packets, groups, rate, channels, source, bind, ttl: 1, active: Vec::new(), next_id: 0 }
    }

    /// The same with groups that choose their delays by this policy.
    pub fn grouped(self, policy: Option<Policy>) -> Self {
        Self { groups: Groups::new(policy), ..self }
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

    /// Takes a new list. Returns the routing for the send thread, and a line for each client that has to be left out.
    pub fn update(&mut self, clients: &[Client]) -> (Box<Routing>, Vec<String>) {
        let mut problems = Vec::new();
        let mut active: Vec<Active> = Vec::new();
        for client in clients {
            match self.admit(client, &active) {
                Ok(admitted) => active.push(admitted),
                Err(problem) => problems.push(problem),
            }
        }
        let gone = |old: &&Active| {
            old.spec.wire == Wire::Rtp
                && !active.iter().any(|new| new.address == old.address && new.spec.wire == Wire::Rtp)
        };
        let departures = self.active.iter().filter(gone);
        let departures = departures.map(|old| Departure { address: old.address, ssrc: old.ssrc }).collect();
        self.active = active;
        let build = |policy| self.groups().into_iter().map(|group| group.build(policy)).collect();
        let groups = self.policy().map(build).unwrap_or_default();
        (Box::new(Routing::new(self.encodings(), departures).grouped(groups)), problems)
    }

    fn admit(&mut self, client: &Client, admitted: &[Active]) -> Result<Active, String> {
        let name = &client.name;
        let highest = client.map.highest();
        if highest >= self.channels {
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
            (&old.client.name, &old.client.host, old.client.port) == (name, &client.host, client.port)
        };
        let former = self.active.iter().find(known).map(|old| old.address);
        let address = client.resolve(reachable).or_else(|problem| former.ok_or(problem))?;
        if let Some(twin) =
            admitted.iter().find(|other| other.address == address || other.client.name == *name)
        {
            return Err(format!(
                "client `{name}`: `{}` has the same name or address ({address})",
                twin.client.name
            ));
        }
        let spec = self.packets.spec(client)?;
        let delay = client.delay.map_or(Ok(0), |delay| delay.nanos(self.rate));
        let trim_ns = delay.map_err(|problem| format!("client `{name}`: {problem}"))?;
        let group = match spec.wire {
            Wire::Rtp => self.groups.of(client),
            Wire::Plain if client.group.is_none() && client.delay.is_none() => None,
            Wire::Plain => {
                return Err(format!(
                    "client `{name}`: headerless PCM has no time, so that no `group` or `delay` goes with it"
                ));
            }
        };
        let former = self.active.iter().find(|old| old.address == address && old.client.name == *name);
        let counters = former.map_or_else(Arc::default, |old| old.counters.clone());
        // Those who listen to a multicast group are known by what they listen to: each group has an encoding of its own.
        let shared = |other: &&Active| {
            other.spec == spec && other.address == address
                || other.spec == spec && !address.ip().is_multicast() && !other.address.ip().is_multicast()
        };
        let same = self.active.iter().chain(admitted).find(shared);
        let (encoding, ssrc) = same.map_or_else(
            || {
                self.next_id += 1;
                (EncodingId(self.next_id), os::random::bits() as u32)
            },
            |other| (other.encoding, other.ssrc),
        );
        Ok(Active { client: client.clone(), address, spec, counters, group, trim_ns, encoding, ssrc })
    }

    fn encodings(&self) -> Vec<Encoding> {
        let mut ids: Vec<_> = self.active.iter().map(|active| active.encoding).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| self.encoding(id)).collect()
    }

    fn encoding(&self, id: EncodingId) -> Option<Encoding> {
        let mut members = self.active.iter().filter(|active| active.encoding == id).peekable();
        let (spec, ssrc) = members.peek().map(|first| (first.spec.clone(), first.ssrc))?;
        let clients = members
            .map(|active| {
                let Active { client, address, counters, group, trim_ns, .. } = active;
                let sent = send::Client::new(client.name.clone(), *address, counters.clone())
                    .repaired(self.packets.repair(client));
                match group {
                    Some(group) => sent.grouped(group.id(), *trim_ns),
                    None => sent,
                }
            })
            .collect();
        Some(Encoding::new(id, spec, self.rate, ssrc, Sequence(os::random::bits() as u16), clients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Settings;

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
