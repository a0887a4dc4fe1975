//! Streams that are reset, by either side.

use super::raw::{EARLY, GET_AGAIN, Raw, WAIT, WHOLE};
use super::*;
use crate::connections::http2::frame::{Kind, flag};

#[tokio::test]
async fn early_answers_end_uploads_and_the_connection_moves_on() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Client::connect(&worker, &Builder::new()).await;
        for _ in 0..10 {
            assert_eq!(client.post("/early", 300_000).await, b"early");
            assert_eq!(client.post("/echo", 70_000).await, b"70000");
            worker.rest().await;
        }
    }
}

#[tokio::test]
async fn data_under_way_to_a_stream_that_was_reset_come_before_the_move() {
    let worker = Worker::start(true);
    let mut client = Raw::moved(&worker).await;
    client.send_frame(Kind::Headers, flag::END_HEADERS, 3, EARLY).await;
    client.next_of(Kind::Reset).await;
    client.send_frame(Kind::Data, 0, 3, b"under way").await;
    // The answer to this PING is behind the data.
    client.next_of(Kind::Ping).await;
    worker.rest().await;
    assert_eq!(client.request(5, GET_AGAIN).await, 10);
}

/// Sends requests and resets them.
async fn reset(client: &mut Raw, streams: impl Iterator<Item = u32>) {
    for stream in streams {
        client.send_frame(Kind::Headers, WHOLE, stream, WAIT).await;
        client.send_frame(Kind::Reset, 0, stream, &8_u32.to_be_bytes()).await;
        // hyper has seen both.
        client.send_frame(Kind::Ping, 0, 0, b"are you?").await;
        assert!(client.next_of(Kind::Ping).await.0.has(flag::ACK));
    }
}

#[tokio::test]
async fn a_client_that_resets_many_requests_is_not_parked() {
    let worker = Worker::start(true);
    let mut client = Raw::moved(&worker).await;
    reset(&mut client, (3..43).step_by(2)).await;
    // 20 are forgiven.
    worker.rest().await;
    reset(&mut client, (43..47).step_by(2)).await;
    let other = Raw::moved(&worker).await;
    assert_eq!(worker.hub.parked(), 1, "the other one");
    assert_eq!(client.request(101, GET_AGAIN).await, 10);
    drop(other);
}
