//! A question to a Unix socket: does somebody listen there? It is asked by the file, and does not wait.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

/// Connects to the socket whose file was opened (`O_PATH`), whatever lies at its path by now; the connection is closed at once.
/// Nobody is waited for.
///
/// # Errors
/// The errors of `connect(2)`: ECONNREFUSED if nobody listens, EAGAIN if the queue of the one who does is full, EACCES if this user
/// may not connect.
pub fn ask(file: &File) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // This name leads to the file itself (proc_pid_fd(5)).
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(connect(probe.as_raw_fd(), &UnixAddr::new(opened.as_str())?)?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io::ErrorKind;
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{Backlog, listen};

    use super::*;
    use crate::directory::Directory;

    #[test]
    fn nobody_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let file = Directory::open(dir.path()).unwrap().look(OsStr::new("socket")).unwrap();
        ask(&file).unwrap();
        // Who has room for few and takes none keeps nobody waiting.
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let full = (0..9).find_map(|_| ask(&file).err()).expect("its queue is full");
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        drop(listener);
        assert_eq!(ask(&file).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
