//! The beginning of a connection whose listener speaks TLS: its handshake, in the connection's own task.
//!
//! | from the client has come | the connection |
//! |---|---|
//! | nothing | waits, is parked, or is handed over, as a bare socket: its next owner makes the handshake. So a restart loses no connection that a browser has opened ahead |
//! | a part of the handshake | stays here until its end; it is dropped after `timeouts.read`, and at the cut |
//! | the handshake | goes on as a new one of which no request has come |
//!
//! A handshake that fails is the client's affair: it ends the connection, and stands in the log at DEBUG.

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::connections::activity::{Activity, Due};
use crate::connections::connection::{ActiveConnection, ConnectionInfo, Opening};
use crate::connections::context::Context;
use crate::connections::machine::State;
use crate::connections::progress::Progress;
use crate::connections::protocol::timer::{SECOND_LOOK, Timer};
use crate::connections::transport::Stream;
use crate::graceful::Phase;
use crate::tls::{TlsFacts, TlsStream};

/// The way in which a connection left its beginning.
pub(super) enum Opened {
    /// A protocol may begin.
    Ready(ActiveConnection),
    /// Nothing has come, and the connection leaves.
    Paused(ActiveConnection),
    /// The connection has ended.
    Nothing,
}

/// The first bytes of a connection.
enum First {
    /// Some are there, unread.
    Bytes,
    Paused,
    Nothing,
}

/// Makes the handshake of a connection that has none behind it.
pub(super) async fn open(connection: ActiveConnection, context: &Arc<Context>) -> Opened {
    let ActiveConnection { stream, place, info, progress, ahead, http2 } = connection;
    if info.stage == Opening::Proxy {
        // A header that nobody reads would count as the client's first bytes, and its address as the client's.
        tracing::debug!("connection closed: PROXY headers are not read yet");
        return Opened::Nothing;
    }
    let (Stream::Tcp(socket), Some(config)) = (stream, context.tls.of(&info.listener)) else {
        tracing::debug!(listener = &*info.listener.name, "connection closed: its listener does not speak TLS");
        return Opened::Nothing;
    };
    let activity = Arc::new(Activity::resume(&progress));
    let mut timer = Timer::new(&context.drain, &activity, State::Accepted(info.hold));
    match first_bytes(&socket, &mut timer).await {
        First::Bytes => activity.read(),
        First::Paused => {
            let (stream, info) = (Stream::Tcp(socket), info.released());
            return Opened::Paused(ActiveConnection { stream, place, info, progress, ahead, http2 });
        }
        First::Nothing => return Opened::Nothing,
    }
    let Some((stream, facts)) = within(TlsStream::accept(socket, &config), &mut timer).await else {
        return Opened::Nothing;
    };
    let info = ConnectionInfo { tls: Some(Arc::new(facts)), stage: Opening::Done, ..info };
    let stream = Stream::Tls(Box::new(stream));
    Opened::Ready(ActiveConnection { stream, place, info, progress: Progress::fresh(), ahead, http2 })
}

/// Waits for the first bytes, and reads none of them.
async fn first_bytes(socket: &TcpStream, timer: &mut Timer<'_>) -> First {
    let (mut byte, drain) = ([0; 1], timer.drain);
    loop {
        let leaves = timer.pause_check().leaves(|| false);
        tokio::select! {
            biased;
            peeked = socket.peek(&mut byte) => return match peeked {
                Ok(count) if count > 0 => First::Bytes,
                Ok(_) | Err(_) => First::Nothing,
            },
            () = std::future::ready(()), if leaves => return First::Paused,
            due = timer.next() => match due {
                Due::Wait(_) => {}
                Due::Park => return First::Paused,
                // Bytes that have come in this very moment are seen by the next look.
                Due::CloseIdle => if timer.closes(false) {
                    return First::Nothing;
                },
                Due::Abort(_) => return First::Nothing,
            },
            () = drain.life.reached(Phase::Cut) => return First::Nothing,
        }
    }
}

/// Waits for the end of a handshake, for as long as a request's head may take. `None` if it fails, or is late.
async fn within<E: std::fmt::Display>(
    handshake: impl Future<Output = Result<(TlsStream, TlsFacts), E>>,
    timer: &mut Timer<'_>,
) -> Option<(TlsStream, TlsFacts)> {
    let (mut handshake, drain) = (std::pin::pin!(handshake), timer.drain);
    loop {
        tokio::select! {
            biased;
            done = &mut handshake => {
                return done.inspect_err(|error| tracing::debug!("connection closed: handshake: {error}")).ok();
            }
            due = timer.next() => match due {
                Due::Wait(_) => {}
                Due::Abort(_) => {
                    tracing::debug!("connection dropped: no complete handshake came in time");
                    return None;
                }
                // A connection whose handshake has begun is not idle.
                Due::Park | Due::CloseIdle => timer.look(SECOND_LOOK),
            },
            () = drain.life.reached(Phase::Cut) => return None,
        }
    }
}
