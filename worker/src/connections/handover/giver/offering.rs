//! Offers of the giver: which of the queued connections go to which taker, and when.

use std::time::{Duration, Instant};

use gin_shared::descriptors::is_temporary;
use gin_shared::fault;
use gin_shared::handover::BATCH_MAX;

use super::Giver;
use crate::connections::connection::IdleConnection;
use crate::connections::handover::carried;
use crate::connections::handover::recipient::Recipient;
use crate::connections::machine::{GiverEvent, HOLD, State};

/// Pause when too many descriptors of this user are on their way: some will have arrived by then.
const PAUSE: Duration = Duration::from_millis(5);
/// Shortest time between two looks at the queue: each look is a system call for each connection.
const LOOK: Duration = Duration::from_millis(50);

impl Giver {
    /// Offers what is queued. Returns after what time to try again, if something is left, or a taker is not greeted yet.
    pub(in crate::connections::handover) fn offer(&mut self) -> Option<Duration> {
        let greeting = self.greet_again();
        // A client that waits for an answer does not wait for a taker, too: there may be none.
        if self.queued.is_some_and(|since| since.elapsed() >= HOLD) {
            self.serve_waiting();
        }
        let pause = self.offer_all();
        self.queued = pause.map(|_| self.queued.unwrap_or_else(Instant::now));
        [pause, greeting].into_iter().flatten().min()
    }

    /// Greets the takers that could not be greeted before. Returns after what time to try again, if there are any.
    fn greet_again(&mut self) -> Option<Duration> {
        let mut pause = None;
        for number in 0..self.recipients.len() {
            match self.recipients[number].say_hello() {
                Ok(()) => {}
                Err(error) if is_temporary(&error) => pause = Some(PAUSE),
                Err(error) => {
                    tracing::debug!("cannot greet a taker: {error}");
                    self.withdraw(number);
                }
            }
        }
        pause
    }

    /// Offers to the takers that have the fewest.
    fn offer_all(&mut self) -> Option<Duration> {
        // Takers that know to serve nothing of what is queued.
        let mut passed_over = Vec::new();
        while !self.queue.is_empty() {
            let of_use = self.recipients.iter().filter(|recipient| recipient.is_of_use()).count();
            let fit =
                |(number, recipient): &(usize, &Recipient)| recipient.may_be_next() && !passed_over.contains(number);
            let next = self.recipients.iter().enumerate().filter(fit).min_by_key(|(_, recipient)| recipient.load());
            let Some((number, _)) = next.filter(|(_, recipient)| recipient.has_room()) else { return Some(LOOK) };
            let batch = self.batch(number, self.queue.len().div_ceil(of_use));
            if batch.is_empty() {
                passed_over.push(number);
                continue;
            }
            match self.recipients[number].send(&mut self.packet, &batch) {
                Ok(()) => {
                    let _ = fault::at("give.sent");
                    self.recipients[number].offered(batch);
                }
                Err(error) => {
                    batch.into_iter().rev().for_each(|connection| self.queue.push_front(connection));
                    if is_temporary(&error) {
                        return Some(PAUSE);
                    }
                    tracing::debug!("cannot send connections to a taker: {error}");
                    self.withdraw(number);
                }
            }
        }
        None
    }

    /// Takes as many off the queue as this taker knows to serve, and as fit into a packet. A connection that fits into none is served
    /// here, and so is one that no taker knows to serve.
    fn batch(&mut self, number: usize, most: usize) -> Vec<IdleConnection> {
        let (mut batch, mut for_others, mut room) = (Vec::new(), Vec::new(), carried::ROOM);
        while batch.len() < BATCH_MAX.min(most)
            && let Some(connection) = self.queue.pop_front()
        {
            let needs = carried::needs(&connection);
            if !self.recipients[number].covers(needs) {
                if self.recipients.iter().any(|recipient| recipient.may_cover(needs)) {
                    for_others.push(connection);
                } else {
                    self.after(State::Queued, GiverEvent::Unfit, connection);
                }
                continue;
            }
            match carried::needed(&connection) {
                None => self.after(State::Queued, GiverEvent::TooLarge, connection),
                Some(length) if length <= room => {
                    room -= length;
                    batch.push(connection);
                }
                Some(_) => {
                    self.queue.push_front(connection);
                    break;
                }
            }
        }
        for_others.into_iter().rev().for_each(|connection| self.queue.push_front(connection));
        batch
    }

    /// Nobody has room for now: clients that have said something are answered here.
    fn serve_waiting(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        for connection in std::mem::take(&mut self.queue) {
            let has_bytes = connection.has_bytes();
            self.after(State::Queued, GiverEvent::Waited { has_bytes }, connection);
        }
        self.looked = Some(Instant::now());
    }
}
