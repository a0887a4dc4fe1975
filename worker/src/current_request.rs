//! The request that a thread answers at this moment, so that a line of the log can name it: where a handler panics, or its error becomes
//! an answer, nobody has the request any more.
//!
//! Many threads may poll one request in turn. So it is put here for one poll, and taken away again.

use std::cell::RefCell;
use std::sync::Arc;

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
    /// The user whose request it is, once that is known.
    user: Option<Arc<str>>,
    /// True if the log says already why it failed.
    is_told: bool,
}

impl Current {
    pub(crate) fn of(request: &Request, name: Name) -> Self {
        let sent = request.extensions().get::<AsSent>();
        let uri = sent.map_or_else(|| request.uri(), |AsSent(uri)| uri);
        let (method, path) = (request.method().clone(), uri.path_and_query().cloned());
        Self { method, path, name, user: None, is_told: false }
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

/// Says whose request the current one is, for the lines about it.
#[cfg_attr(not(feature = "auth"), allow(dead_code, reason = "for the feature auth"))]
pub(crate) fn set_user(user: &Arc<str>) {
    with(|current| current.user = Some(Arc::clone(user)));
}

/// The user whose request the current one is, if that is known.
pub(crate) fn user() -> Option<Arc<str>> {
    with(|current| current.user.clone()).flatten()
}

/// True if the log says already why the current request failed.
pub(crate) fn is_told() -> bool {
    with(|current| current.is_told).unwrap_or_default()
}

/// Facts of a request for a line about its failure.
struct Told {
    method: Method,
    path: Option<PathAndQuery>,
    id: RequestId,
    user: Option<Arc<str>>,
}

/// Facts of the current request for a line, which says why it failed.
fn telling() -> Option<Told> {
    with(|current| {
        current.is_told = true;
        Told {
            method: current.method.clone(),
            path: current.path.clone(),
            id: current.name.id(),
            user: current.user.clone(),
        }
    })
}

/// Logs at ERROR why the current request is answered with this status.
pub(crate) fn failed(status: StatusCode, reason: &str) {
    let told = telling();
    let Texts { method, path, request_id, user_id } = Texts::of(told.as_ref());
    tracing::error!(target: TARGET, method, path, status = status.as_u16(), request_id, user_id, "{reason}");
}

/// Logs at ERROR that something has panicked, with the current request if there is one.
pub(crate) fn panicked(place: &str, backtrace: &str, text: &str) {
    let told = telling();
    let Texts { method, path, request_id, user_id } = Texts::of(told.as_ref());
    tracing::error!(target: TARGET, method, path, request_id, user_id, place, backtrace, "panic: {text}");
}

/// Fields of a line. Those that nobody knows are left out of it.
#[derive(Default)]
struct Texts<'a> {
    method: Option<&'a str>,
    path: Option<&'a str>,
    request_id: Option<&'a str>,
    user_id: Option<&'a str>,
}

impl<'a> Texts<'a> {
    fn of(told: Option<&'a Told>) -> Self {
        let Some(told) = told else { return Self::default() };
        Self {
            method: Some(told.method.as_str()),
            path: told.path.as_ref().map(PathAndQuery::path),
            request_id: Some(told.id.as_str()),
            user_id: told.user.as_deref(),
        }
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

    #[test]
    fn a_user_stays_with_his_request() {
        let (mut outer, mut inner) = (current("outer"), current("inner"));
        within(&mut outer, || {
            within(&mut inner, || set_user(&Arc::from("ann")));
            assert_eq!(user(), None);
        });
        within(&mut inner, || assert_eq!(user().as_deref(), Some("ann")));
        set_user(&Arc::from("nobody's"));
        assert_eq!(user(), None);
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
