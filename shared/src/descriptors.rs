//! Packets with descriptors, over a SEQPACKET socket (`unix(7)`, SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg,
};

/// SO_PASSRIGHTS of `asm-generic/socket.h`, since Linux 6.16.
const PASS_RIGHTS: libc::c_int = 83;

/// Descriptors a packet at most.
pub const MAX: usize = 64;
/// Room for the control message.
const ROOM: usize = rustix::cmsg_space!(ScmRights(MAX));

/// Sends one packet, with at most [`MAX`] descriptors, without waiting.
///
/// # Errors
/// The errors of `sendmsg(2)`: `WouldBlock` if the other end does not read, ETOOMANYREFS if too many are on their way.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_with(socket, bytes, fds, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// The same, but waits until the other end has room.
///
/// # Errors
/// The errors of `sendmsg(2)`.
pub fn send_waiting(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    loop {
        match send_with(socket.as_fd(), bytes, fds, SendFlags::NOSIGNAL) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

fn send_with(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); ROOM];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for a packet"));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?;
    Ok(())
}

/// True if a send that failed may succeed a little later: the other end does not read now, or too many descriptors of this user are on
/// their way. The other end is not lost.
#[must_use]
pub fn is_temporary(error: &io::Error) -> bool {
    let too_many = error.raw_os_error() == Some(rustix::io::Errno::TOOMANYREFS.raw_os_error());
    error.kind() == io::ErrorKind::WouldBlock || too_many
}

/// True if this is a Unix socket for packets. A send to another kind of descriptor may wait, whatever its flags say.
#[must_use]
pub fn is_for_packets(fd: impl AsFd) -> bool {
    let fd = fd.as_fd();
    socket_domain(fd) == Ok(AddressFamily::UNIX) && socket_type(fd) == Ok(SocketType::SEQPACKET)
}

/// Has the kernel refuse descriptors that others send to this Unix socket, or to a connection that it accepts. Who reads them without
/// wanting them closes them, and that may take as long as their sender likes (SO_LINGER). A kernel before 6.16 knows no such option: there
/// they arrive.
#[allow(unsafe_code, reason = "nix and rustix have no such option")]
pub fn refuse_descriptors(fd: impl AsFd) {
    let off: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of_val(&off)).unwrap_or_default();
    // SAFETY: the kernel reads one int, which outlives the call; the descriptor is open.
    unsafe {
        libc::setsockopt(fd.as_fd().as_raw_fd(), libc::SOL_SOCKET, PASS_RIGHTS, (&raw const off).cast(), length);
    }
}

/// Receives one packet into `buffer`; gives its length, 0 at the end. The descriptors are close-on-exec. Of more than [`MAX`], or
/// than this process may open, only the first ones come.
///
/// # Errors
/// Those of `recvmsg(2)`, and a packet that does not fit.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], flags: Waiting) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); ROOM];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = match flags {
        Waiting::Yes => RecvFlags::CMSG_CLOEXEC,
        Waiting::No => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    };
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds: Vec<OwnedFd> = rights.flatten().collect();
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet that is too long"));
    }
    Ok((received.bytes, fds))
}

/// Whether a call waits until something comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Until a packet comes, or the end.
    Yes,
    /// `WouldBlock` if there is none.
    No,
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_connection_that_is_accepted_takes_no_descriptors_where_the_kernel_can_refuse_them() {
        let path = std::env::temp_dir().join(format!("gin-descriptors-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        refuse_descriptors(&listener);
        let caller = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (callee, _) = listener.accept().unwrap();
        match send(&caller, b"x", &[caller.as_fd()]) {
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
            // An older kernel.
            Ok(()) => assert_eq!(receive(&callee, &mut [0], Waiting::No).unwrap().1.len(), 1),
        }
    }

    #[test]
    fn a_socket_for_packets_is_told_from_others() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(!is_for_packets(&one));
        assert!(!is_for_packets(std::net::TcpListener::bind("127.0.0.1:0").unwrap()));
        assert!(!is_for_packets(std::fs::File::open("/dev/null").unwrap()));
        let flags = nix::sys::socket::SockFlag::SOCK_CLOEXEC;
        let kind = nix::sys::socket::SockType::SeqPacket;
        let (one, _other) =
            nix::sys::socket::socketpair(nix::sys::socket::AddressFamily::Unix, kind, None, flags).unwrap();
        assert!(is_for_packets(&one));
    }
}
