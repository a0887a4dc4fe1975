//! State of a connection of HTTP/2 that no protocol has.

#![allow(dead_code, reason = "no connection of HTTP/2 is taken out of its protocol yet")]

use bytes::Bytes;

use crate::connections::http2::settings::{ClientSettings, OwnSettings};

/// State of a connection of HTTP/2 between two protocols.
#[derive(Debug)]
pub(crate) struct Http2State {
    pub(crate) client: ClientSettings,
    pub(crate) own: OwnSettings,
    /// Number of the last stream that the client has opened.
    pub(crate) last_id: u32,
    /// Bytes that the client takes.
    pub(crate) send_window: i64,
    /// Bytes that the client may send.
    pub(crate) receive_window: i64,
    /// Number of streams that the client has reset.
    pub(crate) resets: u32,
    /// Fields that the client's compression remembers.
    pub(crate) table: Bytes,
}
