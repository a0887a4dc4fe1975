//! A client that writes frames by itself, also those that no client should send.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame::{HEAD, Head, Kind, PREFACE, flag};

/// All that a request without a body says with its HEADERS.
pub(super) const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;
/// Time in which a server that does not hang says something.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    Head::new(kind, flags, stream).write(payload, &mut out);
    out.to_vec()
}

/// A client.
pub(super) struct RawClient<S> {
    wire: S,
    read: BytesMut,
    /// Number of SETTINGS of the server.
    pub(super) settings: usize,
    /// Answers to PINGs of the server.
    pub(super) answers_pings: bool,
    /// True if a GOAWAY may come before an answer.
    pub(super) passes_goodbyes: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    /// A client on this connection, with these settings.
    pub(super) async fn over(wire: S, settings: &[u8]) -> Self {
        let mut client = Self { wire, read: BytesMut::new(), settings: 0, answers_pings: true, passes_goodbyes: false };
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

    /// Closes the client's side.
    pub(super) async fn closes_its_side(&mut self) {
        self.wire.shutdown().await.unwrap();
    }

    /// The next frame, once those are answered that need it. `None`: the server has closed.
    pub(super) async fn next(&mut self) -> Option<(Head, Bytes)> {
        loop {
            let whole = Head::read(&self.read).filter(|head| self.read.len() >= head.total());
            let Some(head) = whole else {
                let read = self.wire.read_buf(&mut self.read);
                if tokio::time::timeout(PATIENCE, read).await.expect("it hangs").ok()? == 0 {
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
            assert!(head.kind != Kind::GoAway || self.passes_goodbyes, "{payload:?}");
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

    /// Stream of the next answer that is whole. The client takes it, and says nothing more.
    pub(super) async fn first_whole(&mut self) -> u32 {
        loop {
            let (head, _) = self.next().await.expect("the server has closed");
            if head.stream > 0 && head.has(flag::END_STREAM) {
                return head.stream;
            }
        }
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

    /// Waits for the end of the connection.
    pub(super) async fn ended(&mut self) {
        while self.next().await.is_some() {}
    }
}
