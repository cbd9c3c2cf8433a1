//! What is still to happen in virtual time, earliest first.

use std::collections::BTreeMap;

use proto::units::Mono;

/// Events at their times; those of one instant stay in the order in which they were pushed.
#[derive(Clone, Debug)]
pub struct Agenda<E> {
    events: BTreeMap<(Mono, u64), E>,
    pushed: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), pushed: 0 }
    }
}

impl<E> Agenda<E> {
    /// Adds an event; one in the past comes next.
    pub fn push(&mut self, at: Mono, event: E) {
        self.events.insert((at, self.pushed), event);
        self.pushed += 1;
    }

    /// Takes the earliest event.
    pub fn pop(&mut self) -> Option<(Mono, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// The earliest event, which stays.
    pub fn peek(&self) -> Option<(Mono, &E)> {
        self.events.first_key_value().map(|((at, _), event)| (*at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first_and_equal_times_as_pushed() {
        let mut agenda = Agenda::default();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'f')] {
            agenda.push(Mono(at), event);
        }
        assert_eq!(agenda.peek(), Some((Mono(3), &'a')));
        let mut order: Vec<char> = (0..2).map(|_| agenda.pop().unwrap().1).collect();
        agenda.push(Mono(5), 'e');
        order.extend(core::iter::from_fn(|| agenda.pop()).map(|(_, event)| event));
        assert_eq!(order.iter().collect::<String>(), "abcdef");
        assert_eq!(agenda.peek(), None);
    }
}
