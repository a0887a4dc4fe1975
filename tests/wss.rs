//! WebSockets over TLS, those of the chat among them: they go to the next worker with their keys.

use harness::{Address, Https, Supervisor, VERSIONS, WebSocket, times};
use serde_json::Value;

use crate::chat::{chat, people_talk};
use crate::tls::{addresses, with_https};
use crate::websockets::{
    SHORT_DRAIN, SHORT_GRACE, goes_on_by_its_name, goes_over_between_two_messages, nobody_has_registered_it,
};

#[test]
fn people_in_browsers_stay_connected_over_tls() {
    let (builder, log) = chat();
    let gin = builder.https().start();
    people_talk(&gin, &format!("https://{}/", gin.https_socket()), &log, "chat-tls");
    gin.stop();
}

#[test]
fn a_room_over_tls_hears_everything_once_and_in_order_over_restarts() {
    let (builder, _) = chat();
    let gin = builder.https().start();
    // A program that hears of the worker, too: its first message, and the first one after each move.
    let mut members: Vec<WebSocket> = VERSIONS
        .into_iter()
        .map(|version| {
            let address = Https::with(gin.https_socket(), &[version], None).into();
            WebSocket::open(&address, &format!("/ws?format=json&user_id={:?}", version.version))
        })
        .collect();
    for number in 0..times(10, 100) {
        let (speaker, text) = (number % members.len(), format!("number {number}"));
        members[speaker].send(0x81, text.as_bytes());
        for member in &mut members {
            assert_eq!(next_message(member), text, "{}", gin.log());
        }
        gin.restart();
    }
    drop(members);
    gin.stop();
}

/// Does this over each version of TLS.
fn over_each_version(section: &str, check: fn(Supervisor, &Address)) {
    for number in 0..VERSIONS.len() {
        let gin = with_https().section(section).start();
        let address = addresses(&gin)[number].clone();
        check(gin, &address);
    }
}

#[test]
fn a_websocket_over_tls_goes_over_between_two_messages_and_not_within_one() {
    over_each_version(SHORT_GRACE, goes_over_between_two_messages);
}

#[test]
fn a_session_over_tls_goes_on_in_the_route_of_its_name() {
    over_each_version("", goes_on_by_its_name);
}

#[test]
fn a_websocket_over_tls_that_nobody_registered_hears_1001_between_two_frames() {
    over_each_version(SHORT_DRAIN, nobody_has_registered_it);
}

#[test]
fn answers_that_nobody_reads_for_a_while_come_once_and_in_order_over_restarts() {
    const MESSAGES: usize = 30_000;
    over_each_version("", |gin, address| {
        let mut socket = WebSocket::open(address, "/swift");
        // More than a worker may take in a second: the WebSocket moves with messages that wait, and with answers that do.
        socket.0.send(&WebSocket::frame(0x82, b"abc").repeat(MESSAGES)).unwrap();
        gin.restart();
        gin.restart();
        for number in 1..=MESSAGES {
            let text = socket.text();
            assert!(text.starts_with(&format!("{number} 3 ")), "{number}: {text:?}: {}", gin.log());
        }
        drop(socket);
        gin.stop();
    });
}

#[test]
fn a_client_that_closes_its_websocket_hears_the_end_of_tls() {
    over_each_version("", |gin, address| {
        let mut socket = WebSocket::open(address, "/count");
        socket.send(0x88, &1000_u16.to_be_bytes());
        assert_eq!(socket.close_code(), 1000);
        // Without close_notify it is an error.
        assert_eq!(socket.0.until_closed().unwrap(), b"");
        gin.stop();
    });
}

/// The next message that somebody has said.
fn next_message(member: &mut WebSocket) -> String {
    loop {
        let told: Value = serde_json::from_str(&member.text()).unwrap();
        if let Some(message) = told["message"].as_str() {
            return message.to_owned();
        }
    }
}
