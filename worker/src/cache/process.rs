//! The level in the process: values as they are, without a copy as text.
//!
//! A removal must not be undone by a value that was asked of the source before it and arrives after it. So each key has a *mark*, which
//! every removal changes, and an entry's place has the mark of the time at which its value was asked for. Whoever asks after a removal
//! looks at another place, and joins nobody who began before. Marks are shared by keys: a removal may drop a few entries of others.

use std::any::{Any, TypeId};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;

use super::flights::Flights;

/// Marks of a cache. A removal drops one entry of others in so many.
const MARKS: usize = 8192;

/// An entry's place. It is another one after each removal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The key with its cache's name, as Redis has it.
    pub(super) text: String,
    /// Type of the value.
    kind: TypeId,
    mark: Mark,
}

/// A number of removals: of all, and of keys with this mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Mark {
    all: u64,
    own: u64,
}

/// A value, and how long it is kept.
#[derive(Clone)]
pub(super) struct Kept {
    value: Arc<dyn Any + Send + Sync>,
    ttl: Duration,
}

impl Kept {
    pub(super) fn new<V: Send + Sync + 'static>(value: V, ttl: Duration) -> Self {
        Self { value: Arc::new(value), ttl }
    }

    /// The value, of the type of its place.
    pub(super) fn value<V: Clone + 'static>(&self) -> V {
        self.value.downcast_ref::<V>().cloned().expect("an entry's place has the type of its value")
    }
}

/// Each entry has its own time to live.
struct OwnTtl;

impl Expiry<Place, Kept> for OwnTtl {
    fn expire_after_create(&self, _: &Place, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }

    fn expire_after_update(&self, _: &Place, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.ttl)
    }
}

/// The entries of a process.
pub(super) struct Process {
    entries: moka::future::Cache<Place, Kept>,
    pub(super) flights: Flights,
    marks: Box<[AtomicU64]>,
    all: AtomicU64,
    hasher: RandomState,
}

impl Process {
    /// Keeps so many entries at most.
    pub(super) fn new(entries: u64) -> Self {
        Self {
            entries: moka::future::Cache::builder().max_capacity(entries).expire_after(OwnTtl).build(),
            flights: Flights::default(),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Where a key's entry is now.
    pub(super) fn place(&self, text: String, kind: TypeId) -> Place {
        let mark = Mark { all: self.all.load(Ordering::SeqCst), own: self.own(&text).load(Ordering::SeqCst) };
        Place { text, kind, mark }
    }

    pub(super) async fn get(&self, place: &Place) -> Option<Kept> {
        self.entries.get(place).await
    }

    /// Puts a value where whoever asks from now on looks, unless there was a removal since the place was taken.
    pub(super) async fn insert(&self, place: Place, kept: Kept) {
        self.entries.insert(place, kept).await;
    }

    /// The entry; if there is none, `load` makes it, once for all who ask meanwhile. All of them get its error, too.
    pub(super) async fn get_or_load<E: Clone + Send + Sync + 'static>(
        &self,
        place: &Place,
        load: impl Future<Output = Result<Kept, E>>,
    ) -> Result<Kept, E> {
        let asker = self.flights.join::<E>(place);
        let entry = async {
            // Somebody may have made it between the caller's look and this question.
            if let Some(kept) = self.entries.get(place).await {
                return Ok(kept);
            }
            let loaded = load.await;
            if let Ok(kept) = &loaded {
                self.entries.insert(place.clone(), kept.clone()).await;
            }
            loaded
        };
        asker.answer(entry).await
    }

    /// Removes a key's entry, and whatever is under way to it. Returns the key's place from now on.
    pub(super) async fn forget(&self, place: Place) -> Place {
        let own = self.own(&place.text).fetch_add(1, Ordering::SeqCst) + 1;
        self.entries.invalidate(&place).await;
        Place { mark: Mark { own, ..place.mark }, ..place }
    }

    /// The same for a key that another process has removed, whose type is not known here.
    pub(super) fn forget_text(&self, text: &str) {
        self.own(text).fetch_add(1, Ordering::SeqCst);
    }

    /// Removes all entries, and whatever is under way to one.
    pub(super) fn forget_all(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate_all();
    }

    /// Number of entries, about.
    pub(super) fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    fn own(&self, text: &str) -> &AtomicU64 {
        let hash = self.hasher.hash_one(text);
        &self.marks[usize::try_from(hash % self.marks.len() as u64).expect("a remainder of a usize is one")]
    }
}

impl Place {
    /// True if there was no removal between the two but the one that has led from this one to the other.
    pub(super) fn is_just_before(&self, other: &Self) -> bool {
        self.mark.all == other.mark.all && self.mark.own + 1 == other.mark.own
    }
}
