//! The user whose request it is, and what he may do.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use super::refusal::Bad;
use super::{Auth, claims, refusal};
use crate::api::Argument;
use crate::current_request;
use crate::kept::id::Id;
use crate::parts::Parts;
use crate::{Error, Result, Session};

/// Name of a session's value that has the grants of its user.
const GRANTS: &str = "gin.grants";

/// Rights of a user: roles, such as `admin`, and scopes, such as `files:write`. They are those of the login: a change counts when the
/// user logs in anew.
///
/// ```
/// use gin_worker::auth::Grants;
///
/// let grants = Grants::default().role("admin").scope("files:read").scope("files:write");
/// assert_eq!((grants.roles.len(), grants.scopes.len()), (1, 2));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Roles, by their names.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Scopes, each one word of ASCII characters.
    #[serde(default)]
    pub scopes: Vec<String>,
}

impl Grants {
    /// Adds a role.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    /// Adds a scope.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }
}

/// The user whose request it is: by the access token of the request, else by its session, if the server has sessions.
///
/// An extractor, for handlers and middleware. A request without a token or a session is answered with 401, one with a token that is not
/// good, too, whatever its session says. A handler that serves strangers takes `Option<User>`: `None` without credentials.
///
/// The lines of the log about the request have its [`Self::id`] as `user_id`.
///
/// ```
/// use gin_worker::auth::User;
///
/// async fn profile(user: User) -> String {
///     format!("you are {}", user.id())
/// }
///
/// async fn greet(user: Option<User>) -> String {
///     user.map_or_else(|| "hello".to_owned(), |user| format!("hello, {}", user.id()))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct User(pub(super) Arc<Known>);

/// Facts of a user.
#[derive(Debug)]
pub(super) struct Known {
    id: Arc<str>,
    grants: Grants,
    /// The login of his token. `None`: he is a session's.
    pub(super) login: Option<Id>,
}

impl User {
    pub(super) fn new(id: &str, grants: Grants, login: Option<Id>) -> Self {
        Self(Arc::new(Known { id: Arc::from(id), grants, login }))
    }

    /// The user, as the login was told.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// All roles.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.0.grants.roles
    }

    /// All scopes.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.0.grants.scopes
    }

    /// True if the user has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().iter().any(|own| own == role)
    }

    /// True if the user has this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().iter().any(|own| own == scope)
    }
}

impl Argument for User {}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self> {
        of_request(parts).await?.ok_or_else(refusal::missing)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for User {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Option<Self>> {
        of_request(parts).await
    }
}

/// Logs a user in for pages: his browser gets a session ([`Session::login`]), and [`User`] is this user with these grants from the next
/// request on. The session ends by [`Session::logout`].
///
/// ```
/// use gin_worker::auth::{self, Grants};
/// use gin_worker::{Result, Session};
///
/// async fn login(session: Session) -> Result<&'static str> {
///     // The password was right.
///     auth::log_in(&session, 42, &Grants::default().role("admin")).await?;
///     Ok("welcome")
/// }
/// ```
///
/// # Errors
/// 503 if the store of sessions does not answer; 500 if a scope is not one word, or the request is answered already.
pub async fn log_in(session: &Session, user: impl Display, grants: &Grants) -> Result<()> {
    claims::checked(grants)?;
    session.login(user).await?;
    session.insert(GRANTS, grants).await
}

/// The user of a request, noted in it and in the log's lines about it. `None`: it says nothing of one.
async fn of_request(parts: &mut RequestParts) -> Result<Option<User>> {
    if let Some(user) = parts.extensions.get::<User>() {
        return Ok(Some(user.clone()));
    }
    let auth: Auth = Parts::handle(&parts.extensions, "auth")?;
    let user = match bearer(&parts.headers) {
        Ok(Some(token)) => Some(auth.verify(token).await?),
        Ok(None) => of_session(parts).await?,
        Err(bad) => return Err(auth.refused(bad)),
    };
    if let Some(user) = &user {
        current_request::set_user(&user.0.id);
        parts.extensions.insert(user.clone());
    }
    Ok(user)
}

/// The user of the request's session, if it has one and he is logged in.
async fn of_session(parts: &mut RequestParts) -> Result<Option<User>> {
    // It is refused for one reason: the server has no sessions.
    let session = <Session as FromRequestParts<()>>::from_request_parts(parts, &()).await;
    let Ok(session) = session else { return Ok(None) };
    let Some(id) = session.user().await? else { return Ok(None) };
    let grants = session.get(GRANTS).await?.unwrap_or_default();
    Ok(Some(User::new(&id, grants, None)))
}

/// The token of `Authorization: Bearer TOKEN`, or of `Authorization: TOKEN`. `None`: there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Bad> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (all.next(), all.next());
    let Some(value) = first else { return Ok(None) };
    if second.is_some() {
        return Err(Bad::Invalid("there are two headers Authorization"));
    }
    let value = value.to_str().map_err(|_| Bad::Invalid("it is no text"))?.trim_ascii();
    match value.split_once(' ') {
        None => Ok(Some(value)),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(Some(token.trim_ascii_start())),
        Some(_) => Err(Bad::Invalid("its scheme is not Bearer")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, Bad> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        bearer(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn a_token_stands_behind_bearer_or_alone() {
        let token = Ok(Some("a.b.c".to_owned()));
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c", "a.b.c", " a.b.c "] {
            assert_eq!(read(&[value]), token, "{value}");
        }
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[""]), Ok(Some(String::new())), "it is there, and no token");
        for wrong in [&["Basic YTpi"][..], &["a.b.c", "a.b.c"], &["Bearer a.b.c", ""], &["\u{e9}"]] {
            assert!(matches!(read(wrong), Err(Bad::Invalid(_))), "{wrong:?}");
        }
    }

    /// The future is a part of the future of each handler that takes a user, and is copied with it for each request.
    #[test]
    fn the_future_of_a_user_is_small() {
        let (mut parts, ()) = Request::new(()).into_parts();
        let size = size_of_val(&of_request(&mut parts));
        assert!(size <= 2048, "{size} bytes");
    }
}
