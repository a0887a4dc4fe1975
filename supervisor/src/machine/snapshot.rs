//! A whole state to bytes and back: what an upgrade in place and an adoption live on.
//!
//! `{"version": 1, "boot_id": "...", "state": {...}}`. Unknown fields are passed over, and each field that was added later
//! has a default: so a reader takes its own version and older ones, and newer ones of the same number.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format written here. A reader takes this one and older ones.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    boot_id: &'a str,
    state: &'a T,
}

#[derive(Deserialize)]
struct Head {
    version: u32,
    boot_id: String,
}

#[derive(Deserialize)]
struct Read<T> {
    state: T,
}

/// Bytes that are not a snapshot to go on from.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Truncated, corrupt or foreign.
    #[error("it cannot be read: {0}")]
    Format(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("it has format {0}, and gin-supervisor {version} reads up to {VERSION}", version = env!("CARGO_PKG_VERSION"))]
    Future(u32),
    /// Its times mean nothing any more, and neither do its PIDs.
    #[error("it is of another boot")]
    OtherBoot,
}

/// Writes it.
///
/// # Errors
/// None is known: a state has no maps with odd keys, and words of the system that are no text are written as bytes.
pub fn write<T: Serialize>(state: &T, boot_id: &str) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Written { version: VERSION, boot_id, state })
}

/// Reads it back.
///
/// # Errors
/// See [`SnapshotError`]; nothing is half read.
pub fn read<T: DeserializeOwned>(bytes: &[u8], boot_id: &str) -> Result<T, SnapshotError> {
    let head: Head = serde_json::from_slice(bytes)?;
    if head.version > VERSION {
        return Err(SnapshotError::Future(head.version));
    }
    if head.boot_id != boot_id {
        return Err(SnapshotError::OtherBoot);
    }
    let read: Read<T> = serde_json::from_slice(bytes)?;
    Ok(read.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn what_is_not_ours_is_refused_with_the_reason() {
        let machine = Machine::new(4);
        let bytes = write(&machine, "boot").unwrap();
        let read = |bytes: &[u8], boot: &str| read::<Machine>(bytes, boot);
        assert_eq!(read(&bytes, "boot").unwrap(), machine);
        assert!(matches!(read(&bytes, "other"), Err(SnapshotError::OtherBoot)));
        assert!(matches!(read(&bytes[..bytes.len() - 2], "boot"), Err(SnapshotError::Format(_))));
        let future = br#"{"version":2,"boot_id":"boot","state":"quite different"}"#;
        assert!(matches!(read(future, "boot"), Err(SnapshotError::Future(2))));
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let text = String::from_utf8(write(&Machine::new(4), "boot").unwrap()).unwrap();
        let richer = text.replacen("\"state\":{", "\"more\":1,\"state\":{\"colour\":\"red\",", 1);
        assert_eq!(read::<Machine>(richer.as_bytes(), "boot").unwrap(), Machine::new(4));
    }
}
