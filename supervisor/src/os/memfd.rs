//! Files in memory (`memfd_create(2)`): messages too long for a socket, and the output of programs.

use std::fs::File;
use std::io::{self, Seek, Write};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// An empty file, closed by an execve.
///
/// # Errors
/// The errors of `memfd_create(2)`.
pub fn empty(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

/// A file with `bytes`, at its beginning, closed by an execve.
///
/// # Errors
/// The errors of `memfd_create(2)` and `write(2)`.
pub fn with(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = empty(name)?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// A file of `length` bytes that are all 0, closed by an execve. Nobody can make it longer: what is written behind its end is refused.
///
/// # Errors
/// The errors of `memfd_create(2)`, and of setting its length.
pub fn limited(name: &str, length: u64) -> io::Result<File> {
    let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    ftruncate(&file, length)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// A file with `bytes` that nobody can change any more, this process included. It is closed by an execve.
///
/// # Errors
/// The errors of `memfd_create(2)`, `write(2)`, and of sealing it.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}

/// A file with `bytes` that an execve leaves open. Its position is the end.
///
/// # Errors
/// As [`with`].
pub fn inheritable(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::empty())?);
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_is_written_by_nobody() {
        let mut file = sealed("gin-test", b"certificates").unwrap();
        file.rewind().unwrap();
        assert!(file.write_all(b"C").is_err() && ftruncate(&file, 3).is_err() && ftruncate(&file, 300).is_err());
        assert!(fcntl_add_seals(&file, SealFlags::WRITE).is_err(), "the seals themselves are sealed");
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(std::fs::read(path).unwrap(), b"certificates");
    }
}
