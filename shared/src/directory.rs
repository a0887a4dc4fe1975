//! A directory whose names can be believed: nobody but root, this process's user and the directory's owner can have put
//! them there.
//!
//! The path is walked from `/`, one descriptor after the other, and each directory on the way is looked at before a name in
//! it is followed. So what was looked at is what is used afterwards, whatever the path leads to by then.
//!
//! | on the way | is believed if |
//! |---|---|
//! | a directory | it is root's or ours, and nobody else can write to it |
//! | one that all can write to, with the sticky bit (`/tmp`) | what is followed in it is root's or ours: nobody else can rename or remove that |
//! | a directory of nobody here (see below) | nobody else can write to it |
//! | a link | it is root's or ours, as its directory is: nobody else can have made it |
//! | the directory itself | it is no link, and only its owner can write to it |
//!
//! The directory itself may be another user's: then root, or this user, has given it to them, as systemd's
//! `RuntimeDirectory=` does with `User=`. [`Directory::ours`] takes none of those. Below a directory of another user nothing is
//! believed. [`Directory::of_file_anywhere`] is for what has to be done below such a directory all the same: from there on it
//! follows no link, so that nobody can lead it to another place.
//!
//! In a user namespace without the root of outside, `/` and `/usr` belong to the overflow user, who stands for each user of outside
//! that has no number here. Where that user has no number here either, nobody in the namespace can be it, and its directories are
//! believed as a way: not one that others can write to, as `/tmp`, not what is followed there, and not the directory itself for
//! [`Directory::ours`]. Who such a directory really belongs to cannot be seen from inside; keep to ways that are root's.
//!
//! `openat2(2)` with RESOLVE_NO_SYMLINKS would be one call, but it does not show the directories on the way.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fchmod, fstat, mkdirat, openat, readlinkat, renameat, unlinkat,
};
use rustix::io::Errno;

/// Links that are followed in one path, as the kernel has it.
const LINKS_MAX: usize = 40;
/// Others than the owner can write.
const OTHERS_WRITE: u32 = 0o022;
/// Only a file's owner can rename or remove it.
const STICKY: u32 = 0o1000;

/// Why a directory cannot be believed.
#[derive(Debug)]
pub struct Doubt {
    /// The directory, or the one on the way to it.
    pub path: PathBuf,
    /// The reason to doubt it.
    pub why: Why,
}

/// Reason to doubt a directory.
#[derive(Debug)]
pub enum Why {
    /// It cannot be opened.
    Io(io::Error),
    /// It is a link.
    Link,
    /// It is something else.
    NotADirectory,
    /// It belongs to somebody else, by UID.
    Owner(u32),
    /// Others can write to it: its mode.
    Mode(u32),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Link => f.write_str("it is a link; name the directory itself"),
            Self::NotADirectory => f.write_str("it is not a directory"),
            Self::Owner(uid) => write!(f, "it belongs to uid {uid}"),
            Self::Mode(mode) => write!(f, "its mode is {mode:04o}"),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, why } = self;
        match why {
            Why::Io(error) => write!(f, "{}: {error}", path.display()),
            why => write!(f, "{} is not safe: {why}", path.display()),
        }
    }
}

impl std::error::Error for Doubt {}

impl Doubt {
    /// True if there is no such directory.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(&self.why, Why::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// A directory that can be believed, opened.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    owner: u32,
    /// The user that this process is.
    own: u32,
}

impl Directory {
    /// Opens a directory.
    ///
    /// # Errors
    /// [`Doubt`], if it is not there or cannot be believed.
    pub fn open(path: &Path) -> Result<Self, Doubt> {
        Self::open_as(path, rustix::process::geteuid().as_raw())
    }

    fn open_as(path: &Path, own: u32) -> Result<Self, Doubt> {
        let walk = Walk::to(path, own, Belief::Whole)?;
        let mode = walk.mode();
        if mode & OTHERS_WRITE != 0 { Err(walk.doubt(Why::Mode(mode))) } else { Ok(walk.end()) }
    }

    /// Makes a directory of this mode, whatever the umask is, if it is not there yet; opens it. Where it is made was opened before.
    ///
    /// # Errors
    /// As [`Self::open`]; the errors of `mkdir(2)`.
    pub fn make(path: &Path, mode: u32) -> Result<Self, Doubt> {
        let own = rustix::process::geteuid().as_raw();
        let (parent, name) = split(path)?;
        let parent = Walk::to(parent, own, Belief::Way)?;
        parent.check_way()?;
        let mode = Mode::from_bits_truncate(mode);
        let made = match mkdirat(&parent.at, &name, mode) {
            Ok(()) => set_mode(&parent.at, &name, mode),
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error),
        };
        made.map_err(|error| Doubt { path: path.to_owned(), why: Why::Io(error.into()) })?;
        Self::open_as(path, own)
    }

    /// Opens the directory of a file; the second value is the file's name in it.
    ///
    /// # Errors
    /// As [`Self::open`]; a path that names no file.
    pub fn of_file(path: &Path) -> Result<(Self, OsString), Doubt> {
        let (parent, name) = split(path)?;
        Ok((Self::open(parent)?, name))
    }

    /// As [`Self::of_file`], where all may write to the directory if it has the sticky bit, as `/tmp` has: nobody but root and
    /// a file's owner can change what that file's name leads to, but anybody can have made the file.
    ///
    /// # Errors
    /// As [`Self::of_file`].
    pub fn of_file_in_shared(path: &Path) -> Result<(Self, OsString), Doubt> {
        let (parent, name) = split(path)?;
        let walk = Walk::to(parent, rustix::process::geteuid().as_raw(), Belief::Whole)?;
        let mode = walk.mode();
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            return Err(walk.doubt(Why::Mode(mode)));
        }
        Ok((walk.end(), name))
    }

    /// As [`Self::of_file`], whoever can write to the directory or to one above it. What lies in it may be anybody's: the file
    /// that is meant must be known by its inode, say.
    ///
    /// # Errors
    /// If the directory is not there; a link that somebody can have made who is not believed; a path that names no file.
    pub fn of_file_anywhere(path: &Path) -> Result<(Self, OsString), Doubt> {
        Self::of_file_anywhere_as(path, rustix::process::geteuid().as_raw())
    }

    fn of_file_anywhere_as(path: &Path, own: u32) -> Result<(Self, OsString), Doubt> {
        let (parent, name) = split(path)?;
        Ok((Walk::to(parent, own, Belief::Any)?.end(), name))
    }

    /// The same directory, if it is root's or ours.
    ///
    /// # Errors
    /// If it is somebody else's.
    pub fn ours(self) -> Result<Self, Doubt> {
        let is_ours = self.owner == 0 || self.owner == self.own;
        if is_ours { Ok(self) } else { Err(Doubt { path: self.path, why: Why::Owner(self.owner) }) }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if a file here that belongs to this user, or a process of this user that listens here, can be believed: root's, ours,
    /// and those of the directory's owner.
    #[must_use]
    pub fn believes(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own || uid == self.owner
    }

    /// The names in it.
    ///
    /// # Errors
    /// The errors of `open(2)` and `getdents(2)`.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut names = Vec::new();
        for entry in Dir::new(openat(&self.fd, ".", flags, Mode::empty())?)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// A file to look at (`O_PATH`), of any kind. A link is not followed: it is the file.
    ///
    /// # Errors
    /// The errors of `open(2)`.
    pub fn look(&self, name: &OsStr) -> io::Result<File> {
        self.open_file(name, OFlags::PATH, 0)
    }

    /// A file to read. Nobody is waited for, should it be a pipe.
    ///
    /// # Errors
    /// The errors of `open(2)`: ELOOP for a link.
    pub fn read(&self, name: &OsStr) -> io::Result<File> {
        self.open_file(name, OFlags::RDONLY | OFlags::NONBLOCK, 0)
    }

    /// A file to write, which must be there.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn write(&self, name: &OsStr) -> io::Result<File> {
        self.open_file(name, OFlags::WRONLY | OFlags::NONBLOCK, 0)
    }

    /// A file to write, made with this mode if it is not there.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        self.open_file(name, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CREATE, mode)
    }

    /// A file to write, which must not be there yet.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn create_new(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        self.open_file(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)
    }

    fn open_file(&self, name: &OsStr, flags: OFlags, mode: u32) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::from_bits_truncate(mode))?))
    }

    /// Gives a file another name here, and replaces the file that has it.
    ///
    /// # Errors
    /// The errors of `renameat(2)`.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a file. Of a link, the link.
    ///
    /// # Errors
    /// The errors of `unlinkat(2)`.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, AtFlags::empty())?)
    }
}

/// Gives a directory that was just made its mode: the umask may have taken some of it.
fn set_mode(parent: &OwnedFd, name: &OsStr, mode: Mode) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fchmod(openat(parent, name, flags, Mode::empty())?, mode)
}

/// The directory and the name of a file.
fn split(path: &Path) -> Result<(&Path, OsString), Doubt> {
    let Some(name) = path.file_name() else {
        return Err(Doubt { path: path.to_owned(), why: Why::Io(io::ErrorKind::InvalidInput.into()) });
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((parent, name.to_owned()))
}

/// Answer of a walk to something that cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// It ends there. The directory itself may be no link.
    Whole,
    /// It ends there. The directory itself is on the way to another one, and may be a link.
    Way,
    /// It goes on, and follows no link from there on.
    Any,
    /// It has gone on, and follows no link any more.
    Lost,
}

/// A walk from `/` to a directory.
struct Walk {
    own: u32,
    belief: Belief,
    /// The path as it was given.
    whole: PathBuf,
    at: OwnedFd,
    stat: Stat,
    /// The path of `at`.
    reached: PathBuf,
    /// The names that are left, the next one last.
    rest: Vec<OsString>,
    links: usize,
}

impl Walk {
    fn to(path: &Path, own: u32, belief: Belief) -> Result<Self, Doubt> {
        let failed = |error| Doubt { path: path.to_owned(), why: Why::Io(error) };
        let whole = std::path::absolute(path).map_err(failed)?;
        let (at, stat) = root().map_err(|error| failed(error.into()))?;
        let mut walk = Self { own, belief, whole, at, stat, reached: PathBuf::from("/"), rest: Vec::new(), links: 0 };
        walk.rest = names(&walk.whole);
        while let Some(name) = walk.rest.pop() {
            walk.step(&name)?;
        }
        Ok(walk)
    }

    /// Follows a name, if nobody can have put it there who is not believed.
    fn step(&mut self, name: &OsStr) -> Result<(), Doubt> {
        let checked = self.check_way();
        self.pass(checked)?;
        let path = self.reached.join(name);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&self.at, name, flags, Mode::empty()).and_then(|fd| Ok((fstat(&fd)?, fd)));
        let (stat, fd) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(Doubt { path, why: Why::Io(error.into()) }),
        };
        if self.mode() & OTHERS_WRITE != 0 && !self.trusts(stat.st_uid) {
            self.pass(Err(Doubt { path: path.clone(), why: Why::Owner(stat.st_uid) }))?;
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                (self.at, self.stat, self.reached) = (fd, stat, path);
                Ok(())
            }
            FileType::Symlink if !self.follows() => Err(Doubt { path, why: Why::Link }),
            FileType::Symlink => self.follow(&fd).map_err(|error| Doubt { path, why: Why::Io(error.into()) }),
            _ => Err(Doubt { path, why: Why::NotADirectory }),
        }
    }

    /// Ends the walk for a doubt, or goes on without belief.
    fn pass(&mut self, checked: Result<(), Doubt>) -> Result<(), Doubt> {
        match (checked, self.belief) {
            (Err(doubt), Belief::Whole | Belief::Way) => Err(doubt),
            (Err(_), Belief::Any | Belief::Lost) => {
                self.belief = Belief::Lost;
                Ok(())
            }
            (Ok(()), _) => Ok(()),
        }
    }

    /// True if a link that the walk has come to is followed.
    fn follows(&self) -> bool {
        match self.belief {
            Belief::Whole => !self.rest.is_empty(),
            Belief::Way | Belief::Any => true,
            Belief::Lost => false,
        }
    }

    /// A name below here is worth what those are worth who can change it.
    fn check_way(&self) -> Result<(), Doubt> {
        let (mode, owner) = (self.mode(), self.stat.st_uid);
        let is_closed = mode & OTHERS_WRITE == 0;
        if !(self.trusts(owner) || is_closed && nobody_here() == Some(owner)) {
            Err(self.doubt(Why::Owner(owner)))
        } else if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            Err(self.doubt(Why::Mode(mode)))
        } else {
            Ok(())
        }
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::LOOP);
        }
        let target = readlinkat(link, "", Vec::new())?;
        let target = Path::new(OsStr::from_bytes(target.to_bytes()));
        if target.is_absolute() {
            (self.at, self.stat) = root()?;
            self.reached = PathBuf::from("/");
        }
        self.rest.extend(names(target));
        Ok(())
    }

    fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    fn trusts(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own
    }

    fn doubt(&self, why: Why) -> Doubt {
        Doubt { path: self.reached.clone(), why }
    }

    fn end(self) -> Directory {
        Directory { fd: self.at, path: self.whole, owner: self.stat.st_uid, own: self.own }
    }
}

/// The user who is nobody in this user namespace, and whom root's files of outside belong to; `None` if root has a number here, as
/// outside of any namespace.
fn nobody_here() -> Option<u32> {
    static NOBODY: OnceLock<Option<u32>> = OnceLock::new();
    *NOBODY.get_or_init(|| {
        let read = |path| std::fs::read_to_string(path).ok();
        nobody_of(&read("/proc/self/uid_map")?, &read("/proc/sys/kernel/overflowuid")?)
    })
}

/// The same by the lines of `uid_map` (first number inside, first number outside, how many) and the overflow user.
fn nobody_of(uid_map: &str, overflow: &str) -> Option<u32> {
    let overflow = overflow.trim().parse().ok()?;
    let has = |first: u32, count: u32, uid: u32| uid >= first && uid - first < count;
    for line in uid_map.lines() {
        let numbers: Result<Vec<u32>, _> = line.split_ascii_whitespace().map(str::parse).collect();
        let [inside, outside, count] = *numbers.ok()?.as_slice() else { return None };
        if has(outside, count, 0) || has(inside, count, overflow) {
            return None;
        }
    }
    Some(overflow)
}

/// The names of a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

fn root() -> Result<(OwnedFd, Stat), Errno> {
    let fd = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&fd)?;
    Ok((fd, stat))
}

#[cfg(test)]
mod tests;
