//! The routes of logins: the documents' 4.3, and `POST /refresh`.

use garde::Validate;
use gin_worker::auth::{Attempts, Auth, Checked, Grants, RequireRole, Role, Tokens, User};
use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, rejection::PathRejection};
use gin_worker::axum::http::{HeaderName, header};
use gin_worker::binding::ShouldBindJson;
use gin_worker::serde_json::{Value, json};
use gin_worker::{Error, Result};
use serde::Deserialize;

use crate::accounts::{Account, Accounts};
use crate::texts::{Text, Texts, WRONG_LOGIN};

/// A name and a password.
#[derive(Deserialize, Validate)]
pub struct Login {
    #[garde(length(min = 1, max = 200), custom(without_nul))]
    pub username: String,
    #[garde(length(min = 1))]
    pub password: String,
}

/// A refresh token.
#[derive(Deserialize, Validate)]
pub struct Refresh {
    #[garde(length(min = 1))]
    pub refresh_token: String,
}

/// The role `admin`.
pub struct Admin;

impl Role for Admin {
    const NAME: &'static str = "admin";
}

/// PostgreSQL has no NUL in a text, so none is asked for one.
fn without_nul(text: &str, _: &()) -> garde::Result {
    if text.contains('\0') { Err(garde::Error::new("has a NUL character")) } else { Ok(()) }
}

/// A body that is wrong, as the documents print it.
pub fn invalid(texts: Texts, error: Error) -> Error {
    Error::new(error.status(), texts.say(Text::BadRequest)).details(error.in_words())
}

/// The account of this name, if the password is its.
///
/// # Errors
/// 401 if it is not, or there is no such account: the answer and its time are the same. 429 after too many attempts.
pub async fn check(accounts: &Accounts, auth: &Auth, attempts: Attempts, login: Login) -> Result<Account> {
    // Counted before the hash, which takes a while.
    let attempt = attempts.begin(&login.username).await?;
    let (account, checked) = match compared(accounts, auth, &login).await {
        Ok((Some(account), checked)) if checked != Checked::Wrong => (account, checked),
        Ok(_) => return Err(wrong_login()),
        Err(error) => {
            // Nobody has told whether it was right.
            attempt.undo().await;
            return Err(error);
        }
    };
    attempt.succeeded().await;
    if let Checked::Outdated { hash } = checked {
        accounts.set_hash(account.id, &account.hash, hash).await?;
    }
    Ok(account)
}

/// The account of this name, and whether the password is its.
async fn compared(accounts: &Accounts, auth: &Auth, login: &Login) -> Result<(Option<Account>, Checked)> {
    let found = accounts.find(&login.username).await?;
    let hash = found.as_ref().map(|account| account.hash.as_str());
    let checked = auth.passwords().check(&login.password, hash).await?;
    Ok((found, checked))
}

fn wrong_login() -> Error {
    Error::unauthorized("wrong user name or password").code(WRONG_LOGIN)
}

/// Tokens for the account, whose password was right.
///
/// # Errors
/// 401 if it was deleted since: [`remove`] may have looked for its logins before this one was there.
pub async fn begin(accounts: &Accounts, auth: &Auth, account: &Account, grants: Grants) -> Result<Tokens> {
    let tokens = auth.login(account.id, grants).await?;
    if accounts.find(&account.username).await?.is_some_and(|now| now.id == account.id) {
        return Ok(tokens);
    }
    auth.logout_everywhere(account.id).await?;
    Err(wrong_login())
}

/// Tokens are in no cache (RFC 6749, section 5.1).
type WithTokens = ([(HeaderName, &'static str); 1], Json<Value>);

/// `POST /login`
pub async fn login(
    texts: Texts,
    accounts: Accounts,
    auth: Auth,
    attempts: Attempts,
    ShouldBindJson(login): ShouldBindJson<Login>,
) -> Result<WithTokens> {
    let login = login.map_err(|error| invalid(texts, error))?;
    let account = check(&accounts, &auth, attempts, login).await?;
    let grants = Grants { roles: account.roles.clone(), ..Grants::default() };
    let tokens = begin(&accounts, &auth, &account, grants).await?;
    Ok(with_tokens(tokens, texts.say(Text::LoggedIn)))
}

/// `POST /refresh`
pub async fn refresh(texts: Texts, auth: Auth, ShouldBindJson(asked): ShouldBindJson<Refresh>) -> Result<WithTokens> {
    let asked = asked.map_err(|error| invalid(texts, error))?;
    let tokens = auth.refresh(&asked.refresh_token).await?;
    Ok(with_tokens(tokens, texts.say(Text::Refreshed)))
}

fn with_tokens(Tokens { access, refresh, expires_in, .. }: Tokens, message: &str) -> WithTokens {
    let body = json!({ "token": access, "message": message, "refresh_token": refresh, "expires_in": expires_in });
    ([(header::CACHE_CONTROL, "no-store")], Json(body))
}

/// `GET /api/profile`
pub async fn profile(texts: Texts, user: User) -> Json<Value> {
    Json(json!({ "user_id": user.id(), "message": texts.say(Text::User) }))
}

/// `POST /api/logout`: the token is worth nothing from then on, and no new one comes of this login.
pub async fn logout(texts: Texts, user: User, auth: Auth) -> Result<Json<Value>> {
    auth.logout(&user).await?;
    Ok(Json(json!({ "message": texts.say(Text::LoggedOut) })))
}

/// `GET /api/admin/users`
pub async fn users(_: RequireRole<Admin>, texts: Texts, accounts: Accounts) -> Result<Json<Value>> {
    let shown = |Account { id, username, roles, .. }| json!({ "id": id, "username": username, "roles": roles });
    let data: Vec<Value> = accounts.all().await?.into_iter().map(shown).collect();
    Ok(Json(json!({ "message": texts.say(Text::Users), "data": data })))
}

/// `DELETE /api/admin/users/:id`: the logins of the user end with the account.
pub async fn remove(
    admin: RequireRole<Admin>,
    texts: Texts,
    accounts: Accounts,
    auth: Auth,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>> {
    let missing = || Error::not_found(texts.say(Text::ThereIsNoSuchUser));
    let Path(id) = id.map_err(|_| missing())?;
    if admin.0.id() == id.to_string() {
        return Err(Error::conflict(texts.say(Text::YouCannotDeleteYourself)));
    }
    let was_there = accounts.remove(id).await?;
    // Of an account that was not there, too: the store of logins may have been away when it was deleted.
    auth.logout_everywhere(id).await?;
    if !was_there {
        return Err(missing());
    }
    Ok(Json(json!({ "message": texts.say_with(Text::UserNIsDeleted, id) })))
}
