//! The list of stored files.

use std::io;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::directory::Directory;
use super::names::Name;

/// A stored file in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Listed {
    /// The name by which it is downloaded and removed.
    pub filename: String,
    /// In bytes.
    pub size: u64,
    /// The time at which it was stored. In JSON it is RFC 3339, in seconds.
    #[serde(serialize_with = "as_rfc_3339")]
    pub modified: SystemTime,
}

/// The files of the directory, the newest first.
///
/// # Errors
/// If the directory cannot be read.
pub(super) fn read(directory: &Directory) -> io::Result<Vec<Listed>> {
    let mut all = Vec::new();
    directory.each(|name, meta| {
        // Somebody else's file could not be downloaded.
        if let Some(name) = name.to_str().and_then(Name::parse) {
            let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            all.push(Listed { filename: name.as_str().to_owned(), size: meta.len(), modified });
        }
    })?;
    all.sort_by(|one, other| (other.modified, &one.filename).cmp(&(one.modified, &other.filename)));
    Ok(all)
}

pub(super) fn as_rfc_3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    // The years that RFC 3339 can write.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let time = (*time).clamp(SystemTime::UNIX_EPOCH, last);
    serializer.collect_str(&humantime::format_rfc3339_seconds(time))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_newest_is_first_and_only_our_files_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, seconds: u64| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        write("a_000000000000beef.txt", 10);
        write("b_000000000000beef.txt", 30);
        write("c_000000000000beef.txt", 30);
        write("foreign.txt", 40);
        write(".lock", 50);
        let all = read(&Directory::open(dir.path()).unwrap()).unwrap();
        let names: Vec<&str> = all.iter().map(|file| &file.filename[..1]).collect();
        assert_eq!(names, ["b", "c", "a"]);
        let json = serde_json::to_string(&all[2]).unwrap();
        assert_eq!(json, r#"{"filename":"a_000000000000beef.txt","size":0,"modified":"1970-01-01T00:00:10Z"}"#);
    }
}
