//! An upload on disk, below `.tus` of the directory of the files. Everything here blocks.
//!
//! | file | has |
//! |---|---|
//! | `ID` | the bytes; its length is the offset. Who writes to it holds its lock (flock), in whichever worker |
//! | `ID.json` | the [`Record`]; it is written once, when `ID` is there, and removed first |
//!
//! | `ID` | `ID.json` | the upload |
//! |---|---|---|
//! | there | there | is under way; if `ID` has all of its bytes, only its end is missing |
//! | gone | there | is a file of the directory, if that has one of its name: a client that has not heard of the end asks once more |
//! | there | gone | was never told to a client, or is being removed |

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gin_shared::fault;
use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, Stat, flock, fstat, fsync, mkdirat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::id::Id;
use crate::uploads::UploadError;
use crate::uploads::directory::Directory;
use crate::uploads::names::Name;
use crate::uploads::quota::{Held, LEAST, counted};
use crate::uploads::types::Check;
use crate::uploads::writing::{From as Source, publish};

/// Name of the directory of all uploads under way.
const BELOW: &str = ".tus";
/// End of the name of a record.
pub(super) const RECORD: &str = ".json";
/// Longest record that is read, in bytes.
const RECORD_MAX: u64 = 64 << 10;
/// The disk has what was written, but for so many bytes at most.
const SYNC_EACH: u64 = 8 << 20;
/// The quota is looked at before a request's first bytes, and each time that so many bytes more were written.
const LOOK_EACH: u64 = 16 << 20;
/// An upload without a byte is kept for so long at most: its client has lost nothing, and begins anew.
const EMPTY: Duration = Duration::from_secs(10 * 60);
/// Bytes that are checked at once.
const CHECKED: usize = 256 << 10;

/// An upload as its creation has told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Bytes of the file.
    pub(super) length: u64,
    /// Name that the file will have in the directory.
    pub(super) name: String,
    /// `Upload-Metadata` as it came.
    #[serde(default)]
    pub(super) metadata: String,
    /// The user who may go on with it. `None`: whoever knows its id.
    #[serde(default)]
    pub(super) user: Option<String>,
    /// The address of the client that has begun it, if there is no user: over IPv6, of its network.
    #[serde(default)]
    pub(super) address: Option<String>,
}

/// The directory of all uploads under way.
#[derive(Debug)]
pub(super) struct UnderWay(OwnedFd);

/// An upload as it lies there.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// Another request, or another worker, writes to it.
    Busy,
    Open(Part),
    /// The upload is a file of the directory.
    Stored(Record, SystemTime),
}

/// An upload under way, which nobody else writes to.
#[derive(Debug)]
pub(super) struct Part {
    under_way: UnderWay,
    id: Id,
    pub(super) record: Record,
    file: File,
    offset: u64,
    unsynced: u64,
    /// The quota has room up to this offset, as far as the last look tells.
    has_room_to: u64,
}

impl UnderWay {
    /// Opens the directory. It is made if it is not there.
    pub(super) fn open(directory: &Directory) -> io::Result<Self> {
        match mkdirat(directory.fd(), BELOW, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Self::opened(directory).map_err(io::Error::from)
    }

    /// The directory, if it is there.
    pub(super) fn there(directory: &Directory) -> io::Result<Option<Self>> {
        match Self::opened(directory) {
            Ok(under_way) => Ok(Some(under_way)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn opened(directory: &Directory) -> rustix::io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(directory.fd(), BELOW, flags, Mode::empty()).map(Self)
    }

    /// Names of all files in it.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    pub(super) fn stat(&self, name: &str) -> io::Result<Option<Stat>> {
        there(statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    pub(super) fn unlink(&self, name: &str) -> io::Result<()> {
        there(unlinkat(&self.0, name, AtFlags::empty())).map(|_| ())
    }

    /// Removes an upload: its record first, so that nobody finds half of it.
    pub(super) fn remove(&self, id: Id) -> io::Result<()> {
        self.unlink(&record_of(id))?;
        self.unlink(&id.text())
    }

    /// The record, if there is one that can be read.
    fn record(&self, id: Id) -> io::Result<Option<Record>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(file) = there(openat(&self.0, record_of(id), flags, Mode::empty()))? else { return Ok(None) };
        let mut text = Vec::new();
        File::from(file).take(RECORD_MAX).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text).ok())
    }

    /// Uploads under way of the client that has begun this one. Those that are files are not among them.
    fn held_by(&self, client: &Record) -> io::Result<Held> {
        let mut held = Held::default();
        for name in self.names()? {
            let Some(id) = name.strip_suffix(RECORD).and_then(Id::parse) else { continue };
            let Some(record) = self.record(id)? else { continue };
            let is_its_own = (&record.user, &record.address) == (&client.user, &client.address);
            if is_its_own && self.stat(&id.text())?.is_some() {
                held.uploads += 1;
                held.bytes = held.bytes.saturating_add(wanted(record.length));
            }
        }
        Ok(held)
    }

    /// Writes the record. The disk has it then, and both names.
    fn keep(&self, id: Id, record: &Record) -> io::Result<()> {
        let mut file = self.made(&record_of(id))?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        fsync(&self.0).map_err(io::Error::from)
    }

    /// A file that was not there before.
    fn made(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?))
    }
}

/// Begins an upload.
///
/// # Errors
/// If the quota has no room for it, or the disk; if its client has too much under way.
pub(super) fn create(directory: &Directory, quota: u64, id: Id, record: Record) -> Result<Part, UploadError> {
    // Until it is there: of two at once, the second one counts the first.
    let lock = directory.locked()?;
    let wanted = wanted(record.length);
    directory.room(&lock, quota, wanted)?;
    let under_way = UnderWay::open(directory)?;
    if !under_way.held_by(&record)?.may_add(quota, wanted) {
        return Err(UploadError::TooManyUnderWay);
    }
    begun(under_way, id, record).map_err(UploadError::from)
}

/// Bytes of the quota that an upload of this length takes, with its record.
fn wanted(length: u64) -> u64 {
    counted(length).saturating_add(LEAST)
}

fn begun(under_way: UnderWay, id: Id, record: Record) -> io::Result<Part> {
    let file = under_way.made(&id.text())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    if let Err(error) = under_way.keep(id, &record) {
        // As on a full disk. No client knows of it.
        let _ = under_way.remove(id);
        return Err(error);
    }
    Ok(Part { under_way, id, record, file, offset: 0, unsynced: 0, has_room_to: 0 })
}

/// Looks for an upload, and locks it if it is under way.
pub(super) fn find(directory: &Directory, id: Id) -> io::Result<Found> {
    let Some(under_way) = UnderWay::there(directory)? else { return Ok(Found::Nothing) };
    let Some(record) = under_way.record(id)? else { return Ok(Found::Nothing) };
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some(file) = there(openat(&under_way.0, id.text(), flags, Mode::empty()))? else {
        let stored = there(statat(directory.fd(), record.name.as_str(), AtFlags::SYMLINK_NOFOLLOW))?;
        return Ok(stored.map_or(Found::Nothing, |stat| Found::Stored(record, touched(&stat))));
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Found::Busy),
        Err(error) => return Err(error.into()),
    }
    let stat = fstat(&file)?;
    // Whoever had the lock before may have finished or removed it: then nobody may write to it any more.
    if under_way.stat(&id.text())?.is_none_or(|now| now.st_ino != stat.st_ino) {
        return Ok(Found::Busy);
    }
    let offset = u64::try_from(stat.st_size).unwrap_or_default();
    Ok(Found::Open(Part { under_way, id, record, file: File::from(file), offset, unsynced: 0, has_room_to: 0 }))
}

/// Forgets an upload that is a file of the directory. The file stays.
pub(super) fn forget(directory: &Directory, id: Id) -> io::Result<()> {
    match UnderWay::there(directory)? {
        Some(under_way) => under_way.unlink(&record_of(id)),
        None => Ok(()),
    }
}

impl Part {
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn is_whole(&self) -> bool {
        self.offset == self.record.length
    }

    /// The last time that somebody wrote to it.
    pub(super) fn touched(&self) -> io::Result<SystemTime> {
        self.file.metadata()?.modified()
    }

    /// Time for which it is kept after the last write, if others are kept for `abandoned`.
    pub(super) fn kept_for(&self, abandoned: Duration) -> Duration {
        if self.offset == 0 && !self.is_whole() { abandoned.min(EMPTY) } else { abandoned }
    }

    /// Writes these bytes behind all others.
    ///
    /// # Errors
    /// If the quota has no room for them, or the disk. Some of them may be written then, and count.
    pub(super) fn append(&mut self, directory: &Directory, quota: u64, bytes: &[u8]) -> Result<(), UploadError> {
        let after = self.offset + bytes.len() as u64;
        if after > self.has_room_to {
            // For all that comes until the next look.
            let next = after.max(self.record.length.min(self.offset + LOOK_EACH));
            directory.room(&directory.locked()?, quota, counted(next) - counted(self.offset))?;
            self.has_room_to = next;
        }
        self.write(bytes)?;
        self.offset = after;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EACH { self.sync().map_err(UploadError::from) } else { Ok(()) }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        fault::at("tus.write")?;
        self.file.write_all_at(bytes, self.offset)
    }

    /// Returns when the disk has all of its bytes.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced = 0;
        Ok(())
    }

    /// Gives the file its name in the directory. All of its bytes are there. If a worker died on the way, this is called again: the file
    /// then has its name, or gets it.
    ///
    /// # Errors
    /// If the contents are not of a type that is allowed: then it is removed. If the quota has no room: then it stays.
    pub(super) fn finish(&self, directory: &Directory, quota: u64) -> Result<(), UploadError> {
        let name = Name::parse(&self.record.name);
        let name = name.ok_or_else(|| UploadError::Io(io::Error::other("the record has no name of a file")))?;
        // Who has no room may ask again and again: not all of it is read each time. With a second name it has had room.
        if fstat(&self.file)?.st_nlink < 2 {
            directory.room(&directory.locked()?, quota, 0)?;
        }
        if let Err(wrong) = self.check(&name) {
            if matches!(wrong, UploadError::Type { .. }) {
                self.under_way.remove(self.id)?;
            }
            return Err(wrong);
        }
        self.file.sync_all()?;
        fault::at("tus.link")?;
        let path = Path::new(BELOW).join(self.id.text());
        // Its bytes are counted already: they are among those of the uploads under way.
        publish(directory, quota, Source::Named(&path), 0, &name)?;
        fault::at("tus.linked")?;
        self.under_way.unlink(&self.id.text()).map_err(UploadError::from)
    }

    /// Removes it.
    pub(super) fn remove(self) -> io::Result<()> {
        self.under_way.remove(self.id)
    }

    /// Looks whether the contents are of the type that the name says.
    fn check(&self, name: &Name) -> Result<(), UploadError> {
        let mut check = Check::new(name);
        let (mut block, mut at) = (vec![0; CHECKED], 0);
        loop {
            let count = self.file.read_at(&mut block, at)?;
            check.block(&block[..count])?;
            if count == 0 || check.is_settled() {
                return check.end().map(|_| ());
            }
            at += count as u64;
        }
    }
}

/// Bytes of the quota that a file of the directory of uploads under way takes.
pub(super) fn taken(under_way: &UnderWay, name: &str) -> io::Result<u64> {
    if name.ends_with(RECORD) {
        return Ok(LEAST);
    }
    let Some(stat) = under_way.stat(name)? else { return Ok(0) };
    // With a second name it is a file of the directory, too, and counted there.
    Ok(if stat.st_nlink > 1 { 0 } else { counted(u64::try_from(stat.st_size).unwrap_or_default()) })
}

/// Name of the record of an upload.
pub(super) fn record_of(id: Id) -> String {
    format!("{}{RECORD}", id.text())
}

/// Time of the last write.
pub(super) fn touched(stat: &Stat) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or_default())
}

/// Result of the kernel; `None` if the file is not there.
fn there<T>(given: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match given {
        Ok(given) => Ok(Some(given)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
