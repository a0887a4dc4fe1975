//! The file of the room: its lines, and the hole at its beginning. The head of `hub.rs` says how it is used.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use gin_worker::serde_json;
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

/// Characters of a message.
pub const LONG: usize = 2000;
/// Bytes of the file that are kept.
pub const KEPT: u64 = 8 << 20;
/// Bytes that are given back at once.
const STEP: u64 = 1 << 20;
/// Bytes that are read at once. No line is so long.
const CHUNK: usize = 64 << 10;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// `None`: by a program.
    pub user_id: Option<String>,
    pub message: String,
}

impl Said {
    /// Makes a message. Text that is too long is cut off.
    pub fn new(user_id: Option<String>, message: &str) -> Self {
        Self { user_id, message: message.chars().take(LONG).collect() }
    }
}

/// The contents of a line. A version that does not know one passes over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    Said(Said),
    /// The members of this account have no right to be here any more.
    Away {
        away: String,
    },
}

/// A line of the file.
pub struct Line {
    /// Place behind it.
    pub end: u64,
    pub content: Content,
    pub json: String,
}

/// Whole lines from this place on, a chunk at most, and the place behind them.
pub fn lines_after(file: &File, place: u64) -> io::Result<(Vec<Arc<Line>>, u64)> {
    let mut bytes = vec![0; CHUNK];
    let length = file.read_at(&mut bytes, place)?;
    let whole = match bytes[..length].iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None if length == CHUNK => CHUNK,
        None => 0,
    };
    let (mut end, mut lines) = (place, Vec::new());
    for piece in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
        end += piece.len() as u64;
        if let Ok(content) = serde_json::from_slice(piece) {
            let json = String::from_utf8_lossy(piece.trim_ascii_end()).into_owned();
            lines.push(Arc::new(Line { end, content, json }));
        }
    }
    Ok((lines, end))
}

/// True if the file ends with a whole line.
pub fn is_whole(file: &File, end: u64) -> io::Result<bool> {
    let Some(last) = end.checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// True if a place is not in the file any more, or will not be in a moment.
pub fn is_gone(file: &File, place: u64) -> io::Result<bool> {
    let length = file.metadata()?.len();
    Ok(place > length || length - place > KEPT - STEP)
}

/// Gives the file system back what is not kept any more.
pub fn give_back(file: &File, before: u64, after: u64) -> io::Result<()> {
    let given = |end: u64| end.saturating_sub(KEPT) / STEP * STEP;
    if given(after) > given(before) {
        punch(file, 0, given(after))?;
    }
    Ok(())
}

/// Refuses a file whose beginning cannot be given back, by a hole behind its end. Nobody else may write meanwhile.
pub fn takes_holes(file: &File, end: u64) -> io::Result<()> {
    punch(file, end, STEP).map_err(|error| {
        io::Error::other(format!(
            "its file system takes no holes, so it would grow for ever ({error}); put it on ext4, XFS, Btrfs or tmpfs"
        ))
    })
}

/// Makes a hole in a file, which stays as long as it is.
fn punch(file: &File, place: u64, length: u64) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, place, length)?)
}
