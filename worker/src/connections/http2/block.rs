//! Header blocks on their way: a block may go over several frames, and the connection is not quiet within one.

use bytes::BytesMut;

use crate::connections::http2::frame::{Head, flag};
use crate::connections::http2::hpack::{BadBlock, Table};

/// Largest block that is followed, in bytes. The client of a larger one is served, and moves no more.
const BLOCK_MAX: usize = 64 << 10;
/// Length of the priority in a HEADERS frame.
const PRIORITY: usize = 5;

/// Header blocks of both directions.
pub(super) struct Blocks {
    /// `None`: it is unknown, from a block that was not followed.
    table: Option<Table>,
    /// Stream and beginning of the client's block that is under way.
    coming: Option<(u32, Vec<u8>)>,
    /// Frames of hyper's block that is under way.
    pub(super) leaving: BytesMut,
}

impl Blocks {
    pub(super) fn new(table: Table) -> Self {
        Self { table: Some(table), coming: None, leaving: BytesMut::new() }
    }

    /// True if a block is under way.
    pub(super) fn are_under_way(&self) -> bool {
        self.coming.is_some() || !self.leaving.is_empty()
    }

    /// The client's table as a header block. `None`: it is unknown.
    pub(super) fn table(&self) -> Option<Box<[u8]>> {
        self.table.as_ref().map(Table::to_block)
    }

    /// Largest length of the table as a header block. `None`: it is unknown.
    pub(super) fn table_length(&self) -> Option<usize> {
        self.table.as_ref().map(Table::block_length)
    }

    /// From here on the table is unknown.
    pub(super) fn lose(&mut self) {
        self.table = None;
        self.coming = None;
    }

    /// Follows HEADERS of the client.
    pub(super) fn headers(&mut self, head: &Head, payload: &[u8]) {
        if self.coming.is_some() {
            return self.lose();
        }
        match fragment(head, payload) {
            Some(block) if head.has(flag::END_HEADERS) => self.follow(block),
            Some(block) => self.coming = Some((head.stream, block.to_vec())),
            None => self.lose(),
        }
    }

    /// Follows CONTINUATION of the client.
    pub(super) fn continuation(&mut self, head: &Head, payload: &[u8]) {
        let Some((stream, mut block)) = self.coming.take() else { return self.lose() };
        if stream != head.stream || block.len().saturating_add(payload.len()) > BLOCK_MAX {
            return self.lose();
        }
        block.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            self.follow(&block);
        } else {
            self.coming = Some((stream, block));
        }
    }

    fn follow(&mut self, block: &[u8]) {
        if let Some(Err(BadBlock)) = self.table.as_mut().map(|table| table.follow(block)) {
            self.lose();
        }
    }
}

/// Part of a block in HEADERS, without padding and priority.
fn fragment<'a>(head: &Head, payload: &'a [u8]) -> Option<&'a [u8]> {
    let (padding, payload) = if head.has(flag::PADDED) {
        let (padding, rest) = payload.split_first()?;
        (usize::from(*padding), rest)
    } else {
        (0, payload)
    };
    let payload = if head.has(flag::PRIORITY) { payload.get(PRIORITY..)? } else { payload };
    payload.get(..payload.len().checked_sub(padding)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::http2::frame::Kind;

    const FIELD: &[u8] = b"\x40\x01a\x01b";

    fn headers(flags: u8) -> Head {
        Head::new(Kind::Headers, flags, 1)
    }

    fn continuation(flags: u8, stream: u32) -> Head {
        Head::new(Kind::Continuation, flags, stream)
    }

    fn blocks() -> Blocks {
        Blocks::new(Table::new())
    }

    #[test]
    fn padding_and_priority_are_no_part_of_a_block() {
        for (flags, before, after) in [
            (0, &b""[..], &b""[..]),
            (flag::PADDED, b"\x02", b"\0\0"),
            (flag::PRIORITY, b"\0\0\0\0\x05", b""),
            (flag::PADDED | flag::PRIORITY, b"\x03\0\0\0\0\x05", b"\0\0\0"),
        ] {
            let mut blocks = blocks();
            blocks.headers(&headers(flags | flag::END_HEADERS), &[before, FIELD, after].concat());
            assert_eq!(blocks.table().as_deref(), Some(FIELD), "{flags}");
        }
        for (flags, payload) in [(flag::PADDED, &b""[..]), (flag::PADDED, b"\x02\0"), (flag::PRIORITY, b"\0\0\0\0")] {
            let mut blocks = blocks();
            blocks.headers(&headers(flags | flag::END_HEADERS), payload);
            assert_eq!(blocks.table(), None, "{flags} {payload:?}");
        }
    }

    #[test]
    fn a_block_over_several_frames_is_under_way_until_its_end() {
        let mut blocks = blocks();
        blocks.headers(&headers(0), &FIELD[..1]);
        assert!(blocks.are_under_way());
        blocks.continuation(&continuation(0, 1), &FIELD[1..4]);
        assert!(blocks.are_under_way());
        blocks.continuation(&continuation(flag::END_HEADERS, 1), &FIELD[4..]);
        assert!(!blocks.are_under_way());
        assert_eq!(blocks.table().as_deref(), Some(FIELD));
    }

    #[test]
    fn a_block_that_cannot_be_followed_loses_the_table() {
        let mut of_another = blocks();
        of_another.headers(&headers(0), FIELD);
        of_another.continuation(&continuation(flag::END_HEADERS, 3), FIELD);
        let mut alone = blocks();
        alone.continuation(&continuation(flag::END_HEADERS, 1), FIELD);
        let mut within = blocks();
        within.headers(&headers(0), FIELD);
        within.headers(&headers(flag::END_HEADERS), FIELD);
        let mut wrong = blocks();
        wrong.headers(&headers(flag::END_HEADERS), b"\xff");
        let mut large = blocks();
        large.headers(&headers(0), FIELD);
        for _ in 0..5 {
            large.continuation(&continuation(0, 1), &[0x82; 16_384]);
        }
        for mut blocks in [of_another, alone, within, wrong, large] {
            assert_eq!((blocks.table(), blocks.are_under_way()), (None, false));
            blocks.headers(&headers(flag::END_HEADERS), FIELD);
            assert_eq!(blocks.table(), None);
        }
    }
}
