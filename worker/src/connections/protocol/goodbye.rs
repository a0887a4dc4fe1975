//! The last bytes to a client, and an orderly end.

use tokio::io::AsyncWriteExt;

use crate::connections::context::Context;
use crate::connections::io::Io;
use crate::graceful::Phase;

/// Writes the last bytes to a client that may take nothing.
pub(crate) async fn say_goodbye(io: &mut Io, bytes: &[u8], context: &Context) {
    let late = tokio::time::timeout(context.drain.bounds.timeouts.write, io.write_all(bytes));
    tokio::select! { _ = late => {}, () = context.drain.life.reached(Phase::Cut) => {} }
}

/// Closes a connection in an orderly way.
pub(crate) async fn close(mut io: Io, context: &Context) {
    tokio::select! { _ = io.shutdown() => {}, () = context.drain.life.reached(Phase::Cut) => {} }
}
