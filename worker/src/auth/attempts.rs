//! Attempts to log in, counted by account and by address.

#![allow(dead_code, reason = "filled by the next commits")]

use crate::config::RateLimit;

/// Limits of attempts, as the configuration says. `None`: no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) account: Option<RateLimit>,
    pub(crate) address: Option<RateLimit>,
}

/// Attempts to log in of a request's client.
#[derive(Debug)]
pub struct Attempts(());

/// An attempt that was counted.
#[derive(Debug)]
pub struct Attempt(());
