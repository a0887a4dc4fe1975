//! Contents of files of TLS: a certificate with its key, authorities of client certificates, a secret of session tickets. Each is checked
//! as far as that goes without cryptography; reading the files is for others.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::certificate::Facts;
use super::der::DerError;
use super::pem::{self, Block, PemError};
use super::private_key::{may_belong, public_half};
use crate::config::listen::PairFiles;

/// Lengths of a secret for session tickets, in bytes.
pub const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 32..=1024;

/// Contents that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
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
}

impl ContentError {
    /// The file that is to be repaired.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::NoCertificate(file) | Self::NoKey(file) | Self::KindOfKey(file) => file,
            Self::Mismatch { cert, .. } => cert,
            Self::Pem { file, .. }
            | Self::Certificate { file, .. }
            | Self::Ended { file, .. }
            | Self::NotYet { file, .. }
            | Self::SecretLength { file, .. } => file,
        }
    }
}

/// Checks that a certificate and a key belong together. Returns the facts of the certificate.
///
/// # Errors
/// If a file holds something else, or the two do not belong together.
pub fn pair(files: &PairFiles, cert: &[u8], key: &[u8]) -> Result<Facts, ContentError> {
    let facts = certificate(&files.cert, cert)?;
    if !facts.has_usable_key {
        return Err(ContentError::KindOfKey(files.cert.clone()));
    }
    let failed = |error| ContentError::Pem { file: files.key.clone(), error };
    let keys = pem::blocks(key).map_err(failed)?;
    let found = keys.iter().find(|block| block.is_private_key());
    let found = found.ok_or_else(|| ContentError::NoKey(files.key.clone()))?;
    let half = public_half(found.contents.bytes(), &found.label);
    if !may_belong(half.as_deref(), &facts.public_key) {
        return Err(ContentError::Mismatch { cert: files.cert.clone(), key: files.key.clone() });
    }
    Ok(facts)
}

/// Facts of the first certificate of a chain. The others are read, too: half a chain is worse than none.
///
/// # Errors
/// If `file` has no certificate, or one that cannot be read.
pub fn certificate(file: &Path, chain: &[u8]) -> Result<Facts, ContentError> {
    let blocks = pem::blocks(chain).map_err(|error| ContentError::Pem { file: file.to_owned(), error })?;
    let failed = |error| ContentError::Certificate { file: file.to_owned(), error };
    let facts = |block: &Block| Facts::of_der(block.contents.bytes()).map_err(failed);
    let mut all = blocks.iter().filter(|block| block.is_certificate()).map(facts);
    let first = all.next().ok_or_else(|| ContentError::NoCertificate(file.to_owned()))??;
    all.try_for_each(|other| other.map(drop))?;
    Ok(first)
}

/// Checks that the certificate in `file` counts at `now`.
///
/// # Errors
/// If it has ended, or does not count yet.
pub fn check_time(file: &Path, facts: &Facts, now: SystemTime) -> Result<(), ContentError> {
    let Facts { starts, ends, .. } = *facts;
    if ends <= now {
        return Err(ContentError::Ended { file: file.to_owned(), ends });
    }
    if starts > now {
        return Err(ContentError::NotYet { file: file.to_owned(), starts });
    }
    Ok(())
}

/// Checks that a file has certificates of authorities, each of which can be read.
///
/// # Errors
/// If it has none, or one cannot be read.
pub fn authorities(file: &Path, contents: &[u8]) -> Result<(), ContentError> {
    certificate(file, contents).map(drop)
}

/// Checks the length of a secret for session tickets.
///
/// # Errors
/// If it is too short or too long.
pub fn ticket_secret(file: &Path, length: usize) -> Result<(), ContentError> {
    if SECRET_LENGTH.contains(&length) {
        return Ok(());
    }
    let (least, most) = (*SECRET_LENGTH.start(), *SECRET_LENGTH.end());
    Err(ContentError::SecretLength { file: file.to_owned(), length, least, most })
}

/// The day of a moment, in UTC: "2027-03-01".
#[must_use]
pub fn day(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at.max(UNIX_EPOCH)).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}
