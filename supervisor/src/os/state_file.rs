//! The file that holds the master's state, in the runtime directory: for a successor, and for `gin-ctl`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gin_shared::state::{FILE, SLOT, Slot, read, write};
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::unistd::Uid;

use super::adopt_error::AdoptError;
use super::fault;
use super::runtime::remove_file;
use super::succession::Descriptors;
use crate::descriptor_name::PREFIX;

/// What is allocated for each slot beforehand, in bytes: it holds what most states need, and then a full disk does not matter.
const ALLOCATED: i64 = 128 * 1024;

/// The file, and what was written to it last.
#[derive(Debug)]
pub struct StateFile {
    file: File,
    path: PathBuf,
    inode: u64,
    last: Slot,
    /// True if the last one could not be written: told once.
    failed: bool,
}

impl StateFile {
    /// Makes it; what lies in its place is removed.
    ///
    /// # Errors
    /// The errors of `open(2)`.
    pub fn create(path: &Path) -> io::Result<Self> {
        remove_file(path);
        fault::at("state.open")?;
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
        let file =
            OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).custom_flags(flags).open(path)?;
        Self::adopt(file, path, Slot { sequence: 0, bytes: Vec::new() })
    }

    /// Goes on with one that a master before this one made.
    ///
    /// # Errors
    /// The errors of `fstat(2)`.
    pub fn adopt(file: File, path: &Path, last: Slot) -> io::Result<Self> {
        for offset in [0, SLOT] {
            let offset = i64::try_from(offset).map_err(io::Error::other)?;
            let allocated = fault::at("state.fallocate").and_then(|()| {
                // The size stays what was written.
                fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, ALLOCATED)
            });
            // Not every file system can; then a full disk does matter.
            if let Err(error) = allocated {
                tracing::debug!("{}: nothing is set aside for the state: {}", path.display(), error.desc());
            }
        }
        let inode = file.metadata()?.ino();
        Ok(Self { file, path: path.to_owned(), inode, last, failed: false })
    }

    /// Goes on with the one that the program before this one wrote to.
    ///
    /// # Errors
    /// If it cannot be read, or made anew where it is missing.
    pub fn resume(descriptors: &mut Descriptors, runtime: &Path) -> io::Result<Self> {
        let (path, prefix) = (runtime.join(FILE), format!("{PREFIX}state/"));
        let name = descriptors.names().find(|name| name.starts_with(&prefix)).cloned();
        let file = name.and_then(|name| descriptors.take(&name)).map(File::from);
        match file.map(|file| (read(&file), file)) {
            Some((Ok(Some(last)), file)) => Self::adopt(file, &path, last),
            _ => Self::create(&path),
        }
    }

    /// Writes a state, if it is another one than the last. One that cannot be written is told, and what was written before
    /// stands.
    pub fn save(&mut self, bytes: Vec<u8>) {
        let is_missing =
            std::fs::symlink_metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if is_missing {
            self.make_anew();
        }
        if bytes == self.last.bytes && !self.failed {
            return;
        }
        let next = Slot { sequence: self.last.sequence + 1, bytes };
        let written = fault::at("state.write").map_err(io::Error::from).and_then(|()| write(&self.file, &next));
        match written {
            Ok(()) => {
                if std::mem::take(&mut self.failed) {
                    tracing::info!("{}: the state can be written again", self.path.display());
                }
                self.last = next;
            }
            Err(error) if self.failed => tracing::debug!("{}: {error}", self.path.display()),
            Err(error) => {
                self.failed = true;
                let path = self.path.display();
                tracing::error!(
                    "{path}: the state cannot be written: {error}; if this supervisor dies, the next one finds an older one"
                );
            }
        }
    }

    /// Makes the file anew, because somebody has removed it. A successor could not find the one that is still open.
    fn make_anew(&mut self) {
        match Self::create(&self.path) {
            Ok(mut anew) => {
                tracing::warn!("{}: somebody has removed the state; it is there again", self.path.display());
                (anew.last.sequence, anew.failed) = (self.last.sequence, self.failed);
                // Dropped, a file that nothing was written to is removed: by its path.
                self.last.sequence = self.last.sequence.max(1);
                *self = anew;
            }
            Err(error) => tracing::debug!("{}: {error}", self.path.display()),
        }
    }

    /// Names the very file.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Nothing is left to be found.
    pub fn remove(&self) {
        remove_file(&self.path);
    }
}

impl Drop for StateFile {
    /// A start that failed leaves none. A master that panics does leave what it has written.
    fn drop(&mut self) {
        if self.last.sequence == 0 {
            self.remove();
        }
    }
}

impl AsFd for StateFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Opens the one that lies at `path`; `None` if there is none.
///
/// # Errors
/// If it is not ours alone to write, or cannot be opened.
pub fn open(path: &Path) -> Result<Option<File>, AdoptError> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AdoptError::of(&error)),
    };
    let metadata = file.metadata().map_err(|error| AdoptError::of(&error))?;
    let refused = |text: String| Err(AdoptError::lasting(text));
    if !metadata.is_file() {
        refused("it is not a file".to_owned())
    } else if metadata.uid() != Uid::effective().as_raw() {
        refused(format!("it belongs to uid {}", metadata.uid()))
    } else if metadata.mode() & 0o077 != 0 {
        refused(format!("its mode is {:04o}, and others could have written it", metadata.mode() & 0o7777))
    } else {
        Ok(Some(file))
    }
}

/// What it says last.
///
/// # Errors
/// If neither of its slots is whole, or it cannot be read.
pub fn latest(file: &File) -> Result<Slot, AdoptError> {
    match read(file) {
        Ok(Some(slot)) => Ok(slot),
        Ok(None) => Err(AdoptError::lasting("it is truncated, corrupt, or no state".to_owned())),
        Err(error) => Err(AdoptError::of(&error)),
    }
}
