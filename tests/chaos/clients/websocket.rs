//! Clients with a WebSocket whose messages are counted.

use harness::{Client, Failure};

use super::{Conversation, Then};
use crate::chaos::schedule::Random;

/// First bytes of frames that are whole messages.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The code of a close frame: the server goes away.
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// A connection that is, or is to be, a WebSocket.
pub struct WebSocket {
    client: Client,
    /// The number of messages that the server has counted; none before the upgrade.
    counted: Option<u64>,
}

/// A masked frame with less than 126 bytes: a mask of zeros changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short one");
    [&[first, 0x80 | length][..], &[0; 4], payload].concat()
}

impl WebSocket {
    pub fn new(client: Client) -> Self {
        Self { client, counted: None }
    }

    /// Becomes a WebSocket, unless it is one; gives the number of messages so far.
    fn upgrade(&mut self) -> Result<u64, Failure> {
        if let Some(counted) = self.counted {
            return Ok(counted);
        }
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        self.client.send(format!("GET /count HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n\r\n").as_bytes())?;
        match self.client.head()?.status {
            101 => Ok(0),
            status => Err(Failure::Status(status)),
        }
    }

    /// A frame of the server's: its first byte, and its payload.
    fn receive(&mut self) -> Result<(u8, Vec<u8>), Failure> {
        let head = self.client.exactly(2)?;
        match head[1] {
            length @ 0..126 => Ok((head[0], self.client.exactly(length.into())?)),
            _ => Err(Failure::Other(format!("a frame that nobody expects: {head:?}"))),
        }
    }
}

impl Conversation for WebSocket {
    fn exchange(&mut self, random: &mut Random) -> Result<Then, Failure> {
        let counted = self.upgrade()? + 1;
        let length = random.below(100);
        // If the server has closed, its close frame is here already.
        let sent = self.client.send(&frame(TEXT, &vec![b'x'; length]));
        loop {
            let (first, payload) = self.receive().map_err(|failure| sent.clone().err().unwrap_or(failure))?;
            let text = String::from_utf8_lossy(&payload);
            match first {
                TEXT if text.starts_with(&format!("{counted} {length} ")) => {
                    self.counted = Some(counted);
                    return Ok(Then::On);
                }
                CLOSE if payload.starts_with(&GOING_AWAY) => {
                    // The server may be gone by now.
                    let _ = self.client.send(&frame(CLOSE, &GOING_AWAY));
                    return Ok(Then::Announced);
                }
                PING => self.client.send(&frame(PONG, &payload))?,
                _ => return Err(Failure::Other(format!("message {counted} is answered by {first:#x} {text:?}"))),
            }
        }
    }
}
