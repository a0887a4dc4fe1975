//! Scrapes of many clients at once: one reads at a time, and what it reads is for all who asked before it began.
//!
//! A scrape takes milliseconds of a thread and megabytes. So anybody who may ask could take all threads and all memory otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

/// Texts of each kind, made one after the other.
#[derive(Debug)]
pub(super) struct Scrapes<K> {
    told: Mutex<Vec<Told<K>>>,
    /// Number of those who wait for their turn.
    waiting: AtomicUsize,
}

/// A text that others wait for.
#[derive(Debug)]
struct Told<K> {
    kind: K,
    began: Instant,
    text: Bytes,
}

/// A caller that waits for its turn, and may go before.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<K: PartialEq + Send + 'static> Scrapes<K> {
    pub(super) fn new() -> Self {
        Self { told: Mutex::new(Vec::new()), waiting: AtomicUsize::new(0) }
    }

    /// A text of this kind that was begun after this call.
    ///
    /// # Errors
    /// If `read` panics, or the runtime ends.
    pub(super) async fn text(
        &'static self,
        kind: K,
        read: impl FnOnce(&K) -> String + Send + 'static,
    ) -> Result<Bytes, JoinError> {
        let asked = Instant::now();
        let waiting = Waiting::begin(&self.waiting);
        let mut told = self.told.lock().await;
        drop(waiting);
        if let Some(known) = told.iter().find(|known| known.kind == kind && known.began >= asked) {
            let text = known.text.clone();
            self.forget(&mut told);
            return Ok(text);
        }
        // The thread has the turn, also when nobody waits for this text any more.
        let made = spawn_blocking(move || {
            let began = Instant::now();
            let text = Bytes::from(read(&kind));
            told.retain(|known| known.kind != kind);
            told.push(Told { kind, began, text: text.clone() });
            self.forget(&mut told);
            text
        });
        made.await
    }

    /// Keeps no text that nobody waits for.
    fn forget(&self, told: &mut Vec<Told<K>>) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            *told = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_one_reads_shares_the_next_text() {
        let scrapes: &'static Scrapes<u8> = Box::leak(Box::new(Scrapes::new()));
        let reads = Arc::new(AtomicUsize::new(0));
        let read = |reads: &Arc<AtomicUsize>| {
            let reads = Arc::clone(reads);
            move |kind: &u8| format!("{kind}: {}", reads.fetch_add(1, Ordering::Relaxed))
        };
        let ((begins, begun), (end, ends)) = (oneshot::channel(), mpsc::channel::<()>());
        let first = tokio::spawn(scrapes.text(1, move |_| {
            let _ = begins.send(());
            let _ = ends.recv();
            String::new()
        }));
        begun.await.unwrap();
        // Its client goes, and its thread reads on: nobody else does.
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled() && scrapes.told.try_lock().is_err());
        let others: Vec<_> = (0..50).map(|_| tokio::spawn(scrapes.text(1, read(&reads)))).collect();
        let of_another_kind = tokio::spawn(scrapes.text(2, read(&reads)));
        while scrapes.waiting.load(Ordering::Relaxed) < 51 {
            tokio::task::yield_now().await;
        }
        end.send(()).unwrap();
        for other in others {
            assert!(other.await.unwrap().unwrap().starts_with(b"1: "));
        }
        assert!(of_another_kind.await.unwrap().unwrap().starts_with(b"2: "));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        assert!(scrapes.told.lock().await.is_empty(), "nobody waits");
        assert_eq!(scrapes.text(1, read(&reads)).await.unwrap(), "1: 2", "it is no older than the question");
    }
}
