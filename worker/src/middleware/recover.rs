//! A panic in a handler is an answer: 500, with the place, the backtrace and the request's id in the log. The connection goes on.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;

use crate::{Error, current_request};

/// Answers 500 for a handler that panics (Gin's `Recovery`).
pub async fn recover(request: Request, next: Next) -> Response {
    guard(next.run(request)).await
}

async fn guard(answer: impl Future<Output = Response>) -> Response {
    // What a handler leaves half done behind a panic is its own, as with any thread.
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| self::answer())
}

/// What a client hears of it.
pub(super) fn answer() -> Response {
    // The panic has a line in the log already.
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, "internal server error").into_refusal()
}

thread_local! {
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Tries something that may panic, and tells nobody of it.
pub(crate) fn tried<T>(f: impl FnOnce() -> T) -> std::thread::Result<T> {
    tell_panics();
    let before = IS_EXPECTED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    IS_EXPECTED.set(before);
    outcome
}

/// From now on panics are logged, each with its backtrace; where nobody logs, they go where they went before.
pub(crate) fn tell_panics() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IS_EXPECTED.get() {
                return;
            }
            if !tracing::dispatcher::has_been_set() {
                return before(panic);
            }
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let text = panic.payload_as_str().unwrap_or("a panic");
            let backtrace = Backtrace::force_capture().to_string();
            current_request::panicked(&place, &backtrace, text);
        }));
    });
}
