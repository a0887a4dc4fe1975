//! Answers of handlers when something is wrong, and the reasons for which a worker does not start.

mod as_status;
mod chain;
mod start;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::current_request;
pub use as_status::{AsStatus, ResultExt};
pub use start::StartError;

/// The result of handlers and middleware.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error's box.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer that says what is wrong: `{"error": ..., "details": ..., "code": ...}`, the last two only where there are any.
///
/// `?` makes an answer of an application's own error whose status is known ([`AsStatus`]). Any other error becomes a 500 only where the
/// handler asks for that: [`ResultExt::internal`]. An answer of 5xx is logged at ERROR, with all underlying errors and the request's id.
///
/// ```
/// use gin_worker::{Error, Result, ResultExt};
///
/// async fn read() -> Result<String> {
///     let text = std::fs::read_to_string("greeting").internal()?;
///     if text.is_empty() {
///         return Err(Error::not_found("no greeting yet").code("GREETING_MISSING"));
///     }
///     Ok(text)
/// }
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    status: StatusCode,
    message: String,
    details: Option<Value>,
    code: Option<String>,
    retry_after: Option<Duration>,
    headers: HeaderMap,
    behind: Behind,
}

/// An error that several answers may share.
type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// The error behind an answer. Clients do not see it.
#[derive(Clone)]
enum Behind {
    Nothing,
    /// The answer stands for this error, which has a text of its own.
    Same(SharedError),
    /// The reason for the answer, whose text is its message.
    Reason(SharedError),
}

impl Error {
    /// With this status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let (details, code, retry_after, headers) = (None, None, None, HeaderMap::new());
        let (message, behind) = (message.into(), Behind::Nothing);
        Self(Box::new(Inner { status, message, details, code, retry_after, headers, behind }))
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 403
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 422
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 500. The cause (an error, one of `anyhow`, a text) is logged, and not answered. See [`ResultExt::internal`].
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let mut error = Self::new(status, in_words(status));
        error.0.behind = Behind::Same(Arc::from(Into::<BoxError>::into(cause)));
        error
    }

    /// 503 with `Retry-After: 1` and the code `AWAY`: something that the service needs does not answer, say its "database". Add the reason
    /// by [`Self::caused_by`].
    ///
    /// ```
    /// use gin_worker::Error;
    ///
    /// let error = Error::away("search engine");
    /// assert_eq!((error.status().as_u16(), error.in_words().as_str()), (503, "the search engine is away"));
    /// ```
    #[must_use]
    pub fn away(part: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("the {part} is away"))
            .code("AWAY")
            .retry_after(Duration::from_secs(1))
    }

    /// Adds the reason, for the log alone: clients see the message.
    ///
    /// ```
    /// use gin_worker::{Error, axum::http::StatusCode};
    ///
    /// let refused = std::io::Error::other("connection refused");
    /// let error = Error::new(StatusCode::BAD_GATEWAY, "the mail server does not answer").caused_by(refused);
    /// assert!(error.is::<std::io::Error>());
    /// ```
    #[must_use]
    pub fn caused_by(mut self, reason: impl Into<BoxError>) -> Self {
        self.0.behind = Behind::Reason(Arc::from(Into::<BoxError>::into(reason)));
        self
    }

    /// More, for programs: the fields that failed, say.
    #[must_use]
    pub fn details(mut self, details: impl Serialize) -> Self {
        self.0.details = serde_json::to_value(details).ok();
        self
    }

    /// A word for programs, such as `RATE_LIMIT_EXCEEDED`.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Adds `Retry-After`: after this time a client may ask again. It is told in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.0.retry_after = Some(time);
        self
    }

    /// Adds a header to the answer.
    ///
    /// ```
    /// use gin_worker::Error;
    /// use gin_worker::axum::http::{HeaderValue, header};
    ///
    /// let error = Error::unauthorized("missing token").header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    /// ```
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.append(name, value);
        self
    }

    /// Status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Changes the status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Message and details for people, in a line.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Some(Value::Object(details)) = &self.0.details else { return self.0.message.clone() };
        let texts = |value: &Value| match value {
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        let all: Vec<String> = details.iter().map(|(name, value)| format!("{name}: {}", texts(value))).collect();
        format!("{}: {}", self.0.message, all.join("; "))
    }

    /// All that a client hears.
    #[must_use]
    pub fn report(&self) -> Report {
        let Inner { status, message, details, code, .. } = &*self.0;
        let (message, details, code) = (message.clone(), details.clone(), code.clone());
        Report { status: *status, message, details, code, accept_language: None }
    }

    /// Itself and all underlying errors, for the log.
    pub(crate) fn in_a_line(&self) -> String {
        chain::in_a_line(self)
    }

    /// The error behind the answer.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &self.0.behind {
            Behind::Nothing => None,
            Behind::Same(cause) | Behind::Reason(cause) => Some(&**cause),
        }
    }

    /// True if the error behind the answer, or one below that, is of this type.
    #[must_use]
    pub fn is<E: std::error::Error + 'static>(&self) -> bool {
        self.cause().is_some_and(|cause| cause.is::<E>() || chain::below(cause).any(<dyn std::error::Error>::is::<E>))
    }

    /// The answer without a line in the log: what this library refuses by itself is no fault of a handler.
    pub(crate) fn into_refusal(self) -> Response {
        // The reason of a 5xx has a line of its own.
        let cause = self.cause().filter(|_| !self.status().is_server_error()).map(|_| Cause(chain::in_a_line(&self)));
        let report = self.report();
        let mut body = json!({ "error": report.message });
        for (name, value) in [("details", report.details.clone()), ("code", report.code.clone().map(Value::String))] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let mut response = (report.status, Json(body)).into_response();
        for (name, value) in &self.0.headers {
            response.headers_mut().append(name, value.clone());
        }
        if let Some(time) = self.0.retry_after {
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(report);
        if let Some(cause) = cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

/// "not found", for a status alone.
pub(crate) fn in_words(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("error").to_lowercase()
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.behind {
            Behind::Nothing => None,
            Behind::Same(cause) => cause.source(),
            Behind::Reason(cause) => Some(&**cause),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.behind {
            Behind::Same(cause) => write!(f, "{cause}"),
            Behind::Nothing | Behind::Reason(_) => f.write_str(&self.0.message),
        }
    }
}

/// The error with all its underlying ones, as `main` prints it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain::in_lines(self, f)
    }
}

/// The cause of a refusal that is no failure, for the access log: an extension of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub(crate) String);

/// A refusal whose shape was chosen: an extension of an answer that nobody is to put in another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsItIs;

/// What an [`Error`] said: an extension of its answer, for [`crate::Server::error_handler`] and [`crate::middleware::error_handler`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The answer's.
    pub status: StatusCode,
    /// For people.
    pub message: String,
    /// For programs.
    pub details: Option<Value>,
    /// A word for programs.
    pub code: Option<String>,
    /// The request's `Accept-Language`, for a handler of errors: it may tell the error in a language that the client reads.
    pub accept_language: Option<String>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if self.status().is_server_error() {
            current_request::failed(self.status(), &chain::in_a_line(&self));
        }
        self.into_refusal()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_answer_says_what_is_wrong_and_not_why() {
        let error = Error::internal(io::Error::other("the disk is full"));
        assert_eq!(
            (error.status(), error.to_string().as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "the disk is full")
        );
        assert!(error.is::<io::Error>());
        let response = error.into_response();
        assert_eq!(response.extensions().get::<Report>().unwrap().message, "internal server error");
        assert!(response.extensions().get::<Cause>().is_none(), "it has a line of its own");
        let error = Error::conflict("email already exists").details(["email"]).code("DUPLICATE");
        let response = error.caused_by(io::Error::other("UNIQUE")).into_response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.extensions().get::<Cause>().unwrap().0, "email already exists: UNIQUE");
    }

    #[test]
    fn what_is_away_is_told_with_a_time_to_come_back() {
        let response = Error::away("database").caused_by(io::Error::other("refused")).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let report = response.extensions().get::<Report>().unwrap();
        assert_eq!((report.message.as_str(), report.code.as_deref()), ("the database is away", Some("AWAY")));
        let later = Error::not_found("nothing yet").retry_after(Duration::from_millis(1500)).into_response();
        assert_eq!(later.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn an_answer_has_the_headers_that_were_added() {
        let bearer = || HeaderValue::from_static("Bearer");
        let error = Error::unauthorized("missing token").header(header::WWW_AUTHENTICATE, bearer());
        let response = error.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic")).into_response();
        let all: Vec<_> = response.headers().get_all(header::WWW_AUTHENTICATE).iter().collect();
        assert_eq!(all, ["Bearer", "Basic"]);
    }

    #[test]
    fn an_error_is_an_error_with_its_sources() {
        let disk = || io::Error::other("the disk is full");
        let refused = Error::new(StatusCode::BAD_GATEWAY, "no answer").caused_by(disk());
        let boxed: BoxError = refused.into();
        assert_eq!(
            (boxed.to_string().as_str(), boxed.source().unwrap().to_string()),
            ("no answer", disk().to_string())
        );
        assert!(boxed.is::<Error>());
        // It stands for its cause: the text is there once.
        assert!(std::error::Error::source(&Error::internal(disk())).is_none());
    }
}
