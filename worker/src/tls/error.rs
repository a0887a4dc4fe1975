//! Errors of certificates and keys, for those who have to repair the files.

use std::io;
use std::path::PathBuf;

use gin_shared::config::listen::PairFiles;
use gin_shared::tls::material::MaterialError;
use s2n_tls::error::Error;

/// A reason why certificates cannot be used. Those in use stay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The memory of the supervisor.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// A file that this worker reads itself.
    #[error("cannot read {}: {error}", .file.display())]
    File { file: PathBuf, error: io::Error },
    /// A pair that a listener needs, and that has not come.
    #[error("{} with the key {}: the supervisor has not passed them; restart it", .0.cert.display(), .0.key.display())]
    Missing(PairFiles),
    /// A pair that s2n does not take.
    #[error("{} with the key {}: {why}", .files.cert.display(), .files.key.display())]
    Pair { files: PairFiles, why: &'static str },
    /// The authorities of client certificates.
    #[error("client_ca_file {}: {why}", .file.display())]
    Authority { file: PathBuf, why: &'static str },
    /// The secret of session tickets.
    #[error("ticket_secret_file {}: {length} bytes; write 32 to 1024 random ones, as `openssl rand -out FILE 48` does", .file.display())]
    Secret { file: PathBuf, length: usize },
    /// Anything else that s2n does not take.
    #[error("{0}")]
    Library(&'static str),
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        Self::Library(why(&error))
    }
}

/// The reason in words: for the usual mistakes ours, else the name that s2n has for it. Its longer texts have paths of the machine that has
/// compiled it.
pub(super) fn why(error: &Error) -> &'static str {
    match error.name() {
        "S2N_ERR_KEY_MISMATCH" => "the key is another certificate's",
        "S2N_ERR_INVALID_PEM" | "S2N_ERR_NO_CERTIFICATE_IN_PEM" => "it is not in PEM, or is cut short",
        // s2n says no more of a key of Ed25519.
        "S2N_ERR_DECODE_CERTIFICATE" => {
            "the certificate cannot be read, or its key is of a kind that is not supported; use ECDSA or RSA"
        }
        "S2N_ERR_DECODE_PRIVATE_KEY" => "the key cannot be read; it must be in PEM, without a passphrase",
        "S2N_ERR_CERT_TYPE_UNSUPPORTED" => "the key is of a kind that is not supported; use ECDSA or RSA",
        name => name,
    }
}
