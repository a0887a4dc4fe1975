//! The chat over TLS: WebSockets of people and of programs go to the next worker with their keys.

use harness::{Https, VERSIONS, WebSocket, times};
use serde_json::Value;

use crate::chat::{chat, people_talk};

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

/// The next message that somebody has said.
fn next_message(member: &mut WebSocket) -> String {
    loop {
        let told: Value = serde_json::from_str(&member.text()).unwrap();
        if let Some(message) = told["message"].as_str() {
            return message.to_owned();
        }
    }
}
