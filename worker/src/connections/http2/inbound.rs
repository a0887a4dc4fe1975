//! Frames of the client, on their way to hyper.

use bytes::BytesMut;

use crate::connections::http2::frame::{HEAD, Head, Kind, PAYLOAD_MAX, PREFACE, flag, payload, window_update, word};
use crate::connections::http2::gate::WAITING_MAX;
use crate::connections::http2::tap::Tap;

/// Way in which the client's bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The preface comes first.
    Preface,
    Frames,
    /// They are not: hyper gets them as they are, and refuses them.
    Passthrough,
    /// The client has sent what it must not, or the connection has left. Nothing is read.
    Dead,
}

impl Tap {
    /// Reads what has come, as far as it may go on.
    pub(super) fn read_inbound(&mut self) {
        loop {
            match self.reading {
                Reading::Preface if self.inbound.len() < PREFACE.len() && PREFACE.starts_with(&self.inbound) => return,
                Reading::Preface if self.inbound.starts_with(PREFACE) => {
                    let preface = self.inbound.split_to(PREFACE.len());
                    self.for_hyper.unsplit(preface);
                    self.reading = Reading::Frames;
                }
                Reading::Preface => self.reading = Reading::Passthrough,
                Reading::Frames => match self.next_inbound() {
                    Some((head, frame)) => self.frame_in(head, frame),
                    None if self.reading == Reading::Frames => return,
                    None => {}
                },
                Reading::Passthrough => return self.for_hyper.unsplit(self.inbound.split()),
                Reading::Dead => return self.drop_inbound(),
            }
        }
    }

    /// Takes the next whole frame that may go on. `None`: there is none, or they are passed through from here.
    fn next_inbound(&mut self) -> Option<(Head, BytesMut)> {
        while self.is_open_to_client() {
            if self.gate.is_blocked() {
                self.gate.keep_bytes(&self.inbound.split());
                return None;
            }
            let head = Head::read(&self.inbound)?;
            if head.length > PAYLOAD_MAX {
                if !self.gate.is_holding() {
                    self.reading = Reading::Passthrough;
                    return None;
                }
                // hyper refuses it behind the requests that wait.
                self.gate.block();
                continue;
            }
            if self.inbound.len() < head.total() {
                return None;
            }
            let (frame, last_id) = (self.inbound.split_to(head.total()), self.ledger.last_id());
            if !self.gate.holds(&head, last_id) {
                return Some((head, frame));
            }
            self.gate.keep(&head, last_id, &frame);
        }
        None
    }

    fn frame_in(&mut self, head: Head, frame: BytesMut) {
        let is_late = head.stream != 0 && head.stream <= self.side.floor();
        let goes_on = match head.kind {
            Kind::Data | Kind::Headers | Kind::Continuation if is_late => return self.refuse(),
            Kind::Priority | Kind::Reset | Kind::WindowUpdate | Kind::Other(_) if is_late => false,
            Kind::Data => self.data_in(&head),
            Kind::Headers => self.headers_in(&head, payload(&frame)),
            Kind::Continuation => {
                self.blocks.continuation(&head, payload(&frame));
                true
            }
            Kind::Settings => self.settings_in(&head, payload(&frame)),
            Kind::Ping => self.ping_in(&head, payload(&frame)),
            Kind::WindowUpdate if head.stream == 0 => return self.window_in(frame),
            Kind::Reset => {
                self.ledger.client_reset(head.stream);
                let increment = self.windows.client_reset(head.stream, &mut self.for_wire);
                if increment > 0 {
                    window_update(increment, &mut self.for_hyper);
                }
                true
            }
            Kind::GoAway | Kind::PushPromise => {
                self.ledger.is_leaving = true;
                true
            }
            Kind::Priority | Kind::WindowUpdate | Kind::Other(_) => true,
        };
        if goes_on {
            self.for_hyper.unsplit(frame);
        }
    }

    fn data_in(&mut self, head: &Head) -> bool {
        self.windows.client_sent(head.length);
        if head.has(flag::END_STREAM) {
            self.ledger.client_ended(head.stream);
        }
        true
    }

    fn headers_in(&mut self, head: &Head, payload: &[u8]) -> bool {
        self.blocks.headers(head, payload);
        self.ledger.client_began(head.stream);
        if head.has(flag::END_STREAM) {
            self.ledger.client_ended(head.stream);
        }
        true
    }

    fn settings_in(&mut self, head: &Head, payload: &[u8]) -> bool {
        if head.has(flag::ACK) {
            self.ledger.client_acknowledged();
        } else {
            self.client.hear(payload);
            self.ledger.client_set();
        }
        true
    }

    fn ping_in(&mut self, head: &Head, payload: &[u8]) -> bool {
        if head.has(flag::ACK) {
            return !self.ledger.pong(payload);
        }
        self.ledger.client_pinged();
        true
    }

    fn window_in(&mut self, frame: BytesMut) {
        match word(payload(&frame)) {
            // hyper refuses an increment of 0, and a frame of another length.
            Some(increment) if increment > 0 && frame.len() == HEAD + 4 => {
                match self.windows.client_granted(increment, &mut self.for_wire) {
                    0 => {}
                    left if left == increment => self.for_hyper.unsplit(frame),
                    left => window_update(left, &mut self.for_hyper),
                }
            }
            Some(_) | None => self.for_hyper.unsplit(frame),
        }
    }

    /// Ends the connection: the client has used a stream that has ended before this hyper began, which hyper cannot know. It gets a
    /// frame that it refuses in any case, so that it says GOAWAY and closes.
    fn refuse(&mut self) {
        Head::new(Kind::Data, 0, 0).write(&[], &mut self.for_hyper);
        self.reading = Reading::Dead;
        self.drop_inbound();
    }

    fn drop_inbound(&mut self) {
        self.inbound.clear();
        drop(self.gate.open());
    }

    /// True if so much waits at the gate that no more is read. The rest of DATA that are to pass is read in any case.
    pub(super) fn is_full(&self) -> bool {
        let coming = Head::read(&self.inbound);
        let passes = coming.is_some_and(|head| {
            head.kind == Kind::Data && head.length <= PAYLOAD_MAX && !self.gate.holds(&head, self.ledger.last_id())
        });
        let behind = if passes { 0 } else { self.inbound.len() };
        self.gate.is_holding() && self.gate.waiting() + behind > WAITING_MAX
    }

    /// Bytes that have not gone on, in their order.
    pub(super) fn take_unread(&mut self) -> BytesMut {
        let mut unread = self.gate.open();
        unread.unsplit(self.inbound.split());
        unread
    }
}
