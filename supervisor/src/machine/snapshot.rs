//! The whole machine to bytes and back: what an upgrade in place and an adoption live on.

use serde::{Deserialize, Serialize};

use super::Machine;

/// The format written here. A reader takes this one and older ones.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    boot_id: &'a str,
    machine: &'a Machine,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
    boot_id: String,
}

#[derive(Deserialize)]
struct Read {
    machine: Machine,
}

/// Why bytes are not a snapshot to go on from.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Truncated, corrupt or foreign.
    #[error("not a snapshot: {0}")]
    Format(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("the snapshot has format {0}, and this version reads up to {VERSION}")]
    Future(u32),
    /// Its times mean nothing any more, and neither do its PIDs.
    #[error("the snapshot is of another boot")]
    OtherBoot,
}

/// Writes it.
///
/// # Panics
/// Never: the machine always becomes JSON.
#[must_use]
pub fn write(machine: &Machine, boot_id: &str) -> Vec<u8> {
    serde_json::to_vec(&Written { version: VERSION, boot_id, machine }).expect("the machine has no maps with odd keys")
}

/// Reads it back.
///
/// # Errors
/// See [`SnapshotError`]; nothing is half read.
pub fn read(bytes: &[u8], boot_id: &str) -> Result<Machine, SnapshotError> {
    let head: Version = serde_json::from_slice(bytes)?;
    if head.version > VERSION {
        return Err(SnapshotError::Future(head.version));
    }
    if head.boot_id != boot_id {
        return Err(SnapshotError::OtherBoot);
    }
    let read: Read = serde_json::from_slice(bytes)?;
    Ok(read.machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_refused_with_the_reason() {
        let machine = Machine::new(4);
        let bytes = write(&machine, "boot");
        assert_eq!(read(&bytes, "boot").unwrap(), machine);
        assert!(matches!(read(&bytes, "other"), Err(SnapshotError::OtherBoot)));
        assert!(matches!(read(&bytes[..bytes.len() - 2], "boot"), Err(SnapshotError::Format(_))));
        let future = br#"{"version":2,"boot_id":"boot","machine":"quite different"}"#;
        assert!(matches!(read(future, "boot"), Err(SnapshotError::Future(2))));
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let text = String::from_utf8(write(&Machine::new(4), "boot")).unwrap();
        let richer = text.replacen("\"machine\":{", "\"more\":1,\"machine\":{\"colour\":\"red\",", 1);
        assert_eq!(read(richer.as_bytes(), "boot").unwrap(), Machine::new(4));
    }
}
