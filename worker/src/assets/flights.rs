//! Work that many requests want at once: done once for all of them, and no more than so much at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OnceCell, Semaphore};

/// Result of work for all who wait for it.
type Shared<V> = Result<V, Arc<io::Error>>;

/// Work under way, by what it is about.
#[derive(Debug)]
pub(super) struct Flights<K, V> {
    under_way: Mutex<HashMap<K, Weak<OnceCell<Shared<V>>>>>,
    /// Places for work, which several kinds of it may share.
    places: Arc<Semaphore>,
}

impl<K: Eq + Hash, V: Clone + Send + 'static> Flights<K, V> {
    pub(super) fn new(places: Arc<Semaphore>) -> Self {
        Self { under_way: Mutex::default(), places }
    }

    /// The result of this work, which is done in a thread of its own. Whoever asks for the same while it is under way gets the same result,
    /// also if it fails: work that cannot be done is not tried once for each of them. Whoever asks later tries again.
    ///
    /// Work that has begun goes on if nobody waits for it any more, and has its place until its end: so it should keep its result where
    /// the next request finds it.
    ///
    /// # Errors
    /// The errors of the work; a panic in it.
    pub(super) async fn get(&self, key: K, work: impl FnOnce() -> io::Result<V> + Send + 'static) -> io::Result<V> {
        let cell = self.cell(key);
        let begin = || async {
            let result = self.run(work).await;
            if result.is_err() {
                // Before those who wait hear of it: nobody who asks from now on gets this failure.
                self.forget(&cell);
            }
            result.map_err(Arc::new)
        };
        cell.get_or_init(begin).await.clone().map_err(|error| own(&error))
    }

    /// Does work in its place.
    async fn run(&self, work: impl FnOnce() -> io::Result<V> + Send + 'static) -> io::Result<V> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let run = move || {
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| io::Error::other("work on a file has panicked"))?
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<K, Weak<OnceCell<Shared<V>>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell in which the result of this work will be. It is forgotten when nobody waits for it.
    fn cell(&self, key: K) -> Arc<OnceCell<Shared<V>>> {
        let mut under_way = self.under_way();
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

    /// Forgets work though somebody waits for it.
    fn forget(&self, cell: &Arc<OnceCell<Shared<V>>>) {
        self.under_way().retain(|_, known| known.strong_count() > 0 && known.as_ptr() != Arc::as_ptr(cell));
    }
}

/// The error of one of those who share it.
fn own(error: &Arc<io::Error>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), Arc::clone(error)),
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
    async fn a_failure_is_that_of_all_who_wait_for_it() {
        let flights = Arc::new(Flights::<u8, u8>::new(Arc::new(Semaphore::new(1))));
        let runs = Arc::new(AtomicUsize::new(0));
        let (open, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let ask = || {
            let (flights, runs, gate) = (Arc::clone(&flights), Arc::clone(&runs), Arc::clone(&gate));
            tokio::spawn(async move {
                let work = move || {
                    runs.fetch_add(1, Ordering::SeqCst);
                    // The end of the test's side ends a second try, too.
                    let _ = gate.lock().unwrap().recv();
                    Err(io::ErrorKind::PermissionDenied.into())
                };
                flights.get(1, work).await.unwrap_err().kind()
            })
        };
        let all: Vec<_> = (0..10).map(|_| ask()).collect();
        // Each of them is polled before this task goes on, and so waits for the first one's work.
        tokio::task::yield_now().await;
        drop(open);
        for one in all {
            assert_eq!(one.await.unwrap(), io::ErrorKind::PermissionDenied);
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(flights.get(1, || Ok(7)).await.unwrap(), 7, "whoever asks later tries again");
    }

    #[tokio::test]
    async fn a_failure_is_not_given_to_those_who_ask_later_though_somebody_still_has_to_hear_of_it() {
        let flights = Flights::<u8, u8>::new(Arc::new(Semaphore::new(1)));
        // Held by somebody who waits and was not polled again.
        let waiting = flights.cell(1);
        let failed = flights.get(1, || Err(io::Error::from_raw_os_error(13))).await.unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(13));
        assert!(waiting.get().is_some_and(Result::is_err));
        assert_eq!(flights.get(1, || Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_failure_is_forgotten() {
        let flights = Flights::<u8, u8>::new(Arc::new(Semaphore::new(1)));
        assert!(flights.get(1, || Err(io::ErrorKind::NotFound.into())).await.is_err());
        assert!(flights.get(1, || panic!("as told")).await.is_err());
        assert_eq!(flights.get(1, || Ok(7)).await.unwrap(), 7);
        // What is done is forgotten.
        assert_eq!(flights.get(1, || Ok(8)).await.unwrap(), 8);
        assert_eq!(flights.places.available_permits(), 1);
    }
}
