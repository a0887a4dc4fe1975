//! Memory of request bodies that were passed on and are still held: gathered by an extractor, say. A handler that drops what it has
//! read holds nothing.
//!
//! Pieces that count are [`Kept`]: they tell when they are dropped. On HTTP/2, where many bodies share a connection, one body at
//! a time goes on once they hold more than [`SHARED_MAX`] together: so a connection holds no more than that and one body.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Waker};

use bytes::Bytes;

/// Memory that the bodies of a connection may hold together before one at a time goes on, in bytes.
const SHARED_MAX: usize = 64 << 10;
/// A piece of fewer bytes is tiny.
pub(crate) const TINY: usize = 256;
/// Memory that a kept piece costs beside its bytes: its owner, two allocations, an entry in a list.
const OVERHEAD: usize = 160;
/// Tiny pieces that may be held at once: 128 KiB beside their bytes.
const TINY_MAX: usize = (128 << 10) / OVERHEAD;

/// Memory that the bodies of one connection hold.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Bytes, with what each piece costs beside them.
    cost: AtomicUsize,
    /// Number of tiny pieces.
    tiny: AtomicUsize,
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    /// True if a body has the turn.
    is_taken: bool,
    /// Number of bodies that had the turn, and whose client gave nothing.
    stalled: u64,
    waiting: Vec<Waker>,
}

/// A piece that somebody holds.
struct Kept {
    bytes: Bytes,
    cost: usize,
    held: Arc<Held>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let before = self.held.cost.fetch_sub(self.cost, Ordering::AcqRel);
        if self.bytes.len() < TINY {
            self.held.tiny.fetch_sub(1, Ordering::AcqRel);
        }
        if before > SHARED_MAX && before - self.cost <= SHARED_MAX {
            self.held.wake();
        }
    }
}

impl Held {
    /// Counts a piece until it is dropped.
    pub(crate) fn keep(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let cost = bytes.len() + OVERHEAD;
        self.cost.fetch_add(cost, Ordering::AcqRel);
        // A piece of a buffer keeps all of the buffer: a tiny one is copied.
        let bytes = if bytes.len() < TINY {
            self.tiny.fetch_add(1, Ordering::AcqRel);
            Bytes::copy_from_slice(&bytes)
        } else {
            bytes
        };
        Bytes::from_owner(Kept { bytes, cost, held: Arc::clone(self) })
    }

    /// True if the tiny pieces that are held cost too much.
    pub(crate) fn has_too_many(&self) -> bool {
        self.tiny.load(Ordering::Acquire) > TINY_MAX
    }

    /// What is held, in bytes.
    fn cost(&self) -> usize {
        self.cost.load(Ordering::Acquire)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.turns().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A body's turn to go on.
pub(crate) struct Turn {
    held: Arc<Held>,
    has_it: bool,
    /// [`Turns::stalled`] when it began to wait.
    waits: Option<u64>,
}

/// What a body may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum May {
    GoOn,
    /// Wait: its task is woken when there is reason to ask again.
    Wait,
    /// End: the client has let the body before it stall, and this one behind it.
    End,
}

impl Turn {
    pub(crate) fn new(held: Arc<Held>) -> Self {
        Self { held, has_it: false, waits: None }
    }

    /// Asks for the turn.
    pub(crate) fn poll(&mut self, cx: &mut Task<'_>) -> May {
        if self.held.cost() <= SHARED_MAX {
            self.give_back();
            self.waits = None;
            return May::GoOn;
        }
        if self.has_it {
            return May::GoOn;
        }
        let mut turns = self.held.turns();
        if self.waits.is_some_and(|stalled| stalled != turns.stalled) {
            return May::End;
        }
        if !std::mem::replace(&mut turns.is_taken, true) {
            (self.has_it, self.waits) = (true, None);
            return May::GoOn;
        }
        self.waits = Some(turns.stalled);
        turns.waiting.push(cx.waker().clone());
        drop(turns);
        // Pieces may have been dropped just before.
        if self.held.cost() <= SHARED_MAX { May::GoOn } else { May::Wait }
    }

    /// Records that the client gives nothing of this body. Bodies that wait for this one's turn end with it.
    pub(crate) fn stalled(&mut self) {
        if self.has_it {
            self.held.turns().stalled += 1;
        }
        self.give_back();
    }

    /// Lets another body go on.
    pub(crate) fn give_back(&mut self) {
        if std::mem::take(&mut self.has_it) {
            self.held.turns().is_taken = false;
            self.held.wake();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.give_back();
    }
}
