//! The ledger: open streams, and answers that either side owes the other. A connection moves when nothing is left in it.

use std::collections::HashMap;

/// Payload of our PING behind a reset.
pub(super) const BARRIER: &[u8; 8] = b"gin rest";

/// Sides of a stream that have ended.
#[derive(Debug, Clone, Copy, Default)]
struct Ended {
    client: bool,
    own: bool,
}

/// Says whether the client knows of every stream that we have reset. Until then it may send frames for them, and the next hyper could
/// not tell them from wrong ones. A PING behind the resets, and its answer, are the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    Known,
    Needed,
    Sent,
    /// Another stream was reset behind the PING.
    Outdated,
}

/// Everything that is open or owed.
#[derive(Debug)]
pub(super) struct Ledger {
    open: HashMap<u32, Ended>,
    last_id: u32,
    resets: u32,
    barrier: Barrier,
    /// Settings of ours that the client has not acknowledged.
    acks_awaited: u32,
    /// Settings of the client that hyper has not acknowledged.
    acks_owed: u32,
    pongs_owed: u32,
    has_client_settings: bool,
    has_own_settings: bool,
    /// One side has said that the connection ends, or it must.
    pub(super) is_leaving: bool,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            open: HashMap::new(),
            last_id: 0,
            resets: 0,
            barrier: Barrier::Known,
            acks_awaited: 0,
            acks_owed: 0,
            pongs_owed: 0,
            has_client_settings: false,
            has_own_settings: false,
            is_leaving: false,
        }
    }

    /// Ledger of a connection that comes from another hyper: the settings are known on both sides.
    pub(super) fn resume(last_id: u32, resets: u32) -> Self {
        Self { last_id, resets, has_client_settings: true, ..Self::new() }
    }

    /// Stream id of the client's last request.
    pub(super) fn last_id(&self) -> u32 {
        self.last_id
    }

    /// Requests that the client has reset.
    pub(super) fn resets(&self) -> u32 {
        self.resets
    }

    /// True if both sides have said their settings.
    pub(super) fn has_begun(&self) -> bool {
        self.has_client_settings && self.has_own_settings
    }

    /// True if no stream is open and nobody owes anything.
    pub(super) fn is_even(&self) -> bool {
        self.open.is_empty()
            && self.barrier == Barrier::Known
            && (self.acks_awaited, self.acks_owed, self.pongs_owed) == (0, 0, 0)
    }

    /// True if a request has come whole, and its answer is not out.
    pub(super) fn owes_answers(&self) -> bool {
        self.open.values().any(|ended| ended.client && !ended.own)
    }

    /// HEADERS of the client: a request, or trailers.
    pub(super) fn client_began(&mut self, stream: u32) {
        if stream.is_multiple_of(2) {
            // Clients have odd ids. hyper ends such a connection.
            self.is_leaving = true;
        } else if stream > self.last_id {
            self.last_id = stream;
            self.open.insert(stream, Ended::default());
        }
    }

    pub(super) fn client_ended(&mut self, stream: u32) {
        self.end(stream, |ended| ended.client = true);
    }

    pub(super) fn we_ended(&mut self, stream: u32) {
        self.end(stream, |ended| ended.own = true);
    }

    fn end(&mut self, stream: u32, mark: impl FnOnce(&mut Ended)) {
        let Some(ended) = self.open.get_mut(&stream) else { return };
        mark(ended);
        if ended.client && ended.own {
            self.open.remove(&stream);
        }
    }

    pub(super) fn client_reset(&mut self, stream: u32) {
        if self.open.remove(&stream).is_some() {
            self.resets = self.resets.saturating_add(1);
        }
    }

    pub(super) fn we_reset(&mut self, stream: u32) {
        if self.open.remove(&stream).is_some_and(|ended| !ended.client) {
            self.barrier = match self.barrier {
                Barrier::Known | Barrier::Needed => Barrier::Needed,
                Barrier::Sent | Barrier::Outdated => Barrier::Outdated,
            };
        }
    }

    /// True if a PING must follow our resets now: no stream is open, or the connection is `hurried` to its rest.
    pub(super) fn needs_barrier(&self, hurried: bool) -> bool {
        self.barrier == Barrier::Needed && (hurried || self.open.is_empty()) && !self.is_leaving
    }

    pub(super) fn barrier_sent(&mut self) {
        self.barrier = Barrier::Sent;
    }

    /// An answer to a PING. True if it is the one of our barrier, of which hyper knows nothing.
    pub(super) fn pong(&mut self, payload: &[u8]) -> bool {
        let next = match self.barrier {
            Barrier::Sent => Barrier::Known,
            Barrier::Outdated => Barrier::Needed,
            Barrier::Known | Barrier::Needed => return false,
        };
        let is_ours = payload == BARRIER;
        if is_ours {
            self.barrier = next;
        }
        is_ours
    }

    pub(super) fn client_pinged(&mut self) {
        self.pongs_owed = self.pongs_owed.saturating_add(1);
    }

    pub(super) fn we_answered_ping(&mut self) {
        self.pongs_owed = self.pongs_owed.saturating_sub(1);
    }

    pub(super) fn client_set(&mut self) {
        self.has_client_settings = true;
        self.acks_owed = self.acks_owed.saturating_add(1);
    }

    pub(super) fn we_acknowledged(&mut self) {
        self.acks_owed = self.acks_owed.saturating_sub(1);
    }

    pub(super) fn we_set(&mut self) {
        self.has_own_settings = true;
        self.acks_awaited = self.acks_awaited.saturating_add(1);
    }

    /// hyper has said settings that the client knows already.
    pub(super) fn we_set_again(&mut self) {
        self.has_own_settings = true;
    }

    pub(super) fn client_acknowledged(&mut self) {
        self.acks_awaited = self.acks_awaited.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even() -> Ledger {
        let mut ledger = Ledger::new();
        assert!(ledger.is_even() && !ledger.has_begun());
        ledger.we_set();
        ledger.client_set();
        assert!(ledger.has_begun() && !ledger.is_even());
        ledger.we_acknowledged();
        ledger.client_acknowledged();
        assert!(ledger.is_even());
        ledger
    }

    #[test]
    fn a_stream_is_open_until_both_sides_have_ended_it() {
        for client_first in [false, true] {
            let mut ledger = even();
            ledger.client_began(1);
            assert!(!ledger.is_even());
            let ends: [fn(&mut Ledger, u32); 2] = [Ledger::client_ended, Ledger::we_ended];
            ends[usize::from(!client_first)](&mut ledger, 1);
            assert!(!ledger.is_even());
            // Trailers are no second request.
            ledger.client_began(1);
            ends[usize::from(client_first)](&mut ledger, 1);
            assert!(ledger.is_even() && ledger.last_id() == 1);
        }
    }

    #[test]
    fn every_answer_that_is_owed_counts() {
        let mut ledger = even();
        for _ in 0..3 {
            ledger.client_pinged();
            ledger.client_set();
            ledger.we_set();
        }
        for _ in 0..3 {
            assert!(!ledger.is_even());
            ledger.we_answered_ping();
            ledger.we_acknowledged();
            ledger.client_acknowledged();
        }
        assert!(ledger.is_even());
        // Answers to nothing do no harm.
        ledger.we_answered_ping();
        ledger.we_acknowledged();
        ledger.client_acknowledged();
        assert!(ledger.is_even());
    }

    #[test]
    fn a_reset_of_an_upload_needs_a_ping_and_one_more_behind_the_next_reset() {
        let mut ledger = even();
        ledger.client_began(1);
        ledger.we_reset(1);
        assert!(!ledger.is_even() && ledger.needs_barrier(false));
        assert!(!ledger.pong(BARRIER), "none was sent");
        ledger.barrier_sent();
        ledger.client_began(3);
        ledger.we_reset(3);
        assert!(!ledger.needs_barrier(true), "one is under way");
        assert!(!ledger.pong(b"hyper's!") && ledger.pong(BARRIER));
        assert!(!ledger.is_even() && ledger.needs_barrier(false));
        ledger.client_began(5);
        assert!(!ledger.needs_barrier(false) && ledger.needs_barrier(true), "a stream is open");
        ledger.client_reset(5);
        ledger.barrier_sent();
        assert!(ledger.pong(BARRIER) && ledger.is_even());
    }

    #[test]
    fn a_reset_of_a_request_that_has_ended_needs_none() {
        let mut ledger = even();
        ledger.client_began(1);
        ledger.client_ended(1);
        ledger.we_reset(1);
        ledger.we_reset(1);
        assert!(ledger.is_even());
    }

    #[test]
    fn resets_of_the_client_are_counted_once_each() {
        let mut ledger = even();
        ledger.client_began(1);
        ledger.client_reset(1);
        ledger.client_reset(1);
        ledger.client_reset(99);
        assert_eq!((ledger.is_even(), ledger.resets()), (true, 1));
        assert_eq!(Ledger::resume(9, 4).resets(), 4);
    }

    #[test]
    fn a_request_with_an_even_id_ends_the_moves() {
        let mut ledger = even();
        ledger.client_began(2);
        assert!(ledger.is_leaving && ledger.last_id() == 0);
    }
}
