//! WebSockets that talk while the service is restarted.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::PATIENCE;
use super::client::Client;
use super::crowd::{Crowd, Pace};
use super::outcome::Outcome;
use super::request::{Request, excerpt};
use super::websocket::{Opening, Stream, close, next, open};
use crate::websocket::Message;

type Says = Arc<dyn Fn(usize, u64) -> String + Send + Sync>;
type IsAnswer = Arc<dyn Fn(usize, u64, &str) -> bool + Send + Sync>;

/// WebSockets that talk throughout a run of [`UnderLoad`](crate::testing::UnderLoad). Each sends numbered messages: the next one when the
/// last one was answered.
///
/// A message without an answer, one that is answered twice, and a WebSocket that is closed are failures. Other messages that the service
/// sends are passed over.
///
/// ```
/// use gin_worker::serde_json::json;
/// use gin_worker::testing::Talk;
///
/// // An echo: the message is its number, and so is the answer.
/// let echo = Talk::new("/echo");
///
/// // A chat in JSON, which knows a message by its `id`.
/// let chat = Talk::new("/chat?name=Ann")
///     .sockets(8)
///     .says(|socket, number| json!({ "text": "hello", "id": format!("{socket}-{number}") }).to_string())
///     .answered_by(|socket, number, heard| heard.contains(&format!("\"id\":\"{socket}-{number}\"")));
/// # drop((echo, chat));
/// ```
#[derive(Clone)]
#[must_use = "it is given to `UnderLoad::websocket`"]
pub struct Talk {
    request: Request,
    sockets: usize,
    says: Says,
    /// `None`: the answer is the message again.
    is_answer: Option<IsAnswer>,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").field("request", &self.request).field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

impl Talk {
    /// Opens WebSockets at this path. Without more, message `n` is the text `n`, and its answer is the same text.
    pub fn new(path: impl Into<String>) -> Self {
        let says: Says = Arc::new(|_: usize, number: u64| number.to_string());
        Self { request: Request::get(path), sockets: 4, says, is_answer: None }
    }

    /// Adds a header to the request that opens it. See [`Request::header`].
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sets `Authorization: Bearer` in the request that opens it. See [`Request::bearer`].
    pub fn bearer(mut self, token: &str) -> Self {
        self.request = self.request.bearer(token);
        self
    }

    /// Sets the number of WebSockets at once: 4 without this.
    pub fn sockets(mut self, sockets: usize) -> Self {
        self.sockets = sockets;
        self
    }

    /// Makes the text of a message from the WebSocket's number (from 0) and the message's (from 1, on each WebSocket).
    pub fn says(mut self, text: impl Fn(usize, u64) -> String + Send + Sync + 'static) -> Self {
        self.says = Arc::new(text);
        self
    }

    /// Tells the answer to a message from other texts: by the WebSocket's number, the message's, and the text that came.
    pub fn answered_by(mut self, is_answer: impl Fn(usize, u64, &str) -> bool + Send + Sync + 'static) -> Self {
        self.is_answer = Some(Arc::new(is_answer));
        self
    }

    /// Adds its WebSockets to a crowd.
    pub(super) fn join(&self, address: SocketAddr, crowd: &mut Crowd) {
        for socket in 0..self.sockets {
            let talker = Talker { talk: self.clone(), socket, address, seen: Outcome::default() };
            crowd.join(|pace| talker.run(pace));
        }
    }

    /// True if this text answers this message.
    fn is_answer(&self, socket: usize, number: u64, heard: &str) -> bool {
        match &self.is_answer {
            Some(is_answer) => is_answer(socket, number, heard),
            None => (self.says)(socket, number) == heard,
        }
    }
}

/// One WebSocket.
struct Talker {
    talk: Talk,
    socket: usize,
    address: SocketAddr,
    seen: Outcome,
}

impl Talker {
    async fn run(mut self, pace: Pace) -> Outcome {
        let mut open: Option<(Box<Stream>, u64)> = None;
        loop {
            if let Some((mut stream, last)) = open.take() {
                let number = last + 1;
                match self.message(&mut stream, number).await {
                    Ok(()) => {
                        self.seen.messages += 1;
                        open = Some((stream, number));
                    }
                    Err(why) => self.fail(&format!("message {number}: {why}")),
                }
            } else {
                match self.open().await {
                    // Not a round: nothing was said yet.
                    Ok(stream) => {
                        open = Some((stream, 0));
                        continue;
                    }
                    Err(why) => {
                        self.fail(&why);
                        tokio::task::yield_now().await;
                    }
                }
            }
            if pace.is_last_round() {
                if let Some((mut stream, _)) = open {
                    let _ = tokio::time::timeout(PATIENCE, close(&mut stream, 1000)).await;
                }
                return self.seen;
            }
        }
    }

    fn fail(&mut self, why: &str) {
        let request = format!("WebSocket {} of {}", self.socket, self.talk.request.path);
        self.seen.fail(request, why);
    }

    async fn open(&self) -> Result<Box<Stream>, String> {
        let opening = async { open(&mut Client::connect(self.address).await?, self.talk.request.clone()).await };
        match tokio::time::timeout(PATIENCE, opening).await {
            Ok(Ok(Opening::Open(stream, _))) => Ok(stream),
            Ok(Ok(Opening::Refused(answer))) => Err(format!("{}: {}", answer.status(), excerpt(answer.body()))),
            Ok(Err(error)) => Err(format!("no answer: {error}")),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }

    /// Sends a message, and waits for its answer.
    async fn message(&self, stream: &mut Stream, number: u64) -> Result<(), String> {
        let text = (self.talk.says)(self.socket, number);
        let answer = async {
            stream.send(Frame::Text(text.into())).await.map_err(|error| format!("it was not taken: {error}"))?;
            loop {
                match next(stream).await {
                    Ok(Message::Text(heard)) if self.talk.is_answer(self.socket, number, &heard) => return Ok(()),
                    Ok(Message::Text(heard)) if number > 1 && self.talk.is_answer(self.socket, number - 1, &heard) => {
                        return Err(format!("the message before it was answered twice: {}", excerpt(heard.as_bytes())));
                    }
                    Ok(_) => {}
                    Err(code) => return Err(format!("no answer: the WebSocket was closed with code {code}")),
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }
}
