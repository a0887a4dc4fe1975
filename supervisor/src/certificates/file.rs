//! Files that are read as one: what is written or replaced meanwhile is read again.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gin_shared::tls::material::Secret;

use super::error::CertificateError;

/// The longest file that is read, in bytes: far more than any chain has.
pub const LENGTH_MAX: u64 = 1 << 20;
/// Number of times that files are read before they count as unsettled.
const TRIES: usize = 8;

/// A file and its last change.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// Reads these files as they were at one moment. They may hold keys, so the bytes are wiped when they are dropped.
///
/// # Errors
/// If one cannot be read, is no regular file, or is too large; or if one is changed time and again.
pub fn read_together<const N: usize>(files: [&Path; N]) -> Result<[Secret; N], CertificateError> {
    let mut changed = PathBuf::new();
    for _ in 0..TRIES {
        let before = stamps(files)?;
        let mut contents = Vec::with_capacity(N);
        for file in files {
            contents.push(read(file)?);
        }
        let after = stamps(files)?;
        let place = before.iter().zip(&after).position(|(before, after)| before != after);
        match (place, <[Secret; N]>::try_from(contents)) {
            (None, Ok(contents)) => return Ok(contents),
            (place, _) => {
                changed = files.get(place.unwrap_or_default()).map(|file| file.to_path_buf()).unwrap_or_default();
            }
        }
    }
    Err(CertificateError::Unsettled(changed))
}

fn stamps<const N: usize>(files: [&Path; N]) -> Result<Vec<Stamp>, CertificateError> {
    let stamp = |file: &Path| {
        let failed = |error| CertificateError::Read { file: file.to_owned(), error };
        std::fs::metadata(file).map(|metadata| stamp(&metadata)).map_err(failed)
    };
    files.into_iter().map(stamp).collect()
}

fn stamp(file: &Metadata) -> Stamp {
    (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec())
}

fn read(path: &Path) -> Result<Secret, CertificateError> {
    let failed = |error| CertificateError::Read { file: path.to_owned(), error };
    // A pipe would be waited for.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(CertificateError::NotAFile(path.to_owned()));
    }
    let length = metadata.len();
    if length > LENGTH_MAX {
        return Err(CertificateError::TooLarge { file: path.to_owned(), length, most: LENGTH_MAX });
    }
    let file = File::open(path).map_err(failed)?;
    // A buffer that grows leaves copies behind. Of a file that grows just now no more is read; it is read again.
    let room = usize::try_from(length).unwrap_or_default();
    let mut bytes = Vec::with_capacity(room + 32);
    let read = file.take(length).read_to_end(&mut bytes);
    let contents = Secret::new(bytes);
    read.map(|_| contents).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_they_lie_there_and_what_is_no_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        std::fs::write(&one, "1").unwrap();
        std::fs::write(&other, "2").unwrap();
        let [first, second] = read_together([one.as_path(), other.as_path()]).unwrap();
        assert_eq!((first.bytes(), second.bytes()), (&b"1"[..], &b"2"[..]));
        let error = |path: &Path| read_together([one.as_path(), path]).unwrap_err().to_string();
        assert!(error(dir.path()).ends_with("not a regular file"));
        assert!(error(&dir.path().join("none")).ends_with("none: no such file or directory"));
        File::create(&other).unwrap().set_len(LENGTH_MAX + 1).unwrap();
        assert!(error(&other).contains("1048577 bytes, and 1048576 are allowed"));
    }

    #[test]
    fn another_file_at_the_same_path_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one");
        std::fs::write(&path, "1").unwrap();
        let before = stamps([path.as_path()]).unwrap();
        assert_eq!(before, stamps([path.as_path()]).unwrap());
        std::fs::write(dir.path().join("new"), "2").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert_ne!(before, stamps([path.as_path()]).unwrap());
    }
}
