//! Users of the page and of programs. A login answers with tokens, for a program, and begins a session, for the page: a script of a page
//! cannot read the session's cookie, so it is the better place for a browser.

use gin_worker::auth::{Attempts, Auth, Grants, RequireRole, Scope, User, log_in};
use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, State, rejection::PathRejection};
use gin_worker::axum::http::{HeaderMap, HeaderName, StatusCode, header};
use gin_worker::binding::ShouldBindJson;
use gin_worker::serde_json::{Value, json};
use gin_worker::{Result, Session};

use crate::access::Files;
use crate::accounts::Accounts;
use crate::hub::Hub;
use crate::routes::{self, Admin, Login, begin, check, invalid};
use crate::talk::send_away;
use crate::texts::{Text, Texts};

/// Value of a session: the name of its user.
const NAME: &str = "name";

/// Tokens are in no cache (RFC 6749, section 5.1).
type WithTokens = ([(HeaderName, &'static str); 1], Json<Value>);

/// `POST /login`
pub async fn login(
    State(hub): State<Hub>,
    texts: Texts,
    accounts: Accounts,
    auth: Auth,
    attempts: Attempts,
    session: Session,
    ShouldBindJson(login): ShouldBindJson<Login>,
) -> Result<WithTokens> {
    let login = login.map_err(|error| invalid(texts, error))?;
    let account = check(&accounts, &auth, attempts, login).await?;
    let grants = Grants { roles: account.roles.clone(), ..Grants::default() }.scope(Files::NAME);
    let tokens = begin(&accounts, &auth, &account, grants.clone()).await?;
    let before = session.user().await?;
    // The session gets a new id: a cookie that somebody has planted before is worth nothing.
    log_in(&session, account.id, &grants).await?;
    session.insert(NAME, &account.username).await?;
    if let Some(before) = before.filter(|before| *before != account.id.to_string()) {
        send_away(hub, before).await?;
    }
    let body = json!({
        "token": tokens.access,
        "message": texts.say(Text::LoggedIn),
        "refresh_token": tokens.refresh,
        "expires_in": tokens.expires_in,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)))
}

/// `GET /api/profile`
pub async fn profile(texts: Texts, user: User, session: Session) -> Result<Json<Value>> {
    let name = name(&session, &user).await?;
    Ok(Json(json!({ "user_id": user.id(), "name": name, "message": texts.say(Text::User) })))
}

/// `POST /api/logout`: ends that by which the request is somebody's, the login of its token or the session, and closes the user's
/// WebSockets.
pub async fn logout(
    State(hub): State<Hub>,
    texts: Texts,
    user: User,
    auth: Auth,
    session: Session,
    headers: HeaderMap,
) -> Result<Json<Value>> {
    if headers.contains_key(header::AUTHORIZATION) {
        auth.logout(&user).await?;
    } else {
        session.logout().await?;
    }
    send_away(hub, user.id()).await?;
    Ok(Json(json!({ "message": texts.say(Text::LoggedOut) })))
}

/// `DELETE /api/admin/users/:id`: the sessions and WebSockets of the user end, too.
pub async fn remove(
    State(hub): State<Hub>,
    session: Session,
    admin: RequireRole<Admin>,
    texts: Texts,
    accounts: Accounts,
    auth: Auth,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>> {
    let user = id.as_ref().ok().map(|Path(id)| *id);
    let removed = routes::remove(admin, texts, accounts, auth, id).await;
    // Of an account that was not there, too: the store of sessions may have been away when it was deleted.
    let is_gone = removed.as_ref().map_or_else(|error| error.status() == StatusCode::NOT_FOUND, |_| true);
    if let Some(user) = user.filter(|_| is_gone) {
        session.logout_everywhere(user).await?;
        send_away(hub, user).await?;
    }
    removed
}

/// The name that others see. A token has the user's id alone.
pub async fn name(session: &Session, user: &User) -> Result<String> {
    let is_his = session.user().await?.as_deref() == Some(user.id());
    let name: Option<String> = if is_his { session.get(NAME).await? } else { None };
    Ok(name.unwrap_or_else(|| user.id().to_owned()))
}
