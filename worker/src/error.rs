//! Why a worker does not start.

use std::io;
use std::path::PathBuf;

/// One variant, one message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    ConfigFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file makes no sense.
    #[error("{}: {error}", path.display())]
    Config {
        /// Which.
        path: PathBuf,
        /// Where in it, and what.
        error: String,
    },
    /// A variable makes no sense.
    #[error("{name}={value}: {error}")]
    Variable {
        /// Which.
        name: String,
        /// What it says.
        value: String,
        /// What is wrong with it.
        error: String,
    },
    /// It cannot listen.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// What the master passed cannot be used.
    #[error("inherited descriptors: {0}")]
    Inherit(io::Error),
    /// Signals cannot be taken.
    #[error("signals: {0}")]
    Signals(io::Error),
}
