//! The gate: new requests wait before it while it is closed, so that a busy connection comes to rest, too.
//!
//! They stay unread, and travel with the connection. Behind the first of them there are frames without which open streams do not end:
//! these pass it.
//!
//! | behind a request that waits | |
//! |---|---|
//! | frames of streams up to the last one that hyper knows: DATA, WINDOW_UPDATE, RST_STREAM | pass |
//! | frames of later streams | wait: they follow their HEADERS |
//! | frames of the connection: PING and its answer, WINDOW_UPDATE, SETTINGS and their answer | pass |
//! | GOAWAY | waits: hyper would end the connection before it has seen the requests |
//! | HEADERS of further requests | wait: the HPACK table follows the order of header blocks |
//! | trailers, a block of several frames, a frame that is too large | wait, with everything behind them |
//!
//! SETTINGS may pass: no value of the client's says how its own header blocks are read, and windows of streams follow the last value.
//! Behind trailers nothing passes, not even RST_STREAM of their stream, which would have to follow them. Nothing is lost by it: their
//! stream is open, so the connection cannot rest before the gate opens.

use std::fmt;

use bytes::BytesMut;

use crate::connections::http2::frame::{Head, Kind, flag};

/// Bytes that wait at the gate before no more are read.
pub(super) const WAITING_MAX: usize = 16 << 10;

/// Says which frames go on, and keeps those that wait.
#[derive(Default)]
pub(super) struct Gate {
    way: Way,
    /// What waits, in the order in which it came.
    waiting: BytesMut,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Open,
    /// New requests wait.
    Closed,
    /// A request waits, and what follows it.
    Holding,
    /// Everything waits.
    Blocked,
}

impl Gate {
    pub(super) fn close(&mut self) {
        if self.way == Way::Open {
            self.way = Way::Closed;
        }
    }

    /// Opens the gate. Returns what has waited: it comes before what is still to be read.
    pub(super) fn open(&mut self) -> BytesMut {
        self.way = Way::Open;
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn is_open(&self) -> bool {
        self.way == Way::Open
    }

    /// True if a request waits.
    pub(super) fn is_holding(&self) -> bool {
        matches!(self.way, Way::Holding | Way::Blocked)
    }

    /// True if everything that comes waits.
    pub(super) fn is_blocked(&self) -> bool {
        self.way == Way::Blocked
    }

    /// From here on everything waits.
    pub(super) fn block(&mut self) {
        self.way = Way::Blocked;
    }

    /// Number of bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True if a frame with this head waits. `last_id`: last stream that hyper knows.
    pub(super) fn holds(&self, head: &Head, last_id: u32) -> bool {
        let is_new = head.stream > last_id;
        match self.way {
            Way::Open => false,
            Way::Closed => is_new && head.kind == Kind::Headers,
            Way::Holding => is_new || is_block(head) || head.kind == Kind::GoAway,
            Way::Blocked => true,
        }
    }

    /// Keeps a whole frame that waits.
    pub(super) fn keep(&mut self, head: &Head, last_id: u32, frame: &[u8]) {
        let is_request = head.kind == Kind::Headers && head.stream > last_id && head.has(flag::END_HEADERS);
        let blocks = is_block(head) && !is_request;
        self.way = if blocks || self.is_blocked() { Way::Blocked } else { Way::Holding };
        self.waiting.extend_from_slice(frame);
    }

    /// Keeps bytes behind those that wait.
    pub(super) fn keep_bytes(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }
}

/// True for a part of a header block.
fn is_block(head: &Head) -> bool {
    matches!(head.kind, Kind::Headers | Kind::Continuation | Kind::PushPromise)
}

/// Header fields have cookies and tokens in them: bytes are not printed.
impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("way", &self.way).field("waiting", &self.waiting.len()).finish()
    }
}

#[cfg(test)]
mod tests;
