//! HTTP/2 without a protocol: the state that a connection has between two owners.

pub(crate) mod settings;
pub(crate) mod state;
