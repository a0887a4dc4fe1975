//! The share of a serving worker's connections that goes to others: how many are still to leave, and the queue to their giver.
//!
//! The queue is not that of a drain: a drain that begins meanwhile has a giver of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::DrainState;
use crate::connections::connection::IdleConnection;
use crate::connections::handover::queue::{HandoverQueue, QueueEnd, queue};
use crate::connections::share::Share;

/// The share, and the way to its giver.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    /// True while connections that pause leave. Each pause asks, without the lock.
    is_open: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    share: Share,
    /// Open while connections leave.
    queue: Option<HandoverQueue>,
}

impl Sharing {
    /// True while connections that pause leave.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Begins to give so many connections. `parked` takes out as many parked ones, or all: these leave at once, the rest as they pause.
    /// Returns the parked ones and the giver's end of the queue; `None` if the last share is not over.
    pub(crate) fn begin(
        &self,
        now: Instant,
        count: u32,
        parked: impl FnOnce(usize) -> Vec<IdleConnection>,
    ) -> Option<(Vec<IdleConnection>, QueueEnd)> {
        let mut inner = self.inner();
        if inner.share != Share::Even {
            return None;
        }
        let parked = parked(count as usize);
        let left = count.saturating_sub(u32::try_from(parked.len()).unwrap_or(u32::MAX));
        inner.share.begin(now, left);
        let (opened, end) = queue();
        inner.queue = Some(opened);
        self.is_open.store(left > 0, Ordering::Relaxed);
        Some((parked, end))
    }

    /// Queues a connection that pauses, if it is one of those that leave. Gives it back otherwise.
    pub(super) fn offer(&self, connection: IdleConnection) -> Option<IdleConnection> {
        let mut inner = self.inner();
        let Inner { share, queue } = &mut *inner;
        let Some(queue) = queue.as_ref().filter(|_| share.takes()) else { return Some(connection) };
        let unsent = queue.offer(connection);
        if unsent.is_some() {
            // The giver has ended without a word.
            share.end();
        }
        self.is_open.store(share.until().is_some(), Ordering::Relaxed);
        unsent
    }

    /// The moment until which connections leave; `None` if none leaves.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.inner().share.until()
    }

    /// No more connections leave.
    pub(crate) fn end(&self) {
        let mut inner = self.inner();
        inner.share.end();
        inner.queue = None;
        self.is_open.store(false, Ordering::Relaxed);
    }

    /// Everything that was offered has its answer: the next order counts.
    pub(crate) fn over(&self) {
        self.inner().share.over();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DrainState {
    /// The share of the connections that goes to others while this worker serves on.
    pub(crate) fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// Says how many connections this worker has, if there is a master, and, at the end of a share, how many others have taken of it.
    pub(crate) fn say_load(&self, connections: u32, given: Option<u32>) {
        if let Some(neighbours) = self.neighbours.get() {
            neighbours.say_load(connections, given);
        }
    }
}
