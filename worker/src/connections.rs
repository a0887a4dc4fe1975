//! Connections of a worker, from the kernel to their end: transport, protocols, parking and handover.

pub(crate) mod accept;
pub(crate) mod activity;
pub(crate) mod connection;
pub(crate) mod handover;
pub(crate) mod io;
pub(crate) mod listener;
pub(crate) mod parking;
pub(crate) mod protocol;
pub(crate) mod transport;
pub(crate) mod websocket_closer;
mod websocket_frame;

pub use protocol::http1::Connection;
pub(crate) use websocket_frame::FrameHead;
