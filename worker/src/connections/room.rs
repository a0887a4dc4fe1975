//! Room for connections: how many a worker may have, and how many it has.
//!
//! A connection holds a [`Place`] for as long as its socket lives. A place counts the connection in the worker's [`Life`], and
//! takes one of the slots of `limits.connections`. Nothing here knows what a connection is doing.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::graceful::{Life, OpenConnection};

/// Slots for connections of one worker. A clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    life: Life,
    slots: Arc<Semaphore>,
}

/// A slot that is kept free for a connection that may come.
#[derive(Debug)]
pub(crate) struct Slot(Option<OwnedSemaphorePermit>);

/// A connection's place. It may live longer than the HTTP part of the connection, after an upgrade.
#[derive(Debug)]
#[expect(dead_code, reason = "given back when dropped")]
pub(crate) struct Place {
    open: OpenConnection,
    slot: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Makes room for `count` connections.
    pub(crate) fn new(life: Life, count: usize) -> Self {
        Self { life, slots: Arc::new(Semaphore::new(count)) }
    }

    /// Waits for a free slot.
    pub(crate) async fn slot(&self) -> Slot {
        Slot(Arc::clone(&self.slots).acquire_owned().await.ok())
    }

    /// Gives the place of a connection that was accepted.
    pub(crate) fn place(&self, slot: Slot) -> Place {
        Place { open: self.life.open(), slot: slot.0 }
    }

    /// Gives the place of a connection that another worker had. `None` if there is no room, or the worker has ended already.
    pub(crate) fn take_over(&self) -> Option<Place> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Place { open: self.life.take_over()?, slot: Some(slot) })
    }

    /// Number of free slots.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.slots.available_permits()
    }
}
