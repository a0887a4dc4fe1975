//! Clients that speak HTTP/1.1.

use std::thread::sleep;

use harness::{Client, Failure, Response};

use super::{Conversation, Kind, Then};
use crate::chaos::schedule::Random;

/// A request without a body.
const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A connection of HTTP/1.1.
pub struct Http1 {
    client: Client,
    kind: Kind,
}

/// What an answer says of the connection.
fn then(response: &Response) -> Result<Then, Failure> {
    match response.status {
        200 if response.closes() => Ok(Then::Announced),
        200 => Ok(Then::On),
        status => Err(Failure::Status(status)),
    }
}

impl Http1 {
    pub fn new(client: Client, kind: Kind) -> Self {
        Self { client, kind }
    }

    /// Requests that are sent at once.
    fn get(&mut self, count: usize) -> Result<Then, Failure> {
        self.client.send(GET.repeat(count).as_bytes())?;
        for _ in 0..count {
            // The server has not processed what was pipelined behind its last answer (RFC 9112, section 9.3.2).
            if then(&self.client.response()?)? == Then::Announced {
                return Ok(Then::Announced);
            }
        }
        Ok(Then::On)
    }

    /// The one request of a connection.
    fn get_last(&mut self) -> Result<Then, Failure> {
        self.client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        then(&self.client.response()?)?;
        Ok(Then::Over)
    }

    fn upload(&mut self, random: &mut Random) -> Result<Then, Failure> {
        let (pieces, piece) = (1 + random.below(4), 1 + random.below(20_000));
        let length = pieces * piece;
        let head = format!("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        self.client.send(head.as_bytes())?;
        for _ in 0..pieces {
            // A slow client. Nothing waits by it.
            sleep(random.millis(0, 60));
            self.client.send(&vec![b'x'; piece])?;
        }
        let response = self.client.response()?;
        let then = then(&response)?;
        if response.json()["length"] != length {
            return Err(Failure::Other(format!("of {length} bytes came {}", response.json()["length"])));
        }
        Ok(then)
    }

    fn download(&mut self, random: &mut Random) -> Result<Then, Failure> {
        let (mb, ms) = (1 + random.below(2), random.below(800));
        self.client.send(format!("GET /download?mb={mb}&ms={ms} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
        let response = self.client.response()?;
        let then = then(&response)?;
        if response.body.len() != mb << 20 {
            return Err(Failure::Truncated);
        }
        Ok(then)
    }
}

impl Conversation for Http1 {
    fn exchange(&mut self, random: &mut Random) -> Result<Then, Failure> {
        if self.client.is_closed() {
            return Err(Failure::Other("closed while idle".to_owned()));
        }
        match self.kind {
            Kind::OneShot => self.get_last(),
            Kind::Pipelined => self.get(5),
            Kind::Upload => self.upload(random),
            Kind::Download => self.download(random),
            Kind::KeepAlive | Kind::Idle => self.get(1),
            Kind::WebSocket | Kind::Http2 | Kind::Http2Bodies | Kind::Http2Idle => unreachable!("of another protocol"),
        }
    }
}
