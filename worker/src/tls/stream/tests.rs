use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::tls::test_pair::{CLIENTS, Client, client, connect, listener, material, pair, settings};

/// A server's stream and its client's, for a client with this policy.
async fn served(policy: &str) -> (TlsStream, Client, TlsContext) {
    let listener = listener(settings(&["server"]));
    let context =
        TlsContext::make(std::slice::from_ref(&listener), &material(1, vec![pair("server", "server")])).unwrap();
    let config = context.of(&listener).unwrap();
    let (server, client) = connect(&config, client(policy), "localhost").await;
    (server.unwrap().0, client.unwrap(), context)
}

fn moved(server: TlsStream, context: &TlsContext) -> TlsStream {
    let (socket, keys) = server.into_keys().unwrap();
    TlsStream::open(socket, keys, context).unwrap()
}

/// Writes until nothing more is taken. Returns what was.
async fn fill(server: &mut TlsStream) -> Vec<u8> {
    let mut taken = Vec::new();
    loop {
        let bytes: Vec<u8> = (0..10_007).map(|place| ((taken.len() + place) % 251).to_le_bytes()[0]).collect();
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut *server).poll_write(cx, &bytes))).await {
            Poll::Ready(count) => taken.extend_from_slice(&bytes[..count.unwrap()]),
            Poll::Pending => return taken,
        }
    }
}

async fn ask_and_answer(server: &mut TlsStream, client: &mut Client) {
    let mut buffer = [0; 6];
    client.write_all(b"ask").await.unwrap();
    server.read_exact(&mut buffer[..3]).await.unwrap();
    assert_eq!(&buffer[..3], b"ask");
    server.write_all(b"answer").await.unwrap();
    server.flush().await.unwrap();
    client.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"answer");
}

#[tokio::test]
async fn a_connection_goes_on_from_its_keys_as_often_as_it_is_taken_apart() {
    for policy in CLIENTS {
        let (mut server, mut client, context) = served(policy).await;
        for _ in 0..3 {
            ask_and_answer(&mut server, &mut client).await;
            server = moved(server, &context);
        }
        ask_and_answer(&mut server, &mut client).await;
        // What comes while nobody has the keys is read by the next owner.
        let (socket, keys) = server.into_keys().unwrap();
        assert!(keys.len() <= Keys::MAX);
        client.write_all(b"late").await.unwrap();
        let mut server = TlsStream::open(socket, keys, &context).unwrap();
        let mut buffer = [0; 4];
        server.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"late");
    }
}

#[tokio::test]
async fn the_sending_key_is_another_one_after_a_move() {
    // A record of one byte; with TLS 1.3 one with a KeyUpdate before it.
    for (policy, length) in CLIENTS.into_iter().zip([5 + 8 + 1 + 16, (5 + 5 + 1 + 16) + (5 + 1 + 1 + 16)]) {
        let (mut server, mut client, context) = served(policy).await;
        ask_and_answer(&mut server, &mut client).await;
        server = moved(server, &context);
        server.write_all(b"x").await.unwrap();
        server.flush().await.unwrap();
        let mut buffer = [0; 200];
        while client.get_ref().peek(&mut buffer).await.unwrap() < length {}
        assert_eq!(client.get_ref().peek(&mut buffer).await.unwrap(), length, "{policy}");
        client.read_exact(&mut buffer[..1]).await.unwrap();
        assert_eq!(buffer[0], b'x');
    }
}

/// Lengths of the records that wait for the client, once they have so many bytes together.
async fn waiting_records(client: &Client, bytes: usize) -> Vec<usize> {
    let mut buffer = vec![0; 64 << 10];
    while client.get_ref().peek(&mut buffer).await.unwrap() < bytes {}
    let (mut at, mut lengths) = (0, Vec::new());
    while at < bytes {
        let length = usize::from(u16::from_be_bytes([buffer[at + 3], buffer[at + 4]]));
        lengths.push(length);
        at += 5 + length;
    }
    assert_eq!(at, bytes);
    lengths
}

#[tokio::test]
async fn an_answer_leaves_in_as_few_records_as_it_needs() {
    // A record has its number and a tag, with TLS 1.3 its kind and a tag.
    for (policy, extra) in CLIENTS.into_iter().zip([8 + 16_usize, 1 + 16]) {
        let (mut server, mut client, context) = served(policy).await;
        for _ in 0..2 {
            // Tickets, or the change of the key, are behind it.
            ask_and_answer(&mut server, &mut client).await;
            for payloads in [&[1300_usize][..], &[16_384, 4000], &[16_384, 16_384]] {
                let length: usize = payloads.iter().sum();
                let taken = server.write(&vec![7; length]).await.unwrap();
                assert_eq!(taken, length, "one write takes it all");
                server.flush().await.unwrap();
                let records: Vec<usize> = payloads.iter().map(|payload| payload + extra).collect();
                let bytes: usize = records.iter().map(|record| 5 + record).sum();
                assert_eq!(waiting_records(&client, bytes).await, records, "{policy}");
                let mut got = vec![0; length];
                client.read_exact(&mut got).await.unwrap();
                assert!(got.iter().all(|byte| *byte == 7));
            }
            server = moved(server, &context);
        }
    }
}

#[tokio::test]
async fn a_write_that_was_blocked_is_finished_before_anothers_begins() {
    for policy in CLIENTS {
        let (mut server, mut client, context) = served(policy).await;
        let mut sent = fill(&mut server).await;
        assert!(!server.unsent.is_empty());
        // The stream has bytes to send: it cannot be taken apart.
        let mut server = server.into_keys().unwrap_err();
        sent.extend_from_slice(b"the other writer");
        let length = sent.len();
        let writing = async {
            server.write_all(b"the other writer").await.unwrap();
            server.flush().await.unwrap();
        };
        let reading = async {
            let mut got = vec![0; length];
            client.read_exact(&mut got).await.unwrap();
            got
        };
        let ((), got) = tokio::join!(writing, reading);
        assert!(got == sent, "bytes are lost, or come twice");
        assert!(server.unsent.is_empty());
        let mut server = moved(*server, &context);
        ask_and_answer(&mut server, &mut client).await;
    }
}

/// The socket of a client, and the records that it would send with these bytes, one for each.
async fn records(client: Client, all: &[&[u8]]) -> (TcpStream, Vec<u8>) {
    let (connection, wire) = client.into_parts();
    let (own, mut raw) = tokio::io::duplex(1024);
    let mut client = s2n_tls_tokio::TlsStream::from_parts(connection, own);
    let mut records = Vec::with_capacity(1024);
    for bytes in all {
        client.write_all(bytes).await.unwrap();
        client.flush().await.unwrap();
        raw.read_buf(&mut records).await.unwrap();
    }
    (wire, records)
}

#[tokio::test]
async fn of_two_records_that_come_together_the_second_one_is_read_before_the_stream_is_taken_apart() {
    for policy in CLIENTS {
        let (mut server, client, context) = served(policy).await;
        let (mut wire, both) = records(client, &[b"one", b"two"]).await;
        wire.write_all(&both).await.unwrap();
        let mut bytes = [0; 3];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"one");
        // s2n has read the second one, too: nobody finds it in the socket again.
        assert_eq!(server.socket().try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut server = server.into_keys().unwrap_err();
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"two");
        drop(moved(*server, &context));
    }
}

#[tokio::test]
async fn half_a_record_is_waited_for() {
    for policy in CLIENTS {
        let (mut server, client, context) = served(policy).await;
        let (mut wire, record) = records(client, &[b"whole"]).await;
        wire.write_all(&record[..10]).await.unwrap();
        server.socket().peek(&mut [0]).await.unwrap();
        let mut bytes = [0; 5];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut server).poll_read(cx, &mut buffer))).await;
        assert!(read.is_pending());
        let mut server = server.into_keys().unwrap_err();
        wire.write_all(&record[10..]).await.unwrap();
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"whole");
        drop(moved(*server, &context));
    }
}

#[tokio::test]
async fn what_s2n_has_read_ahead_is_read_though_the_socket_is_empty() {
    for policy in CLIENTS {
        let (mut server, client, _) = served(policy).await;
        let (connection, mut wire) = client.into_parts();
        let (own, mut raw) = tokio::io::duplex(1024);
        let mut client = s2n_tls_tokio::TlsStream::from_parts(connection, own);
        for bytes in [b"one", b"two", b"six"] {
            client.write_all(bytes).await.unwrap();
        }
        let mut records = [0; 500];
        let length = raw.read(&mut records).await.unwrap();
        wire.write_all(&records[..length]).await.unwrap();
        // The first read takes all three records from the socket.
        let mut buffer = [0; 3];
        server.read_exact(&mut buffer).await.unwrap();
        assert!(server.socket().try_read(&mut [0]).is_err(), "the socket is empty");
        // A record is read in parts, too.
        for byte in *b"two" {
            let mut part = [0; 1];
            assert_eq!(server.read(&mut part).await.unwrap(), 1);
            assert_eq!(part, [byte]);
        }
        server.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"six");
    }
}

#[tokio::test]
async fn the_end_is_read_again_and_again() {
    for policy in CLIENTS {
        let (mut server, mut client, _) = served(policy).await;
        client.write_all(b"last").await.unwrap();
        client.shutdown().await.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(server.read(&mut buffer).await.unwrap(), 4);
        for _ in 0..3 {
            assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn the_end_is_told_behind_all_that_was_written() {
    for policy in CLIENTS {
        let (mut server, mut client, _) = served(policy).await;
        let sent = fill(&mut server).await;
        let mut got = Vec::new();
        let (read, shut) = tokio::join!(client.read_to_end(&mut got), server.shutdown());
        shut.unwrap();
        // Without `close_notify` this would be an error.
        read.unwrap();
        assert!(got == sent);
    }
}

#[tokio::test]
async fn a_client_that_sends_what_it_must_not_sees_no_orderly_end() {
    for policy in CLIENTS {
        let (mut server, mut client, _) = served(policy).await;
        ask_and_answer(&mut server, &mut client).await;
        let (_, mut wire) = client.into_parts();
        // A record that no key has made.
        wire.write_all(&[&[23, 3, 3, 0, 64][..], &[0x5a; 64]].concat()).await.unwrap();
        server.read(&mut [0; 8]).await.unwrap_err();
        server.shutdown().await.unwrap();
        let mut rest = Vec::new();
        wire.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{policy}: {rest:?}");
    }
}

#[tokio::test]
async fn a_connection_whose_client_has_closed_is_not_taken_apart() {
    for policy in CLIENTS {
        let (mut server, mut client, _) = served(policy).await;
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(server.into_keys().is_err());
    }
}

#[tokio::test]
async fn keys_of_another_format_are_refused() {
    let (server, _client, context) = served(CLIENTS[1]).await;
    let (socket, keys) = server.into_keys().unwrap();
    let mut bytes = keys.bytes().to_vec();
    bytes[..8].fill(0xff);
    let forged = Keys::received(&bytes).unwrap();
    let error = TlsStream::open(socket, forged, &context).unwrap_err().to_string();
    assert!(error.contains("S2N_ERR"), "{error}");
}
