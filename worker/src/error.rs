//! What a handler answers when something is wrong, and why a worker does not start.

use std::fmt;
use std::io;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Invalid;

/// Of handlers, middleware and `main`.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error's box.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer that says what is wrong: `{"error": ..., "details": ..., "code": ...}`, the last two only where there are any.
///
/// Any other error becomes one by `?`: 500, with the cause in the log and not in the answer. So it has no `std::error::Error`
/// of its own.
///
/// ```
/// use gin_worker::{Error, Result};
///
/// async fn read() -> Result<String> {
///     let text = std::fs::read_to_string("greeting")?;
///     if text.is_empty() {
///         return Err(Error::not_found("no greeting yet").code("GREETING_MISSING"));
///     }
///     Ok(text)
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    status: StatusCode,
    message: String,
    details: Option<Value>,
    code: Option<String>,
    cause: Option<BoxError>,
}

impl Error {
    /// With this status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { status, message: message.into(), details: None, code: None, cause: None }))
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

    /// 500. The cause is logged, and not answered.
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        let mut error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal server error");
        error.0.cause = Some(cause.into());
        error
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

    /// The underlying error.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// True if the underlying error is of this type.
    #[must_use]
    pub fn is<E: std::error::Error + 'static>(&self) -> bool {
        self.0.cause.as_ref().is_some_and(|cause| cause.is::<E>())
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::internal(error)
    }
}

/// So that `?` works in a function of any boxed error, too.
impl From<Error> for BoxError {
    fn from(error: Error) -> Self {
        error.to_string().into()
    }
}

impl From<Error> for Box<dyn std::error::Error> {
    fn from(error: Error) -> Self {
        error.to_string().into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.cause {
            Some(cause) => write!(f, "{cause}"),
            None => f.write_str(&self.0.message),
        }
    }
}

/// Format of `main`: the error with all its underlying ones.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = self.0.cause.as_ref().and_then(|cause| cause.source());
        while let Some(error) = source {
            write!(f, "\n  because: {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// The cause of an answer, for the log: an extension of it.
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
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Inner { status, message, details, code, cause } = *self.0;
        let mut body = json!({ "error": message });
        for (name, value) in [("details", details.clone()), ("code", code.clone().map(Value::String))] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(Report { status, message, details, code });
        if let Some(cause) = cause {
            response.extensions_mut().insert(Cause(cause.to_string()));
        }
        response
    }
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error("{0}")]
    Config(#[from] Invalid),
    /// It cannot listen.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// Routes that exclude one another, or are none.
    #[error("{0}")]
    Routes(String),
    /// The directory of static files.
    #[error("static.dir = {dir}: {error}")]
    Files {
        /// Which.
        dir: String,
        /// Why.
        error: io::Error,
    },
    /// The rate limit is to count clients by addresses that a Unix socket does not tell.
    #[error("{}", crate::config::tells_no_address(.address))]
    RateLimit {
        /// The socket's address.
        address: String,
    },
    /// The log.
    #[error("logging: {0}")]
    Log(io::Error),
    /// What the master passed cannot be used.
    #[error("inherited descriptors: {0}")]
    Inherit(io::Error),
    /// Signals cannot be taken.
    #[error("signals: {0}")]
    Signals(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_is_wrong_and_not_why() {
        let error: Error = io::Error::other("the disk is full").into();
        assert_eq!(
            (error.status(), error.to_string().as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "the disk is full")
        );
        assert!(error.is::<io::Error>());
        let response = error.into_response();
        assert_eq!(response.extensions().get::<Cause>().unwrap().0, "the disk is full");
        let error = Error::conflict("email already exists").details(["email"]).code("DUPLICATE");
        assert_eq!(error.into_response().status(), StatusCode::CONFLICT);
    }
}
