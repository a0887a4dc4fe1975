//! `GET` that lasts: an operation's steps until it is over, and the fleet's transitions until the caller leaves.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gin_shared::control::OperationId;
use gin_shared::exit;
use http_body::Frame;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::error;
use crate::inbox::Handle;

/// Chunks on their way to a caller.
const WINDOW: usize = 16;

/// What to wait for.
#[derive(Debug, Deserialize)]
pub(super) struct Until {
    /// Not only until it has ended, but until the old generations have gone.
    #[serde(default)]
    drained: bool,
}

/// `GET /v1/operations/{id}`: a JSON object a line.
pub(super) async fn operation(
    State(handle): State<Handle>,
    Path(id): Path<u64>,
    Query(until): Query<Until>,
) -> Response {
    let id = OperationId(id);
    if handle.operations.news(id, 0, until.drained).is_none() {
        let text = format!("there is no operation {id}, or it ended long ago");
        return error(StatusCode::NOT_FOUND, exit::USAGE, text);
    }
    let places = Arc::clone(&handle.followers.of_operations);
    let write = |sender| follow_operation(handle.clone(), id, until.drained, sender);
    stream(&handle, places, "application/x-ndjson", write)
}

async fn follow_operation(handle: Handle, id: OperationId, until_drained: bool, sender: mpsc::Sender<Bytes>) {
    let mut changes = handle.operations.changes();
    let mut seen = 0;
    while let Some(news) = handle.operations.news(id, seen, until_drained) {
        seen += news.steps.len();
        for step in &news.steps {
            if sender.send(line(step)).await.is_err() {
                return;
            }
        }
        if news.over || changes.changed().await.is_err() {
            return;
        }
    }
}

/// `GET /v1/events`: server-sent events. A caller that is too slow is told how many it missed.
pub(super) async fn events(State(handle): State<Handle>) -> Response {
    let mut events = handle.events.subscribe();
    let places = Arc::clone(&handle.followers.of_events);
    stream(&handle, places, "text/event-stream", |sender| async move {
        loop {
            let chunk = match events.recv().await {
                Ok(event) => [b"data: ", line(&event).as_ref(), b"\n"].concat().into(),
                Err(RecvError::Lagged(missed)) => Bytes::from(format!(": {missed} events missed\n\n")),
                Err(RecvError::Closed) => return,
            };
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    })
}

/// An answer that `write` goes on with, until it returns, the caller leaves, or callers are to leave.
fn stream<F>(
    handle: &Handle,
    places: Arc<Semaphore>,
    content: &'static str,
    write: impl FnOnce(mpsc::Sender<Bytes>) -> F,
) -> Response
where
    F: Future<Output = ()> + 'static,
{
    let Ok(place) = places.try_acquire_owned() else {
        let text = "too many callers follow something already";
        return error(StatusCode::SERVICE_UNAVAILABLE, exit::BUSY, text);
    };
    let (sender, receiver) = mpsc::channel(WINDOW);
    let left = sender.clone();
    let (writing, mut paused) = (write(sender), handle.paused.subscribe());
    tokio::task::spawn_local(async move {
        // When another program takes over, who follows something comes back to that.
        tokio::select! { () = writing => {}, () = left.closed() => {}, _ = paused.wait_for(|paused| *paused) => {} }
    });
    ([(header::CONTENT_TYPE, content)], Body::new(Chunks { receiver, _place: place })).into_response()
}

/// A body that others write; goes with its connection, which its writer notices.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().receiver.poll_recv(cx).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn line(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("these types have no maps with odd keys");
    text.push(b'\n');
    text.into()
}
