//! Who hears which encoding, and what a change of that leaves behind.

use std::net::SocketAddr;

use super::Shape;
use super::client::{Client, Reports};
use super::encoding::{Encoding, EncodingId};
use super::group::Group;
use super::report;

/// A client that has left, to be told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Where it listens to reports.
    pub address: SocketAddr,
    /// Where it does so too, by another path.
    pub second: Option<SocketAddr>,
    /// The stream that ends for it.
    pub ssrc: u32,
}

/// All encodings, ordered by id, and the clients that a change leaves behind.
#[derive(Debug, Default)]
pub struct Routing {
    pub(super) encodings: Vec<Encoding>,
    pub(super) departures: Vec<Departure>,
    pub(super) groups: Vec<Group>,
}

impl Routing {
    /// A routing of these encodings; `departures` are sent a BYE when it takes effect.
    pub fn new(mut encodings: Vec<Encoding>, departures: Vec<Departure>) -> Self {
        encodings.sort_by_key(Encoding::id);
        Self { encodings, departures, groups: Vec::new() }
    }

    /// The same with the groups that its clients belong to.
    pub fn grouped(self, groups: Vec<Group>) -> Self {
        Self { groups, ..self }
    }

    /// Who has sent a datagram: the encoding and its client, which speaks from the media's port or the next. One who listens
    /// to a group says which source it speaks of, or has said so before.
    pub(super) fn speaker(&self, from: SocketAddr, datagram: &[u8], secured: bool) -> Option<(usize, usize)> {
        let find = |is: &dyn Fn(&Encoding, &Client) -> bool| {
            self.encodings.iter().enumerate().find_map(|(index, encoding)| {
                Some((index, encoding.clients.iter().position(|client| is(encoding, client))?))
            })
        };
        let listens = |client: &Client| client.audience.as_ref().is_some_and(|audience| audience.knows(from));
        let by_next = |client: &Client| {
            client.reports != Reports::Mux && client.whereabouts().at_next_port().includes(from)
        };
        // What is encrypted does not say it to who has not opened it.
        let known = || find(&|_, client| listens(client)).filter(|_| secured);
        let of_group = || match report::subject(datagram) {
            Some(ssrc) => find(&|encoding, client| encoding.ssrc == ssrc && client.audience.is_some()),
            None => find(&|_, client| listens(client)),
        };
        find(&|_, client| client.is_at(from))
            .or_else(|| find(&|_, client| by_next(client)))
            .or_else(known)
            .or_else(of_group)
    }

    /// The largest block that every encoding turns into at most one packet, in frames.
    pub(super) fn max_block(&self) -> usize {
        self.encodings.iter().map(|e| e.max_block).min().unwrap_or(usize::from(u16::MAX))
    }

    /// Takes over the keys of clients that `old` has too, though they may hear something else now.
    fn recognise(&mut self, old: &mut Routing) {
        for known in old.encodings.iter_mut().flat_map(|encoding| &mut encoding.clients) {
            if known.acquaintance.is_blank() {
                continue;
            }
            let mut clients = self.encodings.iter_mut().flat_map(|encoding| &mut encoding.clients);
            if let Some(client) = clients.find(|client| client.is_same(known)) {
                std::mem::swap(&mut client.acquaintance, &mut known.acquaintance);
            }
        }
    }

    /// Takes over the state of groups and encodings that `old` has too, or that others branch off from.
    pub(super) fn inherit(&mut self, old: &mut Routing, shape: &Shape) {
        self.recognise(old);
        for group in &mut self.groups {
            if let Some(same) = old.groups.iter_mut().find(|g| g.id == group.id) {
                group.inherit(same);
            }
        }
        // Those that branch off copy what those that stay take away.
        for encoding in &mut self.encodings {
            if let Some(former) = encoding.former.and_then(|id| old.get_mut(id)) {
                encoding.branch(former, shape);
            }
        }
        for encoding in &mut self.encodings {
            if let Some(same) = old.get_mut(encoding.id) {
                encoding.resume(same, shape);
            }
        }
    }

    fn get_mut(&mut self, id: EncodingId) -> Option<&mut Encoding> {
        let index = self.encodings.binary_search_by_key(&id, Encoding::id).ok()?;
        self.encodings.get_mut(index)
    }
}
