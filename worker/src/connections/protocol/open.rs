//! The beginning of a connection whose listener speaks TLS, or stands behind a proxy: the PROXY header, then the handshake, in the
//! connection's own task.
//!
//! | from the client has come | the connection |
//! |---|---|
//! | nothing | waits, is parked, or is handed over, as a bare socket: its next owner reads the header and makes the handshake. So a restart loses no connection that a browser has opened ahead |
//! | a part of the header | stays here until its end; it is dropped after `timeouts.read`, and at the cut |
//! | the header | counts as its client's from now on. If the listener speaks TLS, it waits for the handshake as if nothing had come |
//! | a part of the handshake | stays here until its end; it is dropped after `timeouts.read`, and at the cut |
//! | all | goes on as a new one of which no request has come |
//!
//! A header from an address that may send none, one that is wrong, and a handshake that fails end the connection. They are counted, and
//! stand in the log at DEBUG: whoever connects can cause them. Cleartext fails by its first byte: s2n would take the next ones for the
//! length of a record, and wait for that. If it is a request of HTTP/1.1, its client is told what to do (`cleartext`).

mod cleartext;
mod proxy_header;
#[cfg(test)]
mod proxy_tests;
#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::connections::activity::{Activity, Due};
use crate::connections::connection::{ActiveConnection, ConnectionInfo, Opening};
use crate::connections::context::Context;
use crate::connections::io::Io;
use crate::connections::machine::State;
use crate::connections::progress::Progress;
use crate::connections::protocol::goodbye::{close, say_goodbye};
use crate::connections::protocol::timer::{SECOND_LOOK, Timer};
use crate::connections::proxy::is_among;
use crate::connections::transport::Stream;
use crate::graceful::{Handshake, Life, ProxyRefusal};
use crate::tls::TlsStream;

/// First byte of a handshake: the kind of its first record.
const HANDSHAKE: u8 = 22;

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
    /// Some are there, unread: this one, and maybe more.
    Bytes(u8),
    Paused,
    Nothing,
}

/// A part of the beginning that did not come to its end.
enum Unfinished {
    /// The client has sent something else, or left: in these words.
    Failed(String),
    /// It took too long.
    Late,
    /// The worker ends.
    Cut,
}

/// Takes a connection through all that comes before its protocol.
pub(super) async fn open(connection: ActiveConnection, context: &Arc<Context>) -> Opened {
    let connection = match connection.info.stage {
        Opening::Proxy => match header(connection, context).await {
            Opened::Ready(connection) => connection,
            left @ (Opened::Paused(_) | Opened::Nothing) => return left,
        },
        Opening::Handshake | Opening::Done => connection,
    };
    match connection.info.stage {
        Opening::Done => Opened::Ready(connection),
        Opening::Proxy | Opening::Handshake => handshake(connection, context).await,
    }
}

/// Reads the PROXY header of a connection, and takes the client's address from it.
async fn header(mut connection: ActiveConnection, context: &Arc<Context>) -> Opened {
    let life = &context.drain.life;
    // A client that has left already has no address any more.
    let Some(peer) = connection.info.peer else { return Opened::Nothing };
    // Where this worker has no such listener, the worker that has accepted the connection has looked at its address, and has told
    // whether a handshake follows.
    if connection.info.listener.proxy.as_ref().is_some_and(|networks| !is_among(peer.ip(), networks)) {
        return refused(
            life,
            peer,
            ProxyRefusal::Untrusted,
            "it is not from a network of the listener's proxy_protocol",
        );
    }
    let Stream::Tcp(socket) = &mut connection.stream else { return Opened::Nothing };
    let activity = Arc::new(Activity::resume(&connection.progress));
    let mut timer =
        Timer::new(&context.drain, &activity, State::Accepted(connection.info.hold), connection.info.opened);
    match first_bytes(socket, &mut timer).await {
        First::Bytes(_) => activity.read(),
        First::Paused => return paused(connection),
        First::Nothing => return Opened::Nothing,
    }
    let source = match within(proxy_header::read(socket), &mut timer).await {
        Ok(source) => source,
        Err(Unfinished::Failed(error)) => return refused(life, peer, ProxyRefusal::Invalid, &error),
        Err(Unfinished::Late) => {
            return refused(life, peer, ProxyRefusal::Late, "no complete PROXY header came in time");
        }
        Err(Unfinished::Cut) => return Opened::Nothing,
    };
    // Connections of the proxy's own, to see whether this service is there, count as nobody's.
    if let Some(source) = source {
        connection.info.peer = Some(source);
        if !context.admit(&mut connection.place, source.ip()) {
            life.count_refused();
            return Opened::Nothing;
        }
    }
    connection.info.stage = match connection.info.listener.tls {
        Some(_) => Opening::Handshake,
        None => Opening::Done,
    };
    connection.progress = Progress::fresh();
    Opened::Ready(connection)
}

/// Makes the handshake of a connection that has none behind it.
async fn handshake(connection: ActiveConnection, context: &Arc<Context>) -> Opened {
    let life = &context.drain.life;
    let (Stream::Tcp(socket), Some(config)) = (&connection.stream, context.tls.of(&connection.info.listener)) else {
        let listener = &*connection.info.listener.name;
        tracing::debug!(listener, "connection closed: its listener does not speak TLS");
        return Opened::Nothing;
    };
    let activity = Arc::new(Activity::resume(&connection.progress));
    let mut timer =
        Timer::new(&context.drain, &activity, State::Accepted(connection.info.hold), connection.info.opened);
    match first_bytes(socket, &mut timer).await {
        First::Bytes(HANDSHAKE) => activity.read(),
        First::Bytes(_) => {
            activity.read();
            tracing::debug!(peer = ?connection.info.peer, "connection closed: handshake: the client does not speak TLS");
            life.count_handshake(Handshake::Failed, Duration::ZERO);
            refuse_cleartext(connection, timer, context).await;
            return Opened::Nothing;
        }
        First::Paused => return paused(connection),
        First::Nothing => return Opened::Nothing,
    }
    let began = Instant::now();
    let ActiveConnection { stream: Stream::Tcp(socket), place, info, ahead, http2, .. } = connection else {
        return Opened::Nothing;
    };
    let (stream, facts) = match within(TlsStream::accept(socket, &config), &mut timer).await {
        Ok(done) => done,
        Err(Unfinished::Cut) => return Opened::Nothing,
        Err(unfinished) => {
            tracing::debug!(peer = ?info.peer, "connection closed: handshake: {}", unfinished.words());
            life.count_handshake(Handshake::Failed, began.elapsed());
            return Opened::Nothing;
        }
    };
    let outcome = if facts.is_resumed() { Handshake::Resumed } else { Handshake::Full };
    life.count_handshake(outcome, began.elapsed());
    let info = ConnectionInfo { tls: Some(Arc::new(facts)), stage: Opening::Done, ..info };
    let stream = Stream::Tls(Box::new(stream));
    Opened::Ready(ActiveConnection { stream, place, info, progress: Progress::fresh(), ahead, http2 })
}

/// Answers a client that speaks HTTP where it has to speak TLS, and closes the connection. Any other is closed at once.
async fn refuse_cleartext(connection: ActiveConnection, mut timer: Timer<'_>, context: &Context) {
    let ActiveConnection { stream: Stream::Tcp(mut socket), place, .. } = connection else { return };
    let Ok(Some(answer)) = within(cleartext::answer(&mut socket), &mut timer).await else { return };
    let activity = Arc::clone(timer.activity);
    let mut io = Io::new(Stream::Tcp(socket), place, Bytes::new(), activity, &context.drain.bounds);
    say_goodbye(&mut io, answer.as_bytes(), context).await;
    close(io, context).await;
}

/// Closes a connection without the header that it had to begin with.
fn refused(life: &Life, peer: SocketAddr, why: ProxyRefusal, text: &str) -> Opened {
    tracing::debug!(%peer, "connection closed: {text}");
    life.count_proxy_refused(why);
    Opened::Nothing
}

fn paused(connection: ActiveConnection) -> Opened {
    let info = connection.info.released();
    Opened::Paused(ActiveConnection { info, ..connection })
}

impl Unfinished {
    fn words(&self) -> &str {
        match self {
            Self::Failed(words) => words,
            Self::Late => "it did not come to its end in time",
            Self::Cut => "the worker ends",
        }
    }
}

/// Waits for the first bytes, and reads none of them.
async fn first_bytes(socket: &TcpStream, timer: &mut Timer<'_>) -> First {
    let mut byte = [0; 1];
    loop {
        let leaves = timer.pause_check().leaves(|| false);
        tokio::select! {
            biased;
            peeked = socket.peek(&mut byte) => return match peeked {
                Ok(count) if count > 0 => First::Bytes(byte[0]),
                Ok(_) | Err(_) => First::Nothing,
            },
            () = std::future::ready(()), if leaves => return First::Paused,
            due = timer.next() => match due {
                Some(Due::Wait(_)) => {}
                Some(Due::Park) => return First::Paused,
                // Bytes that have come in this very moment are seen by the next look.
                Some(Due::CloseIdle) => if timer.closes(false) {
                    return First::Nothing;
                },
                Some(Due::Abort(_)) | None => return First::Nothing,
            },
        }
    }
}

/// Waits for the end of a part of the beginning, for as long as a request's head may take.
async fn within<T, E: Display>(
    part: impl Future<Output = Result<T, E>>,
    timer: &mut Timer<'_>,
) -> Result<T, Unfinished> {
    let mut part = std::pin::pin!(part);
    loop {
        tokio::select! {
            biased;
            done = &mut part => return done.map_err(|error| Unfinished::Failed(error.to_string())),
            due = timer.next() => match due {
                Some(Due::Wait(_)) => {}
                Some(Due::Abort(_)) => return Err(Unfinished::Late),
                // A connection whose beginning has begun is not idle.
                Some(Due::Park | Due::CloseIdle) => timer.look(SECOND_LOOK),
                None => return Err(Unfinished::Cut),
            },
        }
    }
}
