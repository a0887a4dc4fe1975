//! Work that many requests want at once: done once for all of them, and no more than so much at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OnceCell, Semaphore};

/// Work under way, by what it is about.
#[derive(Debug)]
pub(super) struct Flights<K, V> {
    under_way: Mutex<HashMap<K, Weak<OnceCell<V>>>>,
    /// Places for work, which several kinds of it may share.
    places: Arc<Semaphore>,
}

impl<K: Eq + Hash, V: Clone + Send + 'static> Flights<K, V> {
    pub(super) fn new(places: Arc<Semaphore>) -> Self {
        Self { under_way: Mutex::default(), places }
    }

    /// The result of this work, which is done in a thread of its own. Whoever asks for the same while it is under way gets the same result.
    ///
    /// Work that has begun goes on if nobody waits for it any more, and has its place until its end: so it should keep its result where
    /// the next request finds it. If it fails, the next of those that wait tries.
    ///
    /// # Errors
    /// The errors of the work; a panic in it.
    pub(super) async fn get(&self, key: K, work: impl FnOnce() -> io::Result<V> + Send + 'static) -> io::Result<V> {
        let (cell, places) = (self.cell(key), Arc::clone(&self.places));
        let begin = move || async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let run = move || {
                let _place = place;
                work()
            };
            tokio::task::spawn_blocking(run).await.map_err(|_| io::Error::other("work on a file has panicked"))?
        };
        cell.get_or_try_init(begin).await.cloned()
    }

    /// The cell in which the result of this work will be. It is forgotten when nobody waits for it.
    fn cell(&self, key: K) -> Arc<OnceCell<V>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = under_way.get(&key).and_then(Weak::upgrade) {
            return cell;
        }
        if under_way.len() == under_way.capacity() {
            under_way.retain(|_, cell| cell.strong_count() > 0);
        }
        let cell = Arc::new(OnceCell::new());
        under_way.insert(key, Arc::downgrade(&cell));
        cell
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_for_all_who_ask_meanwhile() {
        let flights = Arc::new(Flights::<&str, usize>::new(Arc::new(Semaphore::new(1))));
        let runs = Arc::new(AtomicUsize::new(0));
        let (open, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let ask = |key: &'static str| {
            let (flights, runs, gate) = (Arc::clone(&flights), Arc::clone(&runs), Arc::clone(&gate));
            tokio::spawn(async move {
                let work = move || {
                    gate.lock().unwrap().recv().unwrap();
                    Ok(runs.fetch_add(1, Ordering::SeqCst))
                };
                flights.get(key, work).await.unwrap()
            })
        };
        let same: Vec<_> = (0..10).map(|_| ask("same")).collect();
        // Each of them is polled before this task goes on, and so waits for the first one's work.
        tokio::task::yield_now().await;
        let other = ask("other");
        tokio::task::yield_now().await;
        // One place: the other work has not begun.
        assert_eq!(flights.places.available_permits(), 0);
        open.send(()).unwrap();
        for one in same {
            assert_eq!(one.await.unwrap(), 0);
        }
        open.send(()).unwrap();
        assert_eq!(other.await.unwrap(), 1);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failure_is_nobodys_result_but_its_own() {
        let flights = Flights::<u8, u8>::new(Arc::new(Semaphore::new(1)));
        assert!(flights.get(1, || Err(io::ErrorKind::NotFound.into())).await.is_err());
        assert!(flights.get(1, || panic!("as told")).await.is_err());
        assert_eq!(flights.get(1, || Ok(7)).await.unwrap(), 7);
        // What is done is forgotten.
        assert_eq!(flights.get(1, || Ok(8)).await.unwrap(), 8);
        assert_eq!(flights.places.available_permits(), 1);
    }
}
