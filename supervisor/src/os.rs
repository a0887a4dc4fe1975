//! What talks to the kernel. The only place in the master where `unsafe` is allowed; each file allows it for itself.

pub mod activation;
pub mod channel;
pub mod exec;
pub use gin_shared::fault;
pub mod limits;
pub mod listener;
pub mod memory;
pub mod notify;
pub mod orphan;
pub mod pidfd;
pub mod pidfile;
pub mod private;
pub mod proc_net;
pub mod runtime;
pub mod shared_memory;
pub mod signal;
pub mod socket_file;
pub mod spawn;
pub mod state_file;
pub mod succession;
pub mod time;
mod watch;
pub mod words;

/// Why something of a dead master cannot be taken up.
#[derive(Debug)]
pub struct Obstacle {
    /// In words.
    pub text: String,
    /// Whether the next try may do: too many open files, no memory.
    pub passes: bool,
}

impl Obstacle {
    /// One that stays.
    #[must_use]
    pub fn lasting(text: String) -> Self {
        Self { text, passes: false }
    }

    /// What a call that failed is.
    #[must_use]
    pub fn of(error: &std::io::Error) -> Self {
        use nix::errno::Errno;
        let passing =
            [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EIO, Errno::EINTR, Errno::EAGAIN];
        let passes = error.raw_os_error().is_some_and(|code| passing.contains(&Errno::from_raw(code)));
        Self { text: crate::config::without_code(error), passes }
    }

    /// With what was being done.
    #[must_use]
    pub fn at(self, what: &dyn std::fmt::Display) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }
}
