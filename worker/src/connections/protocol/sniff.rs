//! The first bytes of a connection: over cleartext they tell HTTP/2 from HTTP/1.1.

use crate::connections::activity::Due;
use crate::connections::io::Io;
use crate::connections::protocol::timer::Timer;
use crate::tls::TlsFacts;

/// First bytes of an HTTP/2 client (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Protocol of a client.
#[derive(Debug)]
pub(super) enum Sniffed {
    Http1,
    Http2,
    /// Too few bytes have come to know, and the connection leaves.
    Paused,
    /// Nothing came in time, the client has left, or the worker ends.
    Nothing,
}

impl Sniffed {
    /// The protocol that is served to a client whose handshake has settled it: over TLS it is HTTP/2 if ALPN says so, and not otherwise
    /// (RFC 9113, section 3.2). A client that begins with the other protocol is not served.
    pub(super) fn settled_by(self, tls: Option<&TlsFacts>) -> Self {
        match (self, tls.map(TlsFacts::settles_http2)) {
            // hyper ends such a connection.
            (Self::Http2, Some(false)) => Self::Http1,
            (Self::Http1, Some(true)) => Self::Nothing,
            (sniffed, _) => sniffed,
        }
    }
}

/// Reads until the protocol is clear, and puts back what was read.
pub(super) async fn sniff(io: &mut Io, timer: &mut Timer<'_>) -> Sniffed {
    let mut start = [0; PREFACE.len()];
    let mut length = 0;
    let sniffed = loop {
        if start[..length] != PREFACE[..length] {
            break Sniffed::Http1;
        }
        if length == PREFACE.len() {
            break Sniffed::Http2;
        }
        let leaves = timer.pause_check().leaves(|| false);
        tokio::select! {
            biased;
            read = io.read(&mut start[length..]) => match read {
                Ok(count) if count > 0 => length += count,
                Ok(_) | Err(_) => break Sniffed::Nothing,
            },
            () = std::future::ready(()), if leaves => break Sniffed::Paused,
            due = timer.next() => match due {
                Some(Due::Wait(_)) => {}
                Some(Due::Park) => break Sniffed::Paused,
                Some(Due::CloseIdle) => if timer.closes(io.probe().has_bytes()) {
                    break Sniffed::Nothing;
                },
                Some(Due::Abort(_)) | None => break Sniffed::Nothing,
            },
        }
    };
    io.unread(&start[..length]);
    sniffed
}
