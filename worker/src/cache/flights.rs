//! Questions that are under way, so that many who ask for the same value ask its source once.
//!
//! The first asker asks the source, the others wait. If the first one goes away, because its client has, the next one asks in its place,
//! however often that happens. The answer is for all who wait, an error, too.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::process::{Kept, Place};

/// The questions of a cache.
#[derive(Default)]
pub(super) struct Flights(Mutex<Inner>);

/// The place of a value, and the type of the error that may come in its place.
type Key = (Place, TypeId);

#[derive(Default)]
struct Inner {
    all: HashMap<Key, Flight>,
    /// Number of the last one.
    last: u64,
}

struct Flight {
    number: u64,
    askers: usize,
    /// An [`Answer`].
    answer: Arc<dyn Any + Send + Sync>,
}

/// The answer that all askers wait for.
type Answer<E> = OnceCell<Result<Kept, E>>;

/// An asker of a question, until it is dropped.
pub(super) struct Asker<'a, E> {
    flights: &'a Flights,
    key: Key,
    number: u64,
    answer: Arc<Answer<E>>,
}

impl Flights {
    /// Joins the question for this place, or begins it.
    pub(super) fn join<E: Send + Sync + 'static>(&self, place: &Place) -> Asker<'_, E> {
        let key = (place.clone(), TypeId::of::<E>());
        let mut inner = self.inner();
        let next = inner.last + 1;
        let flight = inner.all.entry(key.clone()).or_insert_with(|| Flight {
            number: next,
            askers: 0,
            answer: Arc::new(Answer::<E>::new()),
        });
        flight.askers += 1;
        let (number, answer) = (flight.number, Arc::clone(&flight.answer));
        inner.last = inner.last.max(number);
        drop(inner);
        let answer = answer.downcast().expect("the key has the type of the error");
        Asker { flights: self, key, number, answer }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner().all.len()
    }
}

impl<E: Clone> Asker<'_, E> {
    /// The answer; `load` makes it, unless somebody else does.
    ///
    /// # Errors
    /// The error of whoever made it.
    pub(super) async fn answer(&self, load: impl Future<Output = Result<Kept, E>>) -> Result<Kept, E> {
        self.answer.get_or_init(|| load).await.clone()
    }
}

impl<E> Drop for Asker<'_, E> {
    /// The question is over when it is answered, or nobody asks it any more: who comes then begins another one.
    fn drop(&mut self) {
        let mut inner = self.flights.inner();
        let Some(flight) = inner.all.get_mut(&self.key).filter(|flight| flight.number == self.number) else { return };
        flight.askers -= 1;
        if flight.askers == 0 || self.answer.initialized() {
            inner.all.remove(&self.key);
        }
    }
}
