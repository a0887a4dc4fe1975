//! A client that says exactly what happened to it. Plain blocking sockets: what the kernel tells is what is counted.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::PATIENCE;
use crate::https::{Https, Secure};
use crate::stream::{Stream, own};

/// Where a server is.
#[derive(Debug, Clone)]
pub enum Address {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket.
    Unix(PathBuf),
    /// Over TLS.
    Https(Https),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Https(https) => write!(f, "https://{}", https.socket()),
        }
    }
}

impl From<Https> for Address {
    fn from(https: Https) -> Self {
        Self::Https(https)
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(text.parse().expect("an address")),
        }
    }
}

/// How a request hurt its client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody listens.
    Refused,
    /// ECONNRESET or EPIPE.
    Reset,
    /// The connection was closed before the response had begun.
    ClosedEarly,
    /// The response ended before its length.
    Truncated,
    /// Nothing for too long.
    TimedOut,
    /// GOAWAY without an error, or close code 1001: the request was not processed.
    GoingAway,
    /// Not the status that was expected.
    Status(u16),
    /// Anything else.
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// A connection.
pub struct Client {
    stream: Stream,
    buffer: Vec<u8>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the server will close the connection.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.headers.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn connect(address: &Address) -> Result<Self, Failure> {
        let stream = match address {
            Address::Tcp(address) => Stream::Tcp(connect(*address)?),
            Address::Https(https) => {
                return Self::secured(Secure::finish(https.handshake(), connect(https.socket())?));
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Stream::Unix(stream)
            }
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Goes on with a connection that is open.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        Self { stream: Stream::Tcp(stream), buffer: Vec::new() }
    }

    /// Goes on with a connection on which the handshake is over.
    ///
    /// # Errors
    /// The failure of the handshake.
    pub fn secured(handshake: io::Result<Secure>) -> Result<Self, Failure> {
        Ok(Self { stream: Stream::Tls(Box::new(Mutex::new(handshake?))), buffer: Vec::new() })
    }

    /// Its TLS.
    ///
    /// # Panics
    /// If it speaks cleartext.
    pub fn tls(&mut self) -> &mut Secure {
        match &mut self.stream {
            Stream::Tls(stream) => own(stream),
            Stream::Tcp(_) | Stream::Unix(_) => panic!("it speaks cleartext"),
        }
    }

    /// Connects, and sends a request.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn asking(address: &Address, request: &str) -> Result<Self, Failure> {
        let mut client = Self::connect(address)?;
        client.send(request.as_bytes())?;
        Ok(client)
    }

    /// The port of this end, by which the server knows the connection; none over a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let address = match &self.stream {
            Stream::Tcp(stream) => stream.local_addr(),
            Stream::Tls(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).socket().local_addr(),
            Stream::Unix(_) => return None,
        };
        address.ok().map(|address| address.port())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// A GET and its response.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn get(&mut self, path: &str) -> Result<Response, Failure> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
        self.response()
    }

    /// Reads a response: by length, by chunks, or to the end.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn response(&mut self) -> Result<Response, Failure> {
        let head = self.head()?;
        self.rest_of(head)
    }

    /// Reads the body of a response whose head has come.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn rest_of(&mut self, head: Response) -> Result<Response, Failure> {
        let body = self.body(&head.headers)?;
        Ok(Response { body, ..head })
    }

    /// Reads a response's head alone, or one that has no body: 100, 304, or one to HEAD.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn head(&mut self) -> Result<Response, Failure> {
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.buffer.split_off(at + 4);
                break std::mem::replace(&mut self.buffer, rest);
            }
            if self.fill()? == 0 {
                return Err(if self.buffer.is_empty() { Failure::ClosedEarly } else { Failure::Truncated });
            }
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let status = status.ok_or_else(|| Failure::Other(format!("not HTTP: {head:?}")))?;
        Ok(Response { status, headers, body: Vec::new() })
    }

    /// Says that no more will come.
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn end(&mut self) {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Tls(stream) => own(stream).end(),
        }
        .unwrap();
    }

    fn body(&mut self, headers: &HashMap<String, String>) -> Result<Vec<u8>, Failure> {
        if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
            let mut body = Vec::new();
            loop {
                let line = self.line()?;
                let length =
                    usize::from_str_radix(line.trim(), 16).map_err(|e| Failure::Other(format!("{e}: {line:?}")))?;
                let chunk = self.exactly(length + 2)?;
                body.extend_from_slice(&chunk[..length]);
                if length == 0 {
                    return Ok(body);
                }
            }
        }
        match headers.get("content-length").and_then(|value| value.parse().ok()) {
            Some(length) => self.exactly(length),
            None => {
                while self.fill()? > 0 {}
                Ok(std::mem::take(&mut self.buffer))
            }
        }
    }

    fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(at + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.fill()? == 0 {
                return Err(Failure::Truncated);
            }
        }
    }

    /// The next bytes, so many.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                return Err(Failure::Truncated);
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn fill(&mut self) -> Result<usize, Failure> {
        let mut bytes = [0; 16 * 1024];
        let count = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Until the server closes; what it sends before that is given.
    ///
    /// # Errors
    /// How it was hurt.
    pub fn until_closed(&mut self) -> Result<Vec<u8>, Failure> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Whether the server has closed it by now.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.stream.look().1
    }

    /// True if something of the server's waits to be read, be it the end.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.buffer.is_empty() || self.stream.look().0
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request on a connection of its own.
///
/// # Errors
/// How it was hurt.
pub fn get(address: &Address, path: &str) -> Result<Response, Failure> {
    let mut client = Client::connect(address)?;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())?;
    client.response()
}
