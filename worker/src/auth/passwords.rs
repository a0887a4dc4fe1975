//! Hashes of passwords.

#![allow(dead_code, reason = "filled by the next commits")]

use crate::config;

/// Hashes passwords, and checks them.
#[derive(Debug, Clone)]
pub struct Passwords(());

impl Passwords {
    pub(crate) fn new(_: &config::Auth) -> Self {
        Self(())
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// It is not the password.
    Wrong,
    /// It is the password.
    Right,
    /// It is the password, and its hash has older parameters.
    Outdated {
        /// The hash to be stored instead.
        hash: String,
    },
}
