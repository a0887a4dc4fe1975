//! Connections that are old when they are taken over: their end does not begin anew with each worker.

use std::time::Duration;

use super::*;
use crate::connections::http2::settings::ClientSettings;
use crate::connections::http2::{Http2State, OwnSettings};

/// Beginning of GOAWAY: its length, its kind, no flags, no stream.
const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0";
const HOUR: Duration = Duration::from_secs(3600);

/// Has a worker whose connections live for an hour take this one, with its state. Returns its client.
async fn taken(description: Carried, state: &[u8]) -> (Arc<Hub>, TcpStream) {
    let mut config = crate::Config::default();
    config.timeouts.max_connection_age = HOUR;
    let ((own_end, taker), hub) = (pair(), worker_with(&config));
    let (client, accepted) = connection().await;
    greet(&own_end, &dead(), false);
    let give = FromGiver::Give { batch: 0, connections: vec![description] };
    say(&own_end, &encode(&give, state), &[accepted.as_fd()]);
    drop((own_end, accepted));
    taker::take(taker, Arc::clone(&hub), hub.room().clone()).await;
    assert_eq!(hub.life().taken_over(), 1);
    (hub, client)
}

fn aged(hours: u32, description: Carried) -> Carried {
    Carried { age_ms: u64::try_from((HOUR * hours).as_millis()).unwrap(), requests: 1, ..description }
}

#[tokio::test]
async fn a_client_of_http1_hears_in_its_next_answer_that_its_connection_is_old() {
    for (hours, is_last) in [(0, false), (2, true)] {
        let idle = Carried { protocol: Protocol::Http1 { doing: Doing::Idle }, ..carried(0) };
        let (_hub, mut client) = taken(aged(hours, idle), b"").await;
        assert_eq!(asks(&mut client).await.1, is_last, "{hours} hours");
    }
}

#[tokio::test]
async fn a_client_of_http2_hears_at_once_that_its_connection_is_old() {
    let client = ClientSettings::default();
    let own = OwnSettings { max_streams: 100, window: 65_535, connection_window: 65_535, head_list: 65_536 };
    let (send_window, receive_window) = (65_535, 65_535);
    let state = Http2State { client, own, last_id: 1, send_window, receive_window, resets: 0, table: Box::default() };
    let mut bytes = Vec::new();
    state.write(&mut bytes);
    let rests = Carried { version: VERSION, protocol: Protocol::Http2 { length: bytes.len() }, ..carried(0) };
    let (_hub, mut client) = taken(aged(2, rests), &bytes).await;
    let mut said = Vec::new();
    while !said.windows(GOAWAY.len()).any(|part| part == GOAWAY) {
        assert_ne!(client.read_buf(&mut said).await.unwrap(), 0, "closed without a word: {said:x?}");
    }
}
