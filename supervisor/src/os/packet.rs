//! Packets of other processes, with the descriptors that come along.
//!
//! Descriptors that are sent to a socket are received here, whoever wants them: those that `recv(2)` leaves out are closed by it at once,
//! which can take as long as their sender likes.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

/// SO_PASSRIGHTS of `asm-generic/socket.h`, since Linux 6.16.
const PASS_RIGHTS: libc::c_int = 83;

/// Room for what may come along: descriptors, as many as one message can carry, and who sends it. Aligned as its headers are.
#[repr(align(8))]
struct Controls([u8; 2048]);

/// A packet.
#[derive(Debug)]
pub(super) struct Packet {
    /// Length of what was read.
    pub(super) length: usize,
    /// The process that sent it, by the kernel's word, if the socket asks for that.
    pub(super) sender: Option<i32>,
    /// The descriptors that came along.
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Reads one packet into `bytes`, without waiting.
///
/// By hand, for nix gives nothing of a message whose descriptors did not all find room, though some of them are ours then.
///
/// # Errors
/// Those of `recvmsg(2)`.
#[allow(unsafe_code, reason = "control messages are read where the kernel has put them")]
pub(super) fn receive(fd: impl AsFd, bytes: &mut [u8]) -> nix::Result<Packet> {
    let mut controls = Controls([0; 2048]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: integers and pointers, for which zeros are fine.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = ((&raw mut controls.0).cast(), size_of::<Controls>());
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the buffers that it points to are as long as it says, and live until it is dropped.
    let length = unsafe { libc::recvmsg(fd.as_fd().as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(Errno::result(length)?).map_err(|_| Errno::EIO)?;
    let (mut sender, mut descriptors) = (None, Vec::new());
    // SAFETY: the kernel has filled in `message`; each header that these macros give lies in `controls` (cmsg(3)).
    let mut control = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !control.is_null() {
        // SAFETY: see above; its data are as long as its header says, and may lie anyhow.
        unsafe {
            let (header, data) = (&*control, libc::CMSG_DATA(control));
            let size = header.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for index in 0..size / size_of::<RawFd>() {
                        // The kernel has just made this descriptor for us, and nothing else knows its number.
                        let number = data.cast::<RawFd>().add(index).read_unaligned();
                        descriptors.push(OwnedFd::from_raw_fd(number));
                    }
                }
                // By the kernel's word.
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if size >= size_of::<libc::ucred>() => {
                    sender = Some(data.cast::<libc::ucred>().read_unaligned().pid);
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(&raw const message, control);
        }
    }
    Ok(Packet { length, sender, descriptors })
}

/// Has the kernel refuse descriptors that others send to this socket, or to a connection that it accepts. An older kernel than 6.16 knows
/// no such option: there they arrive.
#[allow(unsafe_code, reason = "nix has no such option")]
pub fn refuse_descriptors(fd: impl AsFd) {
    let off: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of_val(&off)).unwrap_or_default();
    // SAFETY: the kernel reads one int, which outlives the call; the descriptor is open.
    unsafe {
        libc::setsockopt(fd.as_fd().as_raw_fd(), libc::SOL_SOCKET, PASS_RIGHTS, (&raw const off).cast(), length);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use gin_shared::descriptors::send;

    use super::*;

    #[test]
    fn a_connection_that_is_accepted_takes_no_descriptors_where_the_kernel_can_refuse_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        refuse_descriptors(&listener);
        let caller = UnixStream::connect(&path).unwrap();
        let (callee, _) = listener.accept().unwrap();
        match send(&caller, b"x", &[caller.as_fd()]) {
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
            // An older kernel.
            Ok(()) => assert_eq!(receive(&callee, &mut [0]).unwrap().descriptors.len(), 1),
        }
    }
}
