//! Uploads that nobody goes on with: abandoned ones, and those whose worker died at their end. Everything here blocks.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, SystemTime};

use super::id::Id;
use super::part::{self, Found, Part, RECORD, UnderWay};
use crate::uploads::UploadError;
use crate::uploads::directory::Directory;

/// Removes uploads that nobody has gone on with for so long, and finishes those that only lack their name.
pub(crate) fn sweep(directory: &Directory, quota: u64, abandoned: Duration) {
    let names = UnderWay::there(directory).and_then(|found| match found {
        Some(under_way) => Ok(Some((under_way.names()?, under_way))),
        None => Ok(None),
    });
    match names {
        Ok(Some((names, under_way))) => {
            Sweep { directory, under_way, quota, abandoned }.all(&names.into_iter().collect());
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("uploads under way cannot be looked through: {error}"),
    }
}

/// Bytes of the quota that all uploads under way take.
///
/// # Errors
/// If the directory cannot be read.
pub(crate) fn bytes(directory: &Directory) -> io::Result<u64> {
    let Some(under_way) = UnderWay::there(directory)? else { return Ok(0) };
    let mut sum = 0_u64;
    for name in under_way.names()? {
        sum = sum.saturating_add(part::taken(&under_way, &name)?);
    }
    Ok(sum)
}

/// A look at all uploads.
struct Sweep<'a> {
    directory: &'a Directory,
    under_way: UnderWay,
    quota: u64,
    abandoned: Duration,
}

impl Sweep<'_> {
    /// Looks at all uploads, even if one fails.
    fn all(&self, names: &HashSet<String>) {
        for name in names {
            let done = match name.strip_suffix(RECORD).map(Id::parse) {
                Some(Some(id)) => self.upload(id),
                // The bytes of an upload: its record says what to do.
                None if names.contains(&format!("{name}{RECORD}")) => Ok(()),
                // A worker died before the upload began, or while it was removed.
                None | Some(None) => self.forget(name).map_err(UploadError::from),
            };
            if let Err(error) = done {
                tracing::warn!("an upload under way cannot be finished or removed: {error}");
            }
        }
    }

    fn upload(&self, id: Id) -> Result<(), UploadError> {
        match part::find(self.directory, id)? {
            Found::Open(part) if part.is_whole() => self.whole(part),
            Found::Open(part) => {
                let is_over = has_passed(part.touched()?, part.kept_for(self.abandoned));
                if is_over { part.remove().map_err(UploadError::from) } else { Ok(()) }
            }
            Found::Stored(_, touched) if self.is_over(touched) => {
                self.under_way.unlink(&part::record_of(id)).map_err(UploadError::from)
            }
            // The file was removed since, or the record cannot be read.
            Found::Nothing => self.forget(&part::record_of(id)).map_err(UploadError::from),
            Found::Busy | Found::Stored(..) => Ok(()),
        }
    }

    /// Gives its name to an upload that only lacks that. One that has no room may get it later, for as long as any other one is kept.
    fn whole(&self, part: Part) -> Result<(), UploadError> {
        let is_over = self.is_over(part.touched()?);
        match part.finish(self.directory, self.quota) {
            Err(error) if error.is_no_space() && is_over => part.remove().map_err(UploadError::from),
            // Its client was told so, and the log.
            Err(error) if error.is_no_space() => Ok(()),
            done => done,
        }
    }

    /// Removes what was not touched for so long.
    fn forget(&self, name: &str) -> io::Result<()> {
        match self.under_way.stat(name)? {
            Some(stat) if self.is_over(part::touched(&stat)) => self.under_way.unlink(name),
            Some(_) | None => Ok(()),
        }
    }

    fn is_over(&self, touched: SystemTime) -> bool {
        has_passed(touched, self.abandoned)
    }
}

/// True if nobody has written for so long.
fn has_passed(touched: SystemTime, time: Duration) -> bool {
    SystemTime::now().duration_since(touched).is_ok_and(|since| since >= time)
}
