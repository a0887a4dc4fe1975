//! Numbers that tell workers of each other's writes, so that what one of them has read from the state directory is good until somebody
//! writes to it, in whichever process.
//!
//! A file has a number for each of 8,192 groups of ids. Whoever writes to a row makes its group's number an odd one first, and another even
//! one afterwards. A row is taken from a worker's memory only if its group has the number that was read before the row was. Both are a call
//! of the kernel's on a page in memory.
//!
//! | number | means |
//! |---|---|
//! | even | nobody writes: what was read under this number is good for as long as it stands |
//! | odd | somebody writes, or has died in it: nothing is taken from memory, nor kept in it, until the next write to the group is done |
//!
//! The numbers are random, so two processes need no turn. One case is left: two write to one group at once, the first is done, and the second
//! ends without its number: its process has died, or its client has gone away while SQLite still waits for its turn to write. Then a
//! row may count as it was before, for as long as it is kept. Nobody has been told of that write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::rand;

use super::id::Id;
use crate::BoxError;

const GROUPS: u64 = 8192;
const WORD: u64 = 8;
/// Places of the upper half of an id that choose no group: the cache of sessions has a shard for each. Another number would be another
/// file to workers of an older version.
const SHARDS: u64 = 16;

/// The file of the numbers.
pub(crate) struct Marks(File);

impl Marks {
    /// # Errors
    /// If the file cannot be opened or made.
    pub(crate) fn open(directory: &Path, file: &str) -> Result<Self, BoxError> {
        let path = directory.join(file);
        opened(&path).map(Self).map_err(|error| format!("cannot open {}: {error}", path.display()).into())
    }

    /// Says that the rows of these ids are written to.
    ///
    /// # Errors
    /// If that cannot be said: then nothing may be written.
    pub(crate) fn begin(&self, ids: &[Id]) -> io::Result<()> {
        ids.iter().try_for_each(|id| self.set(*id, random()? | 1))
    }

    /// Says that it is done. Where that fails, the groups stay in doubt.
    pub(crate) fn end(&self, ids: &[Id]) {
        for id in ids {
            if let Err(error) = random().and_then(|number| self.set(*id, number & !1)) {
                tracing::debug!("rows are read from their store: {error}");
            }
        }
    }

    /// The number of the id's group. `None`: it is odd, or nobody can tell.
    pub(crate) fn mark(&self, id: Id) -> Option<u64> {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, place(id)).ok()?;
        Some(u64::from_ne_bytes(word)).filter(|mark| mark % 2 == 0)
    }

    fn set(&self, id: Id, mark: u64) -> io::Result<()> {
        self.0.write_all_at(&mark.to_ne_bytes(), place(id))
    }
}

/// Place of the id's number in the file.
fn place(id: Id) -> u64 {
    (id.high() / SHARDS) % GROUPS * WORD
}

fn random() -> io::Result<u64> {
    let mut word = [0; 8];
    rand::fill(&mut word).map_err(|_| io::Error::other("the system gives no random bits"))?;
    Ok(u64::from_ne_bytes(word))
}

/// The file in its whole length: a number is never behind its end, and a full disk is noticed now.
fn opened(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let length = GROUPS * WORD;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(file),
        // Some file systems have nothing to set aside.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            if file.metadata()?.len() < length {
                file.set_len(length)?;
            }
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_seen_by_all_who_have_the_file_open() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Marks::open(directory.path(), "a.marks").unwrap();
        let (one, other, id) = (open(), open(), Id::of(7 << 70));
        let before = one.mark(id).unwrap();
        other.begin(&[id]).unwrap();
        assert_eq!(one.mark(id), None, "what is read now may be old in a moment");
        other.end(&[id]);
        let after = one.mark(id).unwrap();
        assert_ne!(before, after);
        assert_eq!(open().mark(id), Some(after), "who opens it anew changes nothing");
    }
}
