//! Windows of the connection and of streams.

use super::*;

#[tokio::test]
async fn answers_wait_for_a_window_that_another_hyper_has_used_up() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Client::connect(&worker, &Builder::new()).await;
        let mut first = client.ask(request("GET", "/size/60000"), 0).await.into_body();
        let mut length = 0;
        while let Some(data) = within(first.data()).await {
            length += data.unwrap().len();
        }
        assert_eq!(length, 60_000);
        worker.rest().await;
        // 5,535 bytes are left.
        let second = client.ask(request("GET", "/size/20000"), 0).await.into_body();
        // An answer without a body passes it.
        assert_eq!(client.get("/size/0").await, 0);
        first.flow_control().release_capacity(length).unwrap();
        assert_eq!(read(second).await.len(), 20_000);
        worker.rest().await;
        assert_eq!(client.get("/size/300000").await, 300_000);
    }
}

#[tokio::test]
async fn uploads_that_begin_at_a_move_are_whole() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Client::connect(&worker, &Builder::new()).await;
        for _ in 0..10 {
            assert_eq!(client.post("/echo", 300_000).await, b"300000");
            worker.rest().await;
        }
    }
}

#[tokio::test]
async fn windows_of_streams_are_those_of_the_clients_settings() {
    for moves in BOTH {
        let worker = Worker::start(moves);
        let mut client = Client::connect(&worker, Builder::new().initial_window_size(1000)).await;
        for _ in 0..5 {
            assert_eq!(client.get("/size/20000").await, 20_000);
            worker.rest().await;
        }
    }
}
