//! The gate: new requests wait before it while it is closed, so that a busy connection comes to rest, too.
//!
//! They stay unread, with everything that the client sends behind them, and travel with the connection.

use crate::connections::http2::frame::{Head, Kind};

/// Bytes that wait at the gate before no more are read.
pub(super) const WAITING_MAX: usize = 16 << 10;

/// Says whether new requests go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Closed,
    /// A request waits.
    Holding,
}

impl Gate {
    pub(super) fn close(&mut self) {
        if *self == Self::Open {
            *self = Self::Closed;
        }
    }

    /// True if this frame and what is behind it wait.
    pub(super) fn holds(&mut self, head: &Head, last_id: u32) -> bool {
        if *self != Self::Open && head.kind == Kind::Headers && head.stream > last_id {
            *self = Self::Holding;
        }
        *self == Self::Holding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_at_a_closed_gate_and_trailers_do_not() {
        let (request, trailers) = (Head::new(Kind::Headers, 0, 9), Head::new(Kind::Headers, 0, 7));
        let mut gate = Gate::Open;
        assert!(!gate.holds(&request, 7));
        gate.close();
        assert!(!gate.holds(&trailers, 7) && !gate.holds(&Head::new(Kind::Data, 0, 7), 7));
        assert!(gate.holds(&request, 7));
        gate.close();
        assert!(gate == Gate::Holding && gate.holds(&trailers, 7), "what is behind a request waits, too");
    }
}
