//! The one error of gin-ctl: a sentence for people, and an exit code for scripts.

use std::io;
use std::path::Path;
use std::time::Duration;

use gin_shared::exit;

/// Why a command did not do what it should, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    /// See [`gin_shared::exit`].
    pub exit: u8,
    /// For people.
    pub text: String,
    /// True if a supervisor was there, and has gone in mid-sentence.
    pub interrupted: bool,
}

impl Failure {
    /// One.
    pub fn new(exit: u8, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), interrupted: false }
    }

    /// The socket at `path` does not take a connection.
    pub fn connect(path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::new(
                exit::REFUSED,
                format!("{path}: not allowed; run it as the supervisor's user, or set control_group or status_group"),
            ),
            io::ErrorKind::NotFound => {
                Self::new(exit::NO_SUPERVISOR, format!("no supervisor there: {path} does not exist"))
            }
            io::ErrorKind::ConnectionRefused => {
                Self::new(exit::NO_SUPERVISOR, format!("no supervisor there: nobody listens at {path}"))
            }
            // Its queue is full.
            io::ErrorKind::WouldBlock => Self::new(
                exit::TIMED_OUT,
                format!("{path}: the supervisor takes no more callers; does it hang, or is it stopped?"),
            ),
            _ => Self::new(exit::NO_SUPERVISOR, format!("{path}: {error}")),
        }
    }

    /// The supervisor is gone for longer than it may be.
    #[must_use]
    pub fn absent(time: Duration) -> Self {
        let text = format!(
            "the supervisor cannot be reached, for {} s now; the command may go on with the next one: gin-ctl status tells \
             what serves",
            time.as_secs()
        );
        Self::new(exit::NO_SUPERVISOR, text)
    }

    /// The supervisor went away in mid-sentence.
    #[must_use]
    pub fn gone() -> Self {
        let text = "the supervisor went away before it answered; gin-ctl status tells what serves";
        Self { interrupted: true, ..Self::new(exit::NO_SUPERVISOR, text) }
    }
}
