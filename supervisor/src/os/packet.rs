//! Packets of other processes, with the descriptors that come along.
//!
//! Descriptors that are sent to a socket are received here, whoever wants them: those that `recv(2)` leaves out are closed by it at once,
//! which can take as long as their sender likes.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

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
