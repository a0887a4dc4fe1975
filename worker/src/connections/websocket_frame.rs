//! Head of a WebSocket frame (RFC 6455, section 5.2), read from bytes that may end anywhere.
//!
//! tungstenite's `FrameHeader::parse` is not used: it refuses reserved opcodes. Both users of this must find the end of such a
//! frame, too, so that tungstenite behind them, or the client, sees it whole and refuses it with the right close code.

/// Head of a frame, without its mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// First byte: FIN, reserved bits, opcode.
    first: u8,
    /// Length of the head in bytes, without the mask.
    pub(crate) length: usize,
    /// True if four bytes of mask follow.
    pub(crate) is_masked: bool,
    /// Length of the payload in bytes.
    pub(crate) payload: u64,
}

impl FrameHead {
    /// Reads a head. `None` until its last byte has come.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let [first, second, extended @ ..] = bytes else { return None };
        let (length, payload) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*extended.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*extended.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        Some(Self { first: *first, length, is_masked: second & 0x80 != 0, payload })
    }

    /// True for a control frame, which may stand between the frames of a message.
    pub(crate) fn is_control(self) -> bool {
        self.first & 0x08 != 0
    }

    /// True for the last frame of a message.
    pub(crate) fn is_last(self) -> bool {
        self.first & 0x80 != 0
    }
}
