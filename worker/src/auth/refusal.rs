//! Refusals: what a client hears. The reason, which the client does not hear, is in the access log's `error`.

use axum::http::{HeaderValue, header};

use crate::Error;

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Whatever it is, for the log.
    Invalid(&'static str),
    /// It was good once.
    Expired,
}

const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");
const INSUFFICIENT_SCOPE: HeaderValue = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");

/// 401 for a request without a token or a session.
pub(super) fn missing() -> Error {
    Error::unauthorized("the token is missing").code("TOKEN_MISSING").header(header::WWW_AUTHENTICATE, BEARER)
}

/// 401 for a token that is not good: one answer for all reasons, but for the time.
pub(super) fn bad(bad: Bad) -> Error {
    let error = match bad {
        Bad::Invalid(why) => Error::unauthorized("the token is not valid").code("TOKEN_INVALID").caused_by(why),
        Bad::Expired => Error::unauthorized("the token has expired").code("TOKEN_EXPIRED"),
    };
    error.header(header::WWW_AUTHENTICATE, INVALID_TOKEN)
}

/// 401 for a refresh token that was used before.
pub(super) fn reused() -> Error {
    Error::unauthorized("the token is not valid")
        .code("TOKEN_REUSED")
        .caused_by("it was used before")
        .header(header::WWW_AUTHENTICATE, INVALID_TOKEN)
}

/// 403 for a user who lacks a role.
pub(super) fn lacks_role(role: &str) -> Error {
    forbidden().caused_by(format!("the user lacks the role {role}"))
}

/// 403 for a user who lacks a scope.
pub(super) fn lacks_scope(scope: &str) -> Error {
    forbidden()
        .caused_by(format!("the user lacks the scope {scope}"))
        .header(header::WWW_AUTHENTICATE, INSUFFICIENT_SCOPE)
}

fn forbidden() -> Error {
    Error::forbidden("you may not do that").code("FORBIDDEN")
}
