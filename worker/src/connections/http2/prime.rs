//! Beginning of a connection for a new hyper: what its client has told an earlier one.
//!
//! | frame | tells hyper |
//! |---|---|
//! | preface, SETTINGS | the client's settings |
//! | WINDOW_UPDATE | the window, if it is larger than 65,535 bytes |
//! | HEADERS on the stream of the last request | the client's HPACK table |
//!
//! The request in HEADERS is malformed on purpose. hyper decodes it, refuses it by RST_STREAM, and serves on. That answer is swallowed,
//! as everything on a stream up to the last old one.

use bytes::{BufMut, BytesMut};

use crate::connections::http2::frame::{Head, Kind, PREFACE, WORD_MAX, flag, window_update};
use crate::connections::http2::hpack::after_size_updates;
use crate::connections::http2::state::{BadState, Http2State};
use crate::connections::http2::windows::INITIAL;

/// Fields that make a request malformed, and leave the table as it is: `x` without a value, then `:method: GET`, which must come first.
const MALFORMED: &[u8] = b"\0\x01x\0\x82";

/// What a new hyper reads first.
pub(super) fn beginning(state: &Http2State) -> Result<BytesMut, BadState> {
    let mut bytes = BytesMut::from(PREFACE);
    Head::new(Kind::Settings, 0, 0).write(&state.client.payload(), &mut bytes);
    let more = u32::try_from(state.send_window.saturating_sub(INITIAL)).unwrap_or(0).min(WORD_MAX);
    if more > 0 {
        window_update(more, &mut bytes);
    }
    if !state.table.is_empty() {
        let request = Head::new(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, state.last_id);
        request.write(&malformed(&state.table)?, &mut bytes);
    }
    Ok(bytes)
}

/// The table with fields that make a request malformed. Size updates must stay in front.
fn malformed(table: &[u8]) -> Result<BytesMut, BadState> {
    let (_, entries) = after_size_updates(table, |_| Some(())).ok_or(BadState::Table)?;
    let updates = table.strip_suffix(entries).ok_or(BadState::Table)?;
    let mut block = BytesMut::with_capacity(table.len() + MALFORMED.len());
    for part in [updates, MALFORMED, entries] {
        block.put_slice(part);
    }
    Ok(block)
}
