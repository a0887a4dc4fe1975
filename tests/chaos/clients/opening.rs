//! Connections on which the client shakes hands with its first exchange. Its port is known before that, so that a failure can be explained by
//! the death of the worker that had the connection.

use std::net::TcpStream;

use harness::{Address, Client, Failure, Https, PATIENCE, Secure, WINDOW};

use super::http2::Http2;
use super::{Conversation, Kind, Then};
use crate::chaos::schedule::Random;

/// A connection that begins with its first exchange.
pub struct Opening {
    kind: Kind,
    https: Option<Https>,
    /// The socket, until the first exchange.
    fresh: Option<TcpStream>,
    begun: Option<Box<dyn Conversation>>,
}

impl Opening {
    /// Connects; gives the client's port, too.
    pub fn connect(kind: Kind, address: &Address) -> Result<(u16, Self), Failure> {
        let (server, https) = match address {
            Address::Tcp(address) => (*address, None),
            Address::Https(https) => (https.socket(), Some(https.clone())),
            Address::Unix(_) => panic!("these clients connect over TCP"),
        };
        let socket = TcpStream::connect(server)?;
        let port = socket.local_addr()?.port();
        Ok((port, Self { kind, https, fresh: Some(socket), begun: None }))
    }

    fn begin(&self, socket: TcpStream) -> Result<Box<dyn Conversation>, Failure> {
        if self.kind.speaks_http2() {
            let thread = harness::Http2::thread();
            let client = harness::Http2::begin(socket, self.https.as_ref(), WINDOW, &thread)?;
            return Ok(Box::new(Http2::new(client, self.kind)));
        }
        let https = self.https.as_ref().expect("HTTP/1.1 in cleartext has no handshake");
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(self.kind.conversation(Client::secured(Secure::finish(https.handshake(), socket))?))
    }
}

impl Conversation for Opening {
    fn exchange(&mut self, random: &mut Random) -> Result<Then, Failure> {
        if let Some(socket) = self.fresh.take() {
            match self.begin(socket) {
                Ok(begun) => self.begun = Some(begun),
                Err(Failure::GoingAway) => return Ok(Then::Announced),
                Err(failure) => return Err(failure),
            }
        }
        self.begun.as_mut().expect("the first exchange has begun it").exchange(random)
    }
}
