//! A client of the servers of a rig that writes frames by itself.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;

use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::rig::{Moves, Plan, Report, serve};
use crate::connections::http2::raw_client::RawClient;
pub(super) use crate::connections::http2::raw_client::{WHOLE, frame};

/// Fields of `GET /size/10`, as a header block that keeps the path: the newest entry of the table.
pub(super) const GET_10: &[u8] = b"\x82\x87\x44\x08/size/10\x01\x01x";
/// The same by the newest entry.
pub(super) const GET_AGAIN: &[u8] = b"\x82\x87\xbe\x01\x01x";
/// Fields of `POST /`.
pub(super) const POST: &[u8] = b"\x83\x87\x84\x01\x01x";

/// A client, and the servers of its connection.
pub(super) struct Raw {
    client: RawClient<DuplexStream>,
    servers: JoinHandle<Report>,
    moves: Moves,
}

impl Raw {
    /// Connects, with these settings.
    pub(super) async fn start(plan: Plan, settings: &[u8]) -> Self {
        let (wire, far) = tokio::io::duplex(1 << 20);
        let moves = Moves::default();
        let servers = tokio::spawn(serve(far, plan, Moves::clone(&moves)));
        Self { client: RawClient::over(wire, settings).await, servers, moves }
    }

    /// Number of moves, after the server had time for one.
    pub(super) async fn rest(&mut self) -> usize {
        self.pause(100).await;
        self.moves.load(Ordering::Relaxed)
    }

    /// Lets the server run this often.
    pub(super) async fn pause(&mut self, times: usize) {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }

    /// Closes, and waits for the server's end.
    pub(super) async fn end(self) -> Report {
        drop(self.client);
        self.servers.await.unwrap()
    }
}

impl Deref for Raw {
    type Target = RawClient<DuplexStream>;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl DerefMut for Raw {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}
