//! The end of a protocol's part in a connection.

use bytes::Bytes;

use crate::connections::connection::ActiveConnection;

/// The way in which a connection left its protocol.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once, to its next owner; a box would cost an allocation")]
pub(crate) enum Left {
    /// Nothing of it is on its way: it can wait, or be served again.
    Paused(ActiveConnection),
    /// Its handler has it now.
    Upgraded,
    /// The connection has ended.
    Closed,
}

/// Joins what hyper has read with what was not read yet.
pub(super) fn join(read: Bytes, unread: Bytes) -> Bytes {
    match (read.is_empty(), unread.is_empty()) {
        (true, _) => unread,
        (false, true) => read,
        (false, false) => [read, unread].concat().into(),
    }
}

/// Logs how hyper ended a connection, if that was an error.
pub(super) fn report(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!("connection: {error}");
    }
}
