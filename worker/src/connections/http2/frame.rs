//! Frames of HTTP/2 (RFC 9113, section 4.1).

use bytes::{BufMut, BytesMut};

/// Bytes that a client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's head, in bytes.
pub(super) const HEAD: usize = 9;
/// Largest payload that hyper announces, and that every client takes.
pub(super) const PAYLOAD_MAX: usize = 16_384;
/// Largest stream id, largest window, largest increment of one.
pub(super) const WORD_MAX: u32 = (1 << 31) - 1;
/// Error code of a frame for a stream that has ended.
pub(super) const STREAM_CLOSED: u32 = 5;

/// Flags of frames. Which ones count depends on the kind.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
    pub(in super::super) const PADDED: u8 = 0x8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// Kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Other(u8),
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Other(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::Reset => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Other(other) => other,
        }
    }
}

/// Head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Length of the payload, in bytes: 24 bits.
    pub(super) length: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// 0: the connection.
    pub(super) stream: u32,
}

impl Head {
    /// Reads the head at the beginning of `bytes`. `None`: it is not there as a whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3] = bytes.first_chunk::<HEAD>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & WORD_MAX;
        Some(Self { length, kind: Kind::of(kind), flags, stream })
    }

    /// A head whose length follows from the payload that is written behind it.
    pub(super) fn new(kind: Kind, flags: u8, stream: u32) -> Self {
        Self { length: 0, kind, flags, stream }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Length of head and payload.
    pub(super) fn total(&self) -> usize {
        HEAD + self.length
    }

    /// Writes a frame with this head and the payload, of at most 2^24 - 1 bytes.
    pub(super) fn write(&self, payload: &[u8], out: &mut BytesMut) {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        out.reserve(HEAD + payload.len());
        out.put_slice(&[a, b, c, self.kind.byte(), self.flags]);
        out.put_u32(self.stream);
        out.put_slice(payload);
    }
}

/// Payload of a whole frame.
pub(super) fn payload(frame: &[u8]) -> &[u8] {
    frame.get(HEAD..).unwrap_or_default()
}

/// The first four bytes without their highest bit: a stream id, or the increment of a window.
pub(super) fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes) & WORD_MAX)
}

/// WINDOW_UPDATE of the connection.
pub(super) fn window_update(increment: u32, out: &mut BytesMut) {
    Head::new(Kind::WindowUpdate, 0, 0).write(&increment.to_be_bytes(), out);
}

/// GOAWAY without an error: requests up to stream `last_id` are answered, the client sends others over another connection.
pub(crate) fn goaway(last_id: u32) -> [u8; 17] {
    let [a, b, c, d] = last_id.to_be_bytes();
    [0, 0, 8, 7, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_was_written_is_read_back() {
        for kind in 0..=u8::MAX {
            let mut out = BytesMut::new();
            Head::new(Kind::of(kind), 0x25, 77).write(b"hello", &mut out);
            assert_eq!(Head::read(&out), Some(Head { length: 5, kind: Kind::of(kind), flags: 0x25, stream: 77 }));
            assert_eq!((out.len(), payload(&out)), (14, &b"hello"[..]));
        }
    }

    #[test]
    fn a_head_that_is_cut_is_none_and_the_reserved_bit_does_not_count() {
        assert_eq!(Head::read(&[0; 8]), None);
        let head = Head::read(&[0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!((head.length, head.stream, head.total()), ((1 << 24) - 1, WORD_MAX, (1 << 24) + 8));
        assert_eq!(word(&[0x80, 0, 0, 1]), Some(1));
        assert_eq!(word(&[0, 0, 1]), None);
    }

    #[test]
    fn a_goodbye_is_a_goaway_without_an_error() {
        let frame = goaway(0x0102_0304);
        let head = Head::read(&frame).unwrap();
        assert_eq!((head.kind, head.stream, head.total()), (Kind::GoAway, 0, frame.len()));
        assert_eq!(payload(&frame), [1, 2, 3, 4, 0, 0, 0, 0]);
    }
}
