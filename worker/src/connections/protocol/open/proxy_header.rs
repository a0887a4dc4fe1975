//! Reads the PROXY header of a connection, byte for byte: what follows it, a handshake say, is left in the socket.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::connections::proxy::{HEADER_MAX, Parsed, parse};

/// The reason why a connection has no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    #[error("{0}")]
    Wrong(&'static str),
    #[error("it has ended within its PROXY header")]
    Ended,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header. Returns the client's address, if it tells one.
///
/// # Errors
/// If the connection begins with something else, or ends.
pub(super) async fn read(socket: &mut TcpStream) -> Result<Option<SocketAddr>, NoHeader> {
    let (mut bytes, mut have) = ([0; HEADER_MAX], 0);
    loop {
        let count = socket.peek(&mut bytes[have..]).await?;
        if count == 0 {
            return Err(NoHeader::Ended);
        }
        let there = have + count;
        match parse(&bytes[..there]) {
            // All of it is the header's. As long as it lay in the socket, nobody could wait for more.
            Parsed::Incomplete => {
                socket.read_exact(&mut bytes[have..there]).await?;
                have = there;
            }
            Parsed::Header { length, source } => {
                socket.read_exact(&mut bytes[have..length]).await?;
                return Ok(source);
            }
            Parsed::Wrong(why) => return Err(NoHeader::Wrong(why)),
        }
    }
}
