//! The reading of everything that has come, before a deadline is judged.
//!
//! A master that was stopped, or busy for long, finds deadlines that have passed, and unread messages that came in time. So
//! a deadline is judged only after each task that reads for the loop has read until nothing was left, and the loop has
//! heard what was read. A task confirms this through the inbox, behind everything that it has read.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::Message;
use crate::task::catch_up;

/// A round of reading. Each task that was asked holds a copy until it has read everything.
#[derive(Debug, Clone, Default)]
pub struct Round {
    copies: Arc<()>,
    returned: Arc<Notify>,
}

impl Round {
    /// True once this copy is the only one: everybody who was asked has read everything, or is gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Arc::strong_count(&self.copies) == 1
    }

    /// Waits until a copy is dropped.
    pub async fn returned(&self) {
        self.returned.notified().await;
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.returned.notify_one();
    }
}

/// The place at which a task that reads is asked to read everything.
#[derive(Debug, Default)]
pub struct Reader {
    asked: RefCell<Option<Round>>,
    changed: Notify,
}

impl Reader {
    /// Asks the task.
    pub fn ask(&self, round: Round) {
        *self.asked.borrow_mut() = Some(round);
        self.changed.notify_one();
    }

    /// Waits until the task is asked.
    pub async fn asked(&self) -> Round {
        loop {
            if let Some(round) = self.take() {
                return round;
            }
            self.changed.notified().await;
        }
    }

    /// The round that the task was asked for, if it has not taken it yet.
    #[must_use]
    pub fn take(&self) -> Option<Round> {
        self.asked.borrow_mut().take()
    }

    /// Carries `work` to its end. Asked meanwhile, it confirms after `work` has taken in what had come. If `work` is done by that,
    /// the round waits until this reader is dropped: its owner tells the outcome first.
    pub async fn beside<T>(&self, inbox: &mpsc::Sender<Message>, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let round = tokio::select! {
                biased;
                done = work.as_mut() => return done,
                round = self.asked() => round,
            };
            if let Some(done) = catch_up(work.as_mut()).await {
                self.ask(round);
                return done;
            }
            // The inbox is closed only when the driver has left.
            let _ = inbox.send(Message::Read(round)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_has_come_is_read_before_a_gate_confirms() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = tokio::net::UnixStream::from_std(ours).unwrap();
        let (inbox, mut messages) = mpsc::channel(1);
        let (round, reader) = (Round::default(), Reader::default());
        // tokio has not looked since: to it, nothing has come.
        theirs.write_all(b"x").unwrap();
        reader.ask(round.clone());
        assert_eq!(reader.beside(&inbox, ours.read_u8()).await.unwrap(), b'x');
        assert!(messages.try_recv().is_err(), "it confirmed before it had read");
        assert!(!round.is_over());
        drop(reader);
        assert!(round.is_over());
        // Who goes on waiting has read everything.
        let reader = Reader::default();
        reader.ask(round.clone());
        tokio::select! {
            _ = reader.beside(&inbox, ours.read_u8()) => panic!("nothing has come"),
            message = messages.recv() => assert!(matches!(message, Some(Message::Read(_)))),
        }
    }

    #[test]
    fn a_round_is_over_when_every_copy_is_back() {
        let (round, reader) = (Round::default(), Reader::default());
        assert!(round.is_over());
        reader.ask(round.clone());
        let (taken, other) = (reader.take().unwrap(), round.clone());
        assert!(reader.take().is_none());
        drop(other);
        assert!(!round.is_over());
        drop(Message::Read(taken));
        assert!(round.is_over());
    }
}
