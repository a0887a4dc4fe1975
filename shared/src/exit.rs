//! Exit codes of `gin-supervisor` and `gin-ctl`.

/// Done.
pub const DONE: u8 = 0;
/// Failed, and what served before still serves. From `gin-ctl status`: degraded.
pub const FAILED: u8 = 1;
/// Wrong usage or configuration; nothing was touched.
pub const USAGE: u8 = 2;
/// No supervisor there.
pub const NO_SUPERVISOR: u8 = 3;
/// Busy with something else.
pub const BUSY: u8 = 4;
/// Refused, or not allowed.
pub const REFUSED: u8 = 5;
/// Timed out or cancelled.
pub const TIMED_OUT: u8 = 6;
