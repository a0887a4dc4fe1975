//! System errors in the words that people know.

use std::io;

/// The text of a system error in lower case, without its number: "permission denied", not "Permission denied (os error 13)".
#[must_use]
pub fn without_code(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
