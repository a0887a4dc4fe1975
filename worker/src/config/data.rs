//! Sections of the parts outside of the process: databases, Redis, caches, sessions, logins, uploads. Nothing is opened by them alone: a program registers
//! what it uses ([`crate::Server`]), and other programs check these sections and pass them over.

#![cfg_attr(
    not(all(feature = "auth", feature = "csrf", feature = "redis", feature = "uploads")),
    allow(dead_code, reason = "secrets are read by parts, which are features")
)]

mod auth;
mod cache;
mod database;
mod redis;
mod sessions;
mod store;
mod uploads;

use std::path::Path;
use std::time::Duration;

use gin_shared::config::Section;

pub use auth::{Algorithm, Auth, AuthKey, Revocation};
pub use cache::{Cache, CacheLevels};
pub use database::{Database, Driver, Tls};
pub use redis::{Redis, RedisTls};
pub use sessions::Sessions;
pub use store::Store;
pub use store::Store as SessionStore;
pub use uploads::Uploads;

fn port(section: &Section<'_>) -> Option<u16> {
    section.integer("port", 1..=65535).and_then(|port| u16::try_from(port).ok())
}

fn count(section: &Section<'_>, key: &'static str, least: i64) -> Option<u32> {
    section.integer(key, least..=100_000).and_then(|count| u32::try_from(count).ok())
}

/// A length of time that is not zero.
fn time(section: &Section<'_>, key: &'static str) -> Option<Duration> {
    section.duration(key).inspect(|time| {
        if time.is_zero() {
            section.problem(key, "it must be more than 0s");
        }
    })
}

/// A secret as it is written, else the text of a file, without the newline at its end. An empty text is none.
///
/// # Errors
/// If the file cannot be read: which key names it, and why. The text of the file is not in it.
fn secret(written: Option<&str>, key: &str, file: Option<&Path>) -> Result<Option<String>, String> {
    let written = written.filter(|text| !text.is_empty());
    let (None, Some(path)) = (written, file) else { return Ok(written.map(str::to_owned)) };
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("{key}: cannot read {}: {error}; the worker's user must be able to read it", path.display())
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(Some(text).filter(|text| !text.is_empty()).map(str::to_owned))
}

/// The same for a secret that the worker makes by itself, and keeps in the state directory, where neither is set.
///
/// # Errors
/// If the file cannot be read, or has nothing: a sentence that names the key.
pub(super) fn own_secret(written: Option<&str>, key: &str, file: Option<&Path>) -> Result<Option<String>, String> {
    let read = secret(written, key, file)?;
    if let (None, Some(file)) = (&read, file) {
        // A secret of this host's own is not what was asked for.
        let file = file.display();
        return Err(format!("{key}: {file} is empty; `openssl rand -hex 32` makes a secret, or take the key out"));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_or_stands_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, " pass word \r\n").unwrap();
        let read = |written, file| secret(written, "database.password_file", file);
        assert_eq!((read(None, None), read(Some(""), None)), (Ok(None), Ok(None)));
        for nothing in [None, Some("")] {
            assert_eq!(read(nothing, Some(file.as_path())), Ok(Some(" pass word ".to_owned())));
        }
        assert_eq!(read(Some("written"), Some(file.as_path())), Ok(Some("written".to_owned())));
        let missing = read(None, Some(&dir.path().join("none"))).unwrap_err();
        assert!(missing.starts_with("database.password_file: cannot read /"), "{missing}");
    }
}
