//! Worlds of the walk that are alike.

use std::time::Instant;

use super::super::*;
use super::world::{Budget, LONG, Link, World, timeouts};

impl World {
    /// Number of writes of which a copy does not know.
    fn unknown(&self, epoch: u32) -> u32 {
        self.written.map_or(0, |written| written - epoch)
    }

    /// The world as far as anything depends on it: times count from now, and what is long ago looks alike.
    pub(super) fn fingerprint(&self) -> (Vec<u64>, Vec<Option<State>>, [Link; 3], Budget) {
        let ago = |at: Instant| u64::try_from((self.now + LONG).saturating_duration_since(at).as_millis()).unwrap_or(0);
        let ago = |at: Instant| ago(at).min(u64::try_from(LONG.as_millis()).unwrap_or(0) * 2);
        let flags = [self.is_giving, self.has_unread, self.client_left, self.is_over];
        let mut numbers: Vec<u64> = flags.into_iter().map(u64::from).collect();
        numbers.push(self.alone.map_or(0, ago));
        numbers.push(self.aside.reliever.map_or(0, |taker| taker as u64));
        numbers.push(u64::from(self.aside.shares));
        numbers.extend(self.aside.sharing.map_or([0; 2], |sharing| [sharing.taker as u64, ago(sharing.until)]));
        let mut states = Vec::new();
        for worker in &self.workers {
            let is_up = u64::from(worker.lives) + u64::from(worker.is_stopped) * 2;
            numbers.extend([is_up, worker.drain as u64, u64::from(worker.is_stale)]);
            // Its end has come, or not.
            let ended = ago(self.now.checked_sub(timeouts().idle_grace).unwrap_or(self.now));
            numbers.push(worker.grace_from.map_or(0, |from| ago(from).min(ended)));
            states.push(worker.copy.map(|copy| copy.state));
            let Some(copy) = worker.copy else { continue };
            numbers.extend([u64::from(copy.has_read), u64::from(copy.served), copy.doing as u64, ago(copy.since)]);
            numbers.push(u64::from(self.unknown(copy.epoch)));
            match copy.state {
                State::Queued => numbers.extend([ago(copy.look), u64::from(copy.has_looked)]),
                State::Accepted(hold) | State::Active(hold) => {
                    numbers.push(ago(copy.began));
                    if let HandoverHold::Since(since) = hold {
                        // The moment itself is of no account.
                        states.pop();
                        states.push(Some(State::Resting));
                        numbers.push(ago(since).max(ago(self.now)).min(ago(self.now - HOLD)));
                    }
                }
                State::Resting | State::Parked | State::Offered | State::Received => {}
                State::HandedOver | State::Closing | State::Closed => {}
            }
        }
        let links = self.links.map(|link| Link { epoch: self.unknown(link.epoch), ..link });
        (numbers, states, links, self.budget)
    }
}
