//! Sessions that this worker has read from the state directory. They are good until somebody writes to them, in whichever process: a file
//! beside them, `sessions.marks`, tells of that ([`Marks`]). In one case, which is told there, a session may count as it was before a
//! write, for as long as it is kept: [`AGE_MAX`].

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cookie::Signed;
use super::record::{Millis, Record};
use crate::BoxError;
use crate::kept::id::Id;
use crate::kept::marks::Marks;
use crate::kept::mixed::AsItIs;

const FILE: &str = "sessions.marks";
/// A session is read again after this time.
const AGE_MAX: Millis = 60_000;
const SHARDS: u64 = 16;
/// Sessions in a shard at most: 16,384 in all.
const SHARD_MAX: usize = 1024;

/// Sessions by their ids, and the numbers that tell of writes.
pub(super) struct Cache {
    marks: Marks,
    shards: Vec<Mutex<Shard>>,
}

/// Ids are random: a hash would make them no better. Only those whose signature was good are kept.
type Shard = HashMap<Id, Entry, BuildHasherDefault<AsItIs>>;

struct Entry {
    /// Of the cookie, whose signature was checked then.
    tag: [u8; 16],
    mark: u64,
    record: Arc<Record>,
    until: Millis,
}

/// A look into the cache.
pub(super) enum Found {
    Here(Arc<Record>),
    /// The session is to be read. `mark`: the number under which it may be kept then, if it may.
    Missing {
        mark: Option<u64>,
    },
}

impl Cache {
    pub(super) fn open(directory: &Path) -> Result<Self, BoxError> {
        let marks = Marks::open(directory, FILE)?;
        Ok(Self { marks, shards: (0..SHARDS).map(|_| Mutex::default()).collect() })
    }

    /// Looks for the session of a cookie. A session that is here was read for the same cookie, so its signature is good.
    pub(super) fn find(&self, signed: &Signed, now: Millis) -> Found {
        let Some(mark) = self.marks.mark(signed.id) else { return Found::Missing { mark: None } };
        match self.shard(signed.id).get(&signed.id) {
            Some(entry)
                if entry.mark == mark && entry.until > now && entry.record.expires > now && signed.has(&entry.tag) =>
            {
                Found::Here(Arc::clone(&entry.record))
            }
            _ => Found::Missing { mark: Some(mark) },
        }
    }

    /// Keeps a session that was read after [`Self::find`] gave this number.
    pub(super) fn keep(&self, signed: &Signed, mark: u64, record: Arc<Record>, now: Millis) {
        let mut shard = self.shard(signed.id);
        if shard.len() >= SHARD_MAX && !shard.contains_key(&signed.id) {
            shard.retain(|_, entry| entry.until > now);
            if shard.len() >= SHARD_MAX {
                // Whichever it is: it is read again when it is asked for.
                let one = shard.keys().next().copied();
                one.and_then(|id| shard.remove(&id));
            }
        }
        shard.insert(signed.id, Entry { tag: signed.tag(), mark, record, until: now + AGE_MAX });
    }

    /// Says that these sessions are written to.
    ///
    /// # Errors
    /// If that cannot be said: then nothing may be written.
    pub(super) fn begin(&self, ids: &[Id]) -> io::Result<()> {
        self.marks.begin(ids)
    }

    /// Says that it is done. Where that fails, the sessions stay in doubt.
    pub(super) fn end(&self, ids: &[Id]) {
        self.marks.end(ids);
    }

    fn shard(&self, id: Id) -> MutexGuard<'_, Shard> {
        // The map's own place for an id comes from its other half.
        let shard = usize::try_from(id.high() % SHARDS).unwrap_or_default();
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cookie::Signer;
    use super::*;

    fn record() -> Arc<Record> {
        Arc::new(Record { expires: 1_000_000, ..Record::default() })
    }

    fn is_here(found: &Found) -> bool {
        matches!(found, Found::Here(_))
    }

    fn mark(found: Found) -> Option<u64> {
        match found {
            Found::Here(_) => panic!("it is here"),
            Found::Missing { mark } => mark,
        }
    }

    #[test]
    fn a_write_in_another_process_ends_what_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (Cache::open(directory.path()).unwrap(), Cache::open(directory.path()).unwrap());
        let signer = Signer::new(&[7; 32], "session");
        let id = Id::random().unwrap();
        let signed = signer.sign(id);
        let before = mark(one.find(&signed, 0)).unwrap();
        one.keep(&signed, before, record(), 0);
        assert!(is_here(&one.find(&signed, 0)));
        assert!(!is_here(&one.find(&signed, AGE_MAX)), "it is too old");
        let forged = Signer::new(&[8; 32], "session").sign(id);
        assert!(!is_here(&one.find(&forged, 0)), "the id alone is not enough");

        other.begin(&[id]).unwrap();
        assert_eq!(mark(one.find(&signed, 0)), None, "what is read now may be old in a moment");
        other.end(&[id]);
        let after = mark(one.find(&signed, 0)).unwrap();
        // It was read before the write: the number under which it is kept is not the one that stands.
        one.keep(&signed, before, record(), 0);
        assert!(!is_here(&one.find(&signed, 0)));
        one.keep(&signed, after, record(), 0);
        assert!(is_here(&one.find(&signed, 0)));
        // Who opens it anew changes nothing.
        drop(Cache::open(directory.path()).unwrap());
        assert!(is_here(&one.find(&signed, 0)));
    }

    #[test]
    fn what_has_expired_is_not_here() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let signed = Signer::new(&[7; 32], "session").sign(Id::of(7));
        let mark = mark(cache.find(&signed, 0)).unwrap();
        cache.keep(&signed, mark, Arc::new(Record { expires: 10, ..Record::default() }), 0);
        assert!(is_here(&cache.find(&signed, 9)) && !is_here(&cache.find(&signed, 10)));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let signer = Signer::new(&[7; 32], "session");
        // All of one shard: the upper half of their ids is 0.
        for number in 0..2000 {
            let signed = signer.sign(Id::of(number));
            cache.keep(&signed, 0, record(), 0);
            assert!(is_here(&cache.find(&signed, 0)), "{number}");
        }
        assert_eq!(cache.shards[0].lock().unwrap().len(), SHARD_MAX);
    }
}
