//! Sessions over a real socket, in a file of SQLite: two servers on one directory are two workers, or one before and after a restart.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path as InPath, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::session::Slot;
use super::*;
use crate::Server;
use crate::config::{Config, Mode};
use crate::parts::{Health, Part};
use crate::testing::{TestResponse, TestServer};

async fn login(session: Session, InPath(user): InPath<String>) -> Result<String> {
    session.login(&user).await?;
    Ok(user)
}

async fn user(session: Session) -> Result<String> {
    Ok(session.user().await?.unwrap_or_else(|| "nobody".to_owned()))
}

async fn set(session: Session, InPath((name, value)): InPath<(String, String)>) -> Result {
    session.insert(&name, value).await
}

async fn get(session: Session, InPath(name): InPath<String>) -> Result<String> {
    Ok(session.get(&name).await?.unwrap_or_else(|| "nothing".to_owned()))
}

async fn remove(session: Session, InPath(name): InPath<String>) -> Result<String> {
    Ok(session.remove(&name).await?.unwrap_or_else(|| "nothing".to_owned()))
}

async fn logout(session: Session) -> Result {
    session.logout().await
}

async fn everywhere(session: Session, InPath(user): InPath<String>) -> Result {
    session.logout_everywhere(user).await
}

async fn fails(session: Session) -> Result {
    session.login("mallory").await?;
    Err(Error::internal("as told"))
}

async fn rotates(session: Session) -> Result {
    session.rotate().await
}

/// Reads the session and hands the request on, as a guard does.
async fn guard(session: Session, request: Request, next: Next) -> Result<Response> {
    session.user().await?;
    Ok(next.run(request).await)
}

fn config() -> Config {
    Config::default()
}

async fn part(directory: &Path, config: &Config) -> SessionsPart {
    let part = SessionsPart::at(config, Some(directory.to_owned()), Place::Directory);
    assert!(matches!(part.health(), Health::Away { .. }), "it is not open");
    part.open().await.unwrap();
    assert_eq!(part.health(), Health::Here);
    part
}

async fn server(part: &SessionsPart) -> TestServer {
    let routes = Server::new(&config())
        .get("/login/:user", login)
        .get("/user", user)
        .get("/set/:name/:value", set)
        .get("/get/:name", get)
        .get("/remove/:name", remove)
        .get("/logout", logout)
        .get("/everywhere/:user", everywhere)
        .get("/fails", fails)
        .get("/rotates", rotates)
        .get("/plain", async || "plain");
    TestServer::start(routes.layer(part.layer())).await
}

fn cookie(response: &TestResponse) -> Option<&str> {
    response.header("set-cookie")
}

/// The value of the cookie that an answer sets.
fn value(response: &Response) -> String {
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().strip_prefix("session=").unwrap().to_owned()
}

/// The session of a request with this cookie, before its answer.
async fn taken(part: &SessionsPart, cookie: &str) -> Session {
    let session = Session::new(part.sessions().clone());
    let request = Request::builder().header("cookie", format!("session={cookie}"));
    let (mut parts, _) = request.extension(Slot(session)).body(Body::empty()).unwrap().into_parts();
    Session::from_request_parts(&mut parts, &()).await.unwrap()
}

async fn finished(session: Session) -> Response {
    session.finish(Response::default()).await
}

/// A session of this user, by its cookie.
async fn logged_in(part: &SessionsPart, user: &str) -> String {
    let session = taken(part, "").await;
    session.login(user).await.unwrap();
    value(&finished(session).await)
}

async fn user_of(part: &SessionsPart, cookie: &str) -> Option<String> {
    taken(part, cookie).await.user().await.unwrap()
}

fn count(part: &SessionsPart, event: &str) -> u64 {
    part.details()[event].as_u64().unwrap()
}

#[tokio::test]
async fn a_client_is_remembered_until_its_logout() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let ann = app.client();
    ann.get("/user").send().await.assert_text("nobody");
    let answer = ann.get("/login/ann").send().await;
    let told = cookie(answer.assert_status(200)).unwrap();
    assert!(told.starts_with("session=") && told.contains("; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure"));
    answer.assert_header("cache-control", "no-store");
    ann.get("/user").send().await.assert_text("ann");
    ann.get("/set/theme/dark").send().await.assert_status(200);
    ann.get("/get/theme").send().await.assert_text("dark");
    ann.get("/remove/theme").send().await.assert_text("dark");
    ann.get("/get/theme").send().await.assert_text("nothing");
    app.get("/user").send().await.assert_text("nobody");

    let before = ann.cookie("session").unwrap();
    let answer = ann.get("/logout").send().await;
    assert!(cookie(&answer).unwrap().starts_with("session=; Path=/; Max-Age=0"));
    assert_eq!(ann.cookie("session"), None);
    app.get("/user").cookie("session", &before).send().await.assert_text("nobody");
}

#[tokio::test]
async fn a_cookie_is_set_only_when_something_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    for path in ["/plain", "/user", "/get/theme", "/remove/theme"] {
        assert_eq!(cookie(&app.get(path).send().await), None, "{path}");
    }
    assert_eq!((count(&part, "read"), count(&part, "created")), (0, 0), "nobody has a session");
    let client = app.client();
    assert!(cookie(&client.get("/set/theme/dark").send().await).is_some());
    for path in ["/plain", "/user", "/get/theme", "/set/theme/dark", "/set/theme/light"] {
        assert_eq!(cookie(&client.get(path).send().await), None, "{path}");
    }
    assert!(cookie(&client.get("/rotates").send().await).is_some());
    client.get("/get/theme").send().await.assert_text("light");
}

#[tokio::test]
async fn a_session_that_nobody_looks_at_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let ann = app.client();
    ann.get("/login/ann").send().await.assert_status(200);
    ann.get("/plain").send().await.assert_text("plain");
    assert_eq!((count(&part, "read"), count(&part, "cached")), (0, 0));
    ann.get("/user").send().await.assert_text("ann");
    ann.get("/user").send().await.assert_text("ann");
    assert_eq!((count(&part, "read"), count(&part, "cached")), (1, 1));
}

/// Mallory has a session, and makes the victim use it: the victim's login must not be hers.
#[tokio::test]
async fn a_login_gives_a_new_id_to_a_session_that_another_may_know() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let mallory = app.client();
    mallory.get("/set/cart/tea").send().await.assert_status(200);
    let known = mallory.cookie("session").unwrap();
    let victim = app.client().with_cookie("session", &known);
    victim.get("/login/victim").send().await.assert_status(200);
    assert_ne!(victim.cookie("session").unwrap(), known);
    victim.get("/user").send().await.assert_text("victim");
    victim.get("/get/cart").send().await.assert_text("tea");
    mallory.get("/user").send().await.assert_text("nobody");
    mallory.get("/get/cart").send().await.assert_text("nothing");
    // An id that the client has made up is none.
    let made_up = app.client().with_cookie("session", &"0".repeat(64));
    made_up.get("/login/ann").send().await.assert_status(200);
    assert_ne!(made_up.cookie("session").unwrap()[..32], "0".repeat(32));
}

#[tokio::test]
async fn values_of_one_user_are_not_the_next_ones() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let shared = app.client();
    shared.get("/login/ann").send().await.assert_status(200);
    shared.get("/set/address/elm_street").send().await.assert_status(200);
    shared.get("/login/bob").send().await.assert_status(200);
    shared.get("/get/address").send().await.assert_text("nothing");
}

#[tokio::test]
async fn a_forged_cookie_is_refused_without_a_look_at_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let ours = logged_in(&part, "ann").await;
    assert_eq!(user_of(&part, &ours).await.as_deref(), Some("ann"));
    let (read, id) = (count(&part, "read"), Id::parse(&ours[..32]).unwrap());
    let other = Signer::new(&[7; 32], "session").sign(id);
    let forged = cookie::set("x", &other, 0, false).to_str().unwrap()[2..66].to_owned();
    assert_eq!((&forged[..32], user_of(&part, &forged).await), (&ours[..32], None));
    assert_eq!(user_of(&part, &format!("{}{}", &ours[..32], "0".repeat(32))).await, None);
    assert_eq!((count(&part, "read"), count(&part, "refused")), (read, 2));
    for nonsense in ["", "' OR 1=1 --", &ours[..63], &format!("{ours}0"), "\u{e9}"] {
        assert_eq!(user_of(&part, nonsense).await, None, "{nonsense}");
    }
    assert_eq!((count(&part, "read"), count(&part, "refused")), (read, 2));
}

#[tokio::test]
async fn a_restart_logs_nobody_out_and_a_logout_counts_in_all_workers() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (part(directory.path(), &config()).await, part(directory.path(), &config()).await);
    let ann = logged_in(&one, "ann").await;
    for _ in 0..2 {
        assert_eq!(user_of(&other, &ann).await.as_deref(), Some("ann"));
    }
    assert_eq!(count(&other, "cached"), 1);
    // A stolen cookie is worth nothing after the logout, though the other worker has the session in its memory.
    let session = taken(&one, &ann).await;
    session.logout().await.unwrap();
    assert_eq!(user_of(&other, &ann).await, None);
    finished(session).await;

    let bob = logged_in(&one, "bob").await;
    one.close().await;
    drop((one, other));
    let next = part(directory.path(), &config()).await;
    assert_eq!((user_of(&next, &bob).await.as_deref(), user_of(&next, &ann).await), (Some("bob"), None));
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    (config.sessions.idle, config.sessions.absolute) = (Duration::from_secs(100), Duration::from_secs(250));
    let part = part(directory.path(), &config).await;
    let (ann, begun) = (logged_in(&part, "ann").await, now());
    let (sessions, id) = (part.sessions(), Id::parse(&ann[..32]).unwrap());
    let alive = async |seconds: i64| sessions.read(id, begun + seconds * 1000).await.unwrap().is_some();
    assert!(alive(90).await && !alive(101).await);
    // As it would be after a use.
    sessions.touch(id, begun + 150_000).await.unwrap();
    assert!(alive(149).await && !alive(151).await);
    sessions.touch(id, begun).await.unwrap();
    assert!(alive(149).await, "no use makes it shorter");
    let record = sessions.read(id, begun).await.unwrap().unwrap();
    assert!(sessions.rules().lifetime.end(record.created, begun + 240_000) <= begun + 250_000);
    // What has expired is not in the cache, either.
    let signed = sessions.opened().unwrap().signer.sign(id);
    assert!(sessions.load(&signed, begun).await.unwrap().is_some());
    assert!(sessions.load(&signed, begun + 151_000).await.unwrap().is_none());
}

/// A release with other rules finds the sessions of the one before.
#[tokio::test]
async fn a_shorter_absolute_ends_sessions_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    let before = part(directory.path(), &config).await;
    let (ann, begun) = (logged_in(&before, "ann").await, now());
    config.sessions.absolute = Duration::from_secs(30);
    let next = part(directory.path(), &config).await;
    let (sessions, id) = (next.sessions(), Id::parse(&ann[..32]).unwrap());
    let signed = sessions.opened().unwrap().signer.sign(id);
    for _ in 0..2 {
        assert!(sessions.load(&signed, begun).await.unwrap().is_some());
    }
    assert!(sessions.load(&signed, begun + 30_000).await.unwrap().is_none());
    assert!(before.sessions().load(&signed, begun + 30_000).await.unwrap().is_some());
}

/// A use is noted before the answer goes out, once in a tenth of `idle`.
#[tokio::test]
async fn a_use_lets_a_session_live_on() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let ann = logged_in(&part, "ann").await;
    let (sessions, id) = (part.sessions(), Id::parse(&ann[..32]).unwrap());
    // As it is when the last use was long ago.
    let soon = now() + 60_000;
    let record = Record::clone(&sessions.read(id, now()).await.unwrap().unwrap());
    assert!(sessions.update(id, id, &Record { expires: soon, ..record }).await.unwrap());
    let mut session = taken(&part, &ann).await;
    assert_eq!(session.user().await.unwrap().as_deref(), Some("ann"));
    assert!(!session.is_settled());
    let response = finished(session).await;
    assert!(!response.headers().contains_key("set-cookie"));
    assert!(sessions.read(id, soon + 1).await.unwrap().is_some());
    let mut session = taken(&part, &ann).await;
    session.user().await.unwrap();
    let copy = session.clone();
    assert!(session.is_settled(), "the next use is noted in 5 minutes");
    drop(copy);
    assert!(session.is_settled(), "nor is it where nobody else has it");
    assert!(session.insert("late", 1).await.is_err(), "the answer is on its way");
}

#[tokio::test]
async fn what_has_expired_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let sessions = part.sessions();
    let alive = logged_in(&part, "ann").await;
    for _ in 0..600 {
        sessions
            .create(&Record { user: Some("bob".to_owned()), expires: now() - 1, ..Record::default() })
            .await
            .unwrap();
    }
    sessions.sweep().await.unwrap();
    assert_eq!((count(&part, "expired"), count(&part, "alive")), (600, 1));
    assert_eq!(user_of(&part, &alive).await.as_deref(), Some("ann"));
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_the_oldest_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.sessions.per_user = 2;
    let part = part(directory.path(), &config).await;
    let others = logged_in(&part, "bob").await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(logged_in(&part, "ann").await);
        // The next one is newer, by the clock that orders them.
        let then = now();
        while now() == then {
            tokio::task::yield_now().await;
        }
    }
    let mut users = Vec::new();
    for cookie in &all {
        users.push(user_of(&part, cookie).await);
    }
    let ann = Some("ann".to_owned());
    assert_eq!(users, [None, None, ann.clone(), ann]);
    assert_eq!(user_of(&part, &others).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_user_is_logged_out_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let (phone, laptop, other) = (app.client(), app.client(), app.client());
    phone.get("/login/ann").send().await.assert_status(200);
    laptop.get("/login/ann").send().await.assert_status(200);
    other.get("/login/Ann").send().await.assert_status(200);
    laptop.get("/user").send().await.assert_text("ann");
    let answer = phone.get("/everywhere/ann").send().await;
    assert!(cookie(&answer).unwrap().contains("Max-Age=0"));
    laptop.get("/user").send().await.assert_text("nobody");
    other.get("/user").send().await.assert_text("Ann");
    // Somebody else's: one's own session stays.
    assert_eq!(cookie(&other.get("/everywhere/ann").send().await), None);
    other.get("/user").send().await.assert_text("Ann");
}

#[tokio::test]
async fn a_user_whose_sessions_cannot_all_be_ended_is_told() {
    use sea_orm::ConnectionTrait;
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    logged_in(&part, "ann").await;
    // Somebody who has one of them gives it a new id each time that the others are looked up.
    let somebody = sqlite::open(directory.path()).await.unwrap();
    let again = "CREATE TRIGGER again AFTER DELETE ON gin_sessions BEGIN INSERT INTO gin_sessions \
                 VALUES (lower(hex(randomblob(16))), OLD.user_key, OLD.data, OLD.created, OLD.expires, OLD.version); END";
    somebody.execute_unprepared(again).await.unwrap();
    assert_eq!(part.sessions().end_all("ann").await.unwrap_err().status(), 409);
    somebody.execute_unprepared("DROP TRIGGER again").await.unwrap();
    part.sessions().end_all("ann").await.unwrap();
}

/// User 1 of the shop is a customer, and user 1 of its back office an employee.
#[tokio::test]
async fn services_that_share_a_store_do_not_share_users() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    let shop = part(directory.path(), &config).await;
    (config.sessions.cookie, config.sessions.per_user) = ("office".to_owned(), 1);
    let office = part(directory.path(), &config).await;
    let customer = logged_in(&shop, "1").await;
    let record = Record { user: Some("1".to_owned()), created: now(), expires: now() + 60_000, ..Record::default() };
    let employee = office.sessions().create(&record).await.unwrap();
    office.sessions().limit("1", now()).await.unwrap();
    assert_eq!(user_of(&shop, &customer).await.as_deref(), Some("1"));
    shop.sessions().end_all("1").await.unwrap();
    assert_eq!(user_of(&shop, &customer).await, None);
    assert!(office.sessions().read(employee, now()).await.unwrap().is_some());
}

#[tokio::test]
async fn two_requests_of_one_client_lose_no_change() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (part(directory.path(), &config()).await, part(directory.path(), &config()).await);
    let ann = logged_in(&one, "ann").await;
    let (first, second) = (taken(&one, &ann).await, taken(&other, &ann).await);
    first.insert("a", 1).await.unwrap();
    second.insert("b", 2).await.unwrap();
    second.insert("c", 3).await.unwrap();
    assert_eq!(finished(first).await.status(), StatusCode::OK);
    assert_eq!(finished(second).await.status(), StatusCode::OK);
    let session = taken(&one, &ann).await;
    let values = [
        session.get::<i32>("a").await.unwrap(),
        session.get::<i32>("b").await.unwrap(),
        session.get::<i32>("c").await.unwrap(),
    ];
    assert_eq!(values, [Some(1), Some(2), Some(3)]);
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_is_not_brought_back() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let ann = logged_in(&part, "ann").await;
    let (slow, quick) = (taken(&part, &ann).await, taken(&part, &ann).await);
    slow.insert("a", 1).await.unwrap();
    quick.logout().await.unwrap();
    let response = finished(slow).await;
    assert!(response.status() == StatusCode::OK && !response.headers().contains_key("set-cookie"));
    assert_eq!(user_of(&part, &ann).await, None);
    // A login is a wish of its own.
    let session = taken(&part, &logged_in(&part, "bob").await).await;
    session.login("bob").await.unwrap();
    part.sessions().end_all("bob").await.unwrap();
    let again = value(&finished(session).await);
    assert_eq!(user_of(&part, &again).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn changes_of_a_request_that_fails_are_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let client = app.client();
    let answer = client.get("/fails").send().await;
    assert_eq!(cookie(answer.assert_status(500)), None);
    assert_eq!(count(&part, "created"), 0);
    let late = taken(&part, "").await;
    finished(late.clone()).await;
    assert_eq!(late.insert("a", 1).await.unwrap_err().status(), 500, "nobody would write it");
}

#[tokio::test]
async fn middleware_takes_the_session_too() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    // The layer that is added first is the outer one.
    let routes: Server =
        Server::new(&config()).layer(part.layer()).middleware(guard).get("/login/:user", login).get("/user", user);
    let app = TestServer::start(routes).await;
    let ann = app.client();
    ann.get("/login/ann").send().await.assert_status(200);
    ann.get("/user").send().await.assert_text("ann");
    assert_eq!((count(&part, "read"), count(&part, "cached")), (1, 0), "they have one session, and one look");
    // Without sessions the log says what is missing.
    let routes: Server = Server::new(&config()).get("/user", user);
    TestServer::start(routes).await.get("/user").send().await.assert_status(500);
}

#[tokio::test]
async fn a_cookie_is_secure_but_on_loopback_in_debug_mode() {
    let directory = tempfile::tempdir().unwrap();
    for (mode, host, name, is_secure) in [
        (Mode::Debug, "127.0.0.1", "session", false),
        (Mode::Debug, "0.0.0.0", "session", true),
        (Mode::Release, "127.0.0.1", "session", true),
        (Mode::Test, "::1", "session", true),
        // Without it no browser takes a cookie of these names.
        (Mode::Debug, "127.0.0.1", "__Host-session", true),
        (Mode::Debug, "127.0.0.1", "__secure-session", true),
    ] {
        let mut config = config();
        (config.server.mode, config.server.host) = (mode, host.to_owned());
        config.sessions.cookie = name.to_owned();
        let part = part(directory.path(), &config).await;
        let app = server(&part).await;
        let answer = app.get("/login/ann").send().await;
        assert_eq!(cookie(&answer).unwrap().ends_with("; Secure"), is_secure, "{mode:?} {host} {name}");
        // A request that came over no connection of the loopback network.
        let session = taken(&part, "").await;
        session.login("ann").await.unwrap();
        let response = finished(session).await;
        assert!(response.headers()["set-cookie"].to_str().unwrap().ends_with("; Secure"));
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let ann = logged_in(&part, "ann").await;
    let app = server(&part).await;
    let refused: Result<()> = part.sessions().ask(async { Err("the disk is full".into()) }).await;
    assert_eq!((refused.unwrap_err().status().as_u16(), part.health()), (503, Health::Here));
    let gone = sea_orm::DbErr::Conn(sea_orm::RuntimeErr::Internal("the server is gone".to_owned()));
    let failed: Result<()> = part.sessions().ask(async { Err(gone.into()) }).await;
    assert_eq!(failed.unwrap_err().status(), 503);
    assert!(matches!(part.health(), Health::Away { why } if why.contains("the server is gone")));
    part.look().await;
    assert_eq!(part.health(), Health::Here);
    app.get("/user").cookie("session", &ann).send().await.assert_text("ann");
    part.close().await;
    app.get("/login/bob").send().await.assert_status(503).assert_header("retry-after", "1");
    assert!(matches!(part.health(), Health::Away { .. }));
    // A request that takes no session does not notice.
    app.get("/plain").cookie("session", &ann).send().await.assert_status(200);
}

#[tokio::test]
async fn a_session_that_cannot_be_read_keeps_nobody_from_a_login() {
    use sea_orm::ConnectionTrait;
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    let app = server(&part).await;
    let ann = app.client();
    ann.get("/login/ann").send().await.assert_status(200);
    let somebody = sqlite::open(directory.path()).await.unwrap();
    somebody.execute_unprepared("UPDATE gin_sessions SET data = '['").await.unwrap();
    ann.get("/user").send().await.assert_text("nobody");
    ann.get("/login/ann").send().await.assert_status(200);
    ann.get("/user").send().await.assert_text("ann");
}

#[tokio::test]
async fn a_table_that_cannot_be_used_is_an_error_of_the_start() {
    use sea_orm::ConnectionTrait;
    let directory = tempfile::tempdir().unwrap();
    let somebody = sqlite::open(directory.path()).await.unwrap();
    somebody.execute_unprepared("CREATE TABLE gin_sessions (id TEXT NOT NULL PRIMARY KEY, data TEXT)").await.unwrap();
    let part = SessionsPart::at(&config(), Some(directory.path().to_owned()), Place::Directory);
    let error = part.open().await.unwrap_err().to_string();
    assert!(error.contains("cannot make or use the table gin_sessions: ") && error.contains("user_key"), "{error}");
}

#[tokio::test]
async fn a_secret_that_is_configured_counts() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut config = config();
    config.sessions.secret = Some("0123456789abcdef0123456789abcdef".to_owned());
    let part = part(one.path(), &config).await;
    assert!(!one.path().join("sessions.key").exists());
    let ann = logged_in(&part, "ann").await;
    let id = Id::parse(&ann[..32]).unwrap();
    assert!(
        Signer::new(b"0123456789abcdef0123456789abcdef", "session")
            .sign(id)
            .has(&part.sessions().opened().unwrap().signer.sign(id).tag())
    );
    config.sessions.secret = Some("short".to_owned());
    let short = SessionsPart::at(&config, Some(other.path().to_owned()), Place::Directory);
    let error = short.open().await.unwrap_err().to_string();
    assert!(error.contains("sessions.secret has 5 bytes") && !error.contains("short"), "{error}");
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let part = part(directory.path(), &config()).await;
    logged_in(&part, "ann").await;
    let mut names = Vec::new();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        let name = file.file_name().into_string().unwrap();
        assert_eq!(mode, 0o600, "{name}");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["sessions.db", "sessions.db-shm", "sessions.db-wal", "sessions.key", "sessions.marks"]);
}
