//! Frames in unusual places.

use super::raw::{ECHO, GET_10, GET_AGAIN, Raw, WHOLE, frame};
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
