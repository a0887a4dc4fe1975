//! A client of a worker that writes frames by itself.

use super::*;
use crate::connections::http2::raw_client::RawClient;
pub(super) use crate::connections::http2::raw_client::{WHOLE, frame};

/// Fields of `GET /size/10`, as a header block that keeps the path: the newest entry of the table.
pub(super) const GET_10: &[u8] = b"\x82\x86\x44\x08/size/10\x01\x01x";
/// The same by the newest entry.
pub(super) const GET_AGAIN: &[u8] = b"\x82\x86\xbe\x01\x01x";
/// Fields of `GET /wait`.
pub(super) const WAIT: &[u8] = b"\x82\x86\x04\x05/wait\x01\x01x";
/// Fields of `POST /echo`, and of `POST /early`.
pub(super) const ECHO: &[u8] = b"\x83\x86\x04\x05/echo\x01\x01x";
pub(super) const EARLY: &[u8] = b"\x83\x86\x04\x06/early\x01\x01x";

pub(super) type Raw = RawClient<UnixStream>;

impl Raw {
    /// Connects, with these settings.
    pub(super) async fn connect(worker: &Worker, settings: &[u8]) -> Self {
        let mut client = Self::over(worker.wire(), settings).await;
        client.passes_goodbyes = true;
        client
    }

    /// A client whose connection has moved after its first request, if it is to move.
    pub(super) async fn moved(worker: &Worker) -> Self {
        let mut client = Self::connect(worker, b"").await;
        assert_eq!(client.request(1, GET_10).await, 10);
        worker.rest().await;
        client
    }
}
