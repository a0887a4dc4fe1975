//! Settings of TLS of one listener.

#![allow(dead_code, reason = "not every part of it is used yet")]

/// Settings of TLS of one listener.
#[derive(Debug, Clone)]
pub(crate) struct Profile(());
