//! The level in the process: values as they are, without a copy as text.
//!
//! A removal must not be undone by a value that was asked of the source before it and arrives after it. So each key has a *mark*, which
//! every removal changes, and a value's place has the mark of the time at which it was asked for: a value with an old mark is not kept.
//! Whoever asks after a removal has another place, and joins nobody who began before. Marks are shared by keys: what is asked for while
//! another key is removed may not be kept, either. What is kept already stays.

use std::any::{Any, TypeId};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::ops::compute::Op;

use super::flights::Flights;
use super::front::Front;

/// Marks of a cache. A removal concerns one of so many values that are under way.
const MARKS: usize = 8192;

/// Place of a value that is asked for now. Each removal of its key changes the place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    key: Key,
    /// Type of the value.
    kind: TypeId,
    /// Number of removals of keys with this mark.
    own: u64,
}

/// Key of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    /// The key with its cache's name, as Redis has it.
    text: String,
    /// Number of removals of all: nobody finds entries from before the last one.
    all: u64,
    /// Hash of the text by the process's own random numbers: nobody outside can choose keys that have the same. It is made once, and
    /// says where the mark is and where the entry.
    hash: u64,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Gives the hash that a [`Key`] has.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    /// Of what moka puts beside a key, in its map of changes under way.
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = self.0.rotate_left(8) ^ value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A value, and how long it is kept.
#[derive(Clone)]
pub(super) struct Kept {
    value: Arc<dyn Any + Send + Sync>,
    kind: TypeId,
    ttl: Duration,
    /// Of the place that it was put in.
    own: u64,
    /// End of its life, once it was put in a place. `None`: none that a clock can tell.
    end: Option<Instant>,
}

impl Kept {
    pub(super) fn new<V: Send + Sync + 'static>(value: V, ttl: Duration) -> Self {
        Self { value: Arc::new(value), kind: TypeId::of::<V>(), ttl, own: 0, end: None }
    }

    /// The value, of the type of its place.
    pub(super) fn value<V: Clone + 'static>(&self) -> V {
        self.value.downcast_ref::<V>().cloned().expect("an entry's place has the type of its value")
    }
}

/// Each entry has its own time to live.
struct OwnTtl;

impl Expiry<Key, Kept> for OwnTtl {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }

    fn expire_after_update(&self, _: &Key, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.ttl)
    }
}

/// The entries of a process.
pub(super) struct Process {
    entries: moka::future::Cache<Key, Kept, BuildHasherDefault<AsItIs>>,
    front: Front<Place, Kept>,
    pub(super) flights: Flights,
    marks: Box<[AtomicU64]>,
    all: AtomicU64,
    hasher: RandomState,
}

impl Process {
    /// Keeps so many entries at most.
    pub(super) fn new(entries: u64) -> Self {
        let entries = moka::future::Cache::builder().max_capacity(entries).expire_after(OwnTtl);
        Self {
            entries: entries.build_with_hasher(BuildHasherDefault::default()),
            front: Front::new(),
            flights: Flights::default(),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// The present place of a key's value.
    pub(super) fn place(&self, text: String, kind: TypeId) -> Place {
        let hash = self.hasher.hash_one(text.as_str());
        let (all, own) = (self.all.load(Ordering::SeqCst), self.own(hash).load(Ordering::SeqCst));
        Place { key: Key { text, all, hash }, kind, own }
    }

    pub(super) async fn get(&self, place: &Place) -> Option<Kept> {
        let (hash, now) = (place.key.hash, Instant::now());
        if let Some(kept) = self.front.get(hash, place, now) {
            return Some(kept);
        }
        // Two types may have the same name: those of two versions of a crate.
        let kept = self.entries.get(&place.key).await.filter(|kept| kept.kind == place.kind)?;
        // While a removal is under way, an entry of before may still be there.
        if kept.own == place.own {
            self.front.offer(hash, place, &kept, now, kept.end);
        }
        Some(kept)
    }

    /// Keeps a value, unless there was a removal since the place was taken, or it would be over at once.
    pub(super) async fn insert(&self, place: Place, kept: Kept) {
        if kept.ttl.is_zero() {
            return;
        }
        let (mark, own) = (self.own(place.key.hash), place.own);
        let kept = Kept { own, end: Instant::now().checked_add(kept.ttl), ..kept };
        // Of a key, moka does one such change after the other: the mark of a removal is seen here, or the removal finds the value.
        let put = async move { if mark.load(Ordering::SeqCst) == own { Op::Put(kept) } else { Op::Nop } };
        self.entries.entry(place.key).and_compute_with(|_| put).await;
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
            if let Some(kept) = self.get(place).await {
                return Ok(kept);
            }
            let loaded = load.await;
            if let Ok(kept) = &loaded {
                self.insert(place.clone(), kept.clone()).await;
            }
            loaded
        };
        asker.answer(entry).await
    }

    /// Removes a key's entry, and whatever is under way to it. Returns the key's place from now on.
    pub(super) async fn forget(&self, place: Place) -> Place {
        let Place { key: Key { text, hash, .. }, kind, .. } = place;
        let (key, own) = self.remove(text, hash).await;
        Place { key, kind, own }
    }

    /// The same for a key that another process has removed, whose type is not known here.
    pub(super) async fn forget_text(&self, text: &str) {
        self.remove(text.to_owned(), self.hasher.hash_one(text)).await;
    }

    /// Returns the entry's key from now on, and the mark's number.
    async fn remove(&self, text: String, hash: u64) -> (Key, u64) {
        let own = self.own(hash).fetch_add(1, Ordering::SeqCst) + 1;
        // Whoever has seen the old number of the mark has seen no later number of all than this one.
        let key = Key { text, all: self.all.load(Ordering::SeqCst), hash };
        self.entries.entry(key.clone()).and_compute_with(|_| std::future::ready(Op::Remove)).await;
        self.front.forget(hash);
        (key, own)
    }

    /// Removes all entries, and whatever is under way to one.
    pub(super) fn forget_all(&self) {
        self.all.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate_all();
        self.front.forget_all();
    }

    /// Number of entries, about.
    pub(super) fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// The mark of keys with this hash.
    fn own(&self, hash: u64) -> &AtomicU64 {
        &self.marks[usize::try_from(hash % self.marks.len() as u64).expect("a remainder of a usize is one")]
    }
}

impl Place {
    /// The key with its cache's name, as Redis has it.
    pub(super) fn text(&self) -> &str {
        &self.key.text
    }

    /// True if there was no removal between the two but the one that has led from this one to the other.
    pub(super) fn is_just_before(&self, other: &Self) -> bool {
        self.key.all == other.key.all && self.own + 1 == other.own
    }
}
