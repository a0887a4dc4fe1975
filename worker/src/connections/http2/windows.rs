//! Windows of the connection (RFC 9113, section 5.2), as the client knows them and as hyper believes them to be.
//!
//! A new hyper believes that both windows have 65,535 bytes.
//!
//! - Sending, the true window is larger: hyper is told so by WINDOW_UPDATE.
//! - Sending, the true window is smaller: hyper sends too much at first. DATA beyond the window are held here, and the client's next
//!   WINDOW_UPDATEs are kept from hyper until its belief is true.
//! - Receiving: hyper reads nothing from the client before it has opened its window as far as the client knows it.
//!
//! Windows of streams need nothing: a connection moves without open streams, and SETTINGS are said again.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::connections::http2::frame::{Head, Kind, flag, payload};

/// Both windows of a new connection.
pub(super) const INITIAL: i64 = 65_535;
/// hyper opens its window at once if that is larger by half of it at least. If not, only after the client has sent something.
const OPENED_AT_ONCE: i64 = INITIAL + INITIAL / 2;

/// A frame that waits, or a whole header block.
struct Held {
    kind: Kind,
    stream: u32,
    frames: BytesMut,
}

/// Windows of the connection.
pub(super) struct Windows {
    /// Bytes that we may send.
    send: i64,
    /// Bytes that hyper believes it may send beyond that.
    ahead: i64,
    /// Bytes that the client may send.
    receive: i64,
    /// Bytes that hyper believes the client may send.
    believed: i64,
    /// Largest `receive` up to which a new hyper opens its window by itself.
    most: i64,
    held: VecDeque<Held>,
    held_blocks: usize,
    held_data: usize,
}

impl Windows {
    pub(super) fn new(connection_window: u32) -> Self {
        Self::resume(INITIAL, INITIAL, connection_window)
    }

    pub(super) fn resume(send: i64, receive: i64, connection_window: u32) -> Self {
        let own = i64::from(connection_window);
        let most = if own >= OPENED_AT_ONCE { own } else { INITIAL };
        let ahead = INITIAL.saturating_sub(send).max(0);
        let held = VecDeque::new();
        Self { send, ahead, receive, believed: INITIAL, most, held, held_blocks: 0, held_data: 0 }
    }

    /// Bytes that we may send.
    pub(super) fn send(&self) -> i64 {
        self.send
    }

    /// Bytes that the client may send.
    pub(super) fn receive(&self) -> i64 {
        self.receive
    }

    /// True if hyper expects all that the client may send.
    pub(super) fn are_open(&self) -> bool {
        self.believed >= self.receive
    }

    /// True if a new hyper will open its window as far as the client knows it.
    pub(super) fn can_open(&self) -> bool {
        self.receive <= self.most
    }

    /// True if frames wait for the client's window.
    pub(super) fn hold(&self) -> bool {
        !self.held.is_empty()
    }

    /// The client has sent DATA with a payload of this length. Padding counts.
    pub(super) fn client_sent(&mut self, length: usize) {
        let length = signed(length);
        self.receive = self.receive.saturating_sub(length);
        self.believed = self.believed.saturating_sub(length);
    }

    /// hyper opens its window further. Returns the increment for the client: 0 if it has as much already.
    pub(super) fn we_granted(&mut self, increment: u32) -> u32 {
        self.believed = self.believed.saturating_add(i64::from(increment));
        let next = self.believed.min(self.most).max(self.receive);
        let increment = u32::try_from(next.saturating_sub(self.receive)).unwrap_or(0);
        self.receive = self.receive.saturating_add(i64::from(increment));
        increment
    }

    /// The client opens its window further. Returns the increment for hyper.
    pub(super) fn client_granted(&mut self, increment: u32, wire: &mut BytesMut) -> u32 {
        let granted = i64::from(increment);
        self.send = self.send.saturating_add(granted);
        let kept = granted.min(self.ahead);
        self.ahead -= kept;
        self.release(wire);
        u32::try_from(granted - kept).unwrap_or(0)
    }

    /// Sends DATA, a whole header block or RST_STREAM of hyper, or holds them. The order within a stream stays, and that of header blocks
    /// among themselves: the client's HPACK table follows it.
    pub(super) fn pass(&mut self, kind: Kind, stream: u32, frames: BytesMut, wire: &mut BytesMut) {
        let length = payload(&frames).len();
        let takes_window = kind == Kind::Data && length > 0;
        let waits = match kind {
            _ if self.held.is_empty() => false,
            Kind::Data if takes_window && self.held_data > 0 => true,
            Kind::Headers if self.held_blocks > 0 => true,
            _ => self.held.iter().any(|held| held.stream == stream),
        };
        if waits {
            self.hold_back(kind, stream, frames);
        } else if takes_window {
            self.pass_data(stream, frames, wire);
        } else {
            wire.unsplit(frames);
        }
    }

    /// Sends as much of DATA as the window has room for, and holds the rest.
    fn pass_data(&mut self, stream: u32, mut frames: BytesMut, wire: &mut BytesMut) {
        let length = payload(&frames).len();
        if signed(length) <= self.send {
            self.send -= signed(length);
            return wire.unsplit(frames);
        }
        let fits = usize::try_from(self.send).unwrap_or(0);
        let (Some(head), Some((now, later))) = (Head::read(&frames), payload(&frames).split_at_checked(fits)) else {
            return self.hold_back(Kind::Data, stream, frames);
        };
        // hyper pads nothing. What is padded would not be cut.
        if !now.is_empty() && !head.has(flag::PADDED) {
            Head::new(Kind::Data, 0, stream).write(now, wire);
            self.send = 0;
            let mut rest = BytesMut::new();
            head.write(later, &mut rest);
            frames = rest;
        }
        self.hold_back(Kind::Data, stream, frames);
    }

    fn hold_back(&mut self, kind: Kind, stream: u32, frames: BytesMut) {
        let held = Held { kind, stream, frames };
        self.held_blocks += usize::from(held.is_block());
        self.held_data += usize::from(held.takes_window());
        self.held.push_back(held);
    }

    /// Sends what may go now.
    fn release(&mut self, wire: &mut BytesMut) {
        let mut left = self.held.len();
        let others = self.held.len() - self.held_data;
        let held = std::mem::take(&mut self.held);
        (self.held_blocks, self.held_data) = (0, 0);
        let mut held = held.into_iter();
        while let Some(Held { kind, stream, frames }) = held.next() {
            self.pass(kind, stream, frames, wire);
            left -= 1;
            // Behind DATA that wait there are only more of them: they keep their order.
            if others == 0 && !self.held.is_empty() {
                self.held_data += left;
                return self.held.extend(held);
            }
        }
    }
}

impl Held {
    fn is_block(&self) -> bool {
        self.kind == Kind::Headers
    }

    fn takes_window(&self) -> bool {
        self.kind == Kind::Data && !payload(&self.frames).is_empty()
    }
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
