//! All programs as one: logins by sessions and tokens, who may do what, and pages of other origins.

use std::ops::Deref;

use gin_worker::axum::http::Method;
use gin_worker::config::{Mode, Store};
use gin_worker::serde_json::{Value, json};
use gin_worker::testing::{MultipartForm, TestClient, TestResponse, TestServer};
use gin_worker::websocket::Message;

use super::*;

/// The service with a directory of its own: nothing of it is in the state directory.
struct App {
    server: TestServer,
    _directory: tempfile::TempDir,
}

impl Deref for App {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl App {
    /// A browser with a page of the service, that speaks Chinese.
    fn page(&self) -> TestClient {
        self.client().header("sec-fetch-site", "same-origin")
    }

    /// The same, logged in; and the token that came with it.
    async fn logged_in(&self, username: &str) -> (TestClient, String) {
        let page = self.page();
        let answer = log_in(&page, username, "password").await;
        let answer: Value = answer.assert_status(200).json();
        (page, answer["token"].as_str().unwrap().to_owned())
    }
}

async fn app() -> App {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let secret = |letter: &str| Some(letter.repeat(32));
    let (database, uploads, hub) = (place("full.db"), place("uploads"), Hub::open(&place("chat.log")).unwrap());
    std::fs::create_dir(&uploads).unwrap();
    let config = Config::builder()
        .mode(Mode::Debug)
        .set(|config| {
            config.database.database = Some(database.display().to_string());
            (config.sessions.store, config.sessions.secret) = (Store::Database, secret("s"));
            (config.auth.store, config.auth.secret) = (Store::Database, secret("a"));
            // A debug build hashes slowly.
            (config.auth.password_memory, config.auth.password_passes) = (64 << 10, 1);
            (config.security.enable_csrf, config.security.csrf_secret) = (true, secret("c"));
            config.uploads.dir = Some(uploads);
        })
        .app(Settings::default())
        .build();
    App { server: TestServer::start(server(&config, hub)).await, _directory: directory }
}

async fn log_in(client: &TestClient, username: &str, password: &str) -> TestResponse {
    client.post("/login").json(json!({ "username": username, "password": password })).send().await
}

/// An error as a client reads it.
fn error(answer: &TestResponse) -> Value {
    answer.json()
}

fn notes() -> MultipartForm {
    MultipartForm::new().file("file", "notes.txt", "text/plain", "hello")
}

#[tokio::test]
async fn a_login_is_a_session_for_the_page_and_a_token_for_programs() {
    let app = app().await;
    let (page, token) = app.logged_in("admin").await;
    let shown = json!({ "user_id": "1", "name": "admin", "message": "用户信息" });
    page.get("/api/profile").send().await.assert_status(200).assert_json(&shown);
    let by_token = app.get("/api/profile").bearer(&token).send().await;
    by_token.assert_status(200).assert_json(json!({ "user_id": "1", "name": "1", "message": "用户信息" }));
    let stranger = app.get("/api/profile").send().await;
    assert_eq!(error(stranger.assert_status(401)), json!({ "error": "缺少认证令牌" }));
    let wrong = log_in(&app.page(), "admin", "wrong").await;
    assert_eq!(error(wrong.assert_status(401)), json!({ "error": "用户名或密码错误" }));
    app.post("/login").typed("application/json", "{").send().await.assert_status(400);

    // Each logout ends that by which it was asked for.
    let out = json!({ "message": "退出成功" });
    page.post("/api/logout").send().await.assert_status(200).assert_json(&out);
    page.get("/api/profile").send().await.assert_status(401);
    app.get("/api/profile").bearer(&token).send().await.assert_status(200);
    app.post("/api/logout").bearer(&token).send().await.assert_status(200).assert_json(&out);
    let revoked = app.get("/api/profile").bearer(&token).send().await;
    assert_eq!(error(revoked.assert_status(401)), json!({ "error": "无效的认证令牌" }));
}

#[tokio::test]
async fn a_cookie_that_was_planted_is_worth_nothing_after_the_login() {
    let app = app().await;
    let (eve, _) = app.logged_in("user2").await;
    let planted = eve.cookie("session").unwrap();
    // The victim's browser has Eve's cookie, and logs in.
    let victim = app.page().with_cookie("session", &planted);
    log_in(&victim, "admin", "password").await.assert_status(200);
    assert_ne!(victim.cookie("session").unwrap(), planted);
    victim.get("/api/admin/users").send().await.assert_status(200);
    eve.get("/api/profile").send().await.assert_status(401);
}

#[tokio::test]
async fn files_are_for_users_and_only_an_admin_deletes_them() {
    let app = app().await;
    for (method, path) in [
        (Method::POST, "/upload"),
        (Method::POST, "/upload/multiple"),
        (Method::GET, "/files"),
        (Method::GET, "/download/none.txt"),
        (Method::DELETE, "/files/none.txt"),
        (Method::POST, "/tus"),
    ] {
        let answer = app.request(method, path).header("sec-fetch-site", "same-origin").send().await;
        assert_eq!(error(answer.assert_status(401)), json!({ "error": "缺少认证令牌" }), "{path}");
    }
    let (page, token) = app.logged_in("user2").await;
    page.post("/upload").multipart(&notes()).send().await.assert_status(200);
    let stored: Value = app.post("/upload").bearer(&token).multipart(&notes()).send().await.assert_status(200).json();
    let (name, url) = (stored["data"]["filename"].as_str().unwrap(), stored["data"]["download_url"].as_str().unwrap());
    page.get(url).send().await.assert_status(200).assert_text("hello");
    let path = format!("/files/{name}");
    let refused = page.delete(&path).send().await;
    assert_eq!(error(refused.assert_status(403)), json!({ "error": "权限不足" }));
    let (admin, _) = app.logged_in("admin").await;
    admin.delete(&path).send().await.assert_status(200).assert_json(json!({ "message": "文件删除成功" }));
    let gone = admin.delete(&path).send().await;
    assert_eq!(error(gone.assert_status(404)), json!({ "error": "文件不存在" }));
    let list: Value = page.get("/files").send().await.assert_status(200).json();
    assert_eq!(list["total"], 1);
}

#[tokio::test]
async fn a_user_who_is_deleted_is_out_everywhere() {
    let app = app().await;
    let ((page, token), (admin, _)) = (app.logged_in("user7").await, app.logged_in("admin").await);
    let refused = page.delete("/api/admin/users/2").send().await;
    assert_eq!(error(refused.assert_status(403)), json!({ "error": "权限不足" }));
    let deleted = admin.delete("/api/admin/users/7").send().await;
    deleted.assert_status(200).assert_json(json!({ "message": "删除用户 7 成功" }));
    page.get("/api/profile").send().await.assert_status(401);
    app.get("/api/profile").bearer(&token).send().await.assert_status(401);
    log_in(&page, "user7", "password").await.assert_status(401);
    let own = admin.delete("/api/admin/users/1").send().await;
    assert_eq!(own.assert_status(409).json::<Value>()["error"], "不能删除自己");
    let users: Value = admin.get("/api/admin/users").send().await.assert_status(200).json();
    assert_eq!(users["data"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn the_chat_knows_by_the_login_who_speaks() {
    let app = app().await;
    let ((ann, token), (admin, _)) = (app.logged_in("user2").await, app.logged_in("admin").await);
    let stranger = app.get("/ws?user_id=admin").try_websocket().await;
    assert!(stranger.is_err_and(|answer| answer.status == 401));
    let mut json_socket = ann.get("/ws?user_id=admin&format=json").websocket().await;
    let served: Value = json_socket.json().await;
    assert_eq!(served["served_by"]["pid"], std::process::id());
    let mut text_socket = app.get("/ws").bearer(&token).websocket().await;
    json_socket.send(Message::Text("hello".to_owned())).await;
    assert_eq!(json_socket.json::<Value>().await, json!({ "user_id": "user2", "message": "hello" }));
    assert_eq!(text_socket.text().await, "hello");

    let news = json!({ "message": "news" });
    let sent = admin.post("/broadcast").json(&news).send().await;
    sent.assert_status(200).assert_json(json!({ "message": "广播成功" }));
    assert_eq!(json_socket.json::<Value>().await["message"], "news");
    assert_eq!(text_socket.text().await, "news");
    for (client, status) in [(&ann, 403), (&app.page(), 401)] {
        client.post("/broadcast").json(&news).send().await.assert_status(status);
    }
    let empty = admin.post("/broadcast").json(json!({})).send().await;
    assert_eq!(empty.assert_status(400).json::<Value>()["error"], "请求参数错误");
}

#[tokio::test]
async fn a_logout_closes_the_websockets_of_its_user() {
    let app = app().await;
    let ((ann, token), (bob, _), (admin, _)) =
        (app.logged_in("user2").await, app.logged_in("user3").await, app.logged_in("admin").await);
    let mut by_session = ann.get("/ws").websocket().await;
    let mut by_token = app.get("/ws").bearer(&token).websocket().await;
    let mut bobs = bob.get("/ws").websocket().await;
    ann.post("/api/logout").send().await.assert_status(200);
    assert_eq!((by_session.closed().await, by_token.closed().await), (1008, 1008));
    let gone = ann.get("/ws").try_websocket().await;
    assert!(gone.is_err_and(|answer| answer.status == 401));
    // The login of the token lives, so its program comes back. Others have heard nothing of it.
    let mut again = app.get("/ws").bearer(&token).websocket().await;
    bobs.send(Message::Text("hello".to_owned())).await;
    assert_eq!((bobs.text().await, again.text().await), ("hello".to_owned(), "hello".to_owned()));
    app.post("/api/logout").bearer(&token).send().await.assert_status(200);
    assert_eq!(again.closed().await, 1008);
    admin.delete("/api/admin/users/3").send().await.assert_status(200);
    assert_eq!(bobs.closed().await, 1008);
    // Another user logs in by the same browser.
    let mut admins = admin.get("/ws").websocket().await;
    log_in(&admin, "user4", "password").await.assert_status(200);
    assert_eq!(admins.closed().await, 1008);
}

#[tokio::test]
async fn a_page_of_another_origin_does_nothing_with_a_users_cookie() {
    let app = app().await;
    let (page, token) = app.logged_in("admin").await;
    let cookie = page.cookie("session").unwrap();
    let paths = ["/api/logout", "/upload", "/broadcast", "/login", "/tus"];
    for (site, origin) in
        [("cross-site", "https://evil.example"), ("same-site", "http://127.0.0.1:1"), ("cross-site", "null")]
    {
        for kind in ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain", ""] {
            for path in paths {
                let asked = app.post(path).cookie("session", &cookie).header("origin", origin);
                let asked = asked.header("sec-fetch-site", site);
                let asked = if kind.is_empty() { asked } else { asked.typed(kind, r#"{"message":"stolen"}"#) };
                let answer: Value = asked.send().await.assert_status(403).json();
                assert_eq!(answer, json!({ "error": "不允许来自该来源的请求", "code": "CSRF" }), "{path} {kind}");
            }
        }
    }
    let foreign =
        app.get("/ws").cookie("session", &cookie).header("origin", "https://evil.example").try_websocket().await;
    assert!(foreign.is_err_and(|answer| answer.status == 403));
    page.get("/api/profile").send().await.assert_status(200);
    // A program's token is sent by no page that the service has not let.
    app.get("/files").bearer(&token).send().await.assert_status(200);
}

#[tokio::test]
async fn the_page_is_whole_and_runs_only_its_own_scripts() {
    let app = app().await;
    let index = app.get("/").send().await;
    let policy = index.assert_status(200).header("content-security-policy");
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'self'")));
    let scripts = ["/app.js", "/ask.js", "/chat.js", "/files.js", "/language.js"];
    for path in scripts.into_iter().chain(["/style.css", "/full.css", "/icon.svg"]) {
        let part = app.get(path).send().await;
        part.assert_status(200);
        for named in part.text().split("from '").skip(1) {
            let named = named.split('\'').next().unwrap();
            assert!(scripts.contains(&named), "{path} names {named}");
        }
    }
    // Each element that a script takes by its id is there, or made by a script.
    let mut all = index.text();
    for path in scripts {
        all.push_str(&app.get(path).send().await.text());
    }
    for id in all.split("getElementById('").skip(1).chain(all.split("at('").skip(1)) {
        let id = id.split('\'').next().unwrap();
        assert!(index.text().contains(&format!("id=\"{id}\"")), "{id}");
    }
}
