//! Reasons why a certificate, or what belongs to it, cannot be used.

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use gin_shared::tls::der::DerError;
use gin_shared::tls::pem::PemError;

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
    /// The file is not made of whole blocks of PEM.
    #[error("{}: {error}", file.display())]
    Pem {
        /// Its path.
        file: PathBuf,
        /// What is wrong.
        error: PemError,
    },
    /// The file has no certificate.
    #[error("{}: no certificate in it; it must begin with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    /// The file has no private key.
    #[error("{}: no private key in it; it must have a line -----BEGIN PRIVATE KEY-----", .0.display())]
    NoKey(PathBuf),
    /// A certificate cannot be read.
    #[error("{}: a certificate in it cannot be read: {error}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: DerError,
    },
    /// The certificate's key is of a kind that workers do not take.
    #[error("{}: the certificate's key is of a kind that is not supported; use ECDSA or RSA", .0.display())]
    KindOfKey(PathBuf),
    /// Certificate and key do not belong together.
    #[error("{}: the key in {} is another certificate's", cert.display(), key.display())]
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificate has ended.
    #[error("{}: the certificate has ended on {}; replace the file", file.display(), day(*ends))]
    Ended {
        /// The file.
        file: PathBuf,
        /// The end.
        ends: SystemTime,
    },
    /// The certificate does not count yet.
    #[error("{}: the certificate counts from {} on; look at the clock of this machine, or at the file", file.display(), day(*starts))]
    NotYet {
        /// The file.
        file: PathBuf,
        /// The beginning.
        starts: SystemTime,
    },
    /// The secret for session tickets is too short or too long.
    #[error("{}: {length} bytes, and a secret for session tickets has {least} to {most}; make one with: openssl rand -base64 48", file.display())]
    SecretLength {
        /// The file.
        file: PathBuf,
        /// Its length, in bytes.
        length: usize,
        /// The fewest bytes.
        least: usize,
        /// The most bytes.
        most: usize,
    },
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
            Self::NotYet { starts, .. } => Some(*starts),
            Self::Read { error, .. } => {
                let needs_change = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
                (!needs_change).then_some(now + RETRY)
            }
            Self::Unsettled(_) => Some(now + RETRY),
            Self::NotAFile(_)
            | Self::TooLarge { .. }
            | Self::Pem { .. }
            | Self::NoCertificate(_)
            | Self::NoKey(_)
            | Self::Certificate { .. }
            | Self::KindOfKey(_)
            | Self::Mismatch { .. }
            | Self::Ended { .. }
            | Self::SecretLength { .. }
            | Self::Memory(_) => None,
        }
    }
}

/// The day of a moment, in UTC: "2027-03-01".
#[must_use]
pub fn day(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at.max(UNIX_EPOCH)).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_read_again_if_time_alone_may_make_it_good() {
        let (now, file) = (UNIX_EPOCH + Duration::from_secs(1_800_000_000), PathBuf::from("/etc/shop.pem"));
        let read = |error: io::Error| CertificateError::Read { file: file.clone(), error }.again(now);
        assert_eq!(read(io::Error::from_raw_os_error(nix::libc::EMFILE)), Some(now + RETRY));
        assert_eq!(read(io::ErrorKind::NotFound.into()), None);
        let starts = now + Duration::from_secs(90);
        assert_eq!(CertificateError::NotYet { file: file.clone(), starts }.again(now), Some(starts));
        assert_eq!(CertificateError::Ended { file, ends: now }.again(now), None);
    }
}
