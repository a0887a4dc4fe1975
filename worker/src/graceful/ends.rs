//! Ends of connections in a drain, by what became of them, by protocol, and by TLS.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gin_shared::channel::{ByProtocol, Counts};

/// Labels of a series, in the order of their names.
pub(crate) type Labels = Vec<(&'static str, &'static str)>;

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

/// The reason why another worker serves a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandoverReason {
    /// This worker drains.
    Drain,
    /// This worker has no room for new connections.
    Room,
    /// This worker has more than its share.
    Share,
}

/// Kind of a connection, as counts tell them apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) spoken: Spoken,
    /// True if it is over TLS, or begins with its handshake.
    pub(crate) is_tls: bool,
}

const FATES: [&str; 4] = ["handed_over", "finished", "closed", "cut"];
const PROTOCOLS: [&str; 4] = ["unknown", "http1", "http2", "websocket"];
const TLS: [&str; 2] = ["false", "true"];
const REASONS: [HandoverReason; 3] = [HandoverReason::Drain, HandoverReason::Room, HandoverReason::Share];
/// Number of kinds.
const KINDS: usize = PROTOCOLS.len() * TLS.len();

impl Kind {
    /// Labels of each kind, in the order of [`Self::place`].
    pub(crate) fn labels() -> impl Iterator<Item = Labels> {
        let of = |protocol| TLS.into_iter().map(move |tls| vec![("protocol", protocol), ("tls", tls)]);
        PROTOCOLS.into_iter().flat_map(of)
    }

    /// Place of the kind among all.
    pub(super) fn place(self) -> usize {
        self.spoken as usize * TLS.len() + usize::from(self.is_tls)
    }

    fn all() -> impl Iterator<Item = Self> {
        let spoken = [Spoken::Unknown, Spoken::Http1, Spoken::Http2, Spoken::WebSocket];
        spoken.into_iter().flat_map(|spoken| [false, true].into_iter().map(move |is_tls| Self { spoken, is_tls }))
    }
}

impl HandoverReason {
    /// Labels for each reason and kind, in the order of [`Self::place`].
    pub(crate) fn labels() -> impl Iterator<Item = Labels> {
        each("why", REASONS.into_iter().map(Self::word))
    }

    /// Place of a count among all.
    pub(super) fn place(self, kind: Kind) -> usize {
        self as usize * KINDS + kind.place()
    }

    fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Room => "room",
            Self::Share => "share",
        }
    }
}

/// Labels for each of these values and each kind.
fn each(label: &'static str, values: impl Iterator<Item = &'static str>) -> impl Iterator<Item = Labels> {
    values.flat_map(move |value| {
        Kind::labels().map(move |mut labels| {
            labels.push((label, value));
            labels.sort_unstable();
            labels
        })
    })
}

/// Everything known of a connection that matters at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) spoken: Spoken,
    /// True if it is over TLS, or begins with its handshake.
    pub(crate) is_tls: bool,
    /// True once the client was told: by `Connection: close`, by GOAWAY, or by a close frame.
    pub(crate) is_told: bool,
    /// True once another worker has taken it, for the sake of a drain.
    pub(crate) is_handed_over: bool,
    /// True while another worker has the connection still, and may keep it.
    pub(crate) is_anothers: bool,
}

impl Ending {
    /// Kind of the connection.
    pub(super) fn kind(self) -> Kind {
        Kind { spoken: self.spoken, is_tls: self.is_tls }
    }

    /// The fate of the connection, if it ends now. `None`: nothing that a drain counts.
    pub(super) fn fate(self, is_draining: bool, is_cut: bool) -> Option<Fate> {
        let Self { spoken: _, is_tls: _, is_told, is_handed_over, is_anothers } = self;
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
pub(crate) struct Ends([AtomicU64; FATES.len() * KINDS]);

impl Ends {
    /// Labels of each count, in the order of [`Self::place`].
    pub(crate) fn labels() -> impl Iterator<Item = Labels> {
        each("fate", FATES.into_iter())
    }

    /// Place of a count among all.
    pub(super) fn place(fate: Fate, kind: Kind) -> usize {
        fate as usize * KINDS + kind.place()
    }

    pub(super) fn count(&self, fate: Fate, kind: Kind, count: usize) {
        self.0[Self::place(fate, kind)].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Numbers of connections of all kinds.
    pub(super) fn counts(&self) -> Counts {
        self.of(|_| true)
    }

    /// Numbers of connections by their protocol.
    pub(super) fn by_protocol(&self) -> ByProtocol {
        let of = |spoken| self.of(|kind| kind.spoken == spoken);
        ByProtocol {
            http1: of(Spoken::Http1),
            http2: of(Spoken::Http2),
            websocket: of(Spoken::WebSocket),
            tls: self.of(|kind| kind.is_tls),
        }
    }

    /// Numbers of connections of the kinds that are wanted.
    fn of(&self, is_wanted: impl Fn(Kind) -> bool) -> Counts {
        let count = |fate| {
            let kinds = Kind::all().filter(|kind| is_wanted(*kind));
            kinds.map(|kind| self.0[Self::place(fate, kind)].load(Ordering::Relaxed)).sum::<u64>()
        };
        Counts {
            handed_over: count(Fate::HandedOver),
            finished: count(Fate::Finished),
            closed: count(Fate::Closed),
            cut: count(Fate::Cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graceful::{Life, Phase};

    #[test]
    fn labels_stand_where_their_counts_do() {
        let labels: Vec<_> = Ends::labels().collect();
        for (fate, spoken, is_tls, [fate_word, protocol, tls]) in [
            (Fate::HandedOver, Spoken::Unknown, false, ["handed_over", "unknown", "false"]),
            (Fate::Finished, Spoken::Http2, true, ["finished", "http2", "true"]),
            (Fate::Closed, Spoken::Http1, true, ["closed", "http1", "true"]),
            (Fate::Cut, Spoken::WebSocket, false, ["cut", "websocket", "false"]),
        ] {
            let wanted = [("fate", fate_word), ("protocol", protocol), ("tls", tls)];
            assert_eq!(labels[Ends::place(fate, Kind { spoken, is_tls })], wanted);
        }
        assert_eq!(labels.len(), Ends::default().0.len());
        let labels: Vec<_> = HandoverReason::labels().collect();
        for reason in REASONS {
            for kind in Kind::all() {
                let mut wanted = Kind::labels().nth(kind.place()).unwrap();
                wanted.push(("why", reason.word()));
                assert_eq!(labels[reason.place(kind)], wanted);
            }
        }
        assert_eq!((labels.len(), Kind::all().count()), (24, KINDS));
    }

    #[test]
    fn ends_are_told_by_protocol_and_by_tls() {
        let ends = Ends::default();
        for (number, kind) in Kind::all().enumerate() {
            ends.count(Fate::HandedOver, kind, 1 << number);
        }
        ends.count(Fate::Cut, Kind { spoken: Spoken::Http2, is_tls: true }, 5);
        let handed_over = |handed_over| Counts { handed_over, ..Counts::default() };
        let by_protocol = ByProtocol {
            http1: handed_over(0b1100),
            http2: Counts { cut: 5, ..handed_over(0b11_0000) },
            websocket: handed_over(0b1100_0000),
            tls: Counts { cut: 5, ..handed_over(0b1010_1010) },
        };
        assert_eq!(ends.by_protocol(), by_protocol);
        assert_eq!(ends.counts(), Counts { cut: 5, ..handed_over(0b1111_1111) });
    }

    #[test]
    fn a_connection_that_goes_for_room_is_no_end_of_a_drain() {
        let life = Life::default();
        life.count_fates();
        for (reason, count) in [(HandoverReason::Room, 0), (HandoverReason::Share, 0), (HandoverReason::Drain, 1)] {
            let mut connection = life.open();
            connection.ending.is_tls = true;
            connection.hand_over(reason);
            drop(connection);
            let fates = life.fates();
            let by_protocol = fates.by_protocol;
            assert_eq!((fates.handed_over, by_protocol.tls.handed_over), (count, count), "{reason:?}");
        }
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

    #[test]
    fn what_is_open_at_the_cut_is_told_by_tls() {
        let life = Life::default();
        let [mut over_tls, mut was_over_tls, _cleartext] = [life.open(), life.open(), life.open()];
        over_tls.set_tls(true);
        [true, true, false].into_iter().for_each(|is_tls| was_over_tls.set_tls(is_tls));
        let mut gone = life.open();
        gone.set_tls(true);
        drop(gone);
        life.reach(Phase::Cut);
        life.settle();
        let by_protocol = life.fates().by_protocol;
        assert_eq!((by_protocol.websocket.cut, by_protocol.tls.cut), (3, 1));
    }
}
