//! A client that writes frames by itself, also those that no client should send.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::rig::{Moves, Plan, Report, serve};
use crate::connections::http2::frame::{HEAD, Head, Kind, PREFACE, flag};

/// Fields of `GET /size/10`, as a header block that keeps the path: the newest entry of the table.
pub(super) const GET_10: &[u8] = b"\x82\x87\x44\x08/size/10\x01\x01x";
/// The same by the newest entry.
pub(super) const GET_AGAIN: &[u8] = b"\x82\x87\xbe\x01\x01x";
/// Fields of `POST /`.
pub(super) const POST: &[u8] = b"\x83\x87\x84\x01\x01x";
/// All that a request without a body says with its HEADERS.
pub(super) const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;

pub(super) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    Head::new(kind, flags, stream).write(payload, &mut out);
    out.to_vec()
}

/// A client.
pub(super) struct Raw {
    wire: DuplexStream,
    servers: JoinHandle<Report>,
    moves: Moves,
    read: BytesMut,
    /// Answers to PINGs of the server.
    pub(super) answers_pings: bool,
}

impl Raw {
    /// Connects, with these settings.
    pub(super) async fn start(plan: Plan, settings: &[u8]) -> Self {
        let (wire, far) = tokio::io::duplex(1 << 20);
        let moves = Moves::default();
        let servers = tokio::spawn(serve(far, plan, Moves::clone(&moves)));
        let mut client = Self { wire, servers, moves, read: BytesMut::new(), answers_pings: true };
        client.send(&[PREFACE, &frame(Kind::Settings, 0, 0, settings)].concat()).await;
        client
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // The server may have closed.
        let _ = self.wire.write_all(bytes).await;
    }

    pub(super) async fn send_frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&frame(kind, flags, stream, payload)).await;
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

    /// The next frame, once those are answered that need it. `None`: the server has closed.
    pub(super) async fn next(&mut self) -> Option<(Head, Bytes)> {
        loop {
            let whole = Head::read(&self.read).filter(|head| self.read.len() >= head.total());
            let Some(head) = whole else {
                if self.wire.read_buf(&mut self.read).await.ok()? == 0 {
                    return None;
                }
                continue;
            };
            let frame = self.read.split_to(head.total()).freeze();
            let payload = frame.slice(HEAD..);
            match head.kind {
                Kind::Settings if !head.has(flag::ACK) => self.send_frame(Kind::Settings, flag::ACK, 0, b"").await,
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
            let (head, payload) = self.next().await.expect("the server has closed");
            assert!(head.kind != Kind::GoAway || kind == Kind::GoAway, "{payload:?}");
            if head.kind == kind {
                return (head, payload);
            }
        }
    }

    /// Bytes of the answer on a stream. The window is opened again.
    pub(super) async fn answer(&mut self, stream: u32) -> usize {
        let [length] = self.answers([stream]).await;
        length
    }

    /// Bytes of the answers on these streams, in whatever order they come.
    pub(super) async fn answers<const COUNT: usize>(&mut self, streams: [u32; COUNT]) -> [usize; COUNT] {
        let (mut lengths, mut left) = ([0; COUNT], COUNT);
        while left > 0 {
            let (head, payload) = self.next().await.expect("the server has closed");
            assert!(head.kind != Kind::GoAway, "{payload:?}");
            if head.kind == Kind::Data && head.length > 0 {
                let increment = u32::try_from(head.length).unwrap();
                self.send_frame(Kind::WindowUpdate, 0, 0, &increment.to_be_bytes()).await;
            }
            let Some(at) = streams.iter().position(|stream| *stream == head.stream) else { continue };
            if matches!(head.kind, Kind::Data | Kind::Headers) {
                lengths[at] += if head.kind == Kind::Data { head.length } else { 0 };
                left -= usize::from(head.has(flag::END_STREAM));
            }
        }
        lengths
    }

    /// Sends a whole request, and returns the bytes of its answer.
    pub(super) async fn request(&mut self, stream: u32, block: &[u8]) -> usize {
        self.send_frame(Kind::Headers, WHOLE, stream, block).await;
        self.answer(stream).await
    }

    /// Last stream and code of the server's GOAWAY.
    pub(super) async fn goodbye(&mut self) -> (u32, u32) {
        let (_, payload) = self.next_of(Kind::GoAway).await;
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        (word(0), word(4))
    }

    /// Closes, and waits for the server's end.
    pub(super) async fn end(self) -> Report {
        drop(self.wire);
        self.servers.await.unwrap()
    }
}
