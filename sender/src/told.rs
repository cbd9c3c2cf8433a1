//! What was told of each client, so that each change is told once.

use crate::book::{Active, Book};

/// By the clients' names.
pub(crate) struct Told<T>(Vec<(String, T)>);

impl<T: Copy + Default + PartialEq> Told<T> {
    /// Of nobody anything but the default.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// The clients of which something else is true by `now` than was told last.
    pub(crate) fn news<'a>(&mut self, book: &'a Book, now: impl Fn(&Active) -> T) -> Vec<(&'a Active, T)> {
        let mut news = Vec::new();
        self.0.retain(|(name, _)| book.active().iter().any(|active| active.client.name == *name));
        for active in book.active() {
            let (name, now) = (&active.client.name, now(active));
            match self.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, told)) if *told == now => {}
                Some((_, told)) => {
                    *told = now;
                    news.push((active, now));
                }
                None if now == T::default() => {}
                None => {
                    self.0.push((name.clone(), now));
                    news.push((active, now));
                }
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Settings;
    use crate::packets::Packets;

    #[test]
    fn changes_are_told_once_and_a_client_that_was_away_is_new() {
        let packets = Packets::new(&Settings::default()).unwrap();
        let mut book = Book::new(packets, (44_100, 4), "the test".into(), None);
        let mut told = Told::new();
        let mut news = |clients: &[&str], late: &str| {
            book.update(&clients.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
            let news = told.news(&book, |active| active.client.name == late);
            news.into_iter().map(|(active, late)| (active.client.name.clone(), late)).collect::<Vec<_>>()
        };
        let (a, b) = ("a=127.0.0.1:1/0", "b=127.0.0.1:2/0");
        let is = |name: &str, late| vec![(name.to_string(), late)];
        assert_eq!(news(&[a, b], ""), []);
        assert_eq!(news(&[a, b], "a"), is("a", true));
        assert_eq!(news(&[b, a], "a"), []);
        assert_eq!(news(&[a, b], ""), is("a", false));
        assert_eq!(news(&[a, b], "b"), is("b", true));
        assert_eq!(news(&[a], ""), []);
        assert_eq!(news(&[a, b], ""), []);
    }
}
