//! Ends of connections in a drain, by what became of them and by protocol.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Protocol of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Too little has come to know.
    #[default]
    Unknown,
    Http1,
    Http2,
    WebSocket,
}

/// The fate of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Another worker serves it.
    HandedOver,
    /// Its client closed it, or it came to its end in another way.
    Finished,
    /// The worker closed it, and had told its client.
    Closed,
    /// It was cut at the deadline.
    Cut,
}

const FATES: [&str; 4] = ["handed_over", "finished", "closed", "cut"];
const PROTOCOLS: [&str; 4] = ["unknown", "http1", "http2", "websocket"];

/// Everything known of a connection that matters at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) spoken: Spoken,
    /// True once the client was told: by `Connection: close`, by GOAWAY, or by a close frame.
    pub(crate) is_told: bool,
    /// True once another worker has taken it, for the sake of a drain.
    pub(crate) is_handed_over: bool,
    /// True while another worker has the connection still, and may keep it.
    pub(crate) is_anothers: bool,
}

impl Ending {
    /// The fate of the connection, if it ends now. `None`: nothing that a drain counts.
    pub(super) fn fate(self, is_draining: bool, is_cut: bool) -> Option<Fate> {
        let Self { spoken: _, is_told, is_handed_over, is_anothers } = self;
        if is_anothers {
            return None;
        }
        match (is_handed_over, is_draining, is_cut, is_told) {
            (true, ..) => Some(Fate::HandedOver),
            (false, false, ..) => None,
            (false, true, true, _) => Some(Fate::Cut),
            (false, true, false, true) => Some(Fate::Closed),
            (false, true, false, false) => Some(Fate::Finished),
        }
    }
}

/// The same while a protocol serves the connection, for all who know of it.
#[derive(Debug, Default)]
pub(crate) struct KnownEnding(Mutex<Ending>);

impl KnownEnding {
    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> Ending {
        *self.ending()
    }

    pub(crate) fn set(&self, ending: Ending) {
        *self.ending() = ending;
    }

    /// Records the protocol of the connection.
    pub(crate) fn speaks(&self, spoken: Spoken) {
        self.ending().spoken = spoken;
    }

    /// Records that the client is told of the end of its connection.
    pub(crate) fn tell(&self) {
        self.ending().is_told = true;
    }
}

/// Counts of ends.
#[derive(Debug, Default)]
pub(crate) struct Ends([AtomicU64; FATES.len() * PROTOCOLS.len()]);

impl Ends {
    /// Fate and protocol of each count, in the order of [`Self::place`].
    pub(crate) fn labels() -> impl Iterator<Item = (&'static str, &'static str)> {
        FATES.into_iter().flat_map(|fate| PROTOCOLS.into_iter().map(move |protocol| (fate, protocol)))
    }

    /// Place of a count among all.
    pub(super) fn place(fate: Fate, spoken: Spoken) -> usize {
        fate as usize * PROTOCOLS.len() + spoken as usize
    }

    pub(super) fn count(&self, fate: Fate, spoken: Spoken, count: usize) {
        self.0[Self::place(fate, spoken)].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Number of connections of this fate.
    pub(super) fn of(&self, fate: Fate) -> u64 {
        let first = Self::place(fate, Spoken::Unknown);
        self.0[first..first + PROTOCOLS.len()].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graceful::{Life, Phase};

    #[test]
    fn labels_stand_where_their_counts_do() {
        let labels: Vec<_> = Ends::labels().collect();
        for (fate, spoken, label) in [
            (Fate::HandedOver, Spoken::Unknown, ("handed_over", "unknown")),
            (Fate::Finished, Spoken::Http2, ("finished", "http2")),
            (Fate::Closed, Spoken::Http1, ("closed", "http1")),
            (Fate::Cut, Spoken::WebSocket, ("cut", "websocket")),
        ] {
            assert_eq!(labels[Ends::place(fate, spoken)], label);
        }
        assert_eq!(labels.len(), Ends::default().0.len());
    }

    #[test]
    fn a_connection_that_stays_another_workers_does_not_end_here() {
        let life = Life::default();
        life.reach(Phase::Draining);
        let [refused, mut taken] = [life.take_over(), life.take_over()].map(Option::unwrap);
        drop(refused);
        taken.ending.is_anothers = false;
        drop(taken);
        assert_eq!((life.fates().finished, life.connections()), (1, 0));
    }

    #[test]
    fn an_end_counts_in_a_drain_and_once() {
        let life = Life::default();
        let connections: Vec<_> = std::iter::repeat_with(|| life.open()).take(6).collect();
        let [before, finished, mut closed, mut handed_over, cut, left] =
            <[_; 6]>::try_from(connections).expect("there are six");
        drop(before);
        life.count_fates();
        life.reach(Phase::Draining);
        drop(finished);
        closed.ending.is_told = true;
        drop(closed);
        handed_over.ending.is_handed_over = true;
        drop(handed_over);
        life.reach(Phase::Cut);
        drop(cut);
        let fates = life.fates();
        assert_eq!((fates.open, fates.finished, fates.closed, fates.handed_over, fates.cut), (1, 1, 1, 1, 1));
        life.settle();
        life.settle();
        drop(left);
        assert_eq!((life.fates().open, life.fates().cut, life.fates().finished), (0, 2, 1));
    }
}
