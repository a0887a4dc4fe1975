//! Messages of a WebSocket, and what else its handler hears.

use bytes::Bytes;

/// A message: text or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text, in UTF-8.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

/// Something that comes over a [`Socket`](crate::websocket::Socket). A handler passes over what it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A whole message came.
    Message(Message),
    /// Another worker takes over: call [`Socket::leave`](crate::websocket::Socket::leave) with the session. Nothing is lost if this is put off.
    Leaving,
    /// The connection is closed: by the client, by an error, or because nobody takes it over. Nothing more will come.
    Closed,
}
