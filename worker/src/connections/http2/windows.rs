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

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::BytesMut;

use crate::connections::http2::frame::{Head, Kind, flag, payload};

/// Both windows of a new connection.
pub(super) const INITIAL: i64 = 65_535;
/// hyper opens its window at once if that is larger by half of it at least. If not, only after the client has sent something.
const OPENED_AT_ONCE: i64 = INITIAL + INITIAL / 2;

/// DATA that wait for the window. They have a number in the order in which they came.
struct HeldData {
    number: u64,
    head: Head,
    payload: BytesMut,
}

/// Frames that wait for the client's window, and those that must follow them.
#[derive(Default)]
struct Held {
    /// DATA with a payload. They go in this order.
    data: VecDeque<HeldData>,
    /// Whole header blocks and other frames that need no window, by the number of the last DATA that they follow. Those of one number keep
    /// their order.
    behind: BTreeMap<u64, VecDeque<(u32, BytesMut)>>,
    /// Number that a further frame of a stream follows.
    streams: HashMap<u32, u64>,
    /// Number that a further header block follows.
    blocks: u64,
    /// Number of the last DATA.
    last: u64,
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
    held: Held,
}

impl Windows {
    pub(super) fn new(connection_window: u32) -> Self {
        Self::resume(INITIAL, INITIAL, connection_window)
    }

    pub(super) fn resume(send: i64, receive: i64, connection_window: u32) -> Self {
        let own = i64::from(connection_window);
        let most = if own >= OPENED_AT_ONCE { own } else { INITIAL };
        let ahead = INITIAL.saturating_sub(send).max(0);
        Self { send, ahead, receive, believed: INITIAL, most, held: Held::default() }
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
        !self.held.data.is_empty()
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
        self.send = self.send.saturating_add(i64::from(increment));
        self.release(wire);
        self.tell(i64::from(increment))
    }

    /// The client has reset a stream: DATA of it that wait are dropped, and use no window. Returns the increment for hyper, which takes them
    /// for sent. Header blocks go on: the client's HPACK table follows them.
    pub(super) fn client_reset(&mut self, stream: u32, wire: &mut BytesMut) -> u32 {
        let dropped = self.held.drop_data(stream, wire);
        if dropped > 0 {
            self.release(wire);
        }
        self.tell(signed(dropped))
    }

    /// There is so much more room for hyper. Returns the part of it that hyper does not believe in yet.
    fn tell(&mut self, room: i64) -> u32 {
        let known = room.min(self.ahead);
        self.ahead -= known;
        u32::try_from(room - known).unwrap_or(0)
    }

    /// True if DATA with a payload of this length may go at once: the window has room, and none wait. They count as sent.
    pub(super) fn passes(&mut self, length: usize) -> bool {
        let length = signed(length);
        let passes = !self.hold() && length <= self.send;
        if passes {
            self.send -= length;
        }
        passes
    }

    /// Sends DATA, a whole header block or RST_STREAM of hyper, or holds them. The order within a stream stays, and that of header blocks
    /// among themselves: the client's HPACK table follows it.
    pub(super) fn pass(&mut self, kind: Kind, stream: u32, frames: &[u8], wire: &mut BytesMut) {
        let length = payload(frames).len();
        if kind == Kind::Data && length > 0 {
            self.pass_data(frames, length, wire);
        } else if let Some(number) = self.held.number_before(stream, kind == Kind::Headers) {
            self.held.push_behind(number, kind, stream, frames.into());
        } else {
            wire.extend_from_slice(frames);
        }
    }

    fn pass_data(&mut self, frame: &[u8], length: usize, wire: &mut BytesMut) {
        if self.passes(length) {
            return wire.extend_from_slice(frame);
        }
        self.held.push(frame);
        self.release(wire);
    }

    /// Sends what may go now.
    fn release(&mut self, wire: &mut BytesMut) {
        while let Some(first) = self.held.data.front_mut() {
            if !first.send(&mut self.send, wire) {
                return;
            }
            self.held.pop(wire);
        }
    }
}

impl HeldData {
    /// Sends as much as the window has room for. True if that is all of it.
    fn send(&mut self, window: &mut i64, wire: &mut BytesMut) -> bool {
        let length = signed(self.payload.len());
        if length <= *window {
            *window -= length;
            self.head.write(&self.payload, wire);
            return true;
        }
        let fits = usize::try_from(*window).unwrap_or(0);
        // hyper pads nothing. What is padded would not be cut.
        if fits > 0 && !self.head.has(flag::PADDED) {
            Head::new(Kind::Data, 0, self.head.stream).write(&self.payload.split_to(fits), wire);
            *window = 0;
        }
        false
    }
}

impl Held {
    /// Number of the DATA that a frame must follow. `None`: it may go at once.
    fn number_before(&self, stream: u32, is_block: bool) -> Option<u64> {
        let first = self.data.front()?.number;
        let of_stream = self.streams.get(&stream).copied().unwrap_or(0);
        let number = if is_block { of_stream.max(self.blocks) } else { of_stream };
        (number >= first).then_some(number)
    }

    fn push(&mut self, frame: &[u8]) {
        let Some(head) = Head::read(frame) else { return };
        self.last += 1;
        self.streams.insert(head.stream, self.last);
        self.data.push_back(HeldData { number: self.last, head, payload: payload(frame).into() });
    }

    fn push_behind(&mut self, number: u64, kind: Kind, stream: u32, frames: BytesMut) {
        if kind == Kind::Headers {
            self.blocks = number;
        }
        self.streams.insert(stream, number);
        self.behind.entry(number).or_default().push_back((stream, frames));
    }

    /// Takes the first DATA, which are sent, out. Sends what has waited for them.
    fn pop(&mut self, wire: &mut BytesMut) {
        let Some(sent) = self.data.pop_front() else { return };
        self.forget(sent.head.stream, sent.number);
        self.send_free(wire);
    }

    /// Sends frames that wait for no DATA any more.
    fn send_free(&mut self, wire: &mut BytesMut) {
        let next = self.data.front().map_or(u64::MAX, |data| data.number);
        while let Some(entry) = self.behind.first_entry().filter(|entry| *entry.key() < next) {
            let (number, frames) = entry.remove_entry();
            for (stream, frames) in frames {
                self.forget(stream, number);
                wire.unsplit(frames);
            }
        }
    }

    /// Drops the DATA of a stream. Returns their bytes. Other frames of it still follow DATA that came before these.
    fn drop_data(&mut self, stream: u32, wire: &mut BytesMut) -> usize {
        if !self.streams.contains_key(&stream) {
            return 0;
        }
        let mut dropped = 0;
        self.data.retain(|data| {
            let is_kept = data.head.stream != stream;
            dropped += if is_kept { 0 } else { data.payload.len() };
            is_kept
        });
        let behind = self.behind.iter().rev().find(|(_, frames)| frames.iter().any(|(of, _)| *of == stream));
        match behind.map(|(number, _)| *number) {
            Some(number) => self.streams.insert(stream, number),
            None => self.streams.remove(&stream),
        };
        self.send_free(wire);
        dropped
    }

    /// A stream has nothing more that waits, if this was its last number.
    fn forget(&mut self, stream: u32, number: u64) {
        if self.streams.get(&stream).is_some_and(|last| *last <= number) {
            self.streams.remove(&stream);
        }
    }
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
