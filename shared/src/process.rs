//! Processes: by pidfd, and as `/proc` shows them. No other module opens a pidfd or reads `/proc/PID`.
//!
//! A PID is a number that the kernel gives again. A [`Pidfd`] names one process for ever, and a [`ProcessId`] names it in a
//! file, within one boot. Open the pidfd first and compare the identity afterwards: then no later process of the same PID is
//! taken for the one that is meant.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

pub use rustix::process::Signal;

/// "No such process": the process ended while it was looked at.
const ESRCH: i32 = 3;

/// A process that cannot be mistaken for a later one of the same PID, within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its PID.
    pub pid: i32,
    /// The time of its start, in the kernel's ticks since the boot.
    pub started: u64,
}

impl ProcessId {
    /// The process that has this PID now, as far as it can be told.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Self::read(pid).ok().flatten()
    }

    /// The process that has this PID now; `None` if there is none.
    ///
    /// # Errors
    /// The errors of `open(2)` and `read(2)`: the process may be there, and cannot be looked at.
    pub fn read(pid: i32) -> io::Result<Option<Self>> {
        match read(pid, "stat") {
            Ok(text) => Ok(Stat::parse(&text).map(|stat| Self { pid, started: stat.started })),
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A process by descriptor: it turns readable when the process has exited (`pidfd_open(2)`).
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Opens the process that has this PID now; `None` if there is none.
    ///
    /// # Errors
    /// The errors of `pidfd_open(2)`.
    pub fn open(pid: i32) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the process that is meant, unless it is gone. `kept` is its pidfd, if one was kept.
    ///
    /// # Errors
    /// The errors of `pidfd_open(2)`; of reading its identity.
    pub fn open_same(process: ProcessId, kept: Option<OwnedFd>) -> io::Result<Option<Self>> {
        let opened = match kept {
            // A kept descriptor has named the same process all the time.
            Some(fd) => Some(Self(fd)),
            None => Self::open(process.pid)?,
        };
        let Some(opened) = opened else { return Ok(None) };
        let same = ProcessId::read(process.pid)? == Some(process);
        Ok((same && !opened.has_ended(Duration::ZERO)).then_some(opened))
    }

    /// This process itself.
    ///
    /// # Errors
    /// The errors of `pidfd_open(2)`.
    pub fn own() -> io::Result<Self> {
        Ok(Self(pidfd_open(rustix::process::getpid(), PidfdFlags::NONBLOCK)?))
    }

    /// True if the process exits within `patience`.
    #[must_use]
    pub fn has_ended(&self, patience: Duration) -> bool {
        is_readable(&self.0, patience)
    }

    /// Sends a signal. A process that has exited already is not an error.
    ///
    /// # Errors
    /// The errors of `pidfd_send_signal(2)`: EPERM.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills the process, if it can be killed.
    pub fn kill(&self) {
        let _ = self.signal(Signal::KILL);
    }
}

impl From<OwnedFd> for Pidfd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Pidfd> for OwnedFd {
    fn from(pidfd: Pidfd) -> Self {
        pidfd.0
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// True if a descriptor turns readable within `patience`.
#[must_use]
pub fn is_readable(fd: impl AsFd, patience: Duration) -> bool {
    let patience = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&patience)) == Ok(1)
}

/// The fields of `/proc/PID/stat` that we use (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Field 4: the PID of the parent.
    pub parent: i32,
    /// Field 6: the session; 0 if its leader is outside of this PID namespace (pid_namespaces(7)).
    pub session: i32,
    /// Fields 14 to 17: the time on CPUs, in the kernel's ticks. Children that the process has waited for are in it, with
    /// theirs.
    pub cpu: u64,
    /// Field 22: the time of the start, in the kernel's ticks since the boot.
    pub started: u64,
    /// Field 24: resident memory, in pages.
    pub resident: u64,
}

impl Stat {
    /// The fields of a process; `None` if it is gone or cannot be looked at.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Self::read(pid).ok().flatten()
    }

    /// The same, unless it cannot be told for now.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM: they say nothing about the process.
    pub fn read(pid: i32) -> io::Result<Option<Self>> {
        match read(pid, "stat") {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Err(error),
                _ => Ok(None),
            },
        }
    }

    /// The fields follow the name in parentheses, which may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        // The first one behind the name is field 3.
        let field = |number: usize| fields.get(number - 3);
        let ticks = |number: usize| field(number)?.parse::<u64>().ok();
        Some(Self {
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            cpu: [14, 15, 16, 17].into_iter().filter_map(ticks).fold(0, u64::saturating_add),
            started: field(22)?.parse().ok()?,
            resident: field(24)?.parse().ok()?,
        })
    }
}

/// A file of a process. The kernel cuts a name after 15 bytes, and a process may choose any other: it need not be UTF-8.
fn read(pid: i32, file: &str) -> io::Result<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The PIDs of all processes that can be seen.
pub fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// This process and its ancestors.
#[must_use]
pub fn ancestry() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).ok();
    let parent = |pid: &i32| Stat::of(*pid).map(|stat| stat.parent).filter(|parent| *parent > 0);
    std::iter::successors(own, parent).collect()
}

/// The environment that a process was started with, as its entries; none if it cannot be read.
#[must_use]
pub fn environment(pid: i32) -> Vec<Vec<u8>> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// The user of a process; `None` if it is gone.
#[must_use]
pub fn user(pid: i32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(format!("/proc/{pid}")).ok().map(|process| process.uid())
}

/// The name of a process's program, as the kernel has it.
#[must_use]
pub fn name(pid: i32) -> String {
    read(pid, "comm").unwrap_or_default().trim_end().to_owned()
}

/// The path by which a process's executable can be opened, whatever lies at its own path.
#[must_use]
pub fn executable(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/exe"))
}

/// An open descriptor of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// Its number.
    pub number: i32,
    /// The target of its link: a path, or `socket:[INODE]`.
    pub target: PathBuf,
}

impl OpenFile {
    /// The inode, if it is a socket.
    #[must_use]
    pub fn socket(&self) -> Option<u64> {
        self.target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    }
}

/// The open descriptors of a process.
///
/// # Errors
/// The errors of `open(2)`: NotFound if the process is gone, PermissionDenied if it cannot be looked into.
pub fn open_files(pid: i32) -> io::Result<impl Iterator<Item = OpenFile>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    Ok(entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some(OpenFile { number, target: fs::read_link(entry.path()).ok()? })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let process = ProcessId::of(own()).unwrap();
        assert_eq!(ProcessId::of(own()), Some(process));
        assert!(process.started > 0);
        assert_eq!(ProcessId::of(-1), None);
        assert!(Pidfd::open_same(process, None).unwrap().is_some());
        let later = ProcessId { started: process.started + 1, ..process };
        assert!(Pidfd::open_same(later, None).unwrap().is_none());
    }

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let pidfd = Pidfd::open(pid).unwrap().unwrap();
        assert!(!pidfd.has_ended(Duration::ZERO));
        assert_eq!(Stat::of(pid).unwrap().parent, own());
        assert!(ancestry().contains(&own()) && all().any(|other| other == pid));
        pidfd.kill();
        assert!(pidfd.has_ended(Duration::from_secs(60)));
        child.wait().unwrap();
        assert!(pidfd.signal(Signal::TERM).is_ok() && Stat::of(pid).is_none());
        assert!(Pidfd::open(0).unwrap().is_none());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let rest = (4..=24).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        let stat = Stat::parse(&format!("1 (a) b) S {rest}")).unwrap();
        assert_eq!(stat, Stat { parent: 4, session: 6, cpu: 14 + 15 + 16 + 17, started: 22, resident: 24 });
        assert_eq!(Stat::parse("1 (a) S 1"), None);
    }

    #[test]
    fn a_process_whose_name_is_no_text_is_seen() {
        use std::io::{Read, Write};
        use std::os::unix::ffi::OsStrExt;
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(std::ffi::OsStr::from_bytes(b"cat\xff"));
        std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
        let pipe = std::process::Stdio::piped;
        let mut child = std::process::Command::new(program).stdin(pipe()).stdout(pipe()).spawn().unwrap();
        // It has its name when it answers.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert_eq!(fs::read(format!("/proc/{pid}/comm")).unwrap(), b"cat\xff\n");
        assert_eq!(Stat::of(pid).unwrap().parent, own());
        let process = ProcessId::read(pid).unwrap().unwrap();
        assert!(Pidfd::open_same(process, None).unwrap().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_sockets_of_a_process_are_known_by_inode() {
        use std::os::unix::fs::MetadataExt;
        let (socket, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let file = fs::File::from(OwnedFd::from(socket));
        let inode = file.metadata().unwrap().ino();
        assert!(open_files(own()).unwrap().any(|open| open.socket() == Some(inode)));
    }
}
