//! Logins over a real socket, in a file of SQLite: two parts on one directory are two workers, or one before and after a restart.

use std::path::Path;
use std::time::Duration;

use axum::extract::Path as InPath;
use axum::{Extension, Json};

use super::*;
use crate::config::{self, Revocation};
use crate::database::DatabasePart;
use crate::kept::private_files::private_files;
use crate::parts::{Health, Part, Registered};
use crate::sessions::SessionsPart;
use crate::testing::{TestResponse, TestServer};
use crate::{Server, Session};

struct Admin;

impl Role for Admin {
    const NAME: &'static str = "admin";
}

struct WriteFiles;

impl Scope for WriteFiles {
    const NAME: &'static str = "files:write";
}

fn grants(user: &str) -> Grants {
    if user == "root" { Grants::default().role("admin").scope("files:write") } else { Grants::default() }
}

async fn login(auth: Auth, InPath(user): InPath<String>) -> Result<Json<Tokens>> {
    Ok(Json(auth.login(&user, grants(&user)).await?))
}

async fn page(session: Session, InPath(user): InPath<String>) -> Result {
    log_in(&session, &user, &grants(&user)).await
}

async fn refresh(auth: Auth, token: String) -> Result<Json<Tokens>> {
    Ok(Json(auth.refresh(&token).await?))
}

async fn who(user: Option<User>, again: Option<User>) -> String {
    let id = user.as_ref().map_or("nobody", User::id).to_owned();
    assert_eq!(again.as_ref().map_or("nobody", User::id), id);
    id
}

async fn me(user: User) -> String {
    user.id().to_owned()
}

async fn admin(admin: RequireRole<Admin>) -> String {
    admin.0.id().to_owned()
}

async fn write(user: RequireScope<WriteFiles>) -> String {
    user.0.id().to_owned()
}

async fn logout(auth: Auth, user: User) -> Result {
    auth.logout(&user).await
}

async fn everywhere(auth: Auth, user: User) -> Result {
    auth.logout_everywhere(user.id()).await
}

pub(super) fn config() -> Config {
    Config::default()
}

pub(super) async fn part(directory: &Path, config: &Config) -> AuthPart {
    let part = AuthPart::at(config, Some(directory.to_owned()), Place::Directory);
    assert!(matches!(part.health(), Health::Away { .. }), "it is not open");
    part.open().await.unwrap();
    assert_eq!(part.health(), Health::Here);
    part
}

fn routes(part: &AuthPart) -> Server {
    let mut registered = Registered::default();
    part.lend(&mut registered);
    Server::new(&config())
        .layer(Extension(registered.finish()))
        .get("/login/:user", login)
        .get("/page/:user", page)
        .route(crate::Route::post("/refresh", refresh))
        .get("/who", who)
        .get("/me", me)
        .get("/admin", admin)
        .get("/write", write)
        .get("/logout", logout)
        .get("/everywhere", everywhere)
}

pub(super) async fn server(part: &AuthPart) -> TestServer {
    TestServer::start(routes(part)).await
}

pub(super) async fn logged_in(part: &AuthPart, user: &str) -> Tokens {
    part.auth().login(user, grants(user)).await.unwrap()
}

pub(super) fn code(response: &TestResponse) -> String {
    response.json::<serde_json::Value>()["code"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn count(part: &AuthPart, event: &str) -> u64 {
    part.details()[event].as_u64().unwrap()
}

pub(super) async fn user_of(part: &AuthPart, access: &str) -> Option<String> {
    part.auth().verify(access).await.ok().map(|user| user.id().to_owned())
}

#[tokio::test]
async fn a_client_is_known_until_its_logout() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let answer = app.get("/login/ann").send().await;
    let told: serde_json::Value = answer.assert_status(200).json();
    assert_eq!((told["expires_in"].as_u64(), told["refresh"].as_str().map(str::len)), (Some(900), Some(48)));
    let access = told["access"].as_str().unwrap();
    app.get("/me").bearer(access).send().await.assert_text("ann");
    app.get("/me").header("authorization", access).send().await.assert_text("ann");
    app.get("/who").bearer(access).send().await.assert_text("ann");
    app.get("/who").send().await.assert_text("nobody");
    let missing = app.get("/me").send().await;
    missing.assert_status(401).assert_header("www-authenticate", "Bearer");
    assert_eq!(code(&missing), "TOKEN_MISSING");

    app.get("/logout").bearer(access).send().await.assert_status(200);
    for path in ["/me", "/who", "/logout"] {
        let ended = app.get(path).bearer(access).send().await;
        ended.assert_status(401).assert_header("www-authenticate", "Bearer error=\"invalid_token\"");
        assert_eq!(code(&ended), "TOKEN_INVALID", "{path}");
    }
    let refresh = told["refresh"].as_str().unwrap().to_owned();
    assert_eq!(code(app.post("/refresh").body(refresh).send().await.assert_status(401)), "TOKEN_INVALID");
}

#[tokio::test]
async fn a_role_or_a_scope_that_lacks_is_403() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let (root, ann) = (logged_in(&part, "root").await, logged_in(&part, "ann").await);
    for path in ["/admin", "/write"] {
        app.get(path).bearer(&root.access).send().await.assert_status(200).assert_text("root");
        app.get(path).send().await.assert_status(401);
        let refused = app.get(path).bearer(&ann.access).send().await;
        assert_eq!(code(refused.assert_status(403)), "FORBIDDEN", "{path}");
        let scope = (path == "/write").then_some("Bearer error=\"insufficient_scope\"");
        assert_eq!(refused.header("www-authenticate"), scope, "{path}");
    }
    // After a refresh they are the same.
    let next = part.auth().refresh(&root.refresh).await.unwrap();
    app.get("/admin").bearer(&next.access).send().await.assert_text("root");
}

#[tokio::test]
async fn a_token_is_read_once_and_then_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let tokens = logged_in(&part, "ann").await;
    for _ in 0..3 {
        assert_eq!(user_of(&part, &tokens.access).await.as_deref(), Some("ann"));
    }
    assert_eq!((count(&part, "verified"), count(&part, "cached")), (1, 2));
}

#[tokio::test]
async fn a_restart_logs_nobody_out_and_a_logout_counts_in_all_workers() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (part(directory.path(), &config()).await, part(directory.path(), &config()).await);
    let ann = logged_in(&one, "ann").await;
    for _ in 0..2 {
        assert_eq!(user_of(&other, &ann.access).await.as_deref(), Some("ann"));
    }
    assert_eq!(count(&other, "cached"), 1);
    let user = one.auth().verify(&ann.access).await.unwrap();
    one.auth().logout(&user).await.unwrap();
    assert_eq!(user_of(&other, &ann.access).await, None, "though the other worker has it in its memory");
    assert_eq!(count(&one, "logged_out"), 1);

    let bob = logged_in(&one, "bob").await;
    one.close().await;
    drop((one, other));
    let next = part(directory.path(), &config()).await;
    assert_eq!(user_of(&next, &bob.access).await.as_deref(), Some("bob"));
    assert_eq!(user_of(&next, &ann.access).await, None);
    let bob = next.auth().refresh(&bob.refresh).await.unwrap();
    assert_eq!(user_of(&next, &bob.access).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_its_answer_may_be_lost() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let inner = &part.auth().inner;
    let begun = now();
    let first = inner.login("ann".to_owned(), Grants::default(), begun).await.unwrap();
    let second = inner.refresh(&first.refresh, None, begun).await.unwrap();
    assert_ne!((&first.refresh, &first.access), (&second.refresh, &second.access));
    let again = inner.refresh(&first.refresh, None, begun + 9_999).await.unwrap();
    assert_eq!(again.refresh, second.refresh, "the same one, as the first answer was lost");
    let third = inner.refresh(&second.refresh, None, begun + 20_000).await.unwrap();
    assert_eq!((count(&part, "refreshed"), count(&part, "reused")), (3, 0));
    assert!(inner.verify(&third.access, begun + 20_000).await.is_ok());

    let reused = inner.refresh(&first.refresh, None, begun + 20_001).await.unwrap_err();
    assert_eq!(reused.report().code.as_deref(), Some("TOKEN_REUSED"));
    for token in [&second.refresh, &third.refresh] {
        let ended = inner.refresh(token, None, begun + 20_002).await.unwrap_err();
        assert_eq!(ended.report().code.as_deref(), Some("TOKEN_INVALID"), "the whole login has ended");
    }
    assert!(inner.verify(&third.access, begun + 20_002).await.is_err(), "its access tokens, too");
    assert_eq!((count(&part, "reused"), count(&part, "logged_out")), (1, 1));
}

#[tokio::test]
async fn two_tabs_that_refresh_at_once_get_the_same_refresh_token() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (part(directory.path(), &config()).await, part(directory.path(), &config()).await);
    let tokens = logged_in(&one, "ann").await;
    let asked = [&one, &other, &one, &other].map(|part| part.auth().refresh(&tokens.refresh));
    let answers = futures_util::future::join_all(asked).await;
    let refresh: Vec<String> = answers.into_iter().map(|answer| answer.unwrap().refresh).collect();
    assert!(refresh.iter().all(|token| *token == refresh[0] && *token != tokens.refresh), "{}", refresh.len());
    one.auth().refresh(&refresh[0]).await.unwrap();
}

#[tokio::test]
async fn a_login_ends_if_nobody_refreshes_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.auth.refresh = Duration::from_secs(3600);
    let before = part(directory.path(), &config).await;
    let begun = now();
    let inner = &before.auth().inner;
    let ann = inner.login("ann".to_owned(), Grants::default(), begun).await.unwrap();
    let bob = inner.login("bob".to_owned(), Grants::default(), begun).await.unwrap();
    let bob = inner.refresh(&bob.refresh, None, begun + 1_800_000).await.unwrap();
    let ended = inner.refresh(&ann.refresh, None, begun + 3_600_000).await.unwrap_err();
    assert_eq!(ended.report().code.as_deref(), Some("TOKEN_INVALID"));
    inner.sweep(begun + 3_600_000).await.unwrap();
    assert_eq!((count(&before, "expired"), count(&before, "alive")), (1, 1));
    // A release with a shorter time finds the logins of the one before.
    config.auth.refresh = Duration::from_secs(60);
    let next = part(directory.path(), &config).await;
    assert!(next.auth().inner.refresh(&bob.refresh, None, begun + 1_860_000).await.is_err());
    inner.refresh(&bob.refresh, None, begun + 1_860_000).await.unwrap();
}

#[tokio::test]
async fn a_login_that_is_refreshed_again_and_again_ends_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    (config.auth.refresh, config.auth.absolute) = (Duration::from_secs(3600), Duration::from_secs(9000));
    let part = part(directory.path(), &config).await;
    let (inner, begun) = (&part.auth().inner, now());
    let mut ann = inner.login("ann".to_owned(), Grants::default(), begun).await.unwrap();
    for minutes in [50, 100, 149] {
        ann = inner.refresh(&ann.refresh, None, begun + minutes * 60_000).await.unwrap();
    }
    assert!(inner.verify(&ann.access, begun + 8_999_999).await.is_ok());
    let ended = inner.refresh(&ann.refresh, None, begun + 9_000_000).await.unwrap_err();
    assert_eq!(ended.report().code.as_deref(), Some("TOKEN_INVALID"));
    assert!(inner.verify(&ann.access, begun + 9_000_000).await.is_err(), "its access token, too");
    inner.sweep(begun + 9_000_000).await.unwrap();
    assert_eq!(count(&part, "expired"), 1);
}

#[tokio::test]
async fn an_access_token_expires_though_it_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    (config.auth.access, config.auth.leeway) = (Duration::from_secs(30), Duration::from_secs(5));
    let part = part(directory.path(), &config).await;
    let inner = &part.auth().inner;
    // A whole second: tokens count in these.
    let begun = now() / 1000 * 1000;
    let ann = inner.login("ann".to_owned(), Grants::default(), begun).await.unwrap();
    assert_eq!(ann.expires_in, 30);
    assert!(inner.verify(&ann.access, begun).await.is_ok() && inner.verify(&ann.access, begun + 34_999).await.is_ok());
    assert_eq!(count(&part, "cached"), 1);
    let expired = inner.verify(&ann.access, begun + 35_000).await.unwrap_err();
    assert_eq!((expired.status().as_u16(), expired.report().code.as_deref()), (401, Some("TOKEN_EXPIRED")));
}

#[tokio::test]
async fn a_logout_everywhere_ends_one_users_logins() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let (phone, laptop, other) =
        (logged_in(&part, "ann").await, logged_in(&part, "ann").await, logged_in(&part, "Ann").await);
    app.get("/everywhere").bearer(&phone.access).send().await.assert_status(200);
    for access in [&phone.access, &laptop.access] {
        app.get("/me").bearer(access).send().await.assert_status(401);
    }
    app.get("/me").bearer(&other.access).send().await.assert_text("Ann");
}

#[tokio::test]
async fn a_user_has_so_many_logins_and_the_oldest_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.auth.per_user = 2;
    let part = part(directory.path(), &config).await;
    let inner = &part.auth().inner;
    let (others, begun) = (logged_in(&part, "bob").await, now());
    let mut all = Vec::new();
    for number in 0..4 {
        all.push(inner.login("ann".to_owned(), Grants::default(), begun + number).await.unwrap());
    }
    let mut alive = Vec::new();
    for tokens in &all {
        alive.push(user_of(&part, &tokens.access).await.is_some());
    }
    assert_eq!(alive, [false, false, true, true]);
    assert_eq!(user_of(&part, &others.access).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn with_revocation_at_the_refresh_no_request_asks_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.auth.revocation = Revocation::Refresh;
    let part = part(directory.path(), &config).await;
    let ann = logged_in(&part, "ann").await;
    let user = part.auth().verify(&ann.access).await.unwrap();
    part.auth().logout(&user).await.unwrap();
    assert_eq!(user_of(&part, &ann.access).await.as_deref(), Some("ann"), "until it expires");
    assert_eq!((count(&part, "verified"), count(&part, "cached")), (1, 1));
    assert!(part.auth().refresh(&ann.refresh).await.is_err());
}

#[tokio::test]
async fn a_login_that_asks_too_much_is_refused_and_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let long = part.auth().login("ann", Grants::default().role("r".repeat(4000))).await.unwrap_err();
    assert!(long.status() == 500 && long.to_string().contains("at most 4096 bytes"), "{long}");
    let spaced = part.auth().login("ann", Grants::default().scope("a b")).await.unwrap_err();
    assert!(spaced.to_string().contains("is no scope"), "{spaced}");
    part.auth().inner.sweep(now()).await.unwrap();
    assert_eq!((count(&part, "login"), count(&part, "alive")), (0, 0));
}

#[tokio::test]
async fn a_store_that_is_away_is_told_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let ann = logged_in(&part, "ann").await;
    let app = server(&part).await;
    let gone = sea_orm::DbErr::Conn(sea_orm::RuntimeErr::Internal("the server is gone".to_owned()));
    let failed: Result<()> = part.auth().inner.ask(async { Err(gone.into()) }).await;
    assert_eq!(failed.unwrap_err().status(), 503);
    assert!(matches!(part.health(), Health::Away { why } if why.contains("the server is gone")));
    part.look().await;
    assert_eq!(part.health(), Health::Here);
    part.close().await;
    let away = app.get("/me").bearer(&ann.access).send().await;
    assert_eq!(code(away.assert_status(503).assert_header("retry-after", "1")), "AWAY");
    app.get("/login/bob").send().await.assert_status(503);
    assert_eq!(count(&part, "failed"), 3);
    let without = TestServer::start(Server::new(&config()).get("/me", me)).await;
    without.get("/me").send().await.assert_status(500);
}

/// The database of the service has the logins and the sessions. A page's user is the same as a program's.
#[tokio::test]
async fn a_page_logs_in_by_a_session_and_a_bad_token_is_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.database.database = Some(directory.path().join("shop.db").display().to_string());
    config.sessions.store = config::Store::Database;
    config.sessions.secret = Some("s".repeat(32));
    let database = DatabasePart::new(&config.database, None).unwrap();
    database.open().await.unwrap();
    let mut registered = Registered::default();
    registered.lend(database.handle());
    let sessions = SessionsPart::new(&config, &registered).unwrap();
    sessions.open().await.unwrap();
    let place = Place::Database(database.handle());
    let part = AuthPart::at(&config, Some(directory.path().to_owned()), place);
    part.open().await.unwrap();
    let app = TestServer::start(routes(&part).layer(sessions.layer())).await;
    let root = app.client();
    root.get("/me").send().await.assert_status(401);
    root.get("/page/root").send().await.assert_status(200);
    root.get("/me").send().await.assert_text("root");
    root.get("/admin").send().await.assert_text("root");
    let ann = logged_in(&part, "ann").await;
    root.get("/me").bearer(&ann.access).send().await.assert_text("ann");
    root.get("/admin").bearer(&ann.access).send().await.assert_status(403);
    assert_eq!(count(&part, "cached"), 0, "each request asks the database");
    part.auth().inner.sweep(now()).await.unwrap();
    assert!(part.details()["alive"].is_null(), "nobody counts the rows of a service's database");
    for path in ["/me", "/who"] {
        let bad = root.get(path).bearer("nonsense").send().await;
        assert_eq!(code(bad.assert_status(401)), "TOKEN_INVALID", "{path}");
        root.get(path).header("authorization", "Basic cm9vdDpyb290").send().await.assert_status(401);
    }
    let answer = root.get("/logout").send().await;
    answer.assert_status(500);
    root.get("/page/ann").send().await.assert_status(200);
    root.get("/admin").send().await.assert_status(403);
    // Another host with the same database and another secret knows nobody.
    let other = tempfile::tempdir().unwrap();
    let place = Place::Database(database.handle());
    let host = AuthPart::at(&config, Some(other.path().to_owned()), place);
    host.open().await.unwrap();
    assert_eq!(user_of(&host, &ann.access).await, None);
    assert!(host.auth().refresh(&ann.refresh).await.is_err());
    assert_eq!(user_of(&part, &ann.access).await.as_deref(), Some("ann"));
}

/// Two services, of which each has a user 7.
#[tokio::test]
async fn services_that_share_a_store_and_keys_share_no_users() {
    let (shop, office) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = shop.path().join("a");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef").unwrap();
    let mut config = config();
    config.auth.keys = vec![config::AuthKey { kid: "a".to_owned(), secret_file: Some(file), ..Default::default() }];
    config.database.database = Some(shop.path().join("shared.db").display().to_string());
    let database = DatabasePart::new(&config.database, None).unwrap();
    database.open().await.unwrap();
    let at = |directory: &Path| AuthPart::at(&config, Some(directory.to_owned()), Place::Database(database.handle()));
    let (shop, office) = (at(shop.path()), at(office.path()));
    shop.open().await.unwrap();
    office.open().await.unwrap();
    let tokens = logged_in(&shop, "7").await;
    assert_eq!(user_of(&shop, &tokens.access).await.as_deref(), Some("7"));
    assert_eq!(user_of(&office, &tokens.access).await, None, "its user 7 is somebody else");
    assert!(office.auth().refresh(&tokens.refresh).await.is_err());
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    logged_in(&part, "ann").await;
    let names = private_files(directory.path());
    assert_eq!(names, ["auth.db", "auth.db-shm", "auth.db-wal", "auth.key", "auth.marks"]);
}
