//! The giver's side of one socket, without I/O.

use std::collections::VecDeque;

use super::{Abilities, FromTaker, Malformed, WINDOW};

/// The giver's side of one socket: which connections are offered, and whose each is. `C` is a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Giver<C> {
    /// The taker's abilities, once it has greeted.
    abilities: Option<Abilities>,
    full: bool,
    next: u64,
    offered: VecDeque<(u64, Vec<C>)>,
    given: u64,
}

impl<C> Default for Giver<C> {
    fn default() -> Self {
        Self { abilities: None, full: false, next: 0, offered: VecDeque::new(), given: 0 }
    }
}

impl<C> Giver<C> {
    /// True if another batch may be offered.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.abilities.is_some() && !self.full && self.offered.len() < WINDOW
    }

    /// The kinds of connections that the taker knows: none before its hello.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.abilities.unwrap_or_default()
    }

    /// True once the taker has said which kinds of connections it knows.
    #[must_use]
    pub fn has_greeted(&self) -> bool {
        self.abilities.is_some()
    }

    /// True if the taker has said that it has no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// True if an answer is awaited.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.abilities.is_none() || !self.offered.is_empty()
    }

    /// Number of connections that the taker has, or is offered.
    #[must_use]
    pub fn load(&self) -> u64 {
        let offered: usize = self.offered.iter().map(|(_, all)| all.len()).sum();
        self.given + offered as u64
    }

    /// Number of connections that the taker has taken.
    #[must_use]
    pub fn given(&self) -> u64 {
        self.given
    }

    /// Number of the next batch.
    #[must_use]
    pub fn next_batch(&self) -> u64 {
        self.next
    }

    /// Records that the next batch was sent.
    pub fn offered(&mut self, connections: Vec<C>) {
        self.offered.push_back((self.next, connections));
        self.next += 1;
    }

    /// Handles a message of the taker. Returns the connections that are the taker's now, and those that stay.
    ///
    /// # Errors
    /// If the message is about connections that were not offered. The taker is not believed any more: see [`Self::end`].
    pub fn heard(&mut self, message: &FromTaker) -> Result<(Vec<C>, Vec<C>), Malformed> {
        match message {
            FromTaker::Hello { .. } if self.abilities.is_some() => Err(Malformed::Unexpected("a second hello")),
            FromTaker::Hello { takes, .. } => {
                self.abilities = Some(Abilities::of(takes));
                Ok((Vec::new(), Vec::new()))
            }
            FromTaker::Took { batch, count } => {
                // One after the other: the socket keeps their order.
                let is_it = self.offered.front().is_some_and(|(number, all)| number == batch && *count <= all.len());
                let Some((_, mut all)) = self.offered.pop_front_if(|_| is_it) else {
                    return Err(Malformed::Unexpected("an answer to what was not offered"));
                };
                let stay = all.split_off(*count);
                self.full |= !stay.is_empty();
                self.given += u64::try_from(all.len()).unwrap_or(u64::MAX);
                Ok((all, stay))
            }
        }
    }

    /// Ends the handover when the socket is shut down and read to its end. Returns the connections without an answer: they stay.
    pub fn end(&mut self) -> Vec<C> {
        self.full = true;
        self.offered.drain(..).flat_map(|(_, all)| all).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_offered_cannot_be_taken() {
        let mut giver = Giver::default();
        assert!(!giver.has_room() && giver.abilities() == Abilities::default(), "it has not greeted");
        giver.heard(&FromTaker::Hello { version: 1, takes: vec!["http2-1".to_owned()] }).unwrap();
        assert!(giver.has_room() && giver.abilities() == Abilities { http2: true, ..Abilities::default() });
        giver.offered(vec!['a', 'b']);
        assert!(giver.heard(&FromTaker::Took { batch: 0, count: 3 }).is_err());
        assert!(giver.heard(&FromTaker::Took { batch: 1, count: 0 }).is_err());
        assert_eq!(giver.heard(&FromTaker::Took { batch: 0, count: 1 }).unwrap(), (vec!['a'], vec!['b']));
        assert!(giver.heard(&FromTaker::Took { batch: 0, count: 0 }).is_err(), "twice");
        assert!(giver.is_full() && !giver.has_room());
    }
}
