//! Memory of request bodies that were passed on and are still held: gathered by an extractor, say. A handler that drops what it has
//! read holds nothing.
//!
//! Pieces that count are [`Kept`]: they tell when they are dropped. On HTTP/2, where many bodies share a connection, one body at a
//! time goes on once they hold a share together: so a client that leaves all of them half done holds little more than that. A turn
//! passes on when its body stands still, so that nobody waits for another's client, or for a handler that waits for him.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::connections::alarm::Alarm;

/// A piece of fewer bytes is tiny.
pub(crate) const TINY: usize = 256;
/// Memory that a kept piece costs beside its bytes: its owner, two allocations, an entry in a list.
const OVERHEAD: usize = 160;
/// Tiny pieces of one body that may be held at once: 256 KiB beside their bytes.
const TINY_MAX: usize = (256 << 10) / OVERHEAD;
/// Time for which a body may stand still and keep its turn while others wait.
const LEASE: Duration = Duration::from_secs(1);

/// Memory that the bodies of one connection hold.
#[derive(Debug)]
pub(crate) struct Held {
    /// Bytes, with what each piece costs beside them.
    cost: AtomicUsize,
    /// Memory that they may hold together before one at a time goes on.
    share: usize,
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    /// The body that has the turn, and the moment at which it went on last.
    holder: Option<(u64, Instant)>,
    /// Number of bodies that there have been.
    bodies: u64,
    waiting: Vec<Waker>,
}

/// A piece that somebody holds.
struct Kept {
    bytes: Bytes,
    cost: usize,
    held: Arc<Held>,
    /// Counts the tiny pieces of its body, if it is one.
    tiny: Option<Arc<AtomicUsize>>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let before = self.held.cost.fetch_sub(self.cost, Ordering::AcqRel);
        if let Some(tiny) = &self.tiny {
            tiny.fetch_sub(1, Ordering::AcqRel);
        }
        if before > self.held.share && before - self.cost <= self.held.share {
            self.held.wake();
        }
    }
}

impl Held {
    /// Bodies that may hold so many bytes together before one at a time goes on.
    pub(crate) fn new(share: usize) -> Arc<Self> {
        Arc::new(Self { cost: AtomicUsize::new(0), share, turns: Mutex::default() })
    }

    fn is_beyond_share(&self) -> bool {
        self.cost.load(Ordering::Acquire) > self.share
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.turns().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A body among those of its connection.
pub(crate) struct HeldBody {
    held: Arc<Held>,
    number: u64,
    has_turn: bool,
    /// Tiny pieces of it that are held.
    tiny: Arc<AtomicUsize>,
    /// Rings when the turn of another may be taken.
    lease: Alarm,
}

impl HeldBody {
    pub(crate) fn new(held: Arc<Held>) -> Self {
        let mut turns = held.turns();
        turns.bodies += 1;
        let number = turns.bodies;
        drop(turns);
        Self { held, number, has_turn: false, tiny: Arc::default(), lease: Alarm::default() }
    }

    /// Counts a piece until it is dropped.
    pub(crate) fn keep(&self, bytes: Bytes) -> Bytes {
        let cost = bytes.len() + OVERHEAD;
        self.held.cost.fetch_add(cost, Ordering::AcqRel);
        let tiny = (bytes.len() < TINY).then(|| Arc::clone(&self.tiny));
        if let Some(tiny) = &tiny {
            tiny.fetch_add(1, Ordering::AcqRel);
        }
        Bytes::from_owner(Kept { bytes, cost, held: Arc::clone(&self.held), tiny })
    }

    /// True if the tiny pieces of this body that are held cost too much.
    pub(crate) fn has_too_many(&self) -> bool {
        self.tiny.load(Ordering::Acquire) > TINY_MAX
    }

    /// True if the body may go on. Else its task is woken when there is reason to ask again.
    pub(crate) fn may_go_on(&mut self, cx: &mut Task<'_>) -> bool {
        if !self.held.is_beyond_share() {
            self.give_back();
            return true;
        }
        let (mut turns, now) = (self.held.turns(), Instant::now());
        let expires = match turns.holder {
            Some((holder, _)) if holder == self.number => return true,
            Some((_, went_on)) if now < went_on + LEASE => went_on + LEASE,
            Some(_) | None => {
                (turns.holder, self.has_turn) = (Some((self.number, now)), true);
                return true;
            }
        };
        if !turns.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            turns.waiting.push(cx.waker().clone());
        }
        drop(turns);
        if self.lease.is_late(cx, expires) {
            cx.waker().wake_by_ref();
        }
        // Pieces may have been dropped just before.
        !self.held.is_beyond_share()
    }

    /// Records that it has gone on.
    pub(crate) fn went_on(&mut self) {
        if self.has_turn {
            let mut turns = self.held.turns();
            if turns.holder.is_some_and(|(holder, _)| holder == self.number) {
                turns.holder = Some((self.number, Instant::now()));
            }
        }
    }

    /// Lets another body go on.
    pub(crate) fn give_back(&mut self) {
        if std::mem::take(&mut self.has_turn) {
            let mut turns = self.held.turns();
            if turns.holder.is_some_and(|(holder, _)| holder == self.number) {
                turns.holder = None;
            }
            drop(turns);
            self.held.wake();
        }
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Task<'static> {
        Task::from_waker(Waker::noop())
    }

    #[tokio::test]
    async fn beyond_their_share_one_body_at_a_time_goes_on() {
        let held = Held::new(1000);
        let (mut one, mut other) = (HeldBody::new(Arc::clone(&held)), HeldBody::new(Arc::clone(&held)));
        assert!(one.may_go_on(&mut cx()) && other.may_go_on(&mut cx()));
        let piece = one.keep(Bytes::from(vec![0; 2000]));
        assert!(one.may_go_on(&mut cx()) && !other.may_go_on(&mut cx()));
        one.give_back();
        assert!(other.may_go_on(&mut cx()) && !one.may_go_on(&mut cx()));
        drop(piece);
        assert!(one.may_go_on(&mut cx()), "nothing is held");
    }

    #[tokio::test]
    async fn a_turn_passes_on_when_its_body_stands_still() {
        let held = Held::new(1000);
        let (mut one, mut other) = (HeldBody::new(Arc::clone(&held)), HeldBody::new(Arc::clone(&held)));
        let _piece = one.keep(Bytes::from(vec![0; 2000]));
        assert!(one.may_go_on(&mut cx()) && !other.may_go_on(&mut cx()));
        // Time does not pass by itself here.
        let still = Instant::now().checked_sub(LEASE).unwrap();
        let holder = held.turns().holder;
        held.turns().holder = holder.map(|(number, _)| (number, still));
        assert!(other.may_go_on(&mut cx()) && !one.may_go_on(&mut cx()));
        one.went_on();
        assert!(other.may_go_on(&mut cx()), "the turn is not the first one's any more");
    }
}
