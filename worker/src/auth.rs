//! Logins by tokens: identity, roles and scopes. The feature `auth`.

#![allow(dead_code, reason = "filled by the next commits")]

mod attempts;
mod part;
mod passwords;

pub use attempts::{Attempt, Attempts};
pub(crate) use part::AuthPart;
pub use passwords::{Checked, Passwords};
