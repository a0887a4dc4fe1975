//! The worker's share of all connections: the master's order to give some away, and the reports by which it knows when.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use super::Hub;
use crate::connections::context::Dispatch;
use crate::connections::handover::giver;
use crate::connections::load::{GATHER, Reports};
use crate::connections::machine::{Event, Owner, State, WorkerEvent};
use crate::graceful::Phase;

impl Hub {
    /// Gives so many connections to the workers at the other ends of these sockets, and serves on: the longest idle ones go first, then those
    /// that rest in their protocols, and those that pause. `lent` is dropped when that is over. While the last such order is carried out, this
    /// one is passed over.
    pub(crate) fn share(self: &Arc<Self>, count: u32, sockets: Vec<OwnedFd>, lent: impl Send + 'static) {
        let (now, drain) = (Instant::now(), &self.context.drain);
        let next = State::Parked.after(now, Event::Worker(WorkerEvent::Uneven), drain.surroundings());
        if sockets.is_empty() || next.owner() != Owner::Giver {
            return;
        }
        let longest_idle = |count| self.parked.longest_idle(count);
        let Some((parked, end)) = drain.sharing().begin(now, count, longest_idle) else { return };
        if drain.sharing().until().is_some() {
            // Those over TLS, and of HTTP/2, rest in their protocols for a while before they are parked.
            drain.life.stir();
        }
        let hub = Arc::clone(self);
        tokio::spawn(async move {
            let given = giver::share(Arc::clone(&hub) as Arc<dyn Dispatch>, sockets, parked, end).await;
            drop(lent);
            tracing::debug!(given, count, "connections handed to other workers, which had fewer");
            // The master waits for this before the next order. Where nothing could be given, it waits for longer.
            if hub.life().phase() < Phase::Draining {
                hub.context.drain.say_load(hub.load(), Some(u32::try_from(given).unwrap_or(u32::MAX)));
            }
        });
    }

    /// Tells the master how many connections there are, until the worker drains.
    pub(super) async fn report_load(self: Arc<Self>) {
        let life = self.life().clone();
        tokio::select! {
            () = life.draining() => {}
            never = self.tell_load() => match never {},
        }
    }

    /// Tells it while there are other workers to share with.
    async fn tell_load(&self) -> Infallible {
        let mut peers = self.peers.subscribe();
        loop {
            // The sender lives as long as the hub.
            let _ = peers.wait_for(|workers| *workers > 1).await;
            tokio::select! {
                _ = peers.wait_for(|workers| *workers <= 1) => {}
                never = self.tell_changes() => match never {},
            }
        }
    }

    async fn tell_changes(&self) -> Infallible {
        let (mut reports, mut changes) = (Reports::default(), self.life().changes());
        loop {
            // What changes from here on is seen by the next look.
            changes.mark_unchanged();
            if let Some(connections) = reports.look(Instant::now(), self.load()) {
                self.context.drain.say_load(connections, None);
            }
            let next = reports.next();
            tokio::select! {
                _ = changes.changed() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {}
            }
        }
    }

    /// Number of connections.
    fn load(&self) -> u32 {
        u32::try_from(self.life().connections()).unwrap_or(u32::MAX)
    }
}
