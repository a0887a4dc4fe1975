//! A client's end of a connection: over TCP, a Unix socket or TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::https::Secure;

/// The bytes of a connection.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Behind a mutex, as a look at it reads what has come.
    Tls(Box<Mutex<Secure>>),
}

impl Stream {
    /// Whether something waits to be read, be it the end, and whether it is the end.
    pub(crate) fn look(&self) -> (bool, bool) {
        let fd = match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
            Self::Tls(stream) => return stream.lock().unwrap_or_else(PoisonError::into_inner).look(),
        };
        match recv(fd, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(count) => (true, count == 0),
            Err(error) => (error != Errno::EAGAIN, error != Errno::EAGAIN),
        }
    }
}

/// The stream of a client that has it for itself.
pub(crate) fn own(stream: &mut Mutex<Secure>) -> &mut Secure {
    stream.get_mut().unwrap_or_else(PoisonError::into_inner)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => own(stream).read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => own(stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
