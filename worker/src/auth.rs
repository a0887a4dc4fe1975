#![doc = include_str!("auth.md")]

#[cfg(test)]
mod attacks;
mod attempts;
mod claims;
mod figures;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
#[cfg(feature = "redis")]
mod in_redis;
mod inner;
mod keys;
mod logins;
mod part;
mod passwords;
mod refresh;
mod refusal;
mod require;
mod sql;
mod store;
#[cfg(test)]
mod tests;
mod user;
mod verified;

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::request::Parts as RequestParts;
use serde::Serialize;

use crate::api::Argument;
use crate::kept::place::Place;
use crate::parts::Parts;
use crate::{ClientIp, Config, Error, Result};
pub use attempts::{Attempt, Attempts};
use inner::Inner;
use logins::Millis;
pub(crate) use part::AuthPart;
pub use passwords::{Checked, Passwords};
use refusal::Bad;
pub use require::{RequireRole, RequireScope, Role, Scope};
pub use user::{Grants, User, log_in};

/// Name of the store in answers that it is away.
const NOUN: &str = "login store";

/// Now, in milliseconds since 1970.
fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The logins of a service, as handlers and middleware take them. A clone is the same. See [`crate::auth`].
///
/// An extractor, for a server with [`Server::auth`](crate::Server::auth).
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
    /// The client whose request has taken it, for the log.
    client: Option<IpAddr>,
}

/// Tokens of a login, as clients get them.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// The access token: the client sends it with each request, as `Authorization: Bearer ...`.
    pub access: String,
    /// The refresh token: the client sends it to [`Auth::refresh`], once.
    pub refresh: String,
    /// Seconds for which the access token is good.
    pub expires_in: u64,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// Without the tokens, which stand in no log.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl Argument for Auth {}

impl<S: Sync> FromRequestParts<S> for Auth {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self> {
        let auth: Self = Parts::handle(&parts.extensions, "auth")?;
        let ClientIp(client) = client_of(parts).await;
        Ok(Self { client, ..auth })
    }
}

async fn client_of(parts: &mut RequestParts) -> ClientIp {
    match <ClientIp as FromRequestParts<()>>::from_request_parts(parts, &()).await {
        Ok(client) => client,
        Err(never) => match never {},
    }
}

impl Auth {
    fn new(config: &Config, directory: Option<PathBuf>, place: Place) -> Self {
        Self { inner: Arc::new(Inner::new(config, directory, place)), client: None }
    }

    /// Logs a user in, whose password was right: by a number, a name, or whatever else tells users apart.
    ///
    /// Beyond `auth.per_user` logins the user's oldest one ends.
    ///
    /// ```
    /// use gin_worker::auth::{Auth, Grants, Tokens};
    /// use gin_worker::axum::Json;
    /// use gin_worker::Result;
    ///
    /// async fn login(auth: Auth) -> Result<Json<Tokens>> {
    ///     // The password was right.
    ///     Ok(Json(auth.login(42, Grants::default().role("admin")).await?))
    /// }
    /// ```
    ///
    /// # Errors
    /// 503 if the store does not answer; 500 if a scope is not one word, or the access token would have more than 4 KiB.
    pub async fn login(&self, user: impl Display, grants: Grants) -> Result<Tokens> {
        self.inner.login(user.to_string(), grants, now()).await
    }

    /// Gives new tokens for a refresh token, which is used by that. If it is used a second time, and not within `auth.refresh_grace`, the
    /// login ends: somebody else has one of its tokens.
    ///
    /// # Errors
    /// 401 if it is no refresh token of ours, or its login has ended (`TOKEN_INVALID`), or was used before (`TOKEN_REUSED`); 503 if the
    /// store does not answer.
    pub async fn refresh(&self, refresh: &str) -> Result<Tokens> {
        self.inner.refresh(refresh, self.client, now()).await
    }

    /// The user of an access token: what the extractor [`User`] asks. For a token that does not come in the header.
    ///
    /// # Errors
    /// 401 if the token is not good (`TOKEN_INVALID`, `TOKEN_EXPIRED`); 503 if the store does not answer.
    pub async fn verify(&self, access: &str) -> Result<User> {
        self.inner.verify(access, now()).await
    }

    /// Ends the login of a user's token: its access token and its refresh token are good no more, in all workers at once. With
    /// `auth.revocation = "refresh"` the access token is good until it expires.
    ///
    /// # Errors
    /// 503 if the store does not answer: then the login lives, and the client should be told so. 500 for the user of a session, which ends
    /// by [`Session::logout`](crate::Session::logout).
    pub async fn logout(&self, user: &User) -> Result<()> {
        let Some(login) = user.0.login else {
            return Err(Error::internal("the user is logged in by a session, which ends by Session::logout"));
        };
        self.inner.end(&[login]).await
    }

    /// Ends all logins of a user: after a new password, say. Sessions of pages end by
    /// [`Session::logout_everywhere`](crate::Session::logout_everywhere).
    ///
    /// Store the new password, or delete the user, before this call. A request that has checked the old password by then, and calls
    /// [`Self::login`] after it, begins a login that lives: where that matters, look at the user once more after [`Self::login`].
    ///
    /// # Errors
    /// 503 if the store does not answer.
    pub async fn logout_everywhere(&self, user: impl Display) -> Result<()> {
        self.inner.end_all(&user.to_string()).await
    }

    /// Hashes passwords, and checks them.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    /// The answer to a token that is not good.
    fn refused(&self, bad: Bad) -> Error {
        self.inner.refused(bad)
    }
}
