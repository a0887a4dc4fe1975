//! Servers as clients of each protocol know them, and connections of each.

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::{Address, Client, Failure, Http2, Response, Talk, WINDOW};

/// A client with one connection.
pub trait Asker {
    /// Sends a GET, and takes its whole answer.
    ///
    /// # Errors
    /// The harm to the client.
    fn fetch(&mut self, path: &str) -> Result<Response, Failure>;
}

impl Asker for Client {
    fn fetch(&mut self, path: &str) -> Result<Response, Failure> {
        self.get(path)
    }
}

impl Asker for Http2 {
    fn fetch(&mut self, path: &str) -> Result<Response, Failure> {
        let request = http::Request::get(format!("http://x{path}")).body(bytes::Bytes::new()).unwrap();
        self.exchange(vec![request]).pop().expect("as many answers as requests")
    }
}

impl Asker for Talk {
    /// Says something. There is no path.
    fn fetch(&mut self, _: &str) -> Result<Response, Failure> {
        self.say()
    }
}

/// A server, and the protocol that its clients speak.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// HTTP/1.1.
    Http1(Address),
    /// HTTP/2. All clients share the runtime: each would need descriptors for its own.
    Http2(Address, Arc<Runtime>),
    /// WebSockets.
    WebSocket(Address),
}

impl Endpoint {
    /// For clients of HTTP/2.
    #[must_use]
    pub fn http2(address: Address) -> Self {
        Self::Http2(address, Http2::thread())
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self::Http1(address)
    }
}

/// A connection of any of these protocols.
#[derive(Debug)]
pub enum Connection {
    /// HTTP/1.1.
    Http1(Client),
    /// HTTP/2.
    Http2(Http2),
    /// A WebSocket.
    WebSocket(Talk),
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The harm to the client.
    pub fn open(endpoint: &Endpoint) -> Result<Self, Failure> {
        match endpoint {
            Endpoint::Http1(address) => Client::connect(address).map(Self::Http1),
            Endpoint::Http2(address, runtime) => Http2::open(address, WINDOW, runtime).map(Self::Http2),
            Endpoint::WebSocket(address) => Talk::open(address).map(Self::WebSocket),
        }
    }
}

impl Asker for Connection {
    fn fetch(&mut self, path: &str) -> Result<Response, Failure> {
        match self {
            Self::Http1(client) => client.fetch(path),
            Self::Http2(client) => client.fetch(path),
            Self::WebSocket(talk) => talk.fetch(path),
        }
    }
}
