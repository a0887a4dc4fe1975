//! Settings of TLS of a worker.

#![allow(dead_code, reason = "not every part of it is used yet")]

/// Settings of TLS of a worker.
#[derive(Debug)]
pub(crate) struct TlsContext(());

impl TlsContext {
    /// The settings of a worker of which no listener speaks TLS.
    pub(crate) fn none() -> Self {
        Self(())
    }
}
