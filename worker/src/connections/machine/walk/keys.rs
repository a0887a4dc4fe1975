//! Keys of the connection: no two workers could ever write under them, and none with numbers of records that were used.
//!
//! Each copy has the number of writes that it knows of, and a copy that is sent has the number of that moment. Whoever could write must
//! know of all writes. New here are the ways in which a giver does not learn what a taker has: its answer cannot be read or understood, the
//! eventfd cannot be written, and workers are stopped.

use super::super::*;
use super::world::{Copy, GIVER, World};

impl World {
    /// True if the connection is over TLS.
    pub(super) fn is_keyed(&self) -> bool {
        self.written.is_some()
    }

    /// This copy writes.
    pub(super) fn write(&mut self, copy: &mut Copy) {
        if let Some(written) = &mut self.written {
            assert_eq!(copy.epoch, *written, "records are numbered again");
            *written += 1;
            copy.epoch = *written;
        }
    }

    /// The copy of this worker writes.
    pub(super) fn writes(&mut self, worker: usize) {
        if let Some(mut copy) = self.workers[worker].copy {
            self.write(&mut copy);
            self.workers[worker].copy = Some(copy);
        }
    }

    pub(super) fn check_keys(&self) {
        let Some(written) = self.written else { return };
        let able: Vec<Copy> = (0..3).filter_map(|worker| self.copy(worker)).filter(could_write).collect();
        assert!(able.len() <= 1, "{} workers could write: {self:?}", able.len());
        assert!(able.iter().all(|copy| copy.epoch == written), "an old copy could write: {self:?}");
    }

    /// As `Giver::withdraw` when the taker's last words are not certain. Without a mark, a taker that comes late believes its copy.
    pub(super) fn garbles(&mut self, taker: usize, is_marked: bool) {
        self.budget.garbles -= 1;
        let link = &mut self.links[taker];
        (link.is_shut, link.is_withdrawn, link.offers) = (true, is_marked, false);
        let took = link.to_giver.take();
        let in_doubt = self.is_keyed();
        self.happens(GIVER, Event::Giver(GiverEvent::TakerLost { in_doubt }));
        let is_restored = self.copy(GIVER).is_some_and(|copy| copy.state == State::Queued);
        assert_eq!(is_restored, !in_doubt, "{self:?}");
        if is_restored && took == Some(true) {
            // Two workers have it, as without keys they may. The walk does not go on.
            self.workers[GIVER].copy = None;
            self.is_over = true;
        }
        self.is_over |= self.owner().is_none() && !(1..3).any(|other| self.has_it(other));
        self.without_taker();
    }
}

/// True if the owner of this copy could write, now or later, without another word from anybody.
fn could_write(copy: &Copy) -> bool {
    match copy.state {
        State::Accepted(_) | State::Active(_) | State::Closing => true,
        State::Resting | State::Parked | State::Queued => true,
        // It is the taker's, maybe, or the giver's.
        State::Offered | State::Received => false,
        State::HandedOver | State::Closed => false,
    }
}
