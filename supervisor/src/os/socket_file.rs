//! The file of a Unix socket that this process has bound: its owner and mode, and its end.
//!
//! Its directory may be one that others write to, who could put another file in its place at any moment, or a link to another
//! directory. So the directory is opened first, without following links of others, and the file is looked at, changed and removed by
//! descriptors alone.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gin_shared::directory::Directory;
use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};

/// The file of a Unix socket that was bound here, or by a master before this one. It is removed with this value.
#[derive(Debug)]
pub struct BoundFile {
    path: PathBuf,
    /// Its device and inode, for another may lie there by now; `None`: it is not known which file it is.
    id: Option<(u64, u64)>,
}

impl BoundFile {
    /// The file of a socket that was just bound at `path`.
    #[must_use]
    pub fn of_bound(path: &Path) -> Self {
        let socket = look(path).and_then(|socket| socket.metadata());
        let id = socket.ok().filter(|socket| socket.file_type().is_socket()).map(|socket| (socket.dev(), socket.ino()));
        Self { path: path.to_owned(), id }
    }

    /// The file of a socket that a master before this one has bound.
    #[must_use]
    pub fn resume(path: &Path, id: Option<(u64, u64)>) -> Self {
        Self { path: path.to_owned(), id }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its device and inode.
    #[must_use]
    pub fn id(&self) -> Option<(u64, u64)> {
        self.id
    }

    /// True if clients find it at its path.
    #[must_use]
    pub fn is_there(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|there| Some((there.dev(), there.ino())) == self.id)
    }

    /// Gives it to others.
    ///
    /// # Errors
    /// The errors of `open(2)`, `fchownat(2)` and `chmod(2)`; that another file lies there, or that it has a second name.
    pub fn permit(&self, access: Access) -> io::Result<()> {
        permit(&self.path, self.id, access)
    }
}

impl Drop for BoundFile {
    fn drop(&mut self) {
        let Ok((directory, name)) = Directory::of_file_anywhere(&self.path) else { return };
        let there = directory.look(&name).and_then(|there| there.metadata());
        let is_it =
            |there: std::fs::Metadata| there.file_type().is_socket() && Some((there.dev(), there.ino())) == self.id;
        if there.is_ok_and(is_it) {
            let _ = directory.remove(&name);
        }
    }
}

/// Opens the file at a path to look at it.
fn look(path: &Path) -> io::Result<File> {
    let (directory, name) = Directory::of_file_anywhere(path).map_err(|doubt| io::Error::other(doubt.to_string()))?;
    directory.look(&name)
}

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

fn permit(path: &Path, id: Option<(u64, u64)>, access: Access) -> io::Result<()> {
    if access.owner.is_none() && access.group.is_none() && access.mode.is_none() {
        return Ok(());
    }
    let file = look(path)?;
    let there = file.metadata()?;
    if !there.file_type().is_socket() || Some((there.dev(), there.ino())) != id || there.nlink() != 1 {
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
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn id(path: &Path) -> Option<(u64, u64)> {
        let file = std::fs::symlink_metadata(path).unwrap();
        Some((file.dev(), file.ino()))
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
        for id in [own, id(&path), id(&precious), None] {
            assert!(permit(&path, id, access).is_err());
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&precious, &path).unwrap();
        assert!(permit(&path, id(&path), access).is_err());
        assert_eq!(std::fs::metadata(&precious).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_socket_goes_with_its_file_and_another_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let bound = || {
            let listener = UnixListener::bind(&path).unwrap();
            (BoundFile::of_bound(&path), listener)
        };
        let (file, _listener) = bound();
        assert!(file.is_there());
        drop(file);
        assert!(!path.exists());

        let (file, _listener) = bound();
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(!file.is_there());
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_link_of_others_leads_the_removal_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (open, victim) = (dir.path().join("open"), dir.path().join("victim"));
        for directory in [&open, &victim] {
            std::fs::create_dir_all(directory.join("run")).unwrap();
        }
        std::fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let (path, precious) = (open.join("run/socket"), victim.join("run/socket"));
        let _listener = UnixListener::bind(&path).unwrap();
        let _precious = UnixListener::bind(&precious).unwrap();
        let file = BoundFile::of_bound(&path);
        // The same file under both names: it is told apart by its directory alone.
        std::fs::remove_file(&precious).unwrap();
        std::fs::rename(&path, &precious).unwrap();
        std::fs::remove_dir_all(open.join("run")).unwrap();
        symlink(victim.join("run"), open.join("run")).unwrap();
        assert!(file.is_there());
        let access = Access { mode: Some(0o666), ..Access::default() };
        assert!(file.permit(access).is_err());
        drop(file);
        assert!(precious.exists());
    }
}
