//! Why a generation cannot be frozen: what its configuration names and is not there.

use std::io;
use std::path::PathBuf;

use gin_shared::generation::Generation;

use super::program::ProgramError;
use super::worker_program::GinServerError;
use crate::certificates::error::CertificateError;
use crate::error_text::without_code;
use crate::os::identity::LookupError;
use crate::os::listener::ListenError;

/// A generation that cannot be frozen.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// The configured directory cannot be used.
    #[error("directory {}: {}", path.display(), without_code(error))]
    Directory {
        /// As it is configured.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The directory of a generation that is to be brought back is gone.
    #[error("directory {}: it is gone, and a worker runs in it", .0.display())]
    DirectoryGone(PathBuf),
    /// The worker's command cannot be executed.
    #[error(transparent)]
    Command(ProgramError),
    /// Another command cannot be executed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The ready-made worker cannot be used.
    #[error(transparent)]
    GinServer(#[from] GinServerError),
    /// The workers' user or group is unknown.
    #[error(transparent)]
    Identity(#[from] LookupError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The workers' configuration cannot be written.
    #[error("configuration snapshot: {}", without_code(.0))]
    Snapshot(io::Error),
    /// A certificate, or a file that belongs to it, cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The generation that is to be brought back was forgotten.
    #[error("generation {0} is not known any more")]
    Forgotten(Generation),
}

impl FreezeError {
    /// True if another user may find what this one cannot look at.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        if let Self::Certificate(error) = self {
            return error.is_hidden();
        }
        let (Self::Directory { error, .. }
        | Self::Command(ProgramError::System { error, .. })
        | Self::Program(ProgramError::System { error, .. })) = self
        else {
            return false;
        };
        error.kind() == io::ErrorKind::PermissionDenied
    }

    /// The key of `[supervisor]` that names what is not there, if it is one that most configurations have.
    #[must_use]
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Directory { .. } | Self::DirectoryGone(_) => Some("directory"),
            Self::Command(_) => Some("command"),
            Self::Program(_)
            | Self::GinServer(_)
            | Self::Identity(_)
            | Self::Listen(_)
            | Self::Snapshot(_)
            | Self::Certificate(_)
            | Self::Forgotten(_) => None,
        }
    }
}
