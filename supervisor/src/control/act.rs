//! `POST`: asks for something, and answers with the operation to follow.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use gin_shared::control::{
    Accepted, CancelRequest, OperationId, RestartRequest, RollbackRequest, ScaleRequest, StopRequest, WORKERS_MAX,
};
use gin_shared::exit;
use gin_shared::migration::Order;
use serde::de::DeserializeOwned;

use super::{Caller, error};
use crate::inbox::{Handle, Message, MigrateRequest, ReloadRequest};
use crate::machine::event::{Event, Queue, RollbackTo, ScaleTo, StopBy};
use crate::os::time;

/// `POST /v1/restart`
pub(super) async fn restart(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RestartRequest>,
) -> Response {
    let queue = queue(&request);
    let asked_by = caller.user.clone();
    ask(&handle, &caller, "restart", |operation| Event::Restart { operation, asked_by, queue }).await
}

/// `POST /v1/reload`
pub(super) async fn reload(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RestartRequest>,
) -> Response {
    let queue = queue(&request);
    let asked_by = caller.user.clone();
    let message = |operation| Message::Reload(ReloadRequest { operation: Some(operation), asked_by, queue });
    send(&handle, &caller, "reload", message).await
}

/// `POST /v1/rollback`
pub(super) async fn rollback(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RollbackRequest>,
) -> Response {
    let asked_by = caller.user.clone();
    let to = match (request.to, request.force) {
        (Some(generation), _) => RollbackTo::Exactly(generation),
        (None, true) => RollbackTo::LastForced,
        (None, false) => RollbackTo::Last,
    };
    ask(&handle, &caller, "rollback", |operation| Event::Rollback { operation, asked_by, to }).await
}

/// `POST /v1/upgrade-supervisor`
pub(super) async fn upgrade_supervisor(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<RestartRequest>,
) -> Response {
    let queue = queue(&request);
    ask(&handle, &caller, "upgrade-supervisor", |operation| Event::Reexec { operation, queue }).await
}

/// `POST /v1/cancel`
pub(super) async fn cancel(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<CancelRequest>,
) -> Response {
    let because = request.because.unwrap_or_else(|| format!("by {}", caller.user));
    let because = because.chars().filter(|c| !c.is_control()).take(200).collect();
    let target = request.operation;
    ask(&handle, &caller, "cancel", |operation| Event::Cancel { operation, target, because }).await
}

/// `POST /v1/scale`
pub(super) async fn scale(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<ScaleRequest>,
) -> Response {
    let to = match (request.workers, request.by) {
        (Some(workers), None) if (1..=WORKERS_MAX).contains(&workers) => ScaleTo::Exactly(workers),
        (Some(workers), None) => {
            let text = format!("workers: {workers} is out of range; it must be 1 to {WORKERS_MAX}");
            return error(StatusCode::BAD_REQUEST, exit::USAGE, text);
        }
        (None, Some(by)) => ScaleTo::By(by),
        (None, None) | (Some(_), Some(_)) => {
            let text = "name the number of \"workers\", or \"by\" how many it changes";
            return error(StatusCode::BAD_REQUEST, exit::USAGE, text);
        }
    };
    ask(&handle, &caller, "scale", |operation| Event::Scale { operation, to }).await
}

/// `POST /v1/stop`
pub(super) async fn stop(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(request): JsonBody<StopRequest>,
) -> Response {
    let by = if request.fast { StopBy::FastCommand } else { StopBy::Command };
    ask(&handle, &caller, "stop", |operation| Event::Stop { operation, by }).await
}

/// `POST /v1/migrate`
pub(super) async fn migrate(
    State(handle): State<Handle>,
    Extension(caller): Extension<Caller>,
    JsonBody(order): JsonBody<Order>,
) -> Response {
    if let Err(wrong) = order.checked() {
        return error(StatusCode::BAD_REQUEST, exit::USAGE, wrong.to_string());
    }
    let message = |operation| Message::Migrate(MigrateRequest { operation, order });
    send(&handle, &caller, "migrate", message).await
}

async fn ask(
    handle: &Handle,
    caller: &Caller,
    command: &str,
    event: impl FnOnce(Option<OperationId>) -> Event,
) -> Response {
    send(handle, caller, command, |operation| Message::Event(event(Some(operation)))).await
}

/// The audit line stands before what it led to.
async fn send(
    handle: &Handle,
    caller: &Caller,
    command: &str,
    message: impl FnOnce(OperationId) -> Message,
) -> Response {
    // Room for it first: an operation that is begun is carried out, whatever becomes of who asked.
    let Ok(permit) = handle.inbox.reserve().await else {
        return error(StatusCode::SERVICE_UNAVAILABLE, exit::NO_SUPERVISOR, "the supervisor is leaving");
    };
    let operation = handle.operations.begin(time::now());
    tracing::info!(
        command,
        user = caller.user,
        uid = caller.uid,
        pid = caller.pid,
        operation = operation.0,
        "command {command} from {} (uid {}, pid {})",
        caller.user,
        caller.uid,
        caller.pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
    );
    permit.send(message(operation));
    (StatusCode::ACCEPTED, Json(Accepted { operation })).into_response()
}

/// A body in JSON; an empty one is an empty object.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        let body = if body.trim_ascii().is_empty() { b"{}" } else { body.as_ref() };
        let wrong = |e| error(StatusCode::BAD_REQUEST, exit::USAGE, format!("body: {e}"));
        serde_json::from_slice(body).map(Self).map_err(wrong)
    }
}

fn queue(request: &RestartRequest) -> Queue {
    if request.no_queue { Queue::Refuse } else { Queue::Wait }
}
