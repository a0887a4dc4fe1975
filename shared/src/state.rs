//! The file in which a master keeps its state, for its successor, and for `gin-ctl` when there is no master.
//!
//! Two slots, written in turn, each a header and then JSON: a writer that dies in between leaves the other slot whole. What
//! was allocated once is written again in place, so a full disk does not stop it.
//!
//! ```text
//! offset 0      gin-state SEQUENCE LENGTH CHECKSUM\n ... {"version":1,"boot_id":"...","state":{...}}
//! offset SLOT   the same; the higher sequence counts
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::generation::WorkerId;
use crate::listen::Address;
use crate::process::ProcessId;

/// The file's name in the runtime directory.
pub const FILE: &str = "state";
/// The header's length, in bytes.
const HEADER: usize = 128;
/// Where the second slot begins, in bytes; what lies between is a hole.
pub const SLOT: u64 = 16 * 1024 * 1024;
/// The longest state, in bytes.
pub const STATE_MAX: usize = 15 * 1024 * 1024;
/// The word that each header begins with.
const MAGIC: &str = "gin-state";

/// A state, and how many were written before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Rises by one with each.
    pub sequence: u64,
    /// JSON.
    pub bytes: Vec<u8>,
}

/// The newer one of the two slots that are whole; `None` if neither is.
///
/// # Errors
/// The errors of `pread(2)`.
pub fn read(file: &File) -> io::Result<Option<Slot>> {
    let slots = [read_slot(file, 0)?, read_slot(file, SLOT)?];
    Ok(slots.into_iter().flatten().max_by_key(|slot| slot.sequence))
}

fn read_slot(file: &File, offset: u64) -> io::Result<Option<Slot>> {
    let mut header = [0; HEADER];
    if read_at(file, &mut header, offset)? < HEADER {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&header);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let magic = words.next();
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (Some(MAGIC), Some(sequence), Some(length), Some(sum)) = (magic, number(), number(), number()) else {
        return Ok(None);
    };
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= STATE_MAX) else { return Ok(None) };
    let mut bytes = vec![0; length];
    let whole = read_at(file, &mut bytes, offset + HEADER as u64)? == length && checksum(&bytes) == sum;
    Ok(whole.then_some(Slot { sequence, bytes }))
}

fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes a state into the slot that is its turn: first what it says, then the header that makes it count.
///
/// # Errors
/// The errors of `pwrite(2)`; one that is too long. The other slot stays as it is.
pub fn write(file: &File, slot: &Slot) -> io::Result<()> {
    if slot.bytes.len() > STATE_MAX {
        return Err(io::Error::other(format!("a state of {} bytes is too long", slot.bytes.len())));
    }
    let offset = if slot.sequence.is_multiple_of(2) { 0 } else { SLOT };
    let text = format!("{MAGIC} {} {} {}\n", slot.sequence, slot.bytes.len(), checksum(&slot.bytes));
    let mut header = [b'\n'; HEADER];
    header[..text.len()].copy_from_slice(text.as_bytes());
    file.write_all_at(&slot.bytes, offset + HEADER as u64)?;
    file.write_all_at(&header, offset)
}

/// FNV-1a, 64 bits: tells a torn slot from a whole one. It is no guard against malice; the file's mode and owner are.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What `gin-ctl` needs of a state when its master is gone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Left {
    /// The boot that its PIDs belong to.
    pub boot_id: String,
    /// The rest.
    pub state: LeftState,
}

/// See [`Left`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeftState {
    /// The instance's name.
    pub instance: String,
    /// The master that wrote it.
    pub master: ProcessId,
    /// Its workers.
    pub workers: Vec<LeftWorker>,
    /// The sockets that clients connect to.
    #[serde(default)]
    pub sockets: Vec<LeftSocket>,
    /// Where the master's files are.
    pub paths: LeftPaths,
}

/// Where a master's files are; see the state's own word on them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeftPaths {
    /// The PID file, if its name is text.
    #[serde(default, deserialize_with = "text_alone")]
    pub pid_file: Option<PathBuf>,
    /// May act.
    #[serde(default, deserialize_with = "text_alone")]
    pub control: Option<PathBuf>,
    /// May look.
    #[serde(default, deserialize_with = "text_alone")]
    pub status: Option<PathBuf>,
}

/// A name that is no text is written otherwise, and left alone here.
fn text_alone<'a, D: serde::Deserializer<'a>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_str().map(PathBuf::from))
}

/// A socket as the state has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeftSocket {
    /// Where it listens.
    pub address: Address,
    /// A Unix socket's file that was made for it: device and inode.
    #[serde(default)]
    pub file: Option<(u64, u64)>,
}

/// A worker as the state has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeftWorker {
    /// Who it is.
    pub id: WorkerId,
    /// Its process.
    pub process: ProcessId,
    /// What asks it to finish, by number.
    pub stop_signal: i32,
    /// How long it may take to, in milliseconds.
    #[serde(default)]
    pub drain_timeout_ms: u64,
    /// True if it was told to already.
    #[serde(default)]
    pub told: bool,
}

/// Names this boot: PIDs and monotonic times mean something within one alone.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        let path =
            std::env::temp_dir().join(format!("gin-state-{}-{:?}", std::process::id(), std::thread::current().id()));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    fn slot(sequence: u64, text: &str) -> Slot {
        Slot { sequence, bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn the_newer_whole_slot_counts() {
        let file = file();
        assert_eq!(read(&file).unwrap(), None);
        for sequence in 1..=5 {
            write(&file, &slot(sequence, &"x".repeat(usize::try_from(sequence).unwrap()))).unwrap();
            assert_eq!(read(&file).unwrap().map(|slot| slot.sequence), Some(sequence));
        }
        // The fifth is torn: the fourth stands.
        file.write_all_at(b"y", SLOT + HEADER as u64).unwrap();
        assert_eq!(read(&file).unwrap(), Some(slot(4, "xxxx")));
        file.set_len(3).unwrap();
        assert_eq!(read(&file).unwrap(), None);
        write(&file, &slot(7, "again")).unwrap();
        assert_eq!(read(&file).unwrap(), Some(slot(7, "again")));
    }
}
