//! Frames in unusual places.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::raw::{ECHO, GET_10, GET_AGAIN, Raw, WAIT, WHOLE, frame};
use super::*;
use crate::connections::http2::frame::{Kind, STREAM_CLOSED, flag};

#[tokio::test]
async fn late_frames_and_unknown_ones_do_no_harm() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Raw::moved(&worker).await;
        let late = [
            frame(Kind::WindowUpdate, 0, 1, &5_u32.to_be_bytes()),
            frame(Kind::Priority, 0, 1, b"\0\0\0\0\x05"),
            frame(Kind::Other(0x10), 0, 0, b"\0\0\0\x01u=1"),
            frame(Kind::Other(0x42), 7, 1, b"hello"),
            // An answer to a PING of the hyper before.
            frame(Kind::Ping, flag::ACK, 0, b"whatever"),
        ];
        client.send(&late.concat()).await;
        for stream in [11, 13] {
            assert_eq!(client.request(stream, GET_AGAIN).await, 10);
            worker.rest().await;
        }
    }
}

#[tokio::test]
async fn a_request_on_an_old_stream_ends_the_connection() {
    let worker = Worker::start(true);
    let mut client = Raw::moved(&worker).await;
    client.send_frame(Kind::Headers, WHOLE, 1, GET_AGAIN).await;
    assert_eq!(client.goodbye().await, (1, STREAM_CLOSED));
    client.ended().await;
}

#[tokio::test]
async fn every_ping_and_all_settings_are_answered() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Raw::moved(&worker).await;
        for number in 0..40_u64 {
            client.send_frame(Kind::Ping, 0, 0, &number.to_be_bytes()).await;
            let (head, payload) = client.next_of(Kind::Ping).await;
            assert!(head.has(flag::ACK) && *payload == number.to_be_bytes());
            let window = u32::try_from(1000 + number).unwrap().to_be_bytes();
            client.send_frame(Kind::Settings, 0, 0, &[&[0, 4][..], &window, &[0, 99, 0, 0, 0, 1]].concat()).await;
            assert!(client.next_of(Kind::Settings).await.0.has(flag::ACK));
            if number % 10 == 0 {
                worker.rest().await;
            }
        }
        assert_eq!(client.request(3, GET_AGAIN).await, 10);
        assert_eq!(client.settings, 1, "the client knows our settings");
    }
}

#[tokio::test]
async fn a_ping_of_an_earlier_hyper_may_be_answered_late() {
    let mut config = config(true);
    // hyper asks for a sign of life after this time.
    config.timeouts.idle = Duration::from_secs(2);
    let worker = Worker::with(true, &config);
    let mut client = Raw::moved(&worker).await;
    client.answers_pings = false;
    client.send_frame(Kind::Headers, WHOLE, 3, WAIT).await;
    let (_, ping) = client.next_of(Kind::Ping).await;
    worker.release.notify_one();
    assert_eq!(client.answer(3).await, 6);
    // This hyper has asked nothing.
    worker.rest().await;
    client.send_frame(Kind::Ping, flag::ACK, 0, &ping).await;
    assert_eq!(client.request(5, GET_AGAIN).await, 10);
    worker.rest().await;
}

#[tokio::test]
async fn what_is_not_offered_is_refused_and_the_connection_moves_on() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Raw::moved(&worker).await;
        // A WebSocket over HTTP/2: CONNECT with :protocol.
        let socket = b"\x02\x07CONNECT\x86\x84\x01\x01x\0\x09:protocol\x09websocket";
        client.send_frame(Kind::Headers, flag::END_HEADERS, 3, socket).await;
        assert_eq!(client.next_of(Kind::Reset).await.0.stream, 3);
        // Whether or not a 100 comes: it is not the answer.
        let expects = [ECHO, b"\0\x06expect\x0c100-continue"].concat();
        client.send_frame(Kind::Headers, flag::END_HEADERS, 5, &expects).await;
        client.send_frame(Kind::Data, flag::END_STREAM, 5, b"hello").await;
        assert_eq!(client.answer(5).await, 1, "the length is 5");
        worker.rest().await;
        assert_eq!(client.request(7, GET_AGAIN).await, 10);
        worker.rest().await;
    }
}

#[tokio::test]
async fn http1_is_not_upgraded_to_http2() {
    let asks = "GET /size/3 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut wire = worker.wire();
        for _ in 0..2 {
            wire.write_all(asks.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\nxxx") {
                assert_ne!(within(wire.read_buf(&mut answer)).await.unwrap(), 0, "closed");
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
            worker.rest().await;
        }
    }
}

#[tokio::test]
async fn of_65536_settings_those_that_count_are_kept() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Raw::moved(&worker).await;
        let ids = (0..=u16::MAX).filter(|id| *id > 9).map(|id| [&id.to_be_bytes()[..], &[0, 0, 0, 7]].concat());
        let all: Vec<u8> = ids.flatten().collect();
        // A window of 4 bytes for each stream.
        client.send_frame(Kind::Settings, 0, 0, &[0, 4, 0, 0, 0, 4]).await;
        for some in all.chunks(6 * 2000) {
            client.send_frame(Kind::Settings, 0, 0, some).await;
            assert!(client.next_of(Kind::Settings).await.0.has(flag::ACK));
        }
        assert!(client.next_of(Kind::Settings).await.0.has(flag::ACK));
        worker.rest().await;
        client.send_frame(Kind::Headers, WHOLE, 3, GET_AGAIN).await;
        let (head, _) = client.next_of(Kind::Data).await;
        assert_eq!((head.length, head.has(flag::END_STREAM)), (4, false));
        client.send_frame(Kind::WindowUpdate, 0, 3, &6_u32.to_be_bytes()).await;
        assert_eq!(client.answer(3).await, 6);
        worker.rest().await;
    }
}

#[tokio::test]
async fn a_block_over_many_frames_and_padding_are_followed() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Raw::moved(&worker).await;
        for stream in [3, 5, 7] {
            let first = [&[4][..], &[0, 0, 0, 0, 5], &ECHO[..2], &[0; 4]].concat();
            client.send_frame(Kind::Headers, flag::PADDED | flag::PRIORITY, stream, &first).await;
            client.send_frame(Kind::Continuation, flag::END_HEADERS, stream, &ECHO[2..]).await;
            client.send_frame(Kind::Data, flag::PADDED, stream, b"\x04hello\0\0\0\0").await;
            // Trailers.
            client.send_frame(Kind::Headers, WHOLE, stream, b"\x00\x01t\x01v").await;
            assert_eq!(client.answer(stream).await, 1, "the length is 5");
            worker.rest().await;
        }
    }
}

#[tokio::test]
async fn half_a_frame_waits_in_hyper() {
    let worker = Worker::start(true);
    let mut client = Raw::moved(&worker).await;
    let whole = frame(Kind::Headers, WHOLE, 3, GET_AGAIN);
    client.send(&whole[..11]).await;
    // Another connection is parked meanwhile; this one has nowhere to keep the half.
    let other = Raw::moved(&worker).await;
    assert_eq!(worker.hub.parked(), 1);
    client.send(&whole[11..]).await;
    assert_eq!(client.answer(3).await, 10);
    within(worker.rests(2)).await;
    drop(other);
}

#[tokio::test]
async fn frames_that_are_too_large_or_wrong_are_refused() {
    let wrong = [
        [&b"\xff\xff\xff\x42\0\0\0\0\0"[..], &[b'x'; 1000]].concat(),
        frame(Kind::WindowUpdate, 0, 0, b"abc"),
        frame(Kind::WindowUpdate, 0, 0, b"\0\0\0\0"),
        frame(Kind::Headers, WHOLE, 2, GET_10),
        frame(Kind::Data, 0, 0, b"hello"),
    ];
    for bytes in wrong {
        for moves in BOTH {
            let worker = Worker::start(moves);
            let mut client = Raw::moved(&worker).await;
            client.send(&bytes).await;
            let (last, code) = client.goodbye().await;
            assert!(last == 1 && code > 0, "{bytes:x?}: {last} {code}");
            client.ended().await;
        }
    }
}
