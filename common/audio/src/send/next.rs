//! Which datagram goes next.

use proto::units::Mono;
use proto::{rtcp, srtp};

use super::client::Client;
use super::encoding::State;
use super::recipients::Whereabouts;
use super::repair::Keeper;
use super::seal::{self, Part};
use super::{REPORT_INTERVAL, SendPipeline};
use crate::repair::advance::Spec;

/// A datagram, by where it lies.
pub(super) enum Next {
    /// In `control`, to be sealed.
    Control(Whereabouts, usize),
    /// In `control`, as it is.
    Sealed(Whereabouts, usize),
    /// What is ready of an encoding, to be sealed.
    Media(usize),
    /// In `spare`, as it is.
    Repair(Whereabouts, usize),
}

impl SendPipeline {
    pub(super) fn next_datagram(&mut self) -> Option<Next> {
        if let Some(answer) = self.next_answer() {
            return Some(answer);
        }
        if let Some(gone) = self.routing.departures.pop() {
            let to = Whereabouts { first: gone.address, second: gone.second };
            return Some(Next::Control(to, self.write_goodbye(gone.ssrc)));
        }
        if let Some((encoding, client)) = self.after_greeting.take() {
            return Some(self.next_control(encoding, client));
        }
        if self.ending {
            if let Some(index) = self.next_media() {
                return Some(Next::Media(index));
            }
            self.ending = false;
        }
        if self.now >= self.reports_due {
            if let Some((encoding, client)) = self.next_report() {
                return Some(self.next_greeting(encoding, client));
            }
            self.reports_due = self.earliest_report();
        }
        if let Some(index) = self.next_media() {
            return Some(Next::Media(index));
        }
        if let Some((to, length)) = self.next_repair() {
            return Some(Next::Repair(to, length));
        }
        let (to, ssrc) = self.next_goodbye()?;
        Some(Next::Control(to, self.write_goodbye(ssrc)))
    }

    fn next_control(&mut self, encoding: usize, client: usize) -> Next {
        let next = self.routing.encodings[encoding].clients[client].reports_next();
        let length = self.write_report(encoding, client, next);
        let client = &mut self.routing.encodings[encoding].clients[client];
        let here = client.whereabouts();
        client.unanswered = client.unanswered.map(|count| count.saturating_add(1));
        Next::Control(if next { here.at_next_port() } else { here }, length)
    }

    /// Where there is a key, a greeting goes before each report, to where a receiver of our own listens.
    fn next_greeting(&mut self, encoding: usize, client: usize) -> Next {
        let Some(me) = &mut self.secure else { return self.next_control(encoding, client) };
        if me.is_used_up() {
            me.renew();
            let clients = self.routing.encodings.iter_mut().flat_map(|encoding| &mut encoding.clients);
            clients.for_each(|client| client.next_report = Mono(i64::MIN));
        }
        let of = &mut self.routing.encodings[encoding];
        if let Some(audience) = &mut of.clients[client].audience {
            audience.note_index(self.now, me.next());
        }
        let answered = of.clients[client].acquaintance.answered();
        match seal::greet(me, of, answered, &mut self.control) {
            Some(length) => {
                self.after_greeting = Some((encoding, client));
                Next::Sealed(of.clients[client].takes_reports_at(), length)
            }
            None => self.next_control(encoding, client),
        }
    }

    pub(super) fn seal_control(&mut self, length: usize) -> Option<usize> {
        match &mut self.secure {
            Some(me) => me.seal_control(&mut self.control, length),
            None => Some(length),
        }
    }

    /// Whether the packet that is ready may go.
    pub(super) fn seal_media(&mut self, index: usize) -> bool {
        let Some(me) = &self.secure else { return true };
        let encoding = &mut self.routing.encodings[index];
        if !encoding.is_rtp() {
            return false;
        }
        let State { numbers, ready, .. } = &mut encoding.state;
        // The last of a stream that goes on for others has a number that is theirs.
        if ready.get(8..12) != Some(&encoding.ssrc.to_be_bytes()[..]) {
            return false;
        }
        let length = ready.len();
        ready.resize(length + srtp::OVERHEAD, 0);
        numbers.seal(Part::Media, me.session(), ready, length).is_some()
    }

    /// Seals the packet in `spare`. Returns its length.
    fn seal_repair(&mut self, index: usize, part: Part, length: usize) -> Option<usize> {
        let Some(me) = &self.secure else { return Some(length) };
        let numbers = &mut self.routing.encodings[index].state.numbers;
        numbers.seal(part, me.session(), &mut self.spare, length)
    }

    fn next_answer(&mut self) -> Option<Next> {
        if !self.asked {
            return None;
        }
        for encoding in &mut self.routing.encodings {
            let greet = |client: &mut Client| client.audience.as_mut()?.next_greeting();
            if let Some(me) = &mut self.secure
                && let Some((address, answered)) = encoding.clients.iter_mut().find_map(greet)
                && let Some(length) = seal::greet(me, encoding, answered, &mut self.control)
            {
                return Some(Next::Sealed(address.into(), length));
            }
            for client in &mut encoding.clients {
                let out = &mut self.control[..rtcp::MAX_COMPOUND];
                if let Some((address, length)) = client.answer(self.now, encoding.ssrc, out) {
                    return Some(Next::Control(address.into(), length));
                }
            }
        }
        self.asked = false;
        None
    }

    /// Moves on to an encoding with a packet that was not polled yet.
    fn next_media(&mut self) -> Option<usize> {
        // The packet that was returned last is done with only now, since the caller borrowed it.
        if let Some(last) = self.encoding_cursor.checked_sub(1)
            && let Some(encoding) = self.routing.encodings.get_mut(last)
        {
            encoding.state.ready.clear();
        }
        while let Some(encoding) = self.routing.encodings.get(self.encoding_cursor) {
            self.encoding_cursor += 1;
            if !encoding.state.ready.is_empty() {
                return Some(self.encoding_cursor - 1);
            }
        }
        None
    }

    /// Parity that is due, then what clients asked for.
    fn next_repair(&mut self) -> Option<(Whereabouts, usize)> {
        loop {
            let Some((index, spec, length, next)) = self.parity else {
                self.parity = self.next_parity();
                if self.parity.is_none() {
                    return self.next_resend();
                }
                continue;
            };
            let clients = &self.routing.encodings[index].clients;
            let wants = |client: &Client| client.mender.as_ref().is_some_and(|m| m.wants(spec));
            let Some(found) = clients.iter().skip(next).position(wants) else {
                self.parity = None;
                continue;
            };
            self.parity = Some((index, spec, length, next + found + 1));
            let client = &clients[next + found];
            client.counters.parity.add(1);
            return Some((client.whereabouts(), length));
        }
    }

    fn next_parity(&mut self) -> Option<(usize, Spec, usize, usize)> {
        for (index, encoding) in self.routing.encodings.iter_mut().enumerate() {
            let Some((spec, packet)) = encoding.keeper.as_mut().and_then(Keeper::poll) else { continue };
            let Some(room) = self.spare.get_mut(..packet.len()) else { continue };
            room.copy_from_slice(packet);
            let length = packet.len();
            return Some((index, spec, self.seal_repair(index, Part::Parity, length)?, 0));
        }
        None
    }

    fn next_resend(&mut self) -> Option<(Whereabouts, usize)> {
        for (index, encoding) in self.routing.encodings.iter_mut().enumerate() {
            let Some(keeper) = &encoding.keeper else { continue };
            for client in &mut encoding.clients {
                let Some(mender) = &mut client.mender else { continue };
                if let Some(length) = mender.poll(self.now, keeper, &mut self.spare) {
                    mender.count(&client.counters);
                    let to = client.whereabouts();
                    return Some((to, self.seal_repair(index, Part::Retransmission, length)?));
                }
            }
        }
        None
    }

    fn next_goodbye(&mut self) -> Option<(Whereabouts, u32)> {
        let (mut index, mut client) = self.goodbye_cursor?;
        while let Some(encoding) = self.routing.encodings.get(index) {
            if encoding.is_rtp() && client < encoding.clients.len() {
                self.goodbye_cursor = Some((index, client + 1));
                return Some((encoding.clients[client].takes_reports_at(), encoding.ssrc));
            }
            (index, client) = (index + 1, 0);
        }
        None
    }

    fn next_report(&mut self) -> Option<(usize, usize)> {
        let now = self.now;
        for (index, encoding) in self.routing.encodings.iter_mut().enumerate() {
            if !encoding.is_rtp() {
                continue;
            }
            if let Some(client) = encoding.clients.iter().position(|c| c.next_report <= now) {
                let Client { next_report: due, member, .. } = &mut encoding.clients[client];
                let first = due.0 == i64::MIN;
                // The first interval of each client differs, so that the reports of many clients spread over the second.
                let interval = if first {
                    REPORT_INTERVAL / 2 + REPORT_INTERVAL / 64 * (client as i64 % 64)
                } else {
                    REPORT_INTERVAL
                };
                // Members hear at the next tick again.
                *due = if member.group.is_some() { Mono(i64::MAX) } else { now.plus(interval) };
                return Some((index, client));
            }
        }
        None
    }

    fn earliest_report(&self) -> Mono {
        let rtp = self.routing.encodings.iter().filter(|e| e.is_rtp());
        rtp.flat_map(|e| &e.clients).map(|c| c.next_report).min().unwrap_or(Mono(i64::MAX))
    }
}
