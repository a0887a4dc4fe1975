//! What the targets share that speak to a worker: the worker, a client that sends bytes in pieces, and the end of every connection.

use std::time::Duration;

use gin_worker::fuzz::Hosted;
use gin_worker::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// Longest wait for anything. A longer one is a hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A worker in this process, and the runtime that it shares with its clients.
#[derive(Debug)]
pub struct Host {
    /// Runs the worker while something is waited for.
    pub runtime: Runtime,
    /// The worker.
    pub hosted: Hosted,
}

impl Host {
    /// Starts the server that is made of this configuration, with short timeouts.
    pub fn start(server: impl FnOnce(&Config) -> Server) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut config = Config::<()>::default();
        config.timeouts.read = Duration::from_secs(2);
        config.timeouts.write = Duration::from_secs(2);
        config.timeouts.idle = Duration::from_secs(4);
        config.timeouts.idle_grace = Duration::from_millis(100);
        config.websocket.message = 2048;
        config.websocket.frame = 1024;
        let server = server(&config);
        let hosted = runtime.block_on(async { Hosted::start(server) }).expect("a worker");
        Self { runtime, hosted }
    }

    /// Sends the pieces over a new connection, one after the other, and then the end. Returns everything that came back.
    ///
    /// # Panics
    /// If the connection does not end.
    pub fn talk(&self, pieces: &[&[u8]]) -> Vec<u8> {
        let answer = self.runtime.block_on(async {
            let client = UnixStream::from_std(self.hosted.connect().expect("a socket pair")).expect("a socket");
            let (mut reader, mut writer) = client.into_split();
            let send = async {
                for piece in pieces {
                    // A client that was refused is told so all the same.
                    if writer.write_all(piece).await.is_err() {
                        break;
                    }
                    // The worker reads this piece before the next one is there.
                    for _ in 0..4 {
                        tokio::task::yield_now().await;
                    }
                }
                let _ = writer.shutdown().await;
            };
            let receive = async {
                let mut answer = Vec::new();
                // A reset is an end, too.
                let _ = reader.read_to_end(&mut answer).await;
                answer
            };
            tokio::time::timeout(PATIENCE, async { tokio::join!(send, receive).1 }).await
        });
        let answer = answer.expect("the worker ends the connection");
        self.all_end();
        answer
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    /// If one stays open.
    pub fn all_end(&self) {
        let ended = async {
            while self.hosted.connections() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let in_time = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, ended).await });
        assert!(in_time.is_ok(), "{} connections stay open", self.hosted.connections());
    }
}

/// Cuts bytes into pieces whose lengths follow from `seed`.
#[must_use]
pub fn pieces(seed: u8, bytes: &[u8]) -> Vec<&[u8]> {
    let mut state = u32::from(seed) + 1;
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        // A generator of Knuth's: its upper bits are random enough.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = if state >> 31 == 0 { 4 } else { 256 };
        let (piece, after) = rest.split_at(((state >> 8) as usize % most + 1).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
