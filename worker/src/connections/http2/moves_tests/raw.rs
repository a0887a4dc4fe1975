//! A client that writes frames by itself.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::connections::http2::frame::{HEAD, Head, Kind, PREFACE, flag};

/// Fields of `GET /size/10`, as a header block that keeps the path: the newest entry of the table.
pub(super) const GET_10: &[u8] = b"\x82\x86\x44\x08/size/10\x01\x01x";
/// The same by the newest entry.
pub(super) const GET_AGAIN: &[u8] = b"\x82\x86\xbe\x01\x01x";
/// Fields of `GET /wait`.
pub(super) const WAIT: &[u8] = b"\x82\x86\x04\x05/wait\x01\x01x";
/// Fields of `POST /echo`, and of `POST /early`.
pub(super) const ECHO: &[u8] = b"\x83\x86\x04\x05/echo\x01\x01x";
pub(super) const EARLY: &[u8] = b"\x83\x86\x04\x06/early\x01\x01x";
/// All that a request without a body says with its HEADERS.
pub(super) const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;

pub(super) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    Head::new(kind, flags, stream).write(payload, &mut out);
    out.to_vec()
}

pub(super) struct Raw {
    wire: UnixStream,
    read: BytesMut,
    /// Number of SETTINGS of the worker.
    pub(super) settings: usize,
    pub(super) answers_pings: bool,
}

impl Raw {
    /// Connects, with these settings.
    pub(super) async fn connect(worker: &Worker, settings: &[u8]) -> Self {
        let mut client = Self { wire: worker.wire(), read: BytesMut::new(), settings: 0, answers_pings: true };
        client.send(&[PREFACE, &frame(Kind::Settings, 0, 0, settings)].concat()).await;
        client
    }

    /// A client whose connection has moved after its first request, if it is to move.
    pub(super) async fn moved(worker: &Worker) -> Self {
        let mut client = Self::connect(worker, b"").await;
        assert_eq!(client.request(1, GET_10).await, 10);
        worker.rest().await;
        client
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // The worker may have closed.
        let _ = self.wire.write_all(bytes).await;
    }

    pub(super) async fn send_frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame(kind, flags, stream, payload)).await;
    }

    /// The next frame, once those are answered that need it. `None`: the worker has closed.
    pub(super) async fn next(&mut self) -> Option<(Head, Bytes)> {
        loop {
            let whole = Head::read(&self.read).filter(|head| self.read.len() >= head.total());
            let Some(head) = whole else {
                if within(self.wire.read_buf(&mut self.read)).await.ok()? == 0 {
                    return None;
                }
                continue;
            };
            let payload = self.read.split_to(head.total()).freeze().slice(HEAD..);
            match head.kind {
                Kind::Settings if !head.has(flag::ACK) => {
                    self.settings += 1;
                    self.send_frame(Kind::Settings, flag::ACK, 0, b"").await;
                }
                Kind::Ping if !head.has(flag::ACK) && self.answers_pings => {
                    self.send_frame(Kind::Ping, flag::ACK, 0, &payload).await;
                }
                _ => {}
            }
            return Some((head, payload));
        }
    }

    /// The next frame of this kind.
    pub(super) async fn next_of(&mut self, kind: Kind) -> (Head, Bytes) {
        loop {
            let (head, payload) = self.next().await.expect("the worker has closed");
            assert!(head.kind != Kind::GoAway || kind == Kind::GoAway, "{payload:?}");
            if head.kind == kind {
                return (head, payload);
            }
        }
    }

    /// Bytes of the answer on a stream. The window is opened again. A goodbye is passed over.
    pub(super) async fn answer(&mut self, stream: u32) -> usize {
        let mut length = 0;
        loop {
            let (head, _) = self.next().await.expect("the worker has closed");
            if head.kind == Kind::Data && head.length > 0 {
                let increment = u32::try_from(head.length).unwrap();
                self.send_frame(Kind::WindowUpdate, 0, 0, &increment.to_be_bytes()).await;
                length += head.length;
            }
            if head.stream == stream && head.has(flag::END_STREAM) {
                return length;
            }
        }
    }

    /// Sends a whole request, and returns the bytes of its answer.
    pub(super) async fn request(&mut self, stream: u32, block: &[u8]) -> usize {
        self.send_frame(Kind::Headers, WHOLE, stream, block).await;
        self.answer(stream).await
    }

    /// Last stream and code of the worker's GOAWAY.
    pub(super) async fn goodbye(&mut self) -> (u32, u32) {
        let (_, payload) = self.next_of(Kind::GoAway).await;
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        (word(0), word(4))
    }

    /// Waits for the end of the connection.
    pub(super) async fn ended(&mut self) {
        while self.next().await.is_some() {}
    }
}
