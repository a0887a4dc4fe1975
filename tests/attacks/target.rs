//! The worker that is attacked, and the ways to it.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use harness::{Client, Https, PATIENCE, Secure, Tunnel, VERSIONS};

use super::{http2, send};

/// Connections that were opened ahead: in a mutex, as the attackers are threads.
type Ahead = Mutex<Vec<TcpStream>>;

/// A listener of the worker's.
pub(super) struct Target {
    address: SocketAddr,
    /// The way of a listener that speaks TLS.
    tunnel: Option<Tunnel>,
    /// Connections that the worker was handed, on each of which a request was answered before: over HTTP/1.1, and over HTTP/2.
    http1: Ahead,
    http2: Ahead,
}

impl Target {
    pub(super) fn cleartext(address: SocketAddr) -> Self {
        Self { address, tunnel: None, http1: Ahead::default(), http2: Ahead::default() }
    }

    pub(super) fn over_tls(address: SocketAddr) -> Self {
        Self { tunnel: Some(Tunnel::to(Https::at(address))), ..Self::cleartext(address) }
    }

    /// Asks on so many connections of each protocol, for attacks to come. Gives the number of all.
    pub(super) fn open_ahead(&self, count: usize) -> usize {
        for _ in 0..count {
            let stream = self.connect();
            let mut client = Client::over(stream.try_clone().unwrap());
            assert_eq!(client.get("/cached").unwrap().status, 200);
            locked(&self.http1).push(stream);
            locked(&self.http2).push(http2::asked(self.connect_http2()));
        }
        2 * count
    }

    /// Ends the connections of which no attack has made use.
    pub(super) fn close_unused(&self) {
        for ahead in [&self.http1, &self.http2] {
            locked(ahead).clear();
        }
    }

    /// A new connection for HTTP/1.1.
    pub(super) fn connect(&self) -> TcpStream {
        self.connect_for("http/1.1")
    }

    /// A new connection for HTTP/2.
    pub(super) fn connect_http2(&self) -> TcpStream {
        self.connect_for("h2")
    }

    fn connect_for(&self, protocol: &str) -> TcpStream {
        match &self.tunnel {
            Some(tunnel) => patient(tunnel.connect(protocol)),
            None => self.bare(),
        }
    }

    /// A new connection on which TLS is the attacker's business.
    pub(super) fn bare(&self) -> TcpStream {
        patient(TcpStream::connect(self.address).unwrap())
    }

    /// A client of TLS 1.3 that has shaken hands, and the socket below it.
    pub(super) fn secured(&self) -> (Secure, TcpStream) {
        let https = Https::with(self.address, &VERSIONS[1..], None);
        let stream = self.bare();
        (Secure::finish(https.handshake(), stream.try_clone().unwrap()).unwrap(), stream)
    }

    pub(super) fn is_over_tls(&self) -> bool {
        self.tunnel.is_some()
    }

    /// What a client of TLS says first.
    pub(super) fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        Https::at(self.address).handshake().write_tls(&mut hello).unwrap();
        hello
    }

    /// A connection for HTTP/1.1, or a new one.
    pub(super) fn http1(&self) -> TcpStream {
        locked(&self.http1).pop().unwrap_or_else(|| self.connect())
    }

    /// The same, on which as much is sent as the worker takes.
    pub(super) fn sending(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.http1();
        send(&mut stream, bytes);
        stream
    }

    /// The same, for one who reads the answers.
    pub(super) fn client(&self) -> Client {
        Client::over(self.http1())
    }

    /// A connection over HTTP/2 on which stream 1 is over, if there is one.
    pub(super) fn http2(&self) -> Option<TcpStream> {
        locked(&self.http2).pop()
    }
}

fn locked(ahead: &Ahead) -> MutexGuard<'_, Vec<TcpStream>> {
    ahead.lock().unwrap_or_else(PoisonError::into_inner)
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}
