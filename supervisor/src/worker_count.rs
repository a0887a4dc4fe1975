//! The number of workers in words.

use std::fmt::Display;

/// "1 worker", "2 workers".
#[must_use]
pub fn workers<N: Display + PartialEq + From<u8>>(count: N) -> String {
    if count == N::from(1) { "1 worker".to_owned() } else { format!("{count} workers") }
}
