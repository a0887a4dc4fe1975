//! The socket between a giver and a taker: packets with descriptors, over SEQPACKET.
//!
//! The runtime only watches it, as if it were a Unix stream; sending and receiving is this crate's own. What a packet means is not known
//! here.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use gin_shared::descriptors::{self, Waiting};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// An end of the socket pair.
#[derive(Debug)]
pub(crate) struct Link(UnixStream);

impl Link {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(fd);
        socket.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(socket)?))
    }

    /// Sends a packet, if the socket has room for it.
    pub(crate) fn send(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0.try_io(Interest::WRITABLE, || descriptors::send(&self.0, packet, fds))
    }

    /// Sends the first packet, before the runtime has seen the socket to be writable.
    pub(crate) fn send_first(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        descriptors::send(&self.0, packet, fds)
    }

    /// Sends a packet without descriptors, when the socket has room for it.
    pub(crate) async fn send_all(&self, packet: &[u8]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || descriptors::send(&self.0, packet, &[])).await
    }

    /// Receives the next packet. A length of 0 is the end.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.0.async_io(Interest::READABLE, || descriptors::receive(&self.0, buffer, Waiting::No)).await
    }

    /// Receives a packet, if the runtime has seen the socket to be readable.
    pub(crate) fn receive_ready(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.0.try_io(Interest::READABLE, || descriptors::receive(&self.0, buffer, Waiting::No))
    }

    /// Receives a packet that is there already.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        descriptors::receive(&self.0, buffer, Waiting::No)
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    /// Lets later sends of the other end fail. What was sent before can still be received.
    pub(crate) fn shut_down(&self) {
        // Fails only if the other end is gone, which comes to the same.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}
