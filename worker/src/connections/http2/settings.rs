//! Settings of HTTP/2, of either side.

#![allow(dead_code, reason = "no connection of HTTP/2 is taken out of its protocol yet")]

/// Settings of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings(());

/// Settings of ours, as the client knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnSettings {
    pub(crate) max_streams: u32,
    pub(crate) window: u32,
    pub(crate) connection_window: u32,
    pub(crate) head_list: u32,
}
