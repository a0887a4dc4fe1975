//! Files on their way to the disk.
//!
//! A file has no name until it is whole (`O_TMPFILE`), so a client that goes, a worker that is killed, and a full disk leave nothing: the
//! kernel frees what nobody has open. Its name is made in one step, under the lock of the directory, once its bytes are on the disk.
//!
//! | step | a death before the next one leaves |
//! |---|---|
//! | `upload.open`: a file without a name | nothing |
//! | `upload.write`: each block | nothing |
//! | `upload.sync`: the bytes are on the disk | nothing |
//! | `upload.link`: the lock is held, there is room | nothing |
//! | `upload.linked`: the file has its name | the whole file, though its client has no answer |
//!
//! If a file system has no files without a name, a file lies in `.incoming` meanwhile, locked by its writer. The sweep removes those
//! that nobody holds.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gin_shared::fault;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::fs::{flock, fstat, fsync, linkat, mkdirat, openat, renameat_with, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::task::{JoinHandle, spawn_blocking};

use super::directory::Directory;
use super::error::UploadError;
use super::names::Name;
use super::quota;
use super::types::Check;

/// Bytes that are written at once.
const BLOCK: usize = 256 << 10;
/// Bytes after which a file on its way is held against the quota again.
const COUNTED_EACH: u64 = 16 << 20;
/// Files on their way, where none can be without a name.
const INCOMING: &str = ".incoming";
/// Resumable uploads, whose bytes count already.
const RESUMABLE: &str = ".tus";

/// A file that is whole, and gets its name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From<'a> {
    /// A file without a name.
    Unnamed(BorrowedFd<'a>),
    /// A file of this path below the directory. It stays: the caller removes it.
    Named(&'a Path),
}

/// Gives a whole file its name: from then on it is listed. It blocks.
///
/// A file that has this name already, as after a death behind the last step, is done.
///
/// # Errors
/// If there is no room, or the name cannot be made. The file is not listed then.
pub(crate) fn publish(dir: &Directory, quota: u64, from: From<'_>, size: u64, name: &Name) -> Result<(), UploadError> {
    let lock = dir.locked()?;
    if !is_linked(dir, from, name)? {
        let counts_already = matches!(from, From::Named(path) if path.starts_with(RESUMABLE));
        dir.room(&lock, quota, if counts_already { 0 } else { quota::counted(size) })?;
        fault::at("upload.link")?;
        link(dir, from, name)?;
    }
    let last = fault::at("upload.linked").map_err(Into::into).and_then(|()| dir.sync());
    last.map_err(|error| {
        // Its client is told that it is not there.
        let _ = unlinkat(dir.fd(), name.as_str(), AtFlags::empty());
        error.into()
    })
}

fn link(dir: &Directory, from: From<'_>, name: &Name) -> rustix::io::Result<()> {
    match from {
        From::Unnamed(fd) => linkat(CWD, in_proc(fd), dir.fd(), name.as_str(), AtFlags::SYMLINK_FOLLOW),
        From::Named(path) => match linkat(dir.fd(), path, dir.fd(), name.as_str(), AtFlags::empty()) {
            // The file system has no links.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
                renameat_with(dir.fd(), path, dir.fd(), name.as_str(), RenameFlags::NOREPLACE)
            }
            outcome => outcome,
        },
    }
}

/// True if the file has this name already.
fn is_linked(dir: &Directory, from: From<'_>, name: &Name) -> rustix::io::Result<bool> {
    let at = |path: &Path| statat(dir.fd(), path, AtFlags::SYMLINK_NOFOLLOW);
    let there = match at(Path::new(name.as_str())) {
        Err(Errno::NOENT) => return Ok(false),
        there => there?,
    };
    let own = match from {
        From::Unnamed(fd) => fstat(fd)?,
        From::Named(path) => at(path)?,
    };
    // Another file of this name is an error of the link.
    Ok(is_same(&there, &own))
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// A path of an open file, whatever its name.
fn in_proc(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// 64 random bits.
///
/// # Errors
/// If the system has none.
pub(super) fn number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    // So few come at once.
    retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A file that is not whole yet. Dropped, it is gone.
#[derive(Debug)]
struct Unfinished {
    file: File,
    /// Its path below the directory, where the file system has no files without a name.
    path: Option<PathBuf>,
    dir: Arc<Directory>,
}

impl Unfinished {
    fn open(dir: Arc<Directory>) -> io::Result<Self> {
        fault::at("upload.open")?;
        if let Some(fd) = unnamed(&dir)? {
            return Ok(Self { file: fd.into(), path: None, dir });
        }
        let (fd, path) = incoming(&dir)?;
        Ok(Self { file: fd.into(), path: Some(path), dir })
    }

    fn from(&self) -> From<'_> {
        self.path.as_deref().map_or_else(|| From::Unnamed(self.file.as_fd()), From::Named)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = unlinkat(self.dir.fd(), path, AtFlags::empty());
        }
    }
}

/// A file without a name. `None`: it cannot be made here, or it could not be given a name.
fn unnamed(dir: &Directory) -> io::Result<Option<OwnedFd>> {
    #[cfg(test)]
    if !dir.has_unnamed {
        return Ok(None);
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match openat(dir.fd(), ".", flags, Mode::from_raw_mode(0o600)) {
        // A chroot, say, may have no /proc.
        Ok(fd) => Ok(statat(CWD, in_proc(fd.as_fd()), AtFlags::SYMLINK_NOFOLLOW).is_ok().then_some(fd)),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// A file in `.incoming`, locked, and its path below the directory.
fn incoming(dir: &Directory) -> io::Result<(OwnedFd, PathBuf)> {
    match mkdirat(dir.fd(), INCOMING, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    loop {
        let path = Path::new(INCOMING).join(format!("{:016x}", number()?));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = openat(dir.fd(), &path, flags, Mode::from_raw_mode(0o600))?;
        // The sweep may have found it before it was locked.
        if flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() && fstat(&fd)?.st_nlink > 0 {
            return Ok((fd, path));
        }
    }
}

/// Removes files on their way whose writers are gone. It blocks.
///
/// # Errors
/// If the directory cannot be read.
pub(super) fn sweep(dir: &Directory) -> io::Result<()> {
    let all = match std::fs::read_dir(dir.path().join(INCOMING)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        all => all?,
    };
    for entry in all {
        let path = Path::new(INCOMING).join(entry?.file_name());
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(fd) = openat(dir.fd(), &path, flags, Mode::empty()) else { continue };
        if flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() {
            unlinkat(dir.fd(), &path, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// A file on its way, with what is known of it. Its methods block.
#[derive(Debug)]
struct Draft {
    unfinished: Unfinished,
    check: Check,
    quota: u64,
    written: u64,
}

impl Draft {
    fn begin(dir: Arc<Directory>, quota: u64, name: &Name) -> Result<Self, UploadError> {
        Ok(Self { unfinished: Unfinished::open(dir)?, check: Check::new(name), quota, written: 0 })
    }

    fn write(&mut self, block: &[u8]) -> Result<(), UploadError> {
        self.check.block(block)?;
        fault::at("upload.write")?;
        self.unfinished.file.write_all(block)?;
        let before = self.written;
        self.written += block.len() as u64;
        if before / COUNTED_EACH == self.written / COUNTED_EACH {
            return Ok(());
        }
        // A file that has no room is not written to its end first.
        let dir = &self.unfinished.dir;
        dir.room(&dir.locked()?, self.quota, self.written)
    }

    /// Gives the file its name. Returns its media type.
    fn finish(self, name: &Name) -> Result<&'static str, UploadError> {
        let Self { unfinished, check, quota, written } = self;
        let kind = check.end()?;
        fault::at("upload.sync")?;
        retry_on_intr(|| fsync(&unfinished.file))?;
        publish(&unfinished.dir, quota, unfinished.from(), written, name)?;
        Ok(kind)
    }
}

/// A block that is written, and its buffer, empty again.
type Written = (Draft, Vec<u8>, Result<(), UploadError>);

/// A file that is written while its next block comes. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Writing {
    name: Name,
    /// Bytes that have come.
    block: Vec<u8>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Nothing of it is being written.
    Here(Box<Draft>),
    /// Its last block is being written.
    OnDisk(JoinHandle<Written>),
    /// Nowhere: a block failed.
    Lost,
}

impl Writing {
    /// # Errors
    /// If no file can be made.
    pub(super) async fn begin(dir: Arc<Directory>, quota: u64, name: Name) -> Result<Self, UploadError> {
        let of = name.clone();
        let draft = blocking(move || Draft::begin(dir, quota, &of)).await?;
        Ok(Self { name, block: Vec::new(), place: Place::Here(Box::new(draft)) })
    }

    /// Adds bytes. It waits for the disk, if the client is faster.
    ///
    /// # Errors
    /// Of this block, or of one before: nothing can be added after one.
    pub(super) async fn add(&mut self, mut bytes: &[u8]) -> Result<(), UploadError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// Gives the file its name. Returns its media type.
    ///
    /// # Errors
    /// As [`Self::add`]; if it is of another type, or there is no room.
    pub(super) async fn finish(mut self) -> Result<&'static str, UploadError> {
        let (mut draft, _) = self.settled().await?;
        let (last, name) = (self.block, self.name);
        blocking(move || {
            draft.write(&last)?;
            draft.finish(&name)
        })
        .await
    }

    async fn write(&mut self) -> Result<(), UploadError> {
        let (mut draft, spare) = self.settled().await?;
        let mut block = std::mem::replace(&mut self.block, spare);
        self.place = Place::OnDisk(spawn_blocking(move || {
            let outcome = draft.write(&block);
            block.clear();
            (draft, block, outcome)
        }));
        Ok(())
    }

    /// Waits for the block before. Returns the file, and a buffer.
    async fn settled(&mut self) -> Result<(Draft, Vec<u8>), UploadError> {
        match std::mem::replace(&mut self.place, Place::Lost) {
            Place::Here(draft) => Ok((*draft, Vec::new())),
            Place::OnDisk(task) => {
                let (draft, spare, outcome) = task.await.map_err(io::Error::other)?;
                outcome?;
                Ok((draft, spare))
            }
            Place::Lost => Err(UploadError::Io(io::Error::other("a block of the file was lost"))),
        }
    }
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
