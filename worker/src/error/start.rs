//! The reason for which a worker does not start.

use std::fmt;
use std::io;

use super::chain;
use crate::config::Invalid;

/// The reason for which a worker does not start.
///
/// It is a [`std::error::Error`], so `main` may as well return `anyhow::Result<()>` or a box of any error:
///
/// ```no_run
/// use gin_worker::{BoxError, Config, Server};
///
/// #[tokio::main]
/// async fn main() -> Result<(), BoxError> {
///     let greeting = std::fs::read_to_string("greeting")?;
///     let server: Server = Server::new(&Config::<()>::load()?).get("/", async move || greeting.clone());
///     server.run().await?;
///     Ok(())
/// }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// It cannot listen.
    #[error("cannot listen on {address}: {error}{}", advice(.error))]
    #[non_exhaustive]
    Listen {
        /// Where.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// Routes that exclude one another, or are none.
    #[error("{0}")]
    Routes(String),
    /// Metrics of the application whose names or labels cannot be.
    #[error("{0}")]
    Metrics(String),
    /// A directory or a file that cannot be served.
    #[error("{named}: cannot serve {dir}: {error}")]
    #[non_exhaustive]
    Files {
        /// The key, or the files as the program has added them, with the place.
        named: String,
        /// Which.
        dir: String,
        /// Why.
        error: io::Error,
    },
    /// The rate limit is to count clients by addresses that a Unix socket does not tell.
    #[error("{}", crate::config::tells_no_address(.address))]
    #[non_exhaustive]
    RateLimit {
        /// The socket's address.
        address: String,
    },
    /// Settings of traces that cannot be used, with what to do.
    #[error("traces: {0}")]
    Traces(String),
    /// Settings of profiles that cannot be used, with what to do.
    #[error("profiles: {0}")]
    Debug(String),
    /// Certificates and keys of TLS that cannot be used, with the file.
    #[error("TLS: {0}")]
    Tls(String),
    /// The log.
    #[error("logging: {0}")]
    Log(io::Error),
    /// What the master passed cannot be used.
    #[error("inherited descriptors: {0}")]
    Inherit(io::Error),
    /// Signals cannot be taken.
    #[error("signals: {0}")]
    Signals(io::Error),
    /// A part that the program has registered: a database, a cache, sessions.
    #[error("the {name}: {why}")]
    #[non_exhaustive]
    Part {
        /// Which.
        name: &'static str,
        /// Why it cannot be used, and what to do.
        why: String,
    },
    /// An order to migrate the database that makes no sense, or has failed.
    #[error("{0}")]
    Migrate(String),
}

/// What to do about an address that cannot be had.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process has it (`ss -ltnp` names it): end that one, or set server.port (PORT) to another one, 0 for any \
             that is free"
        }
        io::ErrorKind::PermissionDenied => {
            "; a port below 1024 takes root, or CAP_NET_BIND_SERVICE (AmbientCapabilities= of the unit), or a listener that \
             gin-supervisor passes"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; server.host is no address of this host: 0.0.0.0 and :: are all that it has"
        }
        _ => "",
    }
}

/// The error with all its underlying ones, as `main` prints it.
impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain::in_lines(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BoxError;

    #[test]
    fn an_address_that_cannot_be_had_says_what_to_do() {
        use std::net::TcpListener;
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let again = TcpListener::bind(taken.local_addr().unwrap()).unwrap_err();
        for (error, advice) in [
            (again, "server.port"),
            (io::ErrorKind::AddrNotAvailable.into(), "server.host"),
            (io::ErrorKind::PermissionDenied.into(), "CAP_NET_BIND_SERVICE"),
        ] {
            let text = StartError::Listen { address: "127.0.0.1:80".to_owned(), error }.to_string();
            assert!(text.starts_with("cannot listen on 127.0.0.1:80: ") && text.contains(advice), "{text}");
        }
    }

    #[test]
    fn the_reason_of_a_failed_start_is_in_its_text_once() {
        let error = io::Error::other("the disk is full");
        let failed = StartError::Listen { address: "0.0.0.0:80".to_owned(), error };
        let boxed: BoxError = failed.into();
        assert_eq!(format!("{boxed:?}"), "cannot listen on 0.0.0.0:80: the disk is full");
    }
}
