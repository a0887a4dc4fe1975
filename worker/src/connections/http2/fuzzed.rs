//! The tap under a script of frames, for the fuzz target: a client and a server that may both be wrong, and moves in between.

use bytes::BytesMut;

use crate::connections::http2::frame::{HEAD, Head, Kind, PREFACE, flag, payload, window_update, word};
use crate::connections::http2::inbound::Reading;
use crate::connections::http2::state::BadState;
use crate::connections::http2::windows::INITIAL;
use crate::connections::http2::{Http2State, OwnSettings, Tap};

/// Settings of the server. The first byte of a script chooses one.
const OWN: [OwnSettings; 2] = [
    OwnSettings { max_streams: 100, window: 65_536, connection_window: 6_553_600, head_list: 65_536 },
    OwnSettings { max_streams: 1, window: 65_536, connection_window: 65_536, head_list: 8192 },
];

/// A tap, and bytes of bodies that the client allows at most.
struct Script {
    tap: Tap,
    allowed: i64,
    /// False once the client has sent bytes that are no frames of this script.
    is_counted: bool,
    /// Last request before the gate was closed.
    closed_at: Option<u32>,
}

/// Runs a script. A record is an operation, a length and that many bytes.
///
/// # Panics
/// If the tap lets through what it must not, or loses its state over a move.
pub(crate) fn run(data: &[u8]) {
    let [first, rest @ ..] = data else { return };
    let tap = Tap::fresh(OWN[usize::from(first & 1)]);
    let mut script = Script { tap, allowed: INITIAL, is_counted: true, closed_at: None };
    if first & 2 == 0 {
        script.tap.from_wire(PREFACE);
    }
    let mut rest = rest;
    while let [operation, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        script.step(*operation, bytes);
        script.check();
        rest = after;
    }
}

impl Script {
    fn step(&mut self, operation: u8, bytes: &[u8]) {
        match operation % 8 {
            0 => {
                self.is_counted = false;
                self.tap.from_wire(bytes);
            }
            1 | 2 => {
                let Some(frame) = frame(bytes) else { return };
                let grants = Head::read(&frame).is_some_and(|head| head.kind == Kind::WindowUpdate && head.stream == 0);
                if grants {
                    self.allowed += i64::from(word(payload(&frame)).unwrap_or(0));
                }
                self.tap.from_wire(&frame);
            }
            3 | 4 => {
                let Some(frame) = frame(bytes) else { return };
                // In two pieces, as a socket may cut it.
                let (first, second) = frame.split_at(frame.len() / 2);
                self.tap.from_hyper(first);
                self.tap.from_hyper(second);
            }
            5 => {
                self.tap.close_gate();
                self.closed_at.get_or_insert(self.tap.ledger.last_id());
            }
            6 => {
                self.tap.open_gate();
                self.closed_at = None;
            }
            _ => self.make_a_move(bytes.is_empty()),
        }
    }

    /// Looks at everything that comes out.
    fn check(&mut self) {
        assert!(self.closed_at.is_none_or(|last_id| last_id == self.tap.ledger.last_id()), "{:?}", self.tap);
        let is_read = self.tap.reading == Reading::Frames;
        let mut hyper = self.tap.for_hyper().split();
        while is_read && !hyper.is_empty() {
            if hyper.starts_with(PREFACE) {
                let _ = hyper.split_to(PREFACE.len());
                continue;
            }
            let head = Head::read(&hyper).expect("hyper gets whole frames");
            assert!(hyper.len() >= head.total(), "{head:?}");
            let _ = hyper.split_to(head.total());
        }
        let mut wire = self.tap.for_wire().split();
        while !wire.is_empty() {
            let head = Head::read(&wire).expect("the client gets whole frames");
            assert!(wire.len() >= head.total(), "{head:?}");
            let _ = wire.split_to(head.total());
            if head.kind == Kind::Data {
                self.allowed -= i64::try_from(head.length).expect("24 bits");
            }
        }
        assert!(self.allowed >= 0 || !self.is_counted, "more than the client allows: {}", self.allowed);
    }

    /// Moves, if the connection is quiet. The next server may begin as it should.
    fn make_a_move(&mut self, begins: bool) {
        self.check();
        if !self.tap.is_quiet() {
            return;
        }
        assert!(self.tap.may_move() && !self.tap.holds());
        let (length, waiting) = (self.tap.table_length(), self.tap.gate.waiting() + self.tap.inbound.len());
        let (state, unread) = self.tap.leave();
        assert_eq!(unread.len(), waiting);
        assert!(state.table.len() <= length);
        let mut message = Vec::new();
        state.write(&mut message);
        assert_eq!(message.len(), state.length());
        match Http2State::read(&message) {
            Ok(again) => assert_eq!(again, state),
            // hyper would have refused such a window.
            Err(error) => return assert!(matches!(error, BadState::OutOfRange(_)), "{error}"),
        }
        let (table, window) = (state.table.clone(), state.own.connection_window);
        let mut tap = match Tap::resume(state) {
            Ok(tap) => tap,
            Err(error) => return assert!(matches!(error, BadState::OutOfRange(_)), "{error}"),
        };
        assert_eq!(tap.blocks.table(), Some(table));
        tap.from_wire(&unread);
        if begins {
            let mut beginning = BytesMut::new();
            Head::new(Kind::Settings, 0, 0).write(&[], &mut beginning);
            Head::new(Kind::Settings, flag::ACK, 0).write(&[], &mut beginning);
            window_update(window.saturating_sub(65_535), &mut beginning);
            tap.from_hyper(&beginning);
        }
        (self.tap, self.closed_at) = (tap, None);
    }
}

/// A frame: kind, flags and stream take a byte each, and the rest is the payload.
fn frame(bytes: &[u8]) -> Option<BytesMut> {
    let [kind, flags, stream, payload @ ..] = bytes else { return None };
    let head = [0, 0, 0, *kind, *flags, 0, 0, 0, *stream];
    let mut frame = BytesMut::with_capacity(HEAD + payload.len());
    Head::read(&head)?.write(payload, &mut frame);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of Knuth's.
    struct Random(u64);

    impl Random {
        fn byte(&mut self) -> u8 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 56).try_into().unwrap()
        }

        /// A request with its answer, or one frame.
        fn record(&mut self, stream: &mut u8) -> Vec<u8> {
            if !self.byte().is_multiple_of(3) {
                return self.frame();
            }
            *stream = stream.wrapping_add(2);
            let request = [b"\x01\x0a\x01\x05", &[*stream][..], b"\x82\x87\x40\x01a\x01b"].concat();
            let answer = [b"\x03\x04\x01\x05", &[*stream][..], b"\x88"].concat();
            [&request[..], &answer, b"\x07\x00"].concat()
        }

        fn frame(&mut self) -> Vec<u8> {
            let operation = self.byte() % 8;
            let payload: Vec<u8> = match self.byte() % 8 {
                0 => vec![],
                1 => b"\x82\x87\x44\x08/size/10\x01\x01x".to_vec(),
                2 => b"\x82\x87\xbe\x40\x01a\x01b".to_vec(),
                3 => vec![0, 0, 0, self.byte()],
                4 => b"gin rest".to_vec(),
                5 => vec![0, self.byte() % 10, 0, 0, self.byte(), 0],
                6 => vec![self.byte(); 200],
                _ => (0..self.byte() % 40).map(|_| self.byte()).collect(),
            };
            let frame = [
                &[self.byte() % 11, [0, 1, 4, 5, 5, 5, 8, 37][usize::from(self.byte() % 8)], self.byte() % 12][..],
                &payload,
            ];
            let record = if operation == 0 && !self.byte().is_multiple_of(8) { vec![] } else { frame.concat() };
            [&[operation, u8::try_from(record.len()).unwrap()][..], &record].concat()
        }
    }

    #[test]
    fn random_scripts_break_nothing() {
        let mut random = Random(7);
        for _ in 0..3000 {
            let settings = [1, 3, 4, 0, 0, 3, 3, 4, 0, 0, 3, 3, 4, 1, 0, 1, 3, 4, 1, 0];
            let mut script = [&[random.byte() & 1][..], &settings].concat();
            let mut stream = u8::MAX;
            for _ in 0..60 {
                script.extend(random.record(&mut stream));
            }
            run(&script);
        }
    }
}
