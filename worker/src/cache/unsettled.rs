//! Keys whose removal did not reach Redis: they must be removed before Redis is believed again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More keys than that are not remembered one by one: everything is removed then.
const KEYS_MAX: usize = 10_000;

/// Removals that are due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// These keys. The numbers tell a removal from a later one of the same key.
    Keys(Vec<(String, u64)>),
    /// All keys, because there were too many. The number is as those of keys. Whatever is added meanwhile is removed by its key then:
    /// while keys are removed all the time, a removal of everything would never be the last one.
    Everything(u64),
}

/// The keys, for all tasks.
#[derive(Debug, Default)]
pub(super) struct Unsettled(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    keys: HashMap<String, u64>,
    everything: Option<u64>,
    /// Number of the last removal.
    last: u64,
}

impl Unsettled {
    pub(super) fn add(&self, text: &str) {
        let mut inner = self.inner();
        inner.last += 1;
        let number = inner.last;
        if inner.keys.len() >= KEYS_MAX && !inner.keys.contains_key(text) {
            inner.everything = Some(number);
            inner.keys.clear();
        } else {
            inner.keys.insert(text.to_owned(), number);
        }
    }

    pub(super) fn due(&self) -> Due {
        let inner = self.inner();
        match inner.everything {
            Some(number) => Due::Everything(number),
            None if inner.keys.is_empty() => Due::Nothing,
            None => Due::Keys(inner.keys.iter().map(|(text, number)| (text.clone(), *number)).collect()),
        }
    }

    /// These were removed. What was added since stays.
    pub(super) fn done(&self, due: &Due) {
        let mut inner = self.inner();
        match due {
            Due::Nothing => {}
            Due::Keys(keys) => {
                for (text, number) in keys {
                    if inner.keys.get(text) == Some(number) {
                        inner.keys.remove(text);
                    }
                }
            }
            Due::Everything(number) => inner.everything = inner.everything.filter(|last| last != number),
        }
    }

    /// Number of removals that wait.
    pub(super) fn len(&self) -> usize {
        let inner = self.inner();
        inner.keys.len() + usize::from(inner.everything.is_some())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_stays_until_it_is_done_and_a_later_one_of_the_same_key_too() {
        let all = Unsettled::default();
        assert_eq!(all.due(), Due::Nothing);
        all.add("a");
        let due = all.due();
        assert_eq!(due, Due::Keys(vec![("a".to_owned(), 1)]));
        // Asked for again while the first is under way.
        all.add("a");
        all.add("b");
        all.done(&due);
        assert_eq!(all.len(), 2);
        all.done(&all.due());
        assert_eq!((all.due(), all.len()), (Due::Nothing, 0));
    }

    #[test]
    fn too_many_keys_are_all_keys() {
        let all = Unsettled::default();
        (0..KEYS_MAX).for_each(|n| all.add(&n.to_string()));
        all.add("0");
        assert_eq!(all.len(), KEYS_MAX);
        all.add("one more");
        let due = all.due();
        assert!(matches!(due, Due::Everything(_)) && all.len() == 1);
        all.add("and another");
        all.done(&due);
        let last = ("and another".to_owned(), KEYS_MAX as u64 + 3);
        assert_eq!(all.due(), Due::Keys(vec![last]), "it was asked for after the first was under way");
        all.done(&all.due());
        assert_eq!(all.due(), Due::Nothing);
    }
}
