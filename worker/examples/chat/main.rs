//! The documents' chat (4.5): its users stay connected while the program is replaced under them.
//!
//! ```text
//! cargo build --release --workspace --bins --examples
//! target/release/gin-supervisor -c worker/examples/chat/chat.toml
//! ```
//!
//! `/` is a page. A program connects to `/ws?user_id=ann`, sends texts, and hears what is said; with `&format=json` it hears who said it,
//! too. A program says something to all without a WebSocket:
//!
//! ```text
//! curl http://127.0.0.1:8080/broadcast -H 'Content-Type: application/json' -d '{"message": "the build is green"}'
//! ```
//!
//! Not anybody may do that: who has the token of `app.broadcast_token`, or, where none is set, a program on this host. `hub.rs` says how all
//! workers hear the same. `tests/chat.rs` restarts the program under people in browsers, and with `UnderLoad` under programs.

mod hub;
mod room_file;
#[cfg(test)]
mod tests;
#[path = "../texts.rs"]
mod texts;

use std::path::PathBuf;

use gin_worker::axum::Json;
use gin_worker::axum::extract::rejection::JsonRejection;
use gin_worker::axum::extract::{Query, State};
use gin_worker::axum::http::{HeaderMap, header};
use gin_worker::axum::response::Html;
use gin_worker::serde_json::{Value, json};
use gin_worker::websocket::{Message, Socket, WebSockets};
use gin_worker::{BoxError, ClientIp, Config, Error, Result, ResultExt, Route, Server, identity};
use serde::Deserialize;

use crate::hub::{Form, Hub, Member, Said};
use crate::texts::{Text, Texts};

/// `[app]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The word by which a program may say something to all by `POST /broadcast`.
    broadcast_token: Option<String>,
}

#[derive(Clone)]
struct App {
    hub: Hub,
    broadcast_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Join {
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    format: Form,
}

/// Somebody comes in.
async fn join(State(app): State<App>, Query(Join { user_id, format }): Query<Join>) -> Member {
    Member { user_id: plain(&user_id), account: None, seen: app.hub.end(), form: format }
}

/// A name as everybody sees it.
fn plain(name: &str) -> String {
    let name: String = name.chars().filter(|character| !character.is_control()).take(40).collect();
    if name.trim().is_empty() { "anonymous".to_owned() } else { name }
}

/// One user, from here on: at the beginning, or after another worker.
async fn chat(State(app): State<App>, mut socket: Socket, member: Member) {
    let form = member.form;
    // For the page: the documents' clients hear messages alone.
    if form == Form::Json && socket.send(Message::Text(served_by().to_string())).await.is_err() {
        return;
    }
    app.hub.serve(socket, member, form).await;
}

fn served_by() -> Value {
    let generation = identity().map(|identity| identity.generation);
    json!({ "served_by": { "pid": std::process::id(), "generation": generation } })
}

#[derive(Debug, Deserialize)]
struct Broadcast {
    message: String,
}

async fn broadcast(
    State(app): State<App>,
    client: ClientIp,
    texts: Texts,
    headers: HeaderMap,
    asked: Result<Json<Broadcast>, JsonRejection>,
) -> Result<Json<Value>> {
    if !may_broadcast(app.broadcast_token.as_deref(), client, &headers) {
        return Err(Error::forbidden(texts.say(Text::YouMayNotDoThat)));
    }
    let bad = |details: String| Error::bad_request(texts.say(Text::BadRequest)).details(details);
    let Json(Broadcast { message }) = asked.map_err(|rejection| bad(rejection.body_text()))?;
    if message.is_empty() {
        return Err(bad("message: it is empty".to_owned()));
    }
    let said = Said::new(None, &message);
    tokio::task::spawn_blocking(move || app.hub.say(&said)).await.internal()?.internal()?;
    Ok(Json(json!({ "message": texts.say(Text::Sent) })))
}

/// Headers that a page's requests have, or those that come over a proxy. A program on this host sends none of them.
const OF_OTHERS: [&str; 3] = ["origin", "forwarded", "x-forwarded-for"];

/// True if the request has the token; without a token, if it is a program's on this host. A page of whichever origin cannot be taken for
/// one: JSON is no type that a page may send elsewhere without being asked for it (a preflight), and the header `Origin` names the page.
fn may_broadcast(token: Option<&str>, ClientIp(client): ClientIp, headers: &HeaderMap) -> bool {
    if let Some(token) = token {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        return given.is_some_and(|given| is_same(given, token.as_bytes()));
    }
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| names_json(kind.as_bytes()));
    let is_of_others = OF_OTHERS.iter().any(|name| headers.contains_key(*name));
    is_json && !is_of_others && client.is_some_and(|client| client.is_loopback())
}

/// True for a type of JSON, with or without a charset.
fn names_json(kind: &[u8]) -> bool {
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Compares in a time that does not tell where the two differ.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token).fold(0, |all, (one, other)| all | std::hint::black_box(one ^ other));
    given.len() == token.len() && differences == 0
}

fn server(config: &Config<Settings>, hub: Hub) -> Server {
    let sockets = WebSockets::new("chat").message_max(8 << 10).rate_max(20);
    Server::new(config)
        .middleware(texts::told)
        .error_handler(texts::refused)
        .get("/", async || Html(include_str!("page.html")))
        .route(Route::websocket("/ws", sockets, join, chat).describe("聊天"))
        .route(Route::post("/broadcast", broadcast).describe("广播消息"))
        .get("/pid", async || Json(std::process::id()))
        .with_state(App { hub, broadcast_token: config.app.broadcast_token.clone() })
}

/// The file of what is said: `CHAT_LOG`, else `chat.log` in the state directory.
fn log() -> Result<PathBuf, String> {
    match std::env::var_os("CHAT_LOG") {
        Some(path) => Ok(path.into()),
        None => gin_worker::state_directory().map(|directory| directory.join("chat.log")),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let config = Config::load()?;
    let path = log()?;
    let hub = Hub::open(&path).map_err(|error| format!("the chat's file {}: {error}", path.display()))?;
    server(&config, hub).run().await?;
    Ok(())
}
