//! Events of a connection, each told by the owner of the connection's state.

use super::HandoverHold;

/// Something that happens to a connection, sorted by whose doing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Client(ClientEvent),
    Protocol(ProtocolEvent),
    Hub(HubEvent, Idle),
    /// The connection's deadline has come. `has_bytes`: something has come in this very moment.
    Deadline {
        has_bytes: bool,
    },
    Worker(WorkerEvent),
    Giver(GiverEvent),
    Taker(TakerEvent),
}

/// Events of the client, seen by whoever watches the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientEvent {
    /// Bytes have come, or the client has left: only reading tells which.
    Readable,
    /// The client has left.
    Left,
}

/// Events of the protocol that serves the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProtocolEvent {
    /// Nothing of the connection is on its way through the protocol: it could be taken out now. `served`: a request was
    /// answered since this protocol has it.
    Paused { served: bool },
    /// The connection was to leave, and its stream cannot be taken apart in this moment: half a record is read, or unsent.
    #[cfg_attr(not(test), allow(dead_code, reason = "the connection holds itself when it comes back"))]
    Stuck,
    /// The pause has lasted for `timeouts.park_after`.
    #[cfg_attr(not(test), expect(dead_code, reason = "a protocol answers it by returning the connection"))]
    Idle,
    /// The protocol has ended, and the connection with it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the connection is gone when its protocol says so"))]
    Ended,
}

/// Events at the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HubEvent {
    /// The connection has come back.
    Arrived,
    /// The connection could not be queued: the giver ended in this very moment.
    QueueClosed,
    /// The connection could not be parked.
    CannotPark,
}

/// A connection that nobody serves, as the hub looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Idle {
    pub(crate) hold: HandoverHold,
    /// True if bytes were read from the client that nobody has answered.
    pub(crate) has_read_ahead: bool,
    /// True for a session of an upgraded connection, which its handler must watch.
    pub(crate) is_session: bool,
}

/// Events of the worker as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WorkerEvent {
    /// The drain begins, takers came, or the last one is gone: [`Surroundings`] say which.
    Changed,
    /// The worker has no room for new connections, and this one is among the longest idle: other workers may take it.
    NoRoom,
    /// Other workers have far fewer connections, and this one is among the longest idle: they may take it.
    Uneven,
    /// The time of the drain is over.
    Cut,
}

/// Events of a connection that is handed over, at the giver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum GiverEvent {
    /// The connection was sent to a taker.
    #[cfg_attr(not(test), expect(dead_code, reason = "a whole batch is sent at once"))]
    Sent,
    /// Its bytes do not fit into a packet.
    TooLarge,
    /// No taker knows this kind of connection.
    Unfit,
    /// No taker had room for it for a while. `has_bytes`: the client has said something.
    Waited { has_bytes: bool },
    /// There is no taker any more, and none came for a while.
    NoTaker,
    /// The taker has committed.
    Taken,
    /// The taker has no room for it.
    Refused,
    /// The taker is dead or silent, and is not known to have committed. `in_doubt`: it may have, and then it has the connection's keys in
    /// use.
    TakerLost { in_doubt: bool },
}

/// Events of a connection that is handed over, at the taker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TakerEvent {
    /// The commit was sent.
    Committed,
    /// There is no room for it here.
    NoRoom,
    /// The commit could not be sent. `is_orphan`: the giver is dead, and had not taken the connection back.
    GiverLost { is_orphan: bool },
}
