//! Values that are asked for again and again, in front of the entries: there, each look is noted, and reckons with several clocks.
//!
//! A value is found by its whole place, which each removal changes ([`super::process::Place`]): so no removal is undone by what is here. It
//! is here for [`FRESH`]: so the entries hear of it often enough to keep it, and one that they have given up is gone soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

/// Values at most.
const SLOTS: u64 = 64;
/// A value is looked for among the entries again after this time.
const FRESH: Duration = Duration::from_millis(100);

/// Values by their places. A look takes no lock.
pub(super) struct Front<P, V>(Box<[Slot<P, V>]>);

struct Slot<P, V> {
    /// Hash of what was asked for last and not found here. Only what is asked for twice in a row is taken.
    last: AtomicU64,
    held: ArcSwapOption<Held<P, V>>,
}

struct Held<P, V> {
    place: P,
    value: V,
    until: Instant,
}

impl<P: Clone + PartialEq, V: Clone> Front<P, V> {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| Slot { last: AtomicU64::new(0), held: ArcSwapOption::empty() }).collect())
    }

    /// The value of this place, if it is here. `hash`: of what the place is for.
    pub(super) fn get(&self, hash: u64, place: &P, now: Instant) -> Option<V> {
        let held = self.slot(hash).held.load();
        let held = (*held).as_ref()?;
        (held.place == *place && held.until > now).then(|| held.value.clone())
    }

    /// Takes a value that was found among the entries, if it is asked for again and again. `end`: of its life.
    pub(super) fn offer(&self, hash: u64, place: &P, value: &V, now: Instant, end: Option<Instant>) {
        let slot = self.slot(hash);
        if slot.last.swap(hash, Ordering::Relaxed) == hash {
            let until = end.map_or(now + FRESH, |end| end.min(now + FRESH));
            slot.held.store(Some(Arc::new(Held { place: place.clone(), value: value.clone(), until })));
        }
    }

    /// Lets go of what is here for this hash: nobody will ask for it any more.
    pub(super) fn forget(&self, hash: u64) {
        self.slot(hash).forget();
    }

    /// Lets go of everything.
    pub(super) fn forget_all(&self) {
        self.0.iter().for_each(Slot::forget);
    }

    fn slot(&self, hash: u64) -> &Slot<P, V> {
        &self.0[usize::try_from(hash % SLOTS).expect("a number below 64 is one")]
    }
}

impl<P, V> Slot<P, V> {
    fn forget(&self) {
        if self.held.load().is_some() {
            self.held.store(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_twice_is_here_for_its_place_and_not_for_long() {
        let (front, now) = (Front::<&str, u8>::new(), Instant::now());
        let get = |place, later| front.get(7, &place, now + later);
        front.offer(7, &"a", &1, now, None);
        assert_eq!(get("a", Duration::ZERO), None, "it may never come again");
        front.offer(7, &"a", &1, now, None);
        assert_eq!((get("a", Duration::ZERO), get("after a removal", Duration::ZERO)), (Some(1), None));
        assert_eq!(get("a", FRESH), None);
        let soon = Duration::from_millis(1);
        front.offer(7, &"a", &2, now, Some(now + soon));
        assert_eq!((get("a", Duration::ZERO), get("a", soon)), (Some(2), None), "its life is over");
        // Another key of the same slot.
        front.offer(7 + SLOTS, &"b", &3, now, None);
        assert_eq!((get("a", Duration::ZERO), get("b", Duration::ZERO)), (Some(2), None));
        front.forget(7);
        assert_eq!(get("a", Duration::ZERO), None);
        front.offer(7 + SLOTS, &"b", &3, now, None);
        assert_eq!(get("b", Duration::ZERO), Some(3));
        front.forget_all();
        assert_eq!(get("b", Duration::ZERO), None);
    }
}
