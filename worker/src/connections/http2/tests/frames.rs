//! Frames in unusual places: what a server without moves takes is taken, and what it refuses is refused.

use super::raw::{GET_10, GET_AGAIN, POST, Raw, WHOLE, frame};
use super::rig::Plan;
use crate::connections::http2::frame::{Kind, STREAM_CLOSED, flag};

const PROTOCOL_ERROR: u32 = 1;

/// A client that has moved after its first request.
async fn moved() -> Raw {
    let mut client = Raw::start(Plan::MOVES, b"").await;
    assert_eq!(client.request(1, GET_10).await, 10);
    assert!(client.rest().await > 0);
    client
}

#[tokio::test]
async fn an_entry_of_the_table_counts_in_the_next_server() {
    let mut client = moved().await;
    for stream in [3, 5, 7] {
        assert_eq!(client.request(stream, GET_AGAIN).await, 10);
        client.rest().await;
    }
    assert!(client.end().await.moves >= 4);
}

#[tokio::test]
async fn the_clients_encoder_changes_the_size_of_its_table() {
    let mut client = moved().await;
    // Empty, and then as before: the entry is gone. Then too small for it.
    for (stream, updates) in [(3, &b"\x20\x3f\xe1\x1f"[..]), (5, b"\x20\x3f\x31"), (7, b"\x3f\xe1\x1f")] {
        assert_eq!(client.request(stream, &[updates, GET_10].concat()).await, 10);
        client.rest().await;
    }
    assert_eq!(client.request(9, GET_AGAIN).await, 10);
    client.rest().await;
    assert_eq!(client.request(11, &[b"\x3f\x00", &b"\x82\x87\x04\x07/size/7\x01\x01x"[..]].concat()).await, 7);
    client.rest().await;
    // The table is smaller than the entry: it is gone.
    client.send_frame(Kind::Headers, WHOLE, 13, GET_AGAIN).await;
    client.goodbye().await;
    assert!(client.end().await.moves >= 5);
}

#[tokio::test]
async fn late_frames_of_old_streams_and_unknown_ones_do_no_harm() {
    let mut client = moved().await;
    let late = [
        frame(Kind::WindowUpdate, 0, 1, &5_u32.to_be_bytes()),
        frame(Kind::Reset, 0, 1, &8_u32.to_be_bytes()),
        frame(Kind::Priority, 0, 1, b"\0\0\0\0\x05"),
        frame(Kind::Priority, 0, 9, b"\0\0\0\0\x05"),
        frame(Kind::Other(0x10), 0, 0, b"\0\0\0\x01u=1"),
        frame(Kind::Other(0x42), 7, 1, b"hello"),
        frame(Kind::Other(0x42), 7, 77, b"hello"),
        // An answer to a PING of the server before.
        frame(Kind::Ping, flag::ACK, 0, b"whatever"),
    ];
    client.send(&late.concat()).await;
    client.rest().await;
    assert_eq!(client.request(11, GET_AGAIN).await, 10);
    assert!(client.rest().await >= 2);
    assert_eq!(client.end().await.error, None);
}

#[tokio::test]
async fn a_request_or_data_on_an_old_stream_end_the_connection() {
    for (kind, payload) in [(Kind::Headers, GET_AGAIN), (Kind::Data, b"hello"), (Kind::Continuation, b"")] {
        let mut client = moved().await;
        client.send_frame(kind, WHOLE, 1, payload).await;
        assert_eq!(client.goodbye().await, (1, STREAM_CLOSED), "{kind:?}");
        assert!(client.end().await.error.is_some());
    }
}

#[tokio::test]
async fn a_goodbye_names_the_streams_of_earlier_servers() {
    let mut client = moved().await;
    assert_eq!(client.request(3, GET_AGAIN).await, 10);
    client.rest().await;
    // This server has seen no request.
    client.send_frame(Kind::WindowUpdate, 0, 0, b"abc").await;
    assert_eq!(client.goodbye().await, (3, PROTOCOL_ERROR));
}

#[tokio::test]
async fn frames_that_are_too_large_or_wrong_are_the_servers_to_refuse() {
    let block = |bytes: &[u8]| frame(Kind::Headers, WHOLE, 3, bytes);
    let wrong = [
        [&b"\xff\xff\xff\x42\0\0\0\0\0"[..], &[b'x'; 1000]].concat(),
        frame(Kind::WindowUpdate, 0, 0, b"\0\0\0\0"),
        frame(Kind::Data, 0, 0, b"hello"),
        frame(Kind::Headers, WHOLE, 2, GET_AGAIN),
        frame(Kind::Headers, WHOLE, 0, GET_AGAIN),
        frame(Kind::PushPromise, flag::END_HEADERS, 3, &[b"\0\0\0\x04", GET_AGAIN].concat()),
        frame(Kind::Settings, flag::ACK, 0, b""),
        block(b"\xff\xff\xff"),
        block(b"\xfe"),
        [frame(Kind::Headers, flag::END_STREAM, 3, GET_AGAIN), frame(Kind::Ping, 0, 0, b"12345678")].concat(),
        frame(Kind::Continuation, flag::END_HEADERS, 3, GET_AGAIN),
        frame(Kind::Headers, WHOLE | flag::PADDED, 3, b"\xff"),
    ];
    for bytes in wrong {
        for plan in [Plan::STAYS, Plan::MOVES] {
            let mut client = Raw::start(plan, b"").await;
            assert_eq!(client.request(1, GET_10).await, 10);
            let moves = client.rest().await;
            client.send(&bytes).await;
            let (last, code) = client.goodbye().await;
            assert!(last == 1 && code > 0, "{bytes:x?}: {last} {code}");
            let report = client.end().await;
            assert!(report.moves == moves && report.error.is_some(), "{report:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_speaks_no_http2_is_refused() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"x", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx"] {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let servers = tokio::spawn(super::rig::serve(far, Plan::MOVES, super::rig::Moves::default()));
        tokio::io::AsyncWriteExt::write_all(&mut near, bytes).await.unwrap();
        let report = servers.await.unwrap();
        assert!(report.moves == 0 && report.error.is_some(), "{report:?}");
    }
}

#[tokio::test]
async fn half_a_frame_travels() {
    let mut client = moved().await;
    let whole = frame(Kind::Headers, WHOLE, 3, GET_AGAIN);
    let mut stream = 3;
    for cut in 1..whole.len() {
        let request = frame(Kind::Headers, WHOLE, stream, GET_AGAIN);
        // A PING, so that the server moves with the half before it.
        client.send(&[&frame(Kind::Ping, 0, 0, b"12345678"), &request[..cut]].concat()).await;
        client.next_of(Kind::Ping).await;
        client.rest().await;
        client.send(&request[cut..]).await;
        assert_eq!(client.answer(stream).await, 10, "{cut}");
        client.rest().await;
        stream += 2;
    }
    let report = client.end().await;
    assert!(report.moves > whole.len() && report.error.is_none(), "{report:?}");
}

#[tokio::test]
async fn every_ping_and_all_settings_are_answered() {
    let mut client = moved().await;
    for number in 0..200_u64 {
        client.send_frame(Kind::Ping, 0, 0, &number.to_be_bytes()).await;
        let (head, payload) = client.next_of(Kind::Ping).await;
        assert!(head.has(flag::ACK) && *payload == number.to_be_bytes());
        let settings =
            [&[0, 4][..], &u32::try_from(1000 + number).unwrap().to_be_bytes(), &[0, 99, 0, 0, 0, 1]].concat();
        client.send_frame(Kind::Settings, 0, 0, &settings).await;
        assert!(client.next_of(Kind::Settings).await.0.has(flag::ACK));
        if number % 20 == 0 {
            client.rest().await;
        }
    }
    assert_eq!(client.request(3, GET_AGAIN).await, 10);
    let report = client.end().await;
    assert!(report.moves > 10 && report.error.is_none(), "{report:?}");
}

#[tokio::test]
async fn a_block_over_many_frames_is_one_and_no_move_comes_between() {
    let mut client = moved().await;
    for stream in [3, 5, 7] {
        let before = client.rest().await;
        let first = [&[4][..], &[0, 0, 0, 0, 5], &POST[..2], &[0; 4]].concat();
        client.send_frame(Kind::Headers, flag::PADDED | flag::PRIORITY, stream, &first).await;
        client.rest().await;
        client.send_frame(Kind::Continuation, 0, stream, &POST[2..4]).await;
        client.rest().await;
        client.send_frame(Kind::Continuation, flag::END_HEADERS, stream, &POST[4..]).await;
        client.send_frame(Kind::Data, flag::PADDED, stream, b"\x04hello\0\0\0\0").await;
        client.rest().await;
        // Trailers.
        client.send_frame(Kind::Headers, flag::END_STREAM, stream, b"\x00\x01").await;
        assert_eq!(client.rest().await, before);
        client.send_frame(Kind::Continuation, flag::END_HEADERS, stream, b"t\x01v").await;
        assert_eq!(client.answer(stream).await, 5);
        assert!(client.rest().await > before);
    }
    assert_eq!(client.end().await.error, None);
}

#[tokio::test]
async fn data_under_way_to_a_stream_that_was_reset_come_before_the_move() {
    let mut client = moved().await;
    let before = client.rest().await;
    client.answers_pings = false;
    // POST /early: it is answered and reset before its end.
    client.send_frame(Kind::Headers, flag::END_HEADERS, 3, b"\x83\x87\x04\x06/early\x01\x01x").await;
    client.next_of(Kind::Reset).await;
    let (_, ping) = client.next_of(Kind::Ping).await;
    assert_eq!(client.rest().await, before, "the client may not know");
    client.send_frame(Kind::Data, 0, 3, b"under way").await;
    client.send_frame(Kind::Ping, flag::ACK, 0, &ping).await;
    assert!(client.rest().await > before);
    assert_eq!(client.request(5, GET_AGAIN).await, 10);
    assert_eq!(client.end().await.error, None);
}

#[tokio::test]
async fn after_the_clients_goodbye_there_is_no_move() {
    let mut client = moved().await;
    let before = client.rest().await;
    client.send_frame(Kind::GoAway, 0, 0, &[0; 8]).await;
    while client.next().await.is_some() {}
    let report = client.end().await;
    assert!(report.moves == before && report.error.is_none(), "{report:?}");
}

#[tokio::test]
async fn a_tunnel_keeps_its_connection_where_it_is() {
    let mut client = moved().await;
    let before = client.rest().await;
    // CONNECT x
    client.send_frame(Kind::Headers, flag::END_HEADERS, 3, b"\x02\x07CONNECT\x01\x01x").await;
    assert_eq!(client.request(5, GET_AGAIN).await, 10);
    assert_eq!(client.rest().await, before);
    client.send_frame(Kind::Data, flag::END_STREAM, 3, b"hello").await;
    assert_eq!(client.answer(3).await, 5);
    assert!(client.rest().await > before);
}

#[tokio::test]
async fn a_block_that_is_too_large_to_follow_is_served_and_ends_the_moves() {
    let mut client = moved().await;
    let before = client.rest().await;
    let field = [&b"\x00\x01y\x7f\xf7\x7b"[..], &[b'v'; 15_990]].concat();
    client.send_frame(Kind::Headers, flag::END_STREAM, 3, GET_AGAIN).await;
    for number in 1..=5 {
        let flags = if number == 5 { flag::END_HEADERS } else { 0 };
        client.send_frame(Kind::Continuation, flags, 3, &field).await;
    }
    // 431, for more than the server takes.
    client.next_of(Kind::Headers).await;
    assert_eq!(client.request(5, GET_AGAIN).await, 10);
    assert_eq!(client.rest().await, before);
}

#[tokio::test]
async fn uploads_that_wait_at_the_gate_find_the_window_of_the_server_before() {
    let mut client = Raw::start(Plan::GATED, b"").await;
    assert_eq!(client.request(1, GET_10).await, 10);
    let before = client.rest().await;
    client.send_frame(Kind::Headers, flag::END_HEADERS, 3, POST).await;
    // The gate closes.
    client.pause(5).await;
    let mut bytes = frame(Kind::Data, flag::END_STREAM, 3, b"last!");
    for stream in [5, 7, 9] {
        bytes.extend(frame(Kind::Headers, flag::END_HEADERS, stream, POST));
        bytes.extend(frame(Kind::Data, 0, stream, &[b'y'; 16_000]).repeat(3));
        bytes.extend(frame(Kind::Data, flag::END_STREAM, stream, b""));
    }
    client.send(&bytes).await;
    assert_eq!(client.answers([3, 5, 7, 9]).await, [5, 48_000, 48_000, 48_000]);
    assert!(client.rest().await > before + 1);
    assert_eq!(client.end().await.error, None);
}

/// A client whose server holds new requests back until it moves, and answers `open` on stream 3.
async fn shut(settings: &[u8], flags: u8, open: &[u8]) -> (Raw, usize) {
    let mut client = Raw::start(Plan::SHUT, settings).await;
    assert_eq!(client.request(1, GET_10).await, 10);
    let before = client.rest().await;
    client.send_frame(Kind::Headers, flags, 3, open).await;
    client.pause(20).await;
    (client, before)
}

/// Sends a request that waits at the gate, and these frames behind it. The connection moves, and the request is answered.
async fn moves_behind_a_request(client: &mut Raw, before: usize, behind: &[Vec<u8>]) {
    client.send_frame(Kind::Headers, WHOLE, 5, GET_AGAIN).await;
    assert_eq!(client.rest().await, before, "stream 3 is open");
    for frame in behind {
        client.send(frame).await;
        client.pause(20).await;
    }
    assert!(client.rest().await > before, "it waits behind the request");
    assert_eq!(client.answer(5).await, 10);
}

#[tokio::test]
async fn an_open_stream_ends_though_a_request_waits_at_the_gate() {
    let behind = [frame(Kind::Data, flag::END_STREAM, 3, b"last!"), frame(Kind::Reset, 0, 3, &8_u32.to_be_bytes())];
    for end in behind {
        let (mut client, before) = shut(b"", flag::END_HEADERS, POST).await;
        moves_behind_a_request(&mut client, before, &[frame(Kind::Data, 0, 3, b"hello"), end]).await;
        assert_eq!(client.end().await.error, None);
    }
}

#[tokio::test]
async fn windows_open_though_a_request_waits_at_the_gate() {
    // Of a stream.
    let (mut client, before) = shut(&[0, 4, 0, 0, 0, 10], WHOLE, b"\x82\x87\x04\x08/size/30\x01\x01x").await;
    let more = frame(Kind::WindowUpdate, 0, 3, &20_u32.to_be_bytes());
    moves_behind_a_request(&mut client, before, &[more]).await;
    // Of all streams, by SETTINGS.
    let (mut client, before) = shut(&[0, 4, 0, 0, 0, 10], WHOLE, b"\x82\x87\x04\x08/size/30\x01\x01x").await;
    moves_behind_a_request(&mut client, before, &[frame(Kind::Settings, 0, 0, &[0, 4, 0, 0, 1, 0])]).await;
    // Of the connection: 65,535 bytes at first.
    let (mut client, before) = shut(&[0, 4, 0, 1, 0x11, 0x70], WHOLE, b"\x82\x87\x04\x0b/size/65540\x01\x01x").await;
    let more = frame(Kind::WindowUpdate, 0, 0, &40_u32.to_be_bytes());
    moves_behind_a_request(&mut client, before, &[more]).await;
}

#[tokio::test]
async fn the_answer_to_the_ping_behind_a_reset_passes_a_request_that_waits() {
    let mut client = Raw::start(Plan::SHUT, b"").await;
    assert_eq!(client.request(1, GET_10).await, 10);
    let before = client.rest().await;
    client.answers_pings = false;
    client.send_frame(Kind::Headers, flag::END_HEADERS, 3, b"\x83\x87\x04\x06/early\x01\x01x").await;
    let (_, ping) = client.next_of(Kind::Ping).await;
    moves_behind_a_request(&mut client, before, &[frame(Kind::Ping, flag::ACK, 0, &ping)]).await;
    assert_eq!(client.end().await.error, None);
}

#[tokio::test]
async fn trailers_behind_a_request_that_waits_keep_their_order() {
    let mut client = Raw::start(Plan::GATED, b"").await;
    assert_eq!(client.request(1, GET_10).await, 10);
    client.rest().await;
    client.send_frame(Kind::Headers, flag::END_HEADERS, 3, POST).await;
    client.pause(5).await;
    let bytes = [
        // It makes an entry of the table, and the trailers name it.
        frame(Kind::Headers, WHOLE, 5, GET_10),
        frame(Kind::Data, 0, 3, b"hello"),
        frame(Kind::Headers, WHOLE, 3, b"\x40\x01t\x01v"),
        frame(Kind::Headers, WHOLE, 7, b"\x82\x87\xbf\x01\x01x"),
    ];
    client.send(&bytes.concat()).await;
    assert_eq!(client.answers([3, 5, 7]).await, [5, 10, 10]);
    assert_eq!(client.end().await.error, None);
}
