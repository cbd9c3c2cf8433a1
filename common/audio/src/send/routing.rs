//! Who hears which encoding, and what a change of that leaves behind.

use std::net::SocketAddr;

use super::encoding::{Client, Encoding};
use super::group::Group;
use super::report;

/// A client that has left, to be told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Where it listens.
    pub address: SocketAddr,
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

    /// Who has sent a datagram: the encoding and its client. One who listens to a group says which source it speaks of, or
    /// has said so before.
    pub(super) fn speaker(&self, from: SocketAddr, datagram: &[u8]) -> Option<(usize, usize)> {
        let find = |is: &dyn Fn(&Encoding, &Client) -> bool| {
            self.encodings.iter().enumerate().find_map(|(index, encoding)| {
                Some((index, encoding.clients.iter().position(|client| is(encoding, client))?))
            })
        };
        let listens = |client: &Client| client.audience.as_ref().is_some_and(|audience| audience.knows(from));
        find(&|_, client| client.address == from).or_else(|| match report::subject(datagram) {
            Some(ssrc) => find(&|encoding, client| encoding.ssrc == ssrc && client.audience.is_some()),
            None => find(&|_, client| listens(client)),
        })
    }

    /// The largest block that every encoding turns into at most one packet, in frames.
    pub(super) fn max_block(&self) -> usize {
        self.encodings.iter().map(|e| e.max_block).min().unwrap_or(usize::from(u16::MAX))
    }

    /// Takes over the state of encodings that `old` has too.
    pub(super) fn inherit(&mut self, old: &mut Routing) {
        for group in &mut self.groups {
            if let Some(same) = old.groups.iter_mut().find(|g| g.id == group.id) {
                group.inherit(same);
            }
        }
        let mut former = old.encodings.iter_mut().peekable();
        for encoding in &mut self.encodings {
            while former.next_if(|f| f.id < encoding.id).is_some() {}
            let Some(same) = former.next_if(|f| f.id == encoding.id) else { continue };
            std::mem::swap(&mut encoding.state, &mut same.state);
            if let (Some(keeper), Some(former)) = (&mut encoding.keeper, &mut same.keeper) {
                keeper.inherit(former);
            }
            for client in &mut encoding.clients {
                if let Some(known) = same.clients.iter_mut().find(|c| c.address == client.address) {
                    client.next_report = known.next_report;
                    client.member.inherit(&mut known.member);
                    if let (Some(audience), Some(former)) = (&mut client.audience, &mut known.audience) {
                        audience.inherit(former);
                    }
                    if client.repair == known.repair {
                        std::mem::swap(&mut client.mender, &mut known.mender);
                    }
                }
            }
        }
    }
}
