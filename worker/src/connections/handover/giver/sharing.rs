//! The giver of a worker that shares its load: parked connections go first, then those that pause, until so many have left.
//!
//! It ends as a relief does: what is offered is heard, or taken back within [`RELIEF`], and what nobody has taken is served on here.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use gin_shared::handover::BATCH_MAX;

use super::{Giver, Purpose, RELIEF};
use crate::connections::connection::IdleConnection;
use crate::connections::context::Dispatch;
use crate::connections::handover::queue::QueueEnd;
use crate::connections::handover::recipient::{Recipient, greet_all, readable};

/// Hands these connections over, and those that come over the queue, until the share is given. Those that nobody takes go back to the
/// hub. Returns the number of those that were taken.
pub(crate) async fn share(
    hub: Arc<dyn Dispatch>,
    sockets: Vec<OwnedFd>,
    parked: Vec<IdleConnection>,
    end: QueueEnd,
) -> u64 {
    let _over = Over(Arc::clone(&hub));
    let mut giver = Giver::new(Arc::clone(&hub), greet_all(sockets, true), end);
    giver.purpose = Purpose::Share;
    giver.queue.extend(parked);
    giver.give_share().await;
    hub.drain().sharing().end();
    // The queue is closed: only those that have left already are in it.
    while let Some(connection) = giver.end.offered.recv().await {
        giver.queue.push_back(connection);
    }
    giver.relieve().await
}

/// Ends the share, however its giver ends: after a panic the next order counts, too.
struct Over(Arc<dyn Dispatch>);

impl Drop for Over {
    fn drop(&mut self) {
        let sharing = self.0.drain().sharing();
        sharing.end();
        sharing.over();
    }
}

impl Giver {
    /// Gives until no more connections are to leave, nobody takes any, or the worker drains.
    async fn give_share(&mut self) {
        let life = self.hub.drain().life.clone();
        let mut offers = Vec::new();
        loop {
            let silence = self.withdraw_silent(Instant::now());
            let pause = self.offer();
            let now = Instant::now();
            let until = self.hub.drain().sharing().until().filter(|until| *until > now);
            let Some(until) = until.filter(|_| self.recipients.iter().any(Recipient::is_of_use)) else { return };
            let alarms = [Some(until), silence, pause.map(|pause| now + pause)];
            let alarm = alarms.into_iter().flatten().min().unwrap_or(until);
            tokio::select! {
                biased;
                () = life.draining() => return,
                number = readable(&self.recipients) => self.hear(number),
                count = self.end.offered.recv_many(&mut offers, BATCH_MAX) => {
                    debug_assert!(count > 0, "the drain state keeps the other end until the share ends");
                    self.queue.extend(offers.drain(..));
                }
                () = tokio::time::sleep_until(alarm.into()) => {}
            }
        }
    }

    /// Takes back what takers without a word were offered: the clients are served by this worker. Returns the next moment to look.
    fn withdraw_silent(&mut self, now: Instant) -> Option<Instant> {
        let silent_at = |recipient: &Recipient| recipient.waiting_since().map(|since| since + RELIEF);
        for number in 0..self.recipients.len() {
            if silent_at(&self.recipients[number]).is_some_and(|at| at <= now) {
                self.withdraw(number);
            }
        }
        self.recipients.iter().filter_map(silent_at).min()
    }
}
