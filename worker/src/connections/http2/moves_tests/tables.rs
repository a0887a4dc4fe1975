//! Tables of header fields, ours and the client's.

use super::raw::{GET_10, Raw};
use super::*;

#[tokio::test]
async fn tables_of_each_size_follow_the_new_encoder() {
    for moves in BOTH {
        for size in [0, 100, 4096, 65_536] {
            let worker = Worker::start(moves);
            let mut client = Client::connect(&worker, Builder::new().header_table_size(size)).await;
            for _ in 0..5 {
                assert_eq!(client.get("/size/10").await, 10);
                worker.rest().await;
                assert_eq!(client.get("/head").await, 0);
                worker.rest().await;
            }
        }
    }
}

#[tokio::test]
async fn the_clients_table_goes_with_the_connection() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Client::connect(&worker, &Builder::new()).await;
        for round in 0..10 {
            // The second of two is an index.
            let value = format!("{} {}", round / 2, "v".repeat(50));
            let mut asked = request("GET", "/same");
            asked.headers_mut().insert("x-same", value.parse().unwrap());
            assert_eq!(read(client.ask(asked, 0).await.into_body()).await, value.as_bytes());
            worker.rest().await;
        }
    }
}

#[tokio::test]
async fn a_connection_with_a_large_table_is_parked() {
    let worker = Worker::start(true);
    let mut client = Client::connect(&worker, &Builder::new()).await;
    for _ in 0..3 {
        let mut asked = request("GET", "/same");
        asked.headers_mut().insert("x-same", "v".repeat(2500).parse().unwrap());
        assert_eq!(read(client.ask(asked, 0).await.into_body()).await.len(), 2500);
        worker.rest().await;
    }
}

#[tokio::test]
async fn a_connection_whose_table_is_larger_than_its_text_is_not_parked() {
    let worker = Worker::start(true);
    let mut large = Raw::connect(&worker, b"").await;
    // 1,300 times the byte 249, of 28 bits each.
    let value = [&b"\xff\xc7\x22"[..], &b"\xff\xff\xff\xef\xff\xff\xfe".repeat(650)].concat();
    assert_eq!(large.request(1, &[GET_10, b"\x40\x06x-much", &value].concat()).await, 10);
    let mut usual = Client::connect(&worker, &Builder::new()).await;
    for _ in 0..5 {
        assert_eq!(usual.get("/size/10").await, 10);
        worker.rest().await;
        assert_eq!(worker.hub.parked(), 1, "it is idle for longer");
    }
    assert_eq!(large.request(3, b"\x82\x86\xbf\x01\x01x").await, 10);
}
