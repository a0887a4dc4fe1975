//! Frames of hyper, on their way to the client.

use bytes::{BufMut, BytesMut};

use crate::connections::http2::frame::{
    HEAD, Head, Kind, PAYLOAD_MAX, STREAM_CLOSED, flag, payload, window_update, word,
};
use crate::connections::http2::hpack::{self, after_size_updates, size_update};
use crate::connections::http2::inbound::Reading;
use crate::connections::http2::tap::Tap;

/// The frame of hyper that is under way.
#[derive(Default)]
pub(super) struct Outbound {
    /// Its beginning, if it is to be read whole.
    pub(super) gathered: BytesMut,
    /// Bytes that are to come of it, if its beginning is with those for the client. Nothing else goes there meanwhile.
    pub(super) passing: usize,
}

impl Tap {
    /// Reads what hyper writes, frame by frame. DATA that may go at once are not gathered: their bytes go on as they come.
    pub(super) fn read_outbound(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = if self.outbound.passing > 0 { self.pass_on(bytes) } else { self.next_outbound(bytes) };
        }
    }

    /// Sends bytes of the frame that is passing. Returns the bytes behind it.
    fn pass_on<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (frame, behind) = bytes.split_at(self.outbound.passing.min(bytes.len()));
        self.for_wire.extend_from_slice(frame);
        self.outbound.passing -= frame.len();
        behind
    }

    /// Reads the next frame, or gathers its beginning. Returns the bytes behind it.
    fn next_outbound<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.outbound.gathered.is_empty()
            && let Some(head) = Head::read(bytes)
        {
            if self.passes(&head) {
                self.outbound.passing = head.total();
                self.for_wire.reserve(self.outbound.passing);
                return bytes;
            }
            if let Some((frame, behind)) = bytes.split_at_checked(head.total()) {
                self.frame_out(head, frame);
                return behind;
            }
        }
        let wanted = Head::read(&self.outbound.gathered).map_or(HEAD, |head| head.total());
        let missing = wanted.saturating_sub(self.outbound.gathered.len());
        let (part, behind) = bytes.split_at(missing.min(bytes.len()));
        self.outbound.gathered.extend_from_slice(part);
        if let Some(head) = Head::read(&self.outbound.gathered)
            && self.outbound.gathered.len() >= head.total()
        {
            let frame = std::mem::take(&mut self.outbound.gathered);
            self.frame_out(head, &frame);
        }
        behind
    }

    /// True for DATA that may go at once. They count as sent.
    fn passes(&mut self, head: &Head) -> bool {
        let passes = head.kind == Kind::Data && head.stream > self.side.floor() && self.windows.passes(head.length);
        if passes && head.has(flag::END_STREAM) {
            self.ledger.we_ended(head.stream);
        }
        passes
    }

    fn frame_out(&mut self, head: Head, frame: &[u8]) {
        if head.stream != 0 && head.stream <= self.side.floor() {
            // The answer to the made-up request.
            return;
        }
        match head.kind {
            Kind::Settings => self.settings_out(&head, frame),
            Kind::Ping => {
                if head.has(flag::ACK) {
                    self.ledger.we_answered_ping();
                }
                self.for_wire.extend_from_slice(frame);
            }
            Kind::GoAway => self.goaway_out(frame),
            Kind::WindowUpdate if head.stream == 0 => {
                let increment = self.windows.we_granted(word(payload(frame)).unwrap_or(0));
                if increment > 0 {
                    window_update(increment, &mut self.for_wire);
                }
            }
            Kind::Data => {
                if head.has(flag::END_STREAM) {
                    self.ledger.we_ended(head.stream);
                }
                self.windows.pass(Kind::Data, head.stream, frame, &mut self.for_wire);
            }
            Kind::Reset => {
                self.ledger.we_reset(head.stream);
                self.windows.pass(Kind::Reset, head.stream, frame, &mut self.for_wire);
            }
            Kind::Headers | Kind::Continuation => self.block_out(&head, frame),
            Kind::PushPromise => {
                // hyper pushes nothing.
                self.ledger.is_leaving = true;
                self.for_wire.extend_from_slice(frame);
            }
            Kind::Priority | Kind::WindowUpdate | Kind::Other(_) => self.for_wire.extend_from_slice(frame),
        }
    }

    fn settings_out(&mut self, head: &Head, frame: &[u8]) {
        match self.side.waits() {
            Some(waits) if !head.has(flag::ACK) && waits.settings => {
                // The client has these settings, and has acknowledged them.
                waits.settings = false;
                self.ledger.we_set_again();
                return Head::new(Kind::Settings, flag::ACK, 0).write(&[], &mut self.for_hyper);
            }
            Some(waits) if head.has(flag::ACK) && waits.ack => {
                waits.ack = false;
                return;
            }
            Some(_) | None if head.has(flag::ACK) => self.ledger.we_acknowledged(),
            Some(_) | None => self.ledger.we_set(),
        }
        self.for_wire.extend_from_slice(frame);
    }

    /// hyper says which of its streams was the last. Those before this hyper were answered, too.
    fn goaway_out(&mut self, frame: &[u8]) {
        self.ledger.is_leaving = true;
        let payload = payload(frame);
        let (Some(last), Some(code), debug) = (word(payload), payload.get(4..8), payload.get(8..).unwrap_or_default())
        else {
            return self.for_wire.put_slice(frame);
        };
        let last = last.max(self.side.floor()).to_be_bytes();
        let closed = STREAM_CLOSED.to_be_bytes();
        let code = if self.reading == Reading::Dead { &closed } else { code };
        Head::new(Kind::GoAway, 0, 0).write(&[&last, code, debug].concat(), &mut self.for_wire);
    }

    /// Sends a header block when it is whole: nothing may come between its frames.
    fn block_out(&mut self, head: &Head, frame: &[u8]) {
        if head.kind == Kind::Headers {
            if head.has(flag::END_STREAM) {
                self.ledger.we_ended(head.stream);
            }
            match self.side.waits() {
                Some(waits) if waits.block => {
                    waits.block = false;
                    restart(head, payload(frame), &mut self.blocks.leaving);
                }
                Some(_) | None => self.blocks.leaving.extend_from_slice(frame),
            }
        } else {
            self.blocks.leaving.extend_from_slice(frame);
        }
        if head.has(flag::END_HEADERS) {
            self.windows.pass(Kind::Headers, head.stream, &self.blocks.leaving, &mut self.for_wire);
            self.blocks.leaving.clear();
        }
    }
}

/// Writes the first block of a new encoder: it empties the client's table, which is the old encoder's.
fn restart(head: &Head, fragment: &[u8], out: &mut BytesMut) {
    let Some((update, fields)) = after_size_updates(fragment, |_| Some(())) else {
        // hyper writes no such block.
        return head.write(fragment, out);
    };
    let mut block = Vec::with_capacity(fragment.len() + 4);
    size_update(0, &mut block);
    match update.unwrap_or(hpack::SIZE) {
        0 => {}
        size => size_update(size, &mut block),
    }
    block.extend_from_slice(fields);
    match block.split_at_checked(PAYLOAD_MAX) {
        Some((first, rest)) if !rest.is_empty() => {
            Head { flags: head.flags & !flag::END_HEADERS, ..*head }.write(first, out);
            Head::new(Kind::Continuation, head.flags & flag::END_HEADERS, head.stream).write(rest, out);
        }
        Some(_) | None => head.write(&block, out),
    }
}
