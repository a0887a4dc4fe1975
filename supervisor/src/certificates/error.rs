//! Reasons why a certificate, or what belongs to it, cannot be used.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use gin_shared::tls::contents::ContentError;

use super::RETRY;
use crate::error_text::without_code;

/// A file of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("{}: {}", file.display(), without_code(error))]
    Read {
        /// Its path.
        file: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file is a directory, a pipe or a device.
    #[error("{}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The file is far larger than it can be.
    #[error("{}: {length} bytes, and {most} are allowed", file.display())]
    TooLarge {
        /// Its path.
        file: PathBuf,
        /// Its length, in bytes.
        length: u64,
        /// The most bytes that are read.
        most: u64,
    },
    /// The file has changed each time while it was read.
    #[error("{}: somebody writes it all the time", .0.display())]
    Unsettled(PathBuf),
    /// The file can be read, and what stands in it cannot be used.
    #[error(transparent)]
    Contents(#[from] ContentError),
    /// The memory for the workers cannot be made.
    #[error("certificates cannot be given to workers: {0}")]
    Memory(io::Error),
}

impl CertificateError {
    /// True if another user may find what this one cannot look at.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        matches!(self, Self::Read { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// The moment at which the file may be good though nobody changes it. `None`: only a change helps, which the watch notices.
    #[must_use]
    pub fn again(&self, now: SystemTime) -> Option<SystemTime> {
        match self {
            Self::Contents(ContentError::NotYet { starts, .. }) => Some(*starts),
            Self::Read { error, .. } => {
                let needs_change = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
                (!needs_change).then_some(now + RETRY)
            }
            Self::Unsettled(_) => Some(now + RETRY),
            Self::NotAFile(_) | Self::TooLarge { .. } | Self::Contents(_) | Self::Memory(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_file_is_read_again_if_time_alone_may_make_it_good() {
        let (now, file) = (UNIX_EPOCH + Duration::from_secs(1_800_000_000), PathBuf::from("/etc/shop.pem"));
        let read = |error: io::Error| CertificateError::Read { file: file.clone(), error }.again(now);
        assert_eq!(read(io::Error::from_raw_os_error(nix::libc::EMFILE)), Some(now + RETRY));
        assert_eq!(read(io::ErrorKind::NotFound.into()), None);
        let starts = now + Duration::from_secs(90);
        assert_eq!(
            CertificateError::Contents(ContentError::NotYet { file: file.clone(), starts }).again(now),
            Some(starts)
        );
        assert_eq!(CertificateError::Contents(ContentError::Ended { file, ends: now }).again(now), None);
    }
}
