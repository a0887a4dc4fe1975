//! Sessions over a real socket, in a file of SQLite: two servers on one directory are two workers, or one before and after a restart.

mod ends;
mod stores;

use std::path::Path;

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
