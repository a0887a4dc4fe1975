//! Owner and mode of the file of a Unix socket that this process has bound.
//!
//! Its directory may be one that others write to, who could put another file in its place at any moment: so it is opened
//! without following links, looked at, and changed by that descriptor alone.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat};

/// What it is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// Whose.
    pub owner: Option<Uid>,
    /// Whose group's.
    pub group: Option<Gid>,
    /// Who may connect: those who may write.
    pub mode: Option<u32>,
}

/// Gives it to them. `id` is the file's device and inode.
///
/// # Errors
/// Those of `open(2)`, `fchownat(2)` and `chmod(2)`; that another file lies there, or that it has a second name.
pub fn permit(path: &Path, id: (u64, u64), access: Access) -> io::Result<()> {
    if access.owner.is_none() && access.group.is_none() && access.mode.is_none() {
        return Ok(());
    }
    let file = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let there = fstat(&file)?;
    let is_socket = SFlag::from_bits_truncate(there.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFSOCK;
    if !is_socket || (there.st_dev, there.st_ino) != id || there.st_nlink != 1 {
        return Err(io::Error::other("another file was put in its place"));
    }
    if access.owner.is_some() || access.group.is_some() {
        fchownat(&file, "", access.owner, access.group, AtFlags::AT_EMPTY_PATH)?;
    }
    if let Some(mode) = access.mode {
        // Such a descriptor knows no fchmod(2); this name leads to the file itself (proc_pid_fd(5)).
        std::fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::UnixListener;

    fn id(path: &Path) -> (u64, u64) {
        let file = std::fs::symlink_metadata(path).unwrap();
        (file.dev(), file.ino())
    }

    #[test]
    fn only_the_socket_that_is_meant_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, precious) = (dir.path().join("socket"), dir.path().join("precious"));
        let access = Access { mode: Some(0o666), ..Access::default() };
        let _listener = UnixListener::bind(&path).unwrap();
        let own = id(&path);
        permit(&path, own, access).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o666);

        std::fs::write(&precious, "x").unwrap();
        std::fs::set_permissions(&precious, Permissions::from_mode(0o600)).unwrap();
        std::fs::remove_file(&path).unwrap();
        symlink(&precious, &path).unwrap();
        for id in [own, id(&path), id(&precious)] {
            assert!(permit(&path, id, access).is_err());
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&precious, &path).unwrap();
        assert!(permit(&path, id(&path), access).is_err());
        assert_eq!(std::fs::metadata(&precious).unwrap().mode() & 0o777, 0o600);
    }
}
