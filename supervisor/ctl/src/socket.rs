//! A control or status socket, opened where it lies.
//!
//! Its directory is looked at first, and who listens is asked of the kernel (SO_PEERCRED) before a word is sent: root, the user of
//! this process, or the user whom root has given the directory to. See [`gin_shared::directory`].

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use gin_shared::directory::{Directory, Doubt, Why};
use gin_shared::exit;
use gin_shared::unix_socket;
use tokio::net::UnixStream;

use crate::failure::Failure;

/// A socket's file; nobody may listen there.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    file: File,
    directory: Directory,
}

impl Socket {
    /// Opens the file. A link in its place is not followed.
    ///
    /// # Errors
    /// If it is not there, or its directory cannot be believed.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let (directory, name) = Directory::of_file_in_shared(path).map_err(|doubt| doubtful(path, doubt))?;
        let file = directory.look(&name).map_err(|error| Failure::connect(path, &error))?;
        Ok(Self { path: path.to_owned(), file, directory })
    }

    /// Connects to whoever listens.
    ///
    /// # Errors
    /// If nobody does, or somebody who cannot be believed.
    pub async fn connect(&self) -> Result<UnixStream, Failure> {
        let failed = |error| Failure::connect(&self.path, &error);
        let stream = UnixStream::connect(self.name()).await.map_err(failed)?;
        let uid = stream.peer_cred().map_err(failed)?.uid();
        if self.directory.believes(uid) {
            return Ok(stream);
        }
        let path = self.path.display();
        let text = format!(
            "{path}: a process of uid {uid} listens there, which is neither root, nor you, nor the directory's owner; \
             it was told nothing"
        );
        Err(Failure::new(exit::REFUSED, text))
    }

    /// True if somebody listens there; one who would not listen to us is somebody, too.
    #[must_use]
    pub fn answers(&self) -> bool {
        match unix_socket::ask(&self.file) {
            Ok(()) => true,
            // Its queue may be full.
            Err(error) => matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::WouldBlock),
        }
    }

    /// A name that leads to the file that was opened, whatever lies at its path by now (proc_pid_fd(5)).
    fn name(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }
}

fn doubtful(path: &Path, Doubt { path: directory, why }: Doubt) -> Failure {
    match why {
        Why::Io(error) => Failure::connect(path, &error),
        why => {
            let doubt = Doubt { path: directory, why };
            let text = format!("{}: {doubt}; others could have put a socket there, so it is not asked", path.display());
            Failure::new(exit::REFUSED, text)
        }
    }
}
