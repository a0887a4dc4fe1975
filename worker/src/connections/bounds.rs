//! Bounds of every connection of a worker: what the configuration says of time and of size.

use crate::config::{Limits, Timeouts};

/// Bounds of every connection. They do not change while the worker lives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
}
