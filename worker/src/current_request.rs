//! The request that a thread answers at this moment, so that a line of the log can name it: where a handler panics, or its error becomes
//! an answer, nobody has the request any more.
//!
//! Many threads may poll one request in turn. So it is put here for one poll, and taken away again.

use std::cell::RefCell;

use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, StatusCode};

use crate::request_id::{Name, RequestId};
use crate::request_path::AsSent;

/// Target of the lines about requests that failed, for filters.
const TARGET: &str = "gin_worker::failure";

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Facts of a request for the log.
#[derive(Debug)]
pub(crate) struct Current {
    method: Method,
    /// As the client has sent it.
    path: Option<PathAndQuery>,
    name: Name,
    /// True if the log says already why it failed.
    is_told: bool,
}

impl Current {
    pub(crate) fn of(request: &Request, name: Name) -> Self {
        let sent = request.extensions().get::<AsSent>();
        let uri = sent.map_or_else(|| request.uri(), |AsSent(uri)| uri);
        Self { method: request.method().clone(), path: uri.path_and_query().cloned(), name, is_told: false }
    }
}

/// Runs `f`, in which this thread answers `current`.
pub(crate) fn within<T>(current: &mut Option<Current>, f: impl FnOnce() -> T) -> T {
    let _swapped = Swapped::begin(current);
    f()
}

/// Puts a request in the place of the one before, until it is dropped: also when `f` panics.
struct Swapped<'a>(&'a mut Option<Current>);

impl<'a> Swapped<'a> {
    fn begin(current: &'a mut Option<Current>) -> Self {
        swap(current);
        Self(current)
    }
}

impl Drop for Swapped<'_> {
    fn drop(&mut self) {
        swap(self.0);
    }
}

fn swap(current: &mut Option<Current>) {
    // Fails at the end of a thread alone: no request is answered there.
    let _ = CURRENT.try_with(|own| {
        if let Ok(mut own) = own.try_borrow_mut() {
            std::mem::swap(&mut *own, current);
        }
    });
}

/// Reads or changes the current request, if there is one. `f` must not log: a subscriber may come back here.
fn with<T>(f: impl FnOnce(&mut Current) -> T) -> Option<T> {
    let found = CURRENT.try_with(|own| own.try_borrow_mut().ok().and_then(|mut own| (*own).as_mut().map(f)));
    found.ok().flatten()
}

/// Name of the current request.
pub(crate) fn id() -> Option<RequestId> {
    with(|current| current.name.id())
}

/// Gives `f` the name of the current request, if there is one.
pub(crate) fn named<T>(f: impl FnOnce(&str) -> T) -> Option<T> {
    id().map(|id| f(id.as_str()))
}

/// True if the log says already why the current request failed.
pub(crate) fn is_told() -> bool {
    with(|current| current.is_told).unwrap_or_default()
}

/// Method, path and name.
type Told = (Method, Option<PathAndQuery>, RequestId);

/// Facts of the current request for a line, which says why it failed.
fn telling() -> Option<Told> {
    with(|current| {
        current.is_told = true;
        (current.method.clone(), current.path.clone(), current.name.id())
    })
}

/// Logs at ERROR why the current request is answered with this status.
pub(crate) fn failed(status: StatusCode, reason: &str) {
    let told = telling();
    let (method, path, request_id) = texts(told.as_ref());
    tracing::error!(target: TARGET, method, path, status = status.as_u16(), request_id, "{reason}");
}

/// Logs at ERROR that something has panicked, with the current request if there is one.
pub(crate) fn panicked(place: &str, backtrace: &str, text: &str) {
    let told = telling();
    let (method, path, request_id) = texts(told.as_ref());
    tracing::error!(target: TARGET, method, path, request_id, place, backtrace, "panic: {text}");
}

fn texts(told: Option<&Told>) -> (Option<&str>, Option<&str>, Option<&str>) {
    match told {
        Some((method, path, id)) => (Some(method.as_str()), path.as_ref().map(PathAndQuery::path), Some(id.as_str())),
        None => (None, None, None),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn current(name: &str) -> Option<Current> {
        let mut request = Request::default();
        request.headers_mut().insert(RequestId::HEADER, name.parse().unwrap());
        Some(Current::of(&request, Name::of(&request)))
    }

    fn name() -> Option<String> {
        id().map(|id| id.as_str().to_owned())
    }

    #[test]
    fn a_request_is_current_for_one_call_and_one_inside_of_it_gives_its_place_back() {
        let (mut outer, mut inner) = (current("outer"), current("inner"));
        within(&mut outer, || {
            within(&mut inner, || {
                failed(StatusCode::BAD_GATEWAY, "as told");
                assert_eq!((name().as_deref(), is_told()), (Some("inner"), true));
            });
            assert_eq!((name().as_deref(), is_told()), (Some("outer"), false));
        });
        assert_eq!(name(), None);
        within(&mut inner, || assert!(is_told(), "at the next poll, too"));
    }

    fn breaks() {
        panic!("as told")
    }

    #[test]
    fn a_panic_takes_it_away() {
        let mut request = current("mine");
        let outcome = catch_unwind(AssertUnwindSafe(|| within(&mut request, breaks)));
        assert!(outcome.is_err() && name().is_none() && request.is_some());
    }
}
