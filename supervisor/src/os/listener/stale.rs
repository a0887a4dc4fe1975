//! Socket files that a crash has left.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use gin_shared::directory::{Directory, Why};
use gin_shared::listen::Address;
use gin_shared::unix_socket;
use nix::errno::Errno;

use super::error::{ListenError, in_use};

/// Removes the socket file that a crash left behind; one that somebody listens on stays.
///
/// The directory is opened first, and the file is asked and removed there: nobody who can change the path meanwhile has another
/// file removed.
///
/// # Errors
/// If somebody listens there, or it is no socket, or its directory is reached by a link that others can have made.
pub fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let address = Address::Unix(path.to_owned());
    let failed = |step, error| ListenError::System { address: address.clone(), step, error };
    let (directory, name) = match Directory::of_file_anywhere(path) {
        Ok(found) => found,
        // Nothing lies there, or it cannot be seen: bind(2) says so.
        Err(doubt) if matches!(doubt.why, Why::Io(_)) || path.symlink_metadata().is_err() => return Ok(()),
        Err(doubt) => return Err(ListenError::Doubtful { path: path.to_owned(), doubt }),
    };
    let Ok(file) = directory.look(&name) else { return Ok(()) };
    if !file.metadata().is_ok_and(|file| file.file_type().is_socket()) {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match unix_socket::ask(&file).map_err(errno) {
        Err(Errno::ECONNREFUSED) => {
            directory.remove(&name).map_err(|error| failed("removing the stale socket", errno(error)))
        }
        // It could not be asked.
        Err(error @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => Err(failed("socket", error)),
        Ok(()) | Err(_) => Err(in_use(&address, Errno::EADDRINUSE)),
    }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_that_nobody_listens_at_is_removed_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        remove_stale(&path).unwrap();
        remove_stale(&dir.path().join("nowhere/socket")).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(remove_stale(&path), Err(ListenError::InUse { .. })));
        drop(listener);
        remove_stale(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(remove_stale(&path), Err(ListenError::NotASocket(_))));
        // A link is no socket, whatever it leads to.
        let link = dir.path().join("link");
        drop(UnixListener::bind(dir.path().join("real")).unwrap());
        symlink(dir.path().join("real"), &link).unwrap();
        assert!(matches!(remove_stale(&link), Err(ListenError::NotASocket(_))));
        assert!(dir.path().join("real").symlink_metadata().is_ok());
    }

    #[test]
    fn a_link_of_others_does_not_choose_what_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (open, victim) = (dir.path().join("open"), dir.path().join("victim"));
        fs::create_dir(&open).unwrap();
        fs::create_dir(&victim).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        symlink(&victim, open.join("run")).unwrap();
        let path = open.join("run/socket");
        remove_stale(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        let error = remove_stale(&path).unwrap_err().to_string();
        assert!(error.contains("open/run is not safe: it is a link"), "{error}");
        assert!(victim.join("socket").symlink_metadata().is_ok());
        // Where no link leads, it is removed, whoever can write there.
        let path = open.join("socket");
        drop(UnixListener::bind(&path).unwrap());
        remove_stale(&path).unwrap();
        assert!(path.symlink_metadata().is_err());
    }
}
