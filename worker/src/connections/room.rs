//! Room for connections: how many a worker may have, and how many it has.
//!
//! A connection holds a [`Place`] for as long as its socket lives. A place counts the connection in the worker's [`Life`], and
//! takes one of the slots of `limits.connections`, and one of its client's. Nothing here knows what a connection is doing.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::connections::clients::{ClientConnection, Clients};
use crate::graceful::{Life, OpenConnection};

/// Slots for connections of one worker. A clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    life: Life,
    slots: Arc<Semaphore>,
    /// `None` if a client may have as many as there is room for.
    clients: Option<Arc<Clients>>,
}

/// A slot that is kept free for a connection that may come.
#[derive(Debug)]
pub(crate) struct Slot(Option<HeldSlot>);

/// A slot that is taken. A semaphore's own permit would make each idle connection eight bytes larger.
#[derive(Debug)]
struct HeldSlot(Arc<Semaphore>);

impl HeldSlot {
    fn of(slots: &Arc<Semaphore>, permit: SemaphorePermit<'_>) -> Self {
        permit.forget();
        Self(Arc::clone(slots))
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// A connection's place. It may live longer than the HTTP part of the connection, after an upgrade.
#[derive(Debug)]
pub(crate) struct Place {
    #[expect(dead_code, reason = "given back when dropped")]
    open: OpenConnection,
    slot: Option<HeldSlot>,
    client: Option<Box<ClientConnection>>,
}

impl Place {
    /// Gives the slot back: the connection is being closed, and what is left is to hear of the client's end.
    pub(crate) fn free_slot(&mut self) {
        self.slot = None;
    }
}

impl Room {
    /// Makes room for `count` connections.
    pub(crate) fn new(life: Life, count: usize, clients: Option<Arc<Clients>>) -> Self {
        Self { life, slots: Arc::new(Semaphore::new(count)), clients }
    }

    /// A free slot, if there is one.
    pub(crate) fn free_slot(&self) -> Option<Slot> {
        self.slots.try_acquire().ok().map(|permit| Slot(Some(HeldSlot::of(&self.slots, permit))))
    }

    /// Waits for a free slot.
    pub(crate) async fn slot(&self) -> Slot {
        Slot(self.slots.acquire().await.ok().map(|permit| HeldSlot::of(&self.slots, permit)))
    }

    /// Gives the place of a connection that was accepted from this address. `None` if this client has as many as it may have.
    pub(crate) fn place(&self, slot: Slot, peer: Option<IpAddr>) -> Option<Place> {
        let client = match (&self.clients, peer) {
            (Some(clients), Some(peer)) => Some(Box::new(clients.admit(peer)?)),
            (None, _) | (_, None) => None,
        };
        Some(Place { open: self.life.open(), slot: slot.0, client })
    }

    /// Gives the place of a connection that another worker had. `None` if there is no room, or the worker has ended already.
    pub(crate) fn take_over(&self) -> Option<Place> {
        let slot = HeldSlot::of(&self.slots, self.slots.try_acquire().ok()?);
        Some(Place { open: self.life.take_over()?, slot: Some(slot), client: None })
    }

    /// Counts a connection that another worker had as its client's.
    pub(crate) fn count(&self, place: &mut Place, peer: Option<IpAddr>) {
        if let (Some(clients), Some(peer)) = (&self.clients, peer) {
            place.client = clients.take_over(peer).map(Box::new);
        }
    }

    /// Number of free slots.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.slots.available_permits()
    }
}
