//! `GET` that lasts: an operation's steps until it is over, and the fleet's transitions until the caller leaves.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gin_shared::control::OperationId;
use gin_shared::exit;
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use super::error;
use crate::driver::Handle;

/// Chunks on their way to a caller.
const WINDOW: usize = 16;

/// Callers that follow the events; more would keep commands from being heard.
const FOLLOWERS: usize = 16;

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
        return error(StatusCode::NOT_FOUND, exit::USAGE, format!("there is no operation {id}, or it ended long ago"));
    }
    let (sender, body) = Channel::new(WINDOW);
    tokio::task::spawn_local(follow_operation(handle, id, until.drained, sender));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(body)).into_response()
}

async fn follow_operation(handle: Handle, id: OperationId, until_drained: bool, mut sender: Sender<Bytes>) {
    let mut changes = handle.operations.changes();
    let mut seen = 0;
    while let Some(news) = handle.operations.news(id, seen, until_drained) {
        seen += news.steps.len();
        for step in &news.steps {
            if sender.send_data(line(step)).await.is_err() {
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
    if handle.events.receiver_count() >= FOLLOWERS {
        return error(
            StatusCode::SERVICE_UNAVAILABLE,
            exit::BUSY,
            format!("{FOLLOWERS} callers follow the events already"),
        );
    }
    let mut events = handle.events.subscribe();
    let (mut sender, body): (Sender<Bytes>, _) = Channel::new(WINDOW);
    tokio::task::spawn_local(async move {
        loop {
            let chunk = match events.recv().await {
                Ok(event) => [b"data: ", line(&event).as_ref(), b"\n"].concat().into(),
                Err(RecvError::Lagged(missed)) => Bytes::from(format!(": {missed} events missed\n\n")),
                Err(RecvError::Closed) => return,
            };
            if sender.send_data(chunk).await.is_err() {
                return;
            }
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response()
}

fn line(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("these types have no maps with odd keys");
    text.push(b'\n');
    text.into()
}
