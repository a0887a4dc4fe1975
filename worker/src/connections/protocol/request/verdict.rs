//! Verdict on a request's body, which its response has to tell.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::Error;

/// Verdict on a body, as an extension of its request: whoever answers looks at it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<Judged>);

#[derive(Debug, Default)]
struct Judged {
    reason: OnceLock<Reason>,
    /// True from the response's head to its end.
    is_answering: AtomicBool,
}

/// A reason to end a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Nothing came for so long, or less than `limits.min_rate` over a longer time.
    Late(Duration),
    /// It came in pieces so tiny that they cost far more memory than they carry.
    Costly,
    /// It was not complete when the worker had no memory for it any more.
    ShortOfMemory,
}

/// Error of a body that was ended by us.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.in_words())]
pub(super) struct Ended(pub(super) Reason);

impl Reason {
    fn in_words(self) -> String {
        match self {
            Self::Late(patience) => format!("the request's body made no progress within {patience:?}, or too little"),
            Self::Costly => "the request's body came in too many tiny pieces".to_owned(),
            Self::ShortOfMemory => {
                "this server is short of memory, and the request's body was not complete; try again".to_owned()
            }
        }
    }

    fn status(self) -> (StatusCode, &'static str) {
        match self {
            Self::Late(_) => (StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT"),
            Self::Costly => (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE"),
            // As for a request that is not begun.
            Self::ShortOfMemory => (StatusCode::SERVICE_UNAVAILABLE, "MEMORY"),
        }
    }
}

impl Verdict {
    pub(super) fn pronounce(&self, reason: Reason) {
        self.0.reason.get_or_init(|| reason);
    }

    /// True if the body was ended by us.
    pub(crate) fn is_out(&self) -> bool {
        self.0.reason.get().is_some()
    }

    /// Records that the response begins.
    pub(in crate::connections::protocol) fn answers(self) -> Answers {
        self.0.is_answering.store(true, Ordering::Relaxed);
        Answers(self)
    }

    /// True while the response is on its way.
    pub(super) fn is_answering(&self) -> bool {
        self.0.is_answering.load(Ordering::Relaxed)
    }

    /// The response: the handler's, if it did without the body, else what the verdict says. A handler cannot know what the error of a
    /// body means: axum's extractors say 400.
    pub(crate) fn on(&self, response: Response) -> Response {
        let Some(&reason) = self.0.reason.get().filter(|_| is_error(response.status())) else { return response };
        let (status, code) = reason.status();
        if response.status() == status {
            return response;
        }
        let mut response = Error::new(status, reason.in_words()).code(code).into_refusal();
        if reason == Reason::ShortOfMemory {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A response that is on its way, for as long as it lives.
#[derive(Debug)]
pub(in crate::connections::protocol) struct Answers(Verdict);

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.0.is_answering.store(false, Ordering::Relaxed);
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn a_response_tells_why_its_body_was_ended_unless_the_handler_did_without_it() {
        for (reason, status, retry) in [
            (Reason::Late(Duration::from_secs(1)), 408, None),
            (Reason::Costly, 413, None),
            (Reason::ShortOfMemory, 503, Some("1")),
        ] {
            let verdict = Verdict::default();
            let of = |status: StatusCode| verdict.on(status.into_response());
            assert_eq!(of(StatusCode::BAD_REQUEST).status(), 400, "nothing was pronounced");
            verdict.pronounce(reason);
            let response = of(StatusCode::BAD_REQUEST);
            assert_eq!(response.status(), status);
            let after = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(after, retry);
            assert_eq!(of(StatusCode::ACCEPTED).status(), 202);
        }
    }
}
