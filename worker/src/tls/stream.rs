//! A connection over TLS: it reads and writes like a socket, and can be taken apart into its socket and its keys.
//!
//! s2n wants a write that was blocked to be repeated with the same bytes, for it may have encrypted some of them. A connection of ours has
//! two writers: a protocol, and the close frame of a WebSocket. So a write takes a chunk whole. What the socket does not take of it is kept
//! in `unsent`, and goes out before anything else: at the next write, or the next flush.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use s2n_tls::config::Config;
use s2n_tls::connection::{Builder as _, Connection, ModifiedBuilder};
use s2n_tls::enums::{Mode, PeerKeyUpdate, Version};
use s2n_tls::error::Error;
use s2n_tls_tokio::TlsAcceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::context::TlsContext;
use super::facts::TlsFacts;
use super::handshake::{HandshakeError, settled};
use super::keys::Keys;
use super::profile::WRITE;

/// A connection over TLS. TLS is spoken over TCP alone.
pub(crate) struct TlsStream {
    inner: s2n_tls_tokio::TlsStream<TcpStream>,
    /// The rest of a chunk that the socket has not taken. s2n may have encrypted its beginning already.
    unsent: Vec<u8>,
    /// True once a record was read that breaks the protocol: the end is then no orderly one.
    is_broken: bool,
    /// True once a read has ended with the client's end or an error: s2n says so again, whatever the socket has.
    is_read_over: bool,
}

impl TlsStream {
    /// Makes the handshake with a client. Dropped before its end, it closes the connection.
    ///
    /// # Errors
    /// If the client and this server do not come to terms, or the client has left.
    pub(crate) async fn accept(socket: TcpStream, config: &Config) -> Result<(Self, TlsFacts), HandshakeError> {
        let acceptor = TlsAcceptor::new(ModifiedBuilder::new(config.clone(), buffered));
        let inner = acceptor.accept(socket).await?;
        let facts = settled(inner.as_ref())?;
        Ok((Self::of(inner), facts))
    }

    /// Goes on from keys. With TLS 1.3 the sending key is changed before the next byte: the client may have asked for that, which keys do
    /// not say, and the bytes that have travelled hold no key in use from then on.
    ///
    /// # Errors
    /// If these are no keys that this version of s2n has written.
    pub(crate) fn open(socket: TcpStream, keys: Keys, context: &TlsContext) -> io::Result<Self> {
        let connection = resumed(&keys, context)
            .map_err(|error| io::Error::other(format!("keys of TLS that cannot be used: {}", error.name())))?;
        Ok(Self::of(s2n_tls_tokio::TlsStream::from_parts(connection, socket)))
    }

    /// Takes the stream apart: s2n has no keys afterwards. Gives the stream back as it was if that cannot be done now: half a record is
    /// read, or bytes are still to be sent, or the client has closed its side.
    pub(crate) fn into_keys(self) -> Result<(TcpStream, Keys), Box<Self>> {
        let connection: &Connection = self.inner.as_ref();
        // What s2n has read ahead of a record, `serialize` would lose without a word.
        let is_at_rest = self.unsent.is_empty() && connection.peek_len() == 0 && connection.peek_buffered_len() == 0;
        if !is_at_rest {
            return Err(Box::new(self));
        }
        let Ok(length) = connection.serialization_length() else { return Err(Box::new(self)) };
        let Ok(keys) = Keys::written(length, |bytes| connection.serialize(bytes)) else { return Err(Box::new(self)) };
        let (_, socket) = self.inner.into_parts();
        Ok((socket, keys))
    }

    /// The socket, for a look at it.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.inner.get_ref()
    }

    fn of(inner: s2n_tls_tokio::TlsStream<TcpStream>) -> Self {
        Self { inner, unsent: Vec::new(), is_broken: false, is_read_over: false }
    }

    /// Pending while a read would find nothing: s2n holds no bytes, and the socket has none. Most reads are such, behind the one that found
    /// a request, and s2n takes long to say so.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection: &Connection = self.inner.as_ref();
        if self.is_read_over || connection.peek_len() > 0 || connection.peek_buffered_len() > 0 {
            return Poll::Ready(Ok(()));
        }
        self.socket().poll_read_ready(cx)
    }

    /// Sends the rest of an earlier chunk.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.unsent.is_empty() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..count);
        }
        // Most connections never need it again.
        self.unsent = Vec::new();
        Poll::Ready(Ok(()))
    }
}

/// Reads as much as there is with one call, and not a record's head alone.
fn buffered(connection: &mut Connection) -> Result<&mut Connection, Error> {
    connection.set_receive_buffering(true)
}

fn resumed(keys: &Keys, context: &TlsContext) -> Result<Connection, Error> {
    let mut connection = ModifiedBuilder::new(context.taken()?, buffered).build_connection(Mode::Server)?;
    connection.deserialize(keys.bytes())?;
    if connection.actual_protocol_version()? == Version::TLS13 {
        connection.request_key_update(PeerKeyUpdate::KeyUpdateNotRequested)?;
    }
    Ok(connection)
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("unsent", &self.unsent.len()).finish_non_exhaustive()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_readable(cx))?;
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.inner).poll_read(cx, buffer));
        this.is_broken |= read.is_err();
        this.is_read_over = read.is_err() || buffer.filled().len() == before;
        Poll::Ready(read)
    }
}

impl AsyncWrite for TlsStream {
    /// Takes a chunk whole, also if the socket takes none of it now. Pending while an earlier chunk is not out.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        let chunk = &bytes[..bytes.len().min(WRITE)];
        if chunk.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let sent = match Pin::new(&mut this.inner).poll_write(cx, chunk)? {
            Poll::Ready(count) => count,
            Poll::Pending => 0,
        };
        this.unsent.extend_from_slice(&chunk[sent..]);
        Poll::Ready(Ok(chunk.len()))
    }

    /// Sends the rest of the last chunk. Then s2n holds nothing: its write of a chunk ends when the socket has it whole.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_unsent(cx)
    }

    /// Sends the rest, then the alert that tells the client of the end (`close_notify`). A client that has broken the protocol is not told of
    /// an end in good order (RFC 8446, section 6.1): for that, it would take the refusal of what it sent. s2n has no other alert for most.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_broken {
            ready!(Pin::new(&mut this.inner).poll_blinding(cx)).map_err(io::Error::from)?;
            return Pin::new(this.inner.get_mut()).poll_shutdown(cx);
        }
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}
