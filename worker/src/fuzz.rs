//! Ways for the fuzz targets of `tests/fuzz` into private code: a worker that is reached over socket pairs, the paths of requests, the
//! tap of HTTP/2 connections, and PROXY headers.
//!
//! It is built by `cargo fuzz`, and for the tests of this crate, so that it is not forgotten. No other build has it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::{Request, Uri};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

#[cfg(feature = "auth")]
pub use crate::auth::fuzzed::Tokens;
use crate::connections::Hub;
use crate::connections::accept::serve_pair;
use crate::connections::http2::fuzzed;
use crate::connections::proxy::{HEADER_MAX, Parsed, parse};
use crate::{Server, StartError, assets, request_path};

/// A worker without a listener: everything between the socket and the application is as in any worker.
#[derive(Debug)]
pub struct Hosted(Arc<Hub>);

impl Hosted {
    /// Starts it on the current runtime. Hooks and background tasks do not run.
    ///
    /// # Errors
    /// As a worker's start.
    pub fn start(server: Server) -> Result<Self, StartError> {
        server.worker(None)?.hub_for_test().map(Self)
    }

    /// Opens a connection. Returns the client's end; it does not block.
    ///
    /// # Errors
    /// The errors of `socketpair(2)`; no room for one more connection.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (client, worker) = UnixStream::pair()?;
        client.set_nonblocking(true)?;
        worker.set_nonblocking(true)?;
        serve_pair(&self.0, worker)?;
        Ok(client)
    }

    /// Opens a handover to this worker. Returns the giver's end.
    ///
    /// # Errors
    /// The errors of `socketpair(2)`.
    pub fn take_over(&self) -> io::Result<OwnedFd> {
        let (giver, taker) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        self.0.take_over(taker);
        Ok(giver)
    }

    /// Number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.life().connections()
    }
}

/// A path of a request below a directory of static files.
#[derive(Debug)]
pub struct Lookup {
    /// The path below the directory.
    pub path: PathBuf,
    /// True if the request asks for a directory.
    pub is_directory: bool,
    /// The file.
    pub found: io::Result<OwnedFd>,
}

/// Looks up the file for the path of a request, as it came. `None`: there can be no such file.
#[must_use]
pub fn look_up(root: &Path, path: &str) -> Option<Lookup> {
    let (path, is_directory, found) = assets::look_up(root, path)?;
    Some(Lookup { path, is_directory, found })
}

/// The URI as routes, guards and files see it.
#[must_use]
pub fn normalize(uri: &Uri) -> Uri {
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
    // One that is too long is refused.
    let _ = request_path::normalize(&mut request);
    request.uri().clone()
}

/// Runs a script of frames over the tap between hyper and a client of HTTP/2.
///
/// # Panics
/// If it lets through what it must not.
pub fn tap(script: &[u8]) {
    fuzzed::run(script);
}

/// Reads a PROXY header at the beginning of these bytes, as they come one by one, and as they come all at once.
///
/// # Panics
/// If the two differ, or a byte behind the header counts as a part of it.
pub fn proxy(bytes: &[u8]) {
    let whole = parse(bytes);
    let most = bytes.len().min(HEADER_MAX + 1);
    let known = (0..=most).map(|count| (count, parse(&bytes[..count]))).find(|(_, known)| *known != Parsed::Incomplete);
    match known {
        None => assert!(whole == Parsed::Incomplete && bytes.len() <= HEADER_MAX, "no end: {whole:?}"),
        Some((count, Parsed::Header { length, .. })) => {
            assert!(count == length && length <= HEADER_MAX, "{length} of {count}");
            assert_eq!(known.map(|(_, known)| known), Some(whole));
        }
        Some((_, Parsed::Wrong(_) | Parsed::Incomplete)) => assert!(matches!(whole, Parsed::Wrong(_)), "{whole:?}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::Config;

    #[tokio::test]
    async fn a_connection_over_a_pair_is_served_like_any_other() {
        let hosted = Hosted::start(Server::new(&Config::<()>::default()).get("/", || async { "hello" })).unwrap();
        let mut client = tokio::net::UnixStream::from_std(hosted.connect().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
        drop(client);
        while hosted.connections() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(hosted.take_over().is_ok());
    }

    #[test]
    fn seeds_of_proxy_headers_are_read_alike_in_parts() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/seeds/proxy");
        let seeds: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(seeds.len() >= 6);
        seeds.iter().for_each(|seed| proxy(&std::fs::read(seed).unwrap()));
    }

    #[test]
    fn a_path_and_its_normal_form_lead_to_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a b"), "text").unwrap();
        for sent in ["/a%20b", "/%61%20b"] {
            let uri: Uri = sent.parse().unwrap();
            assert_eq!(normalize(&uri).path(), "/a%20b");
            let found = look_up(dir.path(), uri.path()).unwrap();
            assert!(found.path == Path::new("a b") && !found.is_directory && found.found.is_ok(), "{found:?}");
        }
        assert!(look_up(dir.path(), "/%2e%2e/x").is_none());
    }
}
