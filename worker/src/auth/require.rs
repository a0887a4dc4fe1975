//! Roles and scopes as arguments of a handler.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::refusal;
use super::user::User;
use crate::api::Argument;
use crate::{Error, Result};

/// A role, for [`RequireRole`].
pub trait Role {
    /// Its name, as in [`Grants::role`](super::Grants::role).
    const NAME: &'static str;
}

/// A scope, for [`RequireScope`].
pub trait Scope {
    /// Its name, as in [`Grants::scope`](super::Grants::scope).
    const NAME: &'static str;
}

/// The user of a request who has this role. Without it the answer is 403 with the code `FORBIDDEN`; without a user it is 401, as for
/// [`User`].
///
/// ```
/// use gin_worker::auth::{RequireRole, Role};
///
/// struct Admin;
/// impl Role for Admin {
///     const NAME: &'static str = "admin";
/// }
///
/// async fn users(admin: RequireRole<Admin>) -> String {
///     format!("{} may see all users", admin.0.id())
/// }
/// ```
#[derive(Debug)]
pub struct RequireRole<R>(
    /// The user.
    pub User,
    PhantomData<fn() -> R>,
);

/// The user of a request who has this scope. Without it the answer is 403 with the code `FORBIDDEN`; without a user it is 401, as for
/// [`User`].
///
/// ```
/// use gin_worker::auth::{RequireScope, Scope};
///
/// struct WriteFiles;
/// impl Scope for WriteFiles {
///     const NAME: &'static str = "files:write";
/// }
///
/// async fn upload(_: RequireScope<WriteFiles>) {}
/// ```
#[derive(Debug)]
pub struct RequireScope<S>(
    /// The user.
    pub User,
    PhantomData<fn() -> S>,
);

impl<R> Argument for RequireRole<R> {}
impl<S> Argument for RequireScope<S> {}

impl<R: Role, S: Sync> FromRequestParts<S> for RequireRole<R> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let user = <User as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        if user.has_role(R::NAME) { Ok(Self(user, PhantomData)) } else { Err(refusal::lacks_role(R::NAME)) }
    }
}

impl<W: Scope, S: Sync> FromRequestParts<S> for RequireScope<W> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let user = <User as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        if user.has_scope(W::NAME) { Ok(Self(user, PhantomData)) } else { Err(refusal::lacks_scope(W::NAME)) }
    }
}
