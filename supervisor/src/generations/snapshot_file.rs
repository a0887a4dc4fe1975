//! The configuration file as the workers of one generation read it. It is removed with the generation.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gin_shared::generation::Generation;
use nix::unistd::{Gid, Uid, fchown};

use crate::os::fault;
use crate::os::runtime::{generation_file, remove_file};
use crate::state::SnapshotRecord;

/// User and group of the file, if they are not the master's.
type Owner = Option<(u32, u32)>;

/// The file.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    /// False while the state is only looked at: then the file stays.
    is_ours: bool,
}

impl SnapshotFile {
    /// Writes the configuration `text` for a generation. The file keeps the extension of `original`.
    ///
    /// # Errors
    /// The errors of `open(2)`, `write(2)` and `fchown(2)`.
    pub fn write(runtime: &Path, id: Generation, original: &Path, text: &str, owner: Owner) -> io::Result<Self> {
        let extension = original.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        let path = generation_file(runtime, id, &extension);
        remove_file(&path);
        fault::at("snapshot.write")?;
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o400).open(&path)?;
        // From here on a failure removes the file: half of a configuration is none.
        let snapshot = Self { path, is_ours: true };
        fault::at("snapshot.fill")?;
        file.write_all(text.as_bytes())?;
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        Ok(snapshot)
    }

    /// Writes the same for another generation.
    ///
    /// # Errors
    /// As [`Self::write`]; that the file is gone.
    pub fn again(&self, runtime: &Path, id: Generation, owner: Owner) -> io::Result<Self> {
        let text = std::fs::read_to_string(&self.path)?;
        Self::write(runtime, id, &self.path, &text, owner)
    }

    /// The file that a state describes; it is not ours until [`Self::own`].
    #[must_use]
    pub fn restore(record: SnapshotRecord) -> Self {
        Self { path: record.path, is_ours: false }
    }

    /// Takes the file over from a master before this one.
    pub fn own(&mut self) {
        self.is_ours = true;
    }

    /// The file as the state describes it.
    #[must_use]
    pub fn record(&self) -> SnapshotRecord {
        SnapshotRecord { path: self.path.clone() }
    }

    /// The path that workers are told.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if self.is_ours {
            remove_file(&self.path);
        }
    }
}
