//! A client's WebSocket, frame by frame.

use std::collections::HashMap;

use crate::{Address, Client, Failure, Response};

/// A WebSocket that is open.
#[derive(Debug)]
pub struct WebSocket(pub Client);

impl WebSocket {
    /// Opens one.
    ///
    /// # Panics
    /// If the server does not answer with 101.
    #[must_use]
    pub fn open(address: &Address, path: &str) -> Self {
        Self::ask(address, path, "").unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// Asks for one, with these fields beside the usual ones. Gives the answer if that is not 101.
    ///
    /// # Errors
    /// The answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn ask(address: &Address, path: &str, fields: &str) -> Result<Self, Response> {
        Self::ask_on(Client::connect(address).unwrap(), path, fields)
    }

    /// The same on a connection that is open already.
    ///
    /// # Errors
    /// The answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn ask_on(mut client: Client, path: &str, fields: &str) -> Result<Self, Response> {
        let mut usual = vec!["Host: x", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
        usual.retain(|field| !fields.contains(field.split_once(':').map_or("", |(name, _)| name)));
        let head = format!(
            "GET {path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{}\r\n{fields}\r\n",
            usual.join("\r\n")
        );
        client.send(head.as_bytes()).unwrap();
        let answer = client.head().unwrap();
        if answer.status == 101 { Ok(Self(client)) } else { Err(answer) }
    }

    /// A masked frame: a mask of zeros changes nothing.
    #[must_use]
    pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        [Self::head(first, payload.len()), payload.to_vec()].concat()
    }

    /// The head of a frame of this length, with its mask.
    #[must_use]
    pub fn head(first: u8, length: usize) -> Vec<u8> {
        let length = match u16::try_from(length) {
            Ok(short) => [&[0xfe][..], &short.to_be_bytes()].concat(),
            Err(_) => [&[0xff][..], &(length as u64).to_be_bytes()].concat(),
        };
        [&[first][..], &length, &[0; 4]].concat()
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.0.send(&Self::frame(first, payload)).unwrap();
    }

    /// A frame of the server's: its first byte and its payload.
    ///
    /// # Panics
    /// If none comes, or a long one.
    pub fn receive(&mut self) -> (u8, Vec<u8>) {
        self.try_receive().unwrap()
    }

    /// The same, of a server that may be gone.
    ///
    /// # Errors
    /// The harm to the client.
    ///
    /// # Panics
    /// If a long frame comes.
    pub fn try_receive(&mut self) -> Result<(u8, Vec<u8>), Failure> {
        let head = self.0.exactly(2)?;
        assert!(head[1] < 126, "a short one");
        Ok((head[0], self.0.exactly(head[1].into())?))
    }

    /// The text of the server's next frame.
    ///
    /// # Panics
    /// If it is none.
    pub fn text(&mut self) -> String {
        let (first, payload) = self.receive();
        assert_eq!(first, 0x81, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// The code of the server's close frame, which comes next.
    ///
    /// # Panics
    /// If another frame comes.
    pub fn close_code(&mut self) -> u16 {
        let (first, payload) = self.receive();
        assert_eq!(first, 0x88, "{payload:?}");
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

/// A WebSocket whose server numbers what it hears, and names the worker that has heard it: `/count` of the fixture.
#[derive(Debug)]
pub struct Talk {
    socket: WebSocket,
    said: u64,
}

impl Talk {
    /// Opens one.
    ///
    /// # Errors
    /// The harm to the client.
    ///
    /// # Panics
    /// If the server does not answer with 101.
    pub fn open(address: &Address) -> Result<Self, Failure> {
        let opened = WebSocket::ask_on(Client::connect(address)?, "/count", "");
        Ok(Self { socket: opened.unwrap_or_else(|answer| panic!("{answer:?}")), said: 0 })
    }

    /// Says something, and takes the answer to it: a response with the PID of the worker.
    ///
    /// # Errors
    /// The harm to the client.
    ///
    /// # Panics
    /// If a long frame comes.
    pub fn say(&mut self) -> Result<Response, Failure> {
        self.said += 1;
        // If the server is gone, its last words are there still.
        let _ = self.socket.0.send(&WebSocket::frame(0x82, b"abc"));
        loop {
            let (first, payload) = self.socket.try_receive()?;
            match first {
                0x81 => return self.answer(&String::from_utf8_lossy(&payload)),
                // A ping.
                0x89 => self.socket.0.send(&WebSocket::frame(0x8a, &payload))?,
                0x88 if payload.starts_with(&1001_u16.to_be_bytes()) => return Err(Failure::GoingAway),
                _ => return Err(Failure::Other(format!("an unexpected frame: {first:#x} {payload:?}"))),
            }
        }
    }

    /// The response to the last message, if the worker has heard all before it.
    fn answer(&self, text: &str) -> Result<Response, Failure> {
        let Some(pid) = text.strip_prefix(&format!("{} 3 ", self.said)) else {
            return Err(Failure::Other(format!("a message is lost: {text:?} is the answer to {}", self.said)));
        };
        Ok(Response { status: 200, headers: HashMap::new(), body: format!("{{\"pid\":{pid}}}").into() })
    }
}
