//! From a request's path to an open file, and never out of the directory.
//!
//! Each segment is decoded once, for itself. Hidden ones (`.git`), `..`, and what has a slash or NUL inside are nowhere, at any depth. The
//! kernel follows the rest from the directory's descriptor and refuses to leave it (`openat2(2)`, RESOLVE_BENEATH): also by
//! a symbolic link, and also if somebody exchanges one meanwhile. Where the kernel has no such call, no link is followed at all.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// A directory whose files are served.
#[derive(Debug)]
pub(super) struct Root {
    /// Where it is looked for.
    dir: PathBuf,
    fd: OwnedFd,
    /// The kernel has no openat2, or a filter forbids it.
    without_openat2: AtomicBool,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Below the root; empty: the root itself.
    pub(super) path: PathBuf,
    /// Whether a `/` stands at its end.
    pub(super) is_directory: bool,
}

/// Reads what stands behind the prefix of a request's path, as it came. `None`: there can be no such file.
pub(super) fn wanted(raw: &str) -> Option<Wanted> {
    let is_slash = raw.starts_with('/');
    let raw = raw.strip_prefix('/').unwrap_or(raw);
    let (raw, is_directory) = match raw.strip_suffix('/') {
        Some(rest) => (rest, true),
        None => (raw, is_slash && raw.is_empty()),
    };
    let mut path = PathBuf::new();
    if !raw.is_empty() {
        for segment in raw.split('/') {
            path.push(decode(segment)?);
        }
    }
    Some(Wanted { path, is_directory })
}

fn decode(segment: &str) -> Option<OsString> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        };
        bytes.push(byte);
    }
    // "." and ".." begin with a dot, too.
    let is_name = !bytes.is_empty() && bytes[0] != b'.' && !bytes.contains(&b'/') && !bytes.contains(&0);
    is_name.then(|| OsString::from_vec(bytes))
}

impl Root {
    /// # Errors
    /// Those of `open(2)`.
    pub(super) fn open(dir: &std::path::Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, dir, flags, Mode::empty())?;
        Ok(Self { dir: dir.to_owned(), fd, without_openat2: AtomicBool::new(false) })
    }

    /// What lies at its path by now, if that is another directory: a release was put in its place, or a link leads elsewhere.
    pub(super) fn successor(&self) -> Option<Self> {
        let there = rustix::fs::stat(&self.dir).ok()?;
        let own = rustix::fs::fstat(&self.fd).ok()?;
        if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino) {
            return None;
        }
        Self::open(&self.dir).ok()
    }

    /// Opens a file or directory below it, for reading. A FIFO or a device does not block.
    ///
    /// # Errors
    /// Those of `openat2(2)`: EXDEV, if it leads out.
    pub(super) fn at(&self, path: &std::path::Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { std::path::Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if !self.without_openat2.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                // EAGAIN: something was renamed just now.
                Err(Errno::AGAIN) => return self.at_once_more(path, flags, resolve),
                Err(Errno::NOSYS | Errno::PERM) => self.without_openat2.store(true, Ordering::Relaxed),
                other => return Ok(other?),
            }
        }
        self.step_by_step(path, flags)
    }

    fn at_once_more(&self, path: &std::path::Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
        for _ in 0..16 {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        self.step_by_step(path, flags)
    }

    /// Without following any link.
    fn step_by_step(&self, path: &std::path::Path, flags: OFlags) -> io::Result<OwnedFd> {
        let mut names = path.iter().peekable();
        let mut here: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            let flags = if names.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC } else { flags };
            let from = here.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            here = Some(openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
        }
        here.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_decoded_once_and_stays_below() {
        let to = |path: &str, is_directory| Some(Wanted { path: path.into(), is_directory });
        for (raw, expected) in [
            ("", to("", false)),
            ("/", to("", true)),
            ("/a/b.txt", to("a/b.txt", false)),
            ("/a/b/", to("a/b", true)),
            ("/a..b", to("a..b", false)),
            ("/a%20b", to("a b", false)),
            ("/%61", to("a", false)),
            ("/a%5cb", to("a\\b", false)),
            // Twice encoded is a name with a percent sign.
            ("/%252e%252e/x", to("%2e%2e/x", false)),
            ("/..", None),
            ("/../x", None),
            ("/a/../x", None),
            ("/%2e%2e/x", None),
            ("/.%2e/x", None),
            ("/..%2fx", None),
            ("/a%2fb", None),
            ("/a%00b", None),
            ("/.git/config", None),
            ("/a/.hidden", None),
            ("/%2egit/config", None),
            ("/a//b", None),
            ("//a", None),
            ("/./a", None),
            ("/a%", None),
            ("/a%2", None),
            ("/a%zz", None),
        ] {
            assert_eq!(wanted(raw), expected, "{raw}");
        }
    }

    #[test]
    fn no_link_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/in.txt"), "in").unwrap();
        fs::write(outside.path().join("out.txt"), "out").unwrap();
        symlink("sub/in.txt", root.join("inner")).unwrap();
        symlink(outside.path().join("out.txt"), root.join("absolute")).unwrap();
        symlink("../../etc/passwd", root.join("sub/relative")).unwrap();
        symlink(outside.path(), root.join("dir")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
        let opened = Root::open(&root).unwrap();
        let read =
            |root: &Root, path: &str| root.at(path.as_ref()).and_then(|fd| io::read_to_string(fs::File::from(fd)));
        assert_eq!(read(&opened, "sub/in.txt").unwrap(), "in");
        assert_eq!(read(&opened, "inner").unwrap(), "in");
        let leads_out = ["absolute", "sub/relative", "dir/out.txt", "magic"];
        for path in leads_out {
            assert_eq!(read(&opened, path).unwrap_err().raw_os_error(), Some(Errno::XDEV.raw_os_error()), "{path}");
        }
        assert!(opened.at("".as_ref()).is_ok(), "the root itself");
        let long = "x".repeat(300);
        assert_eq!(read(&opened, &long).unwrap_err().raw_os_error(), Some(Errno::NAMETOOLONG.raw_os_error()));
        // As on a kernel without openat2.
        opened.without_openat2.store(true, Ordering::Relaxed);
        assert_eq!(read(&opened, "sub/in.txt").unwrap(), "in");
        for path in leads_out.iter().chain(&["inner"]) {
            assert!(read(&opened, path).is_err(), "{path}");
        }
        assert!(opened.at("".as_ref()).is_ok(), "the root itself");
    }
}
