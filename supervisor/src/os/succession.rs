//! The passage of descriptors from one master to the next: by name over an execve in place, or taken from a process that has
//! them.

#![allow(unsafe_code, reason = "descriptors that an execve has left open are numbers until they are owned")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gin_shared::process;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::fstat;
use nix::unistd::execve;
use rustix::process::PidfdGetfdFlags;

use super::adopt_error::AdoptError;
use super::{fault, memfd};

/// The number of the memfd that an execve in place leaves: what the new program goes on with.
pub const GIN_STATE_FD: &str = "GIN_STATE_FD";

/// Descriptors by name.
#[derive(Debug, Default)]
pub struct Descriptors(HashMap<String, OwnedFd>);

impl Descriptors {
    /// One more.
    pub fn insert(&mut self, name: String, fd: OwnedFd) {
        self.0.insert(name, fd);
    }

    /// Takes one out.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        self.0.remove(name)
    }

    /// A copy of one.
    #[must_use]
    pub fn copy(&self, name: &str) -> Option<OwnedFd> {
        self.0.get(name)?.try_clone().ok()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// The state that an execve in place has left for this program, and the bytes of it.
///
/// # Errors
/// If the variable is set, and there is none.
pub fn inherited() -> io::Result<Option<Vec<u8>>> {
    let Some(number) = std::env::var_os(GIN_STATE_FD) else { return Ok(None) };
    let number: Option<RawFd> = number.to_str().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| io::Error::other(format!("{GIN_STATE_FD} is not a number")))?;
    let mut file = File::from(own(number)?);
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Owns the descriptors that an execve in place has left open, close-on-exec from here on.
///
/// # Errors
/// If one is not open.
pub fn adopt(numbers: &BTreeMap<String, RawFd>) -> io::Result<Descriptors> {
    let mut descriptors = Descriptors::default();
    for (name, number) in numbers {
        descriptors.insert(name.clone(), own(*number)?);
    }
    Ok(descriptors)
}

fn own(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed, for a call that fails with EBADF on a number that is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, and the program before this one has left it open for us, each number under one name.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Becomes `program`, with the state in a memfd and `pass_on` left open. Returns only if that failed: then everything is as
/// before.
#[must_use]
pub fn execute(program: &Path, argv: &[OsString], state: &[u8], pass_on: &[BorrowedFd<'_>]) -> io::Error {
    match prepare_and_execute(program, argv, state, pass_on) {
        Ok(never) => match never {},
        Err(error) => {
            for fd in pass_on {
                let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
            }
            error
        }
    }
}

fn prepare_and_execute(
    program: &Path,
    argv: &[OsString],
    state: &[u8],
    pass_on: &[BorrowedFd<'_>],
) -> io::Result<std::convert::Infallible> {
    fault::at("reexec.memfd")?;
    let file = memfd::inheritable("gin-state", state)?;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let mut environment = Vec::new();
    for (name, value) in std::env::vars_os().filter(|(name, _)| name != GIN_STATE_FD) {
        environment.push(text(&[name.as_bytes(), b"=", value.as_bytes()].concat())?);
    }
    environment.push(text(format!("{GIN_STATE_FD}={}", file.as_raw_fd()).as_bytes())?);
    let argv = argv.iter().map(|arg| text(arg.as_bytes())).collect::<io::Result<Vec<_>>>()?;
    let program = text(program.as_os_str().as_bytes())?;
    for fd in pass_on {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    fault::at("reexec.execve")?;
    Ok(execve(&program, &argv, &environment)?)
}

/// The number that names an open socket in the whole system (`fstat(2)`'s inode).
///
/// # Errors
/// The errors of `fstat(2)`.
pub fn inode(fd: impl AsFd) -> io::Result<u64> {
    Ok(fstat(fd)?.st_ino)
}

/// Takes a copy of a socket from a process that has it (`pidfd_getfd(2)`). `None` if it has not.
///
/// # Errors
/// The condition that is not met.
pub fn take_socket(pid: i32, process: &OwnedFd, wanted: u64) -> Result<Option<OwnedFd>, AdoptError> {
    take_open(pid, process, OsStr::new(&format!("socket:[{wanted}]")), wanted)
}

/// The same for whatever a descriptor's link in `/proc` says.
///
/// # Errors
/// As [`take_socket`].
pub fn take_open(pid: i32, pidfd: &OwnedFd, name: &OsStr, wanted: u64) -> Result<Option<OwnedFd>, AdoptError> {
    let refused = |what: &str, error: &io::Error| {
        let error = AdoptError::of(error).at(&what);
        let rights = if error.is_transient { String::new() } else { format!(": {RIGHTS}") };
        AdoptError { text: format!("{}{rights}", error.text), ..error }
    };
    let files = match process::open_files(pid) {
        Ok(files) => files,
        // It has ended just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(&format!("/proc/{pid}/fd"), &error)),
    };
    let numbers = files.filter(|file| file.target.as_os_str() == name).map(|file| file.number);
    for number in numbers {
        let taken = fault::at("adopt.pidfd_getfd")
            .map_err(rustix_errno)
            .and_then(|()| rustix::process::pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()));
        match taken {
            // Its number may be another's by now.
            Ok(fd) if inode(&fd).is_ok_and(|inode| inode == wanted) => return Ok(Some(fd)),
            Ok(_) | Err(rustix::io::Errno::BADF | rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(refused("pidfd_getfd", &error.into())),
        }
    }
    Ok(None)
}

const RIGHTS: &str = "it takes the worker's own user, with kernel.yama.ptrace_scope = 0, or CAP_SYS_PTRACE";

fn rustix_errno(error: Errno) -> rustix::io::Errno {
    rustix::io::Errno::from_raw_os_error(error as i32)
}
