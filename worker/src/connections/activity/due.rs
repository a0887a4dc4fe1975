//! Duties of a connection's timer.

use std::time::Instant;

/// Duty of a connection's timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before this moment.
    Wait(Instant),
    /// Nothing is on its way: close the connection in an orderly way.
    CloseIdle,
    /// The connection has been idle for a while: park it.
    Park,
    /// The client does not keep its side, for this reason: drop the connection.
    Abort(&'static str),
}
