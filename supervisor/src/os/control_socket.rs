//! The Unix sockets of the control API: bound by the master, and passed on over an upgrade in place.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gin_shared::descriptors::refuse_descriptors;
use gin_shared::directory::{Directory, Doubt, Why};
use nix::sys::stat::{Mode, umask};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::identity::{self, LookupError};
use super::listener::{ListenError, remove_stale};
use super::socket_file::{Access, BoundFile};

/// A control socket that cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum ControlSocketError {
    /// Another file lies there, or a process listens there.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Others could put a socket of their own in its place.
    #[error("{} is not safe for a control socket: {why}; choose a directory that root or this user owns and nobody else can write",
        path.display())]
    Unsafe {
        /// The directory, or one above it.
        path: PathBuf,
        /// Reason to doubt it.
        why: Why,
    },
    /// The group is unknown.
    #[error(transparent)]
    Group(#[from] LookupError),
    /// A system call failed.
    #[error("{}", crate::error_text::without_code(.0))]
    System(#[from] io::Error),
}

/// Checks that nobody but root and this user can put a socket at a path. A directory that is not there yet is nobody's.
///
/// # Errors
/// [`ControlSocketError::Unsafe`].
pub fn check(path: &Path) -> Result<(), ControlSocketError> {
    match Directory::of_file(path).and_then(|(directory, _)| directory.ours()) {
        // What cannot be seen is an error of bind(2).
        Ok(_) | Err(Doubt { why: Why::Io(_), .. }) => Ok(()),
        Err(Doubt { path, why }) => Err(ControlSocketError::Unsafe { path, why }),
    }
}

/// A socket of the control API. Its file is removed with the last copy.
#[derive(Debug, Clone)]
pub struct ControlSocket {
    bound: Rc<RefCell<Rc<Bound>>>,
    renewed: Rc<Notify>,
}

/// The socket as it is bound now.
#[derive(Debug)]
struct Bound {
    /// Goes first: nobody is to find a socket that does not listen.
    file: BoundFile,
    listener: UnixListener,
}

impl ControlSocket {
    /// Binds the socket: for the owner, and for a group if there is one.
    ///
    /// A socket that a killed master left there is replaced. Any other file stays, and so does a socket at which a process
    /// listens. Needs a tokio runtime.
    ///
    /// # Errors
    /// The errors of `bind(2)` and `chown(2)`; an unknown group; a file in its place; a directory that others can write.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, ControlSocketError> {
        Ok(Self::new(Bound::bind(path, group)?))
    }

    /// Resumes a socket that the program before this one bound.
    ///
    /// # Errors
    /// The errors of `epoll_ctl(2)`.
    pub fn resume(fd: OwnedFd, path: &Path, group: Option<&str>) -> io::Result<Self> {
        let there = std::fs::symlink_metadata(path).ok().filter(|there| there.file_type().is_socket());
        if there.is_none()
            && let Ok(anew) = Self::bind(path, group)
        {
            tracing::warn!("{}: somebody has removed the socket; it is there again", path.display());
            return Ok(anew);
        }
        let listener = UnixListener::from_std(fd.into())?;
        refuse_descriptors(&listener);
        // A file that lies there instead is not ours to remove.
        let file = BoundFile::resume(path, there.map(|there| (there.dev(), there.ino())));
        Ok(Self::new(Bound { listener, file }))
    }

    fn new(bound: Bound) -> Self {
        Self { bound: Rc::new(RefCell::new(Rc::new(bound))), renewed: Rc::default() }
    }

    /// Binds the socket anew if somebody has removed its file; gives a copy of its descriptor then, for a successor. All copies
    /// accept there. Without such a copy nothing is bound: it is to be tried again.
    ///
    /// # Errors
    /// As [`Self::bind`]; the errors of `dup(2)`.
    pub fn renew(&self, group: Option<&str>) -> Result<Option<OwnedFd>, ControlSocketError> {
        let before = Rc::clone(&self.bound.borrow());
        if before.file.is_there() {
            return Ok(None);
        }
        let anew = Bound::bind(before.file.path(), group)?;
        let copy = anew.listener.as_fd().try_clone_to_owned()?;
        *self.bound.borrow_mut() = Rc::new(anew);
        self.renewed.notify_one();
        Ok(Some(copy))
    }

    /// The path of its file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.bound.borrow().file.path().to_owned()
    }

    /// A copy of its descriptor.
    ///
    /// # Errors
    /// The errors of `dup(2)`.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.bound.borrow().listener.as_fd().try_clone_to_owned()
    }

    /// Waits for the next caller.
    ///
    /// # Errors
    /// The errors of `accept(2)`.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let bound = Rc::clone(&self.bound.borrow());
            tokio::select! {
                accepted = bound.listener.accept() => return Ok(accepted?.0),
                () = self.renewed.notified() => {}
            }
        }
    }
}

impl Bound {
    fn bind(path: &Path, group: Option<&str>) -> Result<Self, ControlSocketError> {
        check(path)?;
        remove_stale(path)?;
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        let listener = listener?;
        // What callers send along would be closed by the loop, and that may take as long as they like.
        refuse_descriptors(&listener);
        let socket = Self { listener, file: BoundFile::of_bound(path) };
        if let Some(name) = group {
            let (_, gid) = identity::lookup(None, Some(name))?;
            socket.file.permit(Access { owner: None, group: gid, mode: Some(0o660) })?;
        }
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener as Blocking, UnixStream as Caller};

    use super::*;

    #[tokio::test]
    async fn a_socket_that_comes_back_comes_with_a_copy_for_a_successor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = ControlSocket::bind(&path, None).unwrap();
        assert!(socket.renew(None).unwrap().is_none());
        std::fs::remove_file(&path).unwrap();
        let copy = socket.renew(None).unwrap().expect("it was gone");
        let _caller = Caller::connect(&path).unwrap();
        Blocking::from(copy).accept().unwrap();
        // What cannot be done now is tried again.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(socket.renew(None).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(socket.renew(None).unwrap().is_some());
        drop(socket);
        assert!(!path.exists());
    }
}
