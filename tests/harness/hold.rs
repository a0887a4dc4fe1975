//! Requests and candidates that wait until the test lets them go.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::PATIENCE;

/// A socket at which the fixture waits while it answers a request: see `/held` in `tests/fixtures/worker.rs`. A test
/// learns from it that the request has reached its handler, and says when the handler goes on. If it is dropped, nobody
/// is held any more.
#[derive(Debug)]
pub struct Hold {
    path: PathBuf,
    listener: UnixListener,
}

/// A request whose handler waits. Dropped, it is let go.
#[derive(Debug)]
pub struct Held(UnixStream);

impl Hold {
    /// Makes one in `directory`.
    ///
    /// # Panics
    /// If there is one already.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let path = directory.join("hold");
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// The target of requests that are held. More may be added to its query.
    #[must_use]
    pub fn target(&self) -> String {
        format!("/held?by={}", self.path.display())
    }

    /// A request that is held, over HTTP/1.1.
    #[must_use]
    pub fn request(&self) -> String {
        format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", self.target())
    }

    /// A setting: candidates wait in their warm-up. They are workers of ours.
    #[must_use]
    pub fn warm_up(&self) -> String {
        let ask = format!("curl -fsS --unix-socket $GIN_PRIVATE_SOCKET 'http://x{}'", self.target());
        format!("warm_up = [\"/bin/sh\", \"-c\", {ask:?}]")
    }

    /// Waits until a request has reached its handler.
    ///
    /// # Panics
    /// If none does.
    #[must_use]
    pub fn arrived(&self) -> Held {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let arrived = poll(&mut [PollFd::new(&self.listener, PollFlags::IN)], Some(&patience)).unwrap();
        assert!(arrived > 0, "no request is held");
        Held(self.listener.accept().unwrap().0)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Those that come later find nobody, and go on.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Held {
    /// Has the handler go on: it reads the end of the stream.
    pub fn release(self) {
        drop(self.0);
    }
}
