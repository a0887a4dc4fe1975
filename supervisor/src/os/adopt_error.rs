//! Reasons why something that a dead master left cannot be taken up.

use std::fmt::Display;
use std::io;

use nix::errno::Errno;

use crate::error_text::without_code;

/// Something of a dead master that cannot be taken up.
#[derive(Debug)]
pub struct AdoptError {
    /// The reason, in words.
    pub text: String,
    /// True if the next try may succeed: too many open files, no memory.
    pub is_transient: bool,
}

impl AdoptError {
    /// A reason that stays.
    #[must_use]
    pub fn lasting(text: String) -> Self {
        Self { text, is_transient: false }
    }

    /// The failure of a system call.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let transient =
            [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EIO, Errno::EINTR, Errno::EAGAIN];
        let is_transient = error.raw_os_error().is_some_and(|code| transient.contains(&Errno::from_raw(code)));
        Self { text: without_code(error), is_transient }
    }

    /// The same error, with the place where it happened.
    #[must_use]
    pub fn at(self, what: &dyn Display) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }
}
