//! The helper's side of starting a worker, where descriptors are numbers: in a process that is about to be another.

#![allow(unsafe_code, reason = "a worker finds its descriptors by number, so they must be put there by number")]

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use gin_shared::inherit::{FDS_MAX, FIRST_FD};
use nix::cmsg_space;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::stat::Mode;

use super::spawn::Spec;

/// What the master sent.
#[derive(Debug)]
pub struct Orders {
    /// What to become.
    pub spec: Spec,
    /// What to execute.
    pub executable: OwnedFd,
    /// The listeners, then the channel and the shared memories.
    pub pass_on: Vec<OwnedFd>,
}

/// The helper's end of the link: moved out of the way of what is to be passed on, closed by execve.
///
/// # Errors
/// Those of `fcntl(2)` and of opening /dev/null, which takes its place as stdin.
pub fn take_link() -> io::Result<OwnedFd> {
    // SAFETY: descriptor 0 is the socket that the master gave as stdin; borrowed for one call.
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    let link = above(stdin)?;
    let null = open("/dev/null", OFlag::O_RDWR, Mode::empty())?;
    if null.as_raw_fd() != 0 {
        put(&null, 0)?;
    }
    Ok(link)
}

/// Waits for the master. `None`: it is gone, or has changed its mind.
///
/// # Errors
/// If what came is not what a master of this version sends.
pub fn receive(link: &OwnedFd) -> io::Result<Option<Orders>> {
    let mut byte = [0];
    let mut space = cmsg_space!([RawFd; FDS_MAX]);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(link.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these descriptors for us, and nothing else knows their numbers.
            fds.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    let mut fds = fds.into_iter();
    let (Some(memfd), Some(executable)) = (fds.next(), fds.next()) else {
        return Err(io::Error::other("the master sent too few descriptors"));
    };
    let mut text = Vec::new();
    let mut file = File::from(memfd);
    io::Seek::rewind(&mut file)?;
    file.read_to_end(&mut text)?;
    // Its number may be one that is passed on.
    let executable = above(&executable)?;
    Ok(Some(Orders { spec: serde_json::from_slice(&text)?, executable, pass_on: fds.collect() }))
}

/// Puts descriptors at 3, 4, ... in their order, to survive execve. No other does: whatever the master was started with is
/// none of a worker's.
///
/// # Errors
/// Those of `fcntl(2)` and `dup2(2)`.
pub fn pass_on(fds: Vec<OwnedFd>) -> io::Result<()> {
    // First all out of the way, so that none is overwritten before it is moved, nor closed after it was put.
    let moved: Vec<OwnedFd> = fds.iter().map(above).collect::<Result<_, _>>()?;
    drop(fds);
    for (number, fd) in (FIRST_FD..).zip(&moved) {
        put(fd, number)?;
    }
    close_at_exec(FIRST_FD + RawFd::try_from(moved.len()).map_err(io::Error::other)?)
}

fn close_at_exec(first: RawFd) -> io::Result<()> {
    use nix::libc;
    let first = libc::c_uint::try_from(first).map_err(io::Error::other)?;
    // SAFETY: it closes nothing now, but marks numbers that nobody but this single-threaded helper uses (close_range(2)).
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match nix::errno::Errno::result(done) {
        // Before Linux 5.11.
        Ok(_) | Err(nix::errno::Errno::ENOSYS | nix::errno::Errno::EINVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A close-on-exec copy whose number is above all that are passed on.
///
/// # Errors
/// Those of `fcntl(2)`.
pub fn above(fd: impl AsFd) -> io::Result<OwnedFd> {
    let lowest = FIRST_FD + RawFd::try_from(FDS_MAX).expect("a small number") + 1;
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: just made, and known to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn put(fd: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: whatever had this number is overwritten on purpose: the helper is single-threaded, has moved all that it
    // needs above these numbers, and never uses them again itself. Forgetting the new owner keeps it open for the program.
    let placed = unsafe { nix::unistd::dup2_raw(fd, number) }?;
    std::mem::forget(placed);
    Ok(())
}
