//! Places of locations and samples in their lists, so that nobody looks through them.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};

/// Places in the lists of a profile. Two profiles that have the same lists are the same, whatever is known of the places.
#[derive(Clone, Default)]
pub(super) struct Index {
    pub(super) locations: Places,
    pub(super) samples: Places,
}

impl PartialEq for Index {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

/// Places of one list's items, by the hash of what makes an item the same.
#[derive(Clone, Default)]
pub(super) struct Places {
    hashes: RandomState,
    places: HashMap<u64, Vec<u32>>,
    /// Number of items whose place is noted. Anybody may add to a list.
    noted: usize,
}

impl Places {
    /// Finds the item of which `is_it` is true. `wanted` must have the hash that `key` gives of that item.
    pub(super) fn find<'a, T, K: Hash>(
        &mut self,
        all: &'a [T],
        key: impl Fn(&'a T) -> K,
        wanted: impl Hash,
        is_it: impl Fn(&T) -> bool,
    ) -> Option<u32> {
        if all.len() < self.noted {
            *self = Self::default();
        }
        for (place, item) in all.iter().enumerate().skip(self.noted) {
            self.places.entry(self.hashes.hash_one(key(item))).or_default().push(place as u32);
        }
        self.noted = all.len();
        let places = self.places.get(&self.hashes.hash_one(wanted))?;
        places.iter().copied().find(|place| all.get(*place as usize).is_some_and(&is_it))
    }
}
