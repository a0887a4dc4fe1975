//! Calls of the system that answers take: over a socket of packets each write of the worker is one.

use std::convert::Infallible;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use http_body::Frame;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::raw::{WHOLE, frame};
use super::*;
use crate::connections::http2::frame::{Head, Kind, PREFACE, flag};

/// A body that ends a request of `/wait` once its own answer has ended.
pub(super) struct Releasing {
    text: Option<Bytes>,
    release: Arc<Notify>,
}

impl Releasing {
    pub(super) fn answer(release: &Arc<Notify>) -> Body {
        Body::new(Self { text: Some(Bytes::from_static(b"released")), release: Arc::clone(release) })
    }
}

impl http_body::Body for Releasing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        self.release.notify_one();
    }
}

/// A client that sees the worker's writes.
struct Packets(OwnedFd);

impl Packets {
    /// Connects. Both sides have said their settings afterwards.
    async fn connect(worker: &Worker) -> Self {
        let (near, far) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_NONBLOCK).unwrap();
        serve_pair(&worker.hub, far.into()).unwrap();
        let client = Self(near);
        // A read that is shorter than a packet loses the rest: the preface is looked at by itself.
        client.send(PREFACE);
        client.send(&frame(Kind::Settings, 0, 0, b""));
        client.packets_until(|head| head.kind == Kind::Settings && head.has(flag::ACK)).await;
        client
    }

    /// Sends one packet. Behind one that was a short read the worker waits for the next to come.
    fn send(&self, bytes: &[u8]) {
        assert_eq!(send(self.0.as_raw_fd(), bytes, MsgFlags::empty()), Ok(bytes.len()));
    }

    /// Asks for these paths at once, in one packet. The first stream has this number.
    fn ask(&self, first: u32, paths: &[&str]) {
        let mut requests = frame(Kind::Settings, flag::ACK, 0, b"");
        for (stream, path) in (first..).step_by(2).zip(paths) {
            let length = u8::try_from(path.len()).unwrap();
            let fields = [&[0x82, 0x86, 0x04, length][..], path.as_bytes(), b"\x01\x01x"].concat();
            requests.extend(frame(Kind::Headers, WHOLE, stream, &fields));
        }
        self.send(&requests);
    }

    /// The worker's writes up to the one that has a frame like this.
    async fn packets_until(&self, mut is_last: impl FnMut(&Head) -> bool) -> Vec<Vec<u8>> {
        let (mut packets, mut buffer) = (Vec::new(), vec![0; 128 << 10]);
        loop {
            let length = within(async {
                loop {
                    match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                        Ok(length) => return length,
                        Err(Errno::EAGAIN) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
            .await;
            assert!(length > 0, "the worker has closed");
            packets.push(buffer[..length].to_vec());
            let (whole, mut at, mut has_last) = (packets.concat(), 0, false);
            while let Some(head) = Head::read(&whole[at..]).filter(|head| whole.len() - at >= head.total()) {
                has_last |= is_last(&head);
                at += head.total();
            }
            if has_last {
                return packets;
            }
        }
    }

    /// The worker's writes up to the end of the answers on these streams.
    async fn answers(&self, streams: &[u32]) -> Vec<Vec<u8>> {
        let mut left: Vec<u32> = streams.to_vec();
        self.packets_until(|head| {
            left.retain(|stream| *stream != head.stream || !head.has(flag::END_STREAM));
            left.is_empty()
        })
        .await
    }
}

#[tokio::test]
async fn answers_that_are_ready_together_leave_in_one_write() {
    let worker = Worker::start(false);
    let client = Packets::connect(&worker).await;
    client.ask(1, &["/size/2000"; 8]);
    let writes = client.answers(&[1, 3, 5, 7, 9, 11, 13, 15]).await;
    assert_eq!(writes.len(), 1, "{:?}", writes.iter().map(Vec::len).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_answer_waits_for_one_that_is_about_to_be_ready() {
    let worker = Worker::start(false);
    let client = Packets::connect(&worker).await;
    // The connection hears of the second answer first, and before the first request goes on.
    client.ask(1, &["/wait", "/release"]);
    assert_eq!(client.answers(&[1, 3]).await.len(), 1);
}

#[tokio::test]
async fn an_answer_waits_for_no_request_that_takes_longer() {
    let worker = Worker::start(false);
    let client = Packets::connect(&worker).await;
    client.ask(1, &["/wait", "/size/10"]);
    client.answers(&[3]).await;
    worker.release.notify_one();
    client.answers(&[1]).await;
}

#[tokio::test]
async fn long_answers_leave_in_writes_that_are_full() {
    let worker = Worker::start(false);
    let client = Packets::connect(&worker).await;
    client.ask(1, &["/size/20000"; 3]);
    let lengths: Vec<usize> = client.answers(&[1, 3, 5]).await.iter().map(Vec::len).collect();
    assert!(lengths.len() <= 2, "{lengths:?}");
    assert!(lengths[..lengths.len() - 1].iter().all(|length| *length > 32 << 10), "{lengths:?}");
}
