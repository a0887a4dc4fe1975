//! Listening sockets: adopted or bound, and the next connection of each.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gin_shared::descriptors::refuse_descriptors;
use gin_shared::inherit::set_nonblocking;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockType, getsockopt, setsockopt, sockopt};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use crate::connections::transport::{Stream, family};

/// Connections that may wait to be accepted; capped by `net.core.somaxconn`. As the supervisor's default.
const BACKLOG: u32 = 4096;
/// Questions of TCP without an answer after which the client is taken for gone.
const QUESTIONS: u32 = 4;
/// Bytes of a connection that may wait in the kernel to be sent (`TCP_NOTSENT_LOWAT` in tcp(7)); those that are on their way do not count.
/// Without a bound the kernel takes some megabytes (`net.ipv4.tcp_wmem`) for a client that takes nothing, and that client is taken for one
/// that takes something until they are full. Less than this costs throughput (tests/bench/README.md).
const UNSENT: u32 = 512 << 10;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// Adopts a listening descriptor. `name` is for the error.
    pub(crate) fn adopt(fd: OwnedFd, name: &str) -> io::Result<Self> {
        // The flag is shared with other workers, which all want it so.
        set_nonblocking(&fd, true)?;
        match family(&fd)? {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                Ok(Self::tcp(TcpListener::from_std(StdTcpListener::from(fd))?))
            }
            Some(AddressFamily::Unix) => {
                // Clients have none to send.
                refuse_descriptors(&fd);
                Ok(Self::Unix(UnixListener::from_std(StdUnixListener::from(fd))?))
            }
            _ => Err(io::Error::other(format!("listener {name} is neither TCP nor a Unix socket"))),
        }
    }

    /// Binds a TCP address.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self::tcp(socket.listen(BACKLOG)?))
    }

    /// Has TCP ask whether a client is there from which nothing has come for so long. Linux gives an accepted connection the options of
    /// its listener (tcp(7)).
    pub(crate) fn keep_alive(&self, silence: Duration) -> io::Result<()> {
        let Self::Tcp(listener) = self else { return Ok(()) };
        setsockopt(listener, sockopt::KeepAlive, &!silence.is_zero())?;
        if !silence.is_zero() {
            let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).clamp(1, 32_767);
            setsockopt(listener, sockopt::TcpKeepIdle, &seconds(silence))?;
            setsockopt(listener, sockopt::TcpKeepInterval, &seconds(silence / QUESTIONS))?;
            setsockopt(listener, sockopt::TcpKeepCount, &QUESTIONS)?;
        }
        Ok(())
    }

    fn tcp(listener: TcpListener) -> Self {
        // As with `keep_alive`, its connections have it, too. A kernel that does not know it serves as well as before.
        let _ = SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT);
        Self::Tcp(listener)
    }

    /// The address, for people.
    pub(crate) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(listener) => listener.local_addr()?.to_string(),
            Self::Unix(listener) => {
                let path = listener.local_addr()?.as_pathname().map(|path| path.display().to_string());
                format!("unix:{}", path.unwrap_or_default())
            }
        })
    }

    /// True if a connection waits to be accepted.
    pub(crate) fn has_waiting(&self) -> bool {
        poll(&mut [PollFd::new(self.fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }

    /// Accepts the next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    /// Takes care that accepting never waits for a client, and the thread with it: the flag belongs to the open file, which others have,
    /// too. systemd clears it on sockets of a socket unit each time it starts the service, be it after a supervisor's death beside workers that
    /// serve (`NonBlocking=` in systemd.service(5)).
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        set_nonblocking(self.fd(), true)?;
        Poll::Ready(match self {
            Self::Tcp(listener) => {
                let (stream, _) = ready!(listener.poll_accept(context))?;
                // Responses are written whole: waiting for more would only delay them.
                // Fails only if the client is gone already, which its first read will tell.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener) => Ok(Stream::Unix(ready!(listener.poll_accept(context))?.0)),
        })
    }
}

/// True if a descriptor is a socket for connections. A UDP socket is for workers that speak it.
pub(crate) fn takes_connections(fd: &OwnedFd) -> bool {
    getsockopt(fd, sockopt::SockType) != Ok(SockType::Datagram)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn fds() -> [(OwnedFd, Box<dyn Fn() + Send>); 2] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let (unix, tcp) = (StdUnixListener::bind(&path).unwrap(), StdTcpListener::bind("127.0.0.1:0").unwrap());
        let address = tcp.local_addr().unwrap();
        let connect_unix = move || {
            let _ = (&dir, UnixStream::connect(&path).unwrap());
        };
        let connect_tcp = move || drop(std::net::TcpStream::connect(address).unwrap());
        [(unix.into(), Box::new(connect_unix)), (tcp.into(), Box::new(connect_tcp))]
    }

    #[test]
    fn accepting_never_holds_the_thread_though_somebody_else_has_cleared_the_flag() {
        for (fd, connect) in fds() {
            let shared = fd.try_clone().unwrap();
            let (said, heard) = mpsc::channel();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let acceptor = Acceptor::adopt(fd, "http").unwrap();
                    set_nonblocking(&shared, false).unwrap();
                    connect();
                    acceptor.accept().await.unwrap();
                    // There is no other one: nothing but the end of the time ends this.
                    set_nonblocking(&shared, false).unwrap();
                    let next = tokio::time::timeout(Duration::from_millis(10), acceptor.accept()).await;
                    said.send(next.is_err()).unwrap();
                });
            });
            assert_eq!(heard.recv_timeout(Duration::from_secs(30)), Ok(true), "the thread waits in accept(2)");
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_soon_stops_the_writer() {
        const TAKEN: u32 = 64 << 10;
        let acceptor = Acceptor::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(TAKEN).unwrap();
        let address = acceptor.address().unwrap().parse().unwrap();
        let (client, stream) = tokio::join!(client.connect(address), acceptor.accept());
        let (Stream::Tcp(stream), Ok(_client)) = (stream.unwrap(), client) else { panic!("it is TCP") };
        let mut written = 0;
        loop {
            match stream.try_write(&[0; 16 << 10]) {
                Ok(count) => written += count,
                // The kernel still gives its client what that has room for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let writable = tokio::time::timeout(Duration::from_millis(500), stream.writable());
                    if writable.await.is_err() {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(written < 1 << 20, "{written} bytes for a client with room for {TAKEN}");
    }
}
