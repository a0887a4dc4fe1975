//! A chat whose users stay connected while the program is replaced under them.
//!
//! ```text
//! cargo build --release --workspace --bins --examples
//! target/release/gin-supervisor -c worker/examples/chat/chat.toml
//! ```
//!
//! Programs say something without a WebSocket:
//!
//! ```text
//! curl http://127.0.0.1:8080/say -H 'Content-Type: application/json' -d '{"name": "build", "text": "it is green", "id": "1"}'
//! ```
//!
//! `tests/chat.rs` restarts it under people in browsers, and with `UnderLoad` under programs.
//!
//! What was said stands in a file that all workers append to (`CHAT_LOG`, or `chat.log` in the working directory): its order is
//! everybody's order. A user's session is a name and a place in that file, so any worker can go on with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use gin_worker::axum::Json;
use gin_worker::axum::extract::{Query, State};
use gin_worker::axum::http::StatusCode;
use gin_worker::axum::response::Html;
use gin_worker::websocket::{Message, Received, Socket};
use gin_worker::{Error, ResultExt, Route, Server, identity};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

/// Lines that somebody who comes in sees of what was said before.
const BEFORE: usize = 50;
/// Characters of a message.
const LONG: usize = 2000;

/// Who somebody is, and what they have seen: all that another worker has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    name: String,
    /// Bytes of the log that were sent.
    seen: u64,
}

/// A line of the log, and of what is sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Joined { name: String },
    Left { name: String },
    Said { name: String, text: String, id: String },
}

/// What a page sends.
#[derive(Debug, Deserialize)]
struct Say {
    text: String,
    /// Its own, so that it knows the line again.
    id: String,
}

/// What a program says. Pages show one line of each `id`, so it may be sent twice.
#[derive(Debug, Deserialize)]
struct Note {
    name: String,
    #[serde(flatten)]
    say: Say,
}

#[derive(Debug, Deserialize)]
struct Join {
    name: String,
}

struct Log {
    path: PathBuf,
    /// Grows with the file.
    length: watch::Receiver<u64>,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(&path)?;
        let watching = Inotify::init(InitFlags::IN_CLOEXEC)?;
        watching.add_watch(&path, AddWatchFlags::IN_MODIFY)?;
        let (grown, length) = watch::channel(file.metadata()?.len());
        // Other workers append, too. The kernel tells.
        std::thread::spawn(move || {
            while watching.read_events().is_ok() {
                grown.send_replace(file.metadata().map_or(0, |metadata| metadata.len()));
            }
        });
        Ok(Self { path, length })
    }

    /// In one piece: lines of several workers do not mix.
    fn append(&self, line: &Line) -> io::Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        File::options().append(true).open(&self.path)?.write_all(text.as_bytes())
    }

    /// Whole lines from there on.
    fn after(&self, place: u64) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(place))?;
        let mut lines = Vec::new();
        let mut reader = BufReader::new(file);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if !line.ends_with('\n') {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    /// Where the last lines begin.
    fn lately(&self) -> io::Result<u64> {
        let lines = self.after(0)?;
        let passed = lines.len().saturating_sub(BEFORE);
        Ok(lines[..passed].iter().map(|line| line.len() as u64).sum())
    }
}

/// One user, from here on: at the beginning, or after another worker.
async fn chat(State(App { log }): State<App>, mut socket: Socket, mut session: Session) {
    let about = json!({
        "kind": "served_by",
        "pid": std::process::id(),
        "generation": identity().map(|identity| identity.generation),
        "release": identity().and_then(|identity| identity.release),
    });
    let mut gone = socket.send(Message::Text(about.to_string())).await.is_err();
    let mut length = log.length.clone();
    length.mark_changed();
    while !gone {
        gone = tokio::select! {
            received = socket.receive() => match received {
                Received::Message(message) => hear(&log, &session.name, &message).is_err(),
                Received::Leaving => return socket.leave(&session).await,
                Received::Closed => true,
                _ => false,
            },
            Ok(()) = length.changed() => tell(&log, &mut socket, &mut session).await.is_err(),
        };
    }
    if let Err(error) = log.append(&Line::Left { name: session.name }) {
        eprintln!("{}: {error}", log.path.display());
    }
}

fn hear(log: &Log, name: &str, message: &Message) -> io::Result<()> {
    let Message::Text(text) = message else { return Ok(()) };
    let Ok(say) = serde_json::from_str(text) else { return Ok(()) };
    note(log, name.to_owned(), say)
}

fn note(log: &Log, name: String, Say { text, id }: Say) -> io::Result<()> {
    let (text, id) = (text.chars().take(LONG).collect(), id.chars().take(64).collect());
    log.append(&Line::Said { name, text, id })
}

async fn tell(
    log: &Log,
    socket: &mut Socket,
    session: &mut Session,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for line in log.after(session.seen)? {
        session.seen += line.len() as u64;
        socket.send(Message::Text(line)).await?;
    }
    Ok(())
}

#[derive(Clone)]
struct App {
    log: Arc<Log>,
}

/// Somebody comes in.
async fn join(State(app): State<App>, Query(Join { name }): Query<Join>) -> Session {
    let name = plain(&name);
    let seen = app.log.lately().unwrap_or_default();
    if let Err(error) = app.log.append(&Line::Joined { name: name.clone() }) {
        eprintln!("{}: {error}", app.log.path.display());
    }
    Session { name, seen }
}

async fn say(State(app): State<App>, Json(Note { name, say }): Json<Note>) -> Result<StatusCode, Error> {
    note(&app.log, plain(&name), say).internal()?;
    Ok(StatusCode::CREATED)
}

/// A name as everybody sees it.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::var_os("CHAT_LOG").map_or_else(|| PathBuf::from("chat.log"), PathBuf::from);
    let log = Arc::new(Log::open(path)?);
    Server::bare(&gin_worker::load()?)
        .get("/", async || Html(include_str!("page.html")))
        .route(Route::websocket("/chat", "chat", join, chat))
        .post("/say", say)
        .get("/pid", async || Json(std::process::id()))
        .with_state(App { log })
        .run()
        .await?;
    Ok(())
}
