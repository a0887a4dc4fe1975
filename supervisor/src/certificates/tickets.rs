//! Keys of session tickets: those of the past, which open tickets that clients have, the current one, and the next.
//!
//! A key encrypts for [`PERIOD`], and opens tickets for three periods more. The next key is made a period ahead: workers have it before
//! it counts, also if the master is dead then. Nothing here reads a clock; times are seconds since 1970.

use std::io;

use gin_shared::tls::material::{Secret, TicketKey};
use rustix::rand::{GetRandomFlags, getrandom};

/// Time for which a key encrypts, in seconds.
pub const PERIOD: u64 = 4 * 3600;
/// Keys that open tickets and encrypt none any more.
pub const PREVIOUS: usize = 3;

/// The keys, the oldest first.
#[derive(Debug, Default)]
pub struct Tickets(Vec<TicketKey>);

impl Tickets {
    /// The keys of a master before this one.
    #[must_use]
    pub fn resume(mut keys: Vec<TicketKey>) -> Self {
        keys.sort_by_key(|key| key.from);
        Self(keys)
    }

    /// The keys, the oldest first; the last one is to come.
    #[must_use]
    pub fn keys(&self) -> &[TicketKey] {
        &self.0
    }

    /// The time at which [`Self::advance`] has something to do; `None`: there are no keys yet. After a clock was set back that is at once:
    /// none of the keys might encrypt until it is where it was.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<u64> {
        self.0.last().map(|key| if key.from > now + PERIOD { now } else { key.from })
    }

    /// Makes the keys that are missing at `now`, by `make`, and drops those that are too old. Gives whether anything has changed.
    ///
    /// # Errors
    /// Those of `make`. The keys stay as they were.
    pub fn advance(&mut self, now: u64, mut make: impl FnMut(u64) -> io::Result<TicketKey>) -> io::Result<bool> {
        // A clock that was set back: a key that begins later than the next one would hold up the change of keys.
        let mut keys: Vec<TicketKey> = self.0.iter().filter(|key| key.from <= now + PERIOD).cloned().collect();
        if keys.first().is_none_or(|first| first.from > now) {
            keys.insert(0, make(now)?);
        }
        while let Some(last) = keys.last().map(|key| key.from)
            && last <= now
        {
            // After a long time without a master no key encrypts any more: another one begins at once.
            let follows = last + PERIOD;
            keys.push(make(if follows > now { follows } else { now })?);
        }
        let begun = keys.iter().filter(|key| key.from <= now).count();
        keys.drain(..begun.saturating_sub(PREVIOUS + 1));
        let has_changed = keys != self.0;
        self.0 = keys;
        Ok(has_changed)
    }
}

/// A new key that encrypts from `from` on.
///
/// # Errors
/// Those of `getrandom(2)`.
pub fn make(from: u64) -> io::Result<TicketKey> {
    let (mut name, mut key) = ([0; 16], [0; 32]);
    // Up to 256 bytes come whole.
    getrandom(&mut name, GetRandomFlags::empty())?;
    getrandom(&mut key, GetRandomFlags::empty())?;
    let secret = Secret::new(key.to_vec());
    gin_shared::tls::material::wipe(&mut key);
    Ok(TicketKey { name, key: secret, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const START: u64 = 1_700_000_000;

    /// The key that a worker encrypts with: the newest that has begun.
    fn current(tickets: &Tickets, now: u64) -> &TicketKey {
        let current = tickets.keys().iter().rev().find(|key| key.from <= now).expect("one has begun");
        assert!(now < current.from + PERIOD, "it encrypts no more");
        current
    }

    #[test]
    fn for_two_days_there_is_a_key_and_a_ticket_is_good_for_twelve_hours() {
        let mut tickets = Tickets::default();
        let mut made: Vec<(u64, [u8; 16])> = Vec::new();
        for minute in 0..48 * 60 {
            let now = START + minute * 60;
            if tickets.next(now).is_none_or(|next| next <= now) {
                assert!(tickets.advance(now, make).unwrap());
            }
            if minute == 20 * 60 {
                // Another master goes on with what is in the memory.
                tickets = Tickets::resume(tickets.keys().to_vec());
                assert!(!tickets.advance(now, make).unwrap());
            }
            made.push((now, current(&tickets, now).name));
            let opens = |name: [u8; 16]| tickets.keys().iter().any(|key| key.name == name);
            let young = made.iter().filter(|(at, _)| at + 12 * HOUR >= now);
            assert!(young.map(|(_, name)| *name).all(opens), "minute {minute}");
            assert!(tickets.keys().len() <= PREVIOUS + 2);
            assert!(tickets.keys().last().is_some_and(|next| next.from > now));
        }
        let names: std::collections::BTreeSet<[u8; 16]> = made.iter().map(|(_, name)| *name).collect();
        assert_eq!(names.len(), 12);
    }

    #[test]
    fn the_next_key_is_known_before_it_counts() {
        let mut tickets = Tickets::default();
        tickets.advance(START, make).unwrap();
        let next = tickets.keys()[1].clone();
        // The master is dead until then.
        assert_eq!(current(&tickets, START + 7 * HOUR), &next);
        tickets.advance(START + 7 * HOUR, make).unwrap();
        assert_eq!(current(&tickets, START + 7 * HOUR), &next);
    }

    #[test]
    fn after_days_without_a_master_and_after_a_clock_set_back_a_key_encrypts() {
        let mut tickets = Tickets::default();
        tickets.advance(START, make).unwrap();
        for (now, is_due) in [(START + 72 * HOUR, true), (START, true), (START + HOUR, false)] {
            assert_eq!(tickets.next(now).is_some_and(|next| next <= now), is_due);
            tickets.advance(now, make).unwrap();
            let _ = current(&tickets, now);
            assert!(tickets.next(now).is_some_and(|next| next > now && next <= now + PERIOD));
        }
    }

    #[test]
    fn without_randomness_the_keys_stay() {
        let mut tickets = Tickets::default();
        tickets.advance(START, make).unwrap();
        let before = tickets.keys().to_vec();
        assert!(tickets.advance(START + 5 * HOUR, |_| Err(io::Error::other("none"))).is_err());
        assert_eq!(tickets.keys(), before);
    }
}
