//! A worker's last words: what it wrote to a stderr that is a file, while it lived.
//!
//! Workers' output is inherited untouched, so this is all that can be had without standing in its way. A terminal or a
//! pipe keeps nothing; journald is asked by `journalctl`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

/// The most that is read, in bytes.
const READ_MAX: u64 = 16 * 1024;
/// The most that is quoted, in lines and in characters a line.
const LINES: usize = 5;
const WIDTH: usize = 240;

/// How long stderr was when a worker was started, and which file it was.
#[derive(Debug)]
pub struct LastWords {
    file: File,
    from: u64,
}

impl LastWords {
    /// Remembers where stderr ends now; `None` if it is not a file that can be read back.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let fd = io::stderr().as_fd().try_clone_to_owned().ok()?;
        let written = File::from(fd).metadata().ok().filter(std::fs::Metadata::is_file)?;
        // Opened anew, by its own path: the inherited descriptor may be for writing only.
        let file = File::open("/proc/self/fd/2").ok()?;
        let same = file.metadata().ok().is_some_and(|m| (m.dev(), m.ino()) == (written.dev(), written.ino()));
        same.then_some(Self { file, from: written.len() })
    }

    /// Device, inode and where it ended: for a successor.
    #[must_use]
    pub fn place(&self) -> Option<(u64, u64, u64)> {
        let metadata = self.file.metadata().ok()?;
        Some((metadata.dev(), metadata.ino(), self.from))
    }

    /// Goes on from such a place, if stderr is that file still.
    #[must_use]
    pub fn resume((device, inode, from): (u64, u64, u64)) -> Option<Self> {
        let begun = Self::begin()?;
        let same = begun.place().is_some_and(|(d, i, _)| (d, i) == (device, inode));
        same.then_some(Self { from, ..begun })
    }

    /// The last lines since then, without those that `is_ours` claims.
    #[must_use]
    pub fn quote(&self, is_ours: impl Fn(&str) -> bool) -> Vec<String> {
        let end = self.file.metadata().map_or(0, |m| m.len());
        let start = self.from.max(end.saturating_sub(READ_MAX));
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
        let read = self.file.read_at(&mut bytes, start).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..read]);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty() && !is_ours(line)).collect();
        let printable = |line: &&str| line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WIDTH).collect();
        lines[lines.len().saturating_sub(LINES)..].iter().map(printable).collect()
    }
}
