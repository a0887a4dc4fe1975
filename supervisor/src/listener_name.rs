//! The name of a listener: what LISTEN_FDNAMES can carry (`sd_listen_fds(3)`), and a unit's name, too.

/// A name that no listener can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenerNameError {
    /// Each worker's private listener has this name.
    #[error("\"{0}\" names each worker's own listener; choose another name")]
    Reserved(String),
    /// The name is empty, too long, or has other characters.
    #[error("\"{0}\" cannot name a listener; use letters, digits and . _ -, 64 at most")]
    Characters(String),
}

/// Checks a name.
///
/// # Errors
/// See [`ListenerNameError`].
pub fn parse(text: &str) -> Result<String, ListenerNameError> {
    let fits = (1..=64).contains(&text.len());
    if text == gin_shared::inherit::PRIVATE {
        Err(ListenerNameError::Reserved(text.to_owned()))
    } else if fits && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        Ok(text.to_owned())
    } else {
        Err(ListenerNameError::Characters(text.to_owned()))
    }
}
