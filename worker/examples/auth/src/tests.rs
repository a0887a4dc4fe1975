//! The requests of the documents and what they print, in both languages; and what real tokens add.

use std::ops::Deref;

use gin_worker::auth::{Auth, Grants};
use gin_worker::axum::http::StatusCode;
use gin_worker::config::{Mode, Store};
use gin_worker::testing::{TestRequest, TestResponse, TestServer};

use super::*;

/// The service with a database of its own.
struct App {
    server: TestServer,
    directory: tempfile::TempDir,
}

impl Deref for App {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

/// The logins are in the database, too: a test has no state directory. Hashes are as cheap as they can be.
fn config(directory: &tempfile::TempDir) -> Config<Settings> {
    let file = directory.path().join("auth.db").display().to_string();
    Config::builder()
        .mode(Mode::Debug)
        .set(|config| {
            config.database.database = Some(file);
            config.auth.store = Store::Database;
            config.auth.secret = Some("a-secret-of-at-least-32-bytes-1f6b8c".to_owned());
            (config.auth.password_memory, config.auth.password_passes) = (8 << 10, 1);
        })
        .app(Settings::default())
        .build()
}

async fn app() -> App {
    let directory = tempfile::tempdir().unwrap();
    App { server: TestServer::start(server(&config(&directory))).await, directory }
}

impl App {
    fn login(&self, username: &str, password: &str) -> TestRequest {
        self.post("/login").json(json!({ "username": username, "password": password }))
    }

    /// The answer to a login that succeeds.
    async fn tokens(&self, username: &str) -> Value {
        self.login(username, "password").send().await.assert_status(200).json()
    }

    async fn token(&self, username: &str) -> String {
        text(&self.tokens(username).await, "token")
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

/// A refusal with this text, and nothing beside it that the documents do not print. What they do not print at all has a code.
#[track_caller]
fn assert_refused(answer: &TestResponse, status: u16, error: &str) {
    let mut body: Value = answer.assert_status(status).json();
    let is_printed = [401, 403].contains(&status) && body["code"] != "TOKEN_EXPIRED" && body["code"] != "TOKEN_REUSED";
    body.as_object_mut().unwrap().retain(|name, _| is_printed || name == "error");
    assert_eq!(body, json!({ "error": error }));
}

#[tokio::test]
async fn the_first_page_greets() {
    let app = app().await;
    app.get("/").send().await.assert_status(200).assert_json(json!({ "message": "Welcome to Gin Server" }));
}

#[tokio::test]
async fn a_login_gives_a_token_that_is_good_for_the_profile() {
    let app = app().await;
    let answer = app.login("admin", "password").send().await;
    answer.assert_status(200).assert_header("cache-control", "no-store").assert_header("content-language", "zh");
    let tokens: Value = answer.json();
    assert_eq!((&tokens["message"], &tokens["expires_in"]), (&json!("登录成功"), &json!(900)));
    let token = text(&tokens, "token");
    let expected = json!({ "user_id": "1", "message": "用户信息" });
    app.get("/api/profile").bearer(&token).send().await.assert_status(200).assert_json(&expected);
    // The documents' clients send the token alone.
    app.get("/api/profile").header("authorization", &token).send().await.assert_status(200).assert_json(&expected);
}

#[tokio::test]
async fn a_login_that_is_wrong_is_refused() {
    let app = app().await;
    for (username, password) in [
        ("admin", "wrong"),
        ("nobody", "password"),
        ("Admin", "password"),
        ("admin ", "password"),
        ("admin", "password "),
    ] {
        let answer = app.login(username, password).send().await;
        assert_refused(&answer, 401, "用户名或密码错误");
    }
    for body in [
        "{",
        "{}",
        "[]",
        r#"{"username":"admin"}"#,
        r#"{"username":"","password":"x"}"#,
        r#"{"username":"a\u0000","password":"x"}"#,
    ] {
        let answer = app.post("/login").typed("application/json", body).send().await;
        assert_refused(&answer, 400, "请求参数错误");
        assert!(answer.json::<Value>()["details"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn attempts_at_one_account_are_limited_and_a_success_forgets_them() {
    let app = app().await;
    for _ in 0..2 {
        for _ in 0..9 {
            app.login("admin", "wrong").send().await.assert_status(401);
        }
        app.login("admin", "password").send().await.assert_status(200);
    }
    for _ in 0..10 {
        app.login("admin", "wrong").send().await.assert_status(401);
    }
    // The right password does not help any more, and others are let in.
    let limited = app.login("admin", "password").send().await;
    assert_refused(&limited, 429, "登录尝试过多，请稍后再试");
    assert_eq!(limited.json::<Value>()["code"], "RATE_LIMIT_EXCEEDED");
    assert!(limited.header("retry-after").is_some());
    app.login("user2", "password").send().await.assert_status(200);
}

#[tokio::test]
async fn what_is_under_api_needs_a_token() {
    let app = app().await;
    for path in ["/api/profile", "/api/admin/users"] {
        let answer = app.get(path).send().await;
        assert_refused(&answer, 401, "缺少认证令牌");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        for bad in ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_refused(&app.get(path).bearer(bad).send().await, 401, "无效的认证令牌");
        }
    }
    assert_refused(&app.post("/api/logout").send().await, 401, "缺少认证令牌");
}

#[tokio::test]
async fn after_a_logout_the_token_is_worth_nothing() {
    let app = app().await;
    let (mine, other) = (app.tokens("user2").await, app.token("user2").await);
    let token = text(&mine, "token");
    let answer = app.post("/api/logout").bearer(&token).send().await;
    answer.assert_status(200).assert_json(json!({ "message": "退出成功" }));
    assert_refused(&app.get("/api/profile").bearer(&token).send().await, 401, "无效的认证令牌");
    let refresh = json!({ "refresh_token": mine["refresh_token"] });
    assert_refused(&app.post("/refresh").json(refresh).send().await, 401, "无效的认证令牌");
    // The user's other login goes on.
    app.get("/api/profile").bearer(&other).send().await.assert_status(200);
}

#[tokio::test]
async fn a_refresh_token_gives_new_tokens() {
    let app = app().await;
    let first = app.tokens("user2").await;
    let answer = app.post("/refresh").json(json!({ "refresh_token": first["refresh_token"] })).send().await;
    let second: Value = answer.assert_status(200).assert_header("cache-control", "no-store").json();
    assert_eq!((&second["message"], &second["expires_in"]), (&json!("令牌已刷新"), &json!(900)));
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let profile: Value = app.get("/api/profile").bearer(&text(&second, "token")).send().await.assert_status(200).json();
    assert_eq!(profile["user_id"], "2");
    assert_refused(&app.post("/refresh").json(json!({ "refresh_token": "x" })).send().await, 401, "无效的认证令牌");
    assert_refused(&app.post("/refresh").json(json!({})).send().await, 400, "请求参数错误");
}

#[tokio::test]
async fn only_an_admin_sees_and_deletes_users() {
    let app = app().await;
    let (admin, user, gone) = (app.token("admin").await, app.token("user2").await, app.token("user7").await);
    assert_refused(&app.get("/api/admin/users").bearer(&user).send().await, 403, "权限不足");
    assert_refused(&app.delete("/api/admin/users/7").bearer(&user).send().await, 403, "权限不足");
    let list: Value = app.get("/api/admin/users").bearer(&admin).send().await.assert_status(200).json();
    assert_eq!((&list["message"], list["data"].as_array().map(Vec::len)), (&json!("管理员用户列表"), Some(8)));
    assert_eq!(list["data"][0], json!({ "id": 1, "username": "admin", "roles": ["admin"] }));
    assert_eq!(list["data"][6], json!({ "id": 7, "username": "user7", "roles": [] }));
    let delete = async |id: &str| app.delete(&format!("/api/admin/users/{id}")).bearer(&admin).send().await;
    delete("7").await.assert_status(200).assert_json(json!({ "message": "删除用户 7 成功" }));
    // Its login has ended with the account.
    assert_refused(&app.get("/api/profile").bearer(&gone).send().await, 401, "无效的认证令牌");
    assert_refused(&app.login("user7", "password").send().await, 401, "用户名或密码错误");
    for id in ["7", "99", "x"] {
        assert_refused(&delete(id).await, 404, "用户不存在");
    }
    assert_refused(&delete("1").await, 409, "不能删除自己");
}

#[tokio::test]
async fn who_likes_english_is_answered_in_it() {
    let app = app().await;
    let english = app.client().header("accept-language", "en-GB,en;q=0.9,zh;q=0.5");
    let login = |username: &str, password: &str| {
        english.post("/login").json(json!({ "username": username, "password": password }))
    };
    let answer = login("admin", "password").send().await;
    answer.assert_status(200).assert_header("content-language", "en");
    let vary: Vec<_> =
        answer.headers.get_all("vary").iter().map(|value| value.as_bytes().to_ascii_lowercase()).collect();
    assert!(vary.iter().any(|value| value == b"accept-language"), "{vary:?}");
    let tokens: Value = answer.json();
    assert_eq!(tokens["message"], "logged in");
    let english = english.clone().bearer(&text(&tokens, "token"));
    let message = async |request: TestRequest, error: bool| {
        let answer: Value = request.send().await.json();
        text(&answer, if error { "error" } else { "message" })
    };
    assert_eq!(message(english.get("/api/profile"), false).await, "user");
    assert_eq!(message(english.get("/api/admin/users"), false).await, "users");
    assert_eq!(message(english.delete("/api/admin/users/6"), false).await, "user 6 is deleted");
    assert_eq!(message(english.delete("/api/admin/users/6"), true).await, "there is no such user");
    assert_eq!(message(english.post("/login").body("{"), true).await, "bad request");
    assert_eq!(message(login("admin", "x"), true).await, "wrong user name or password");
    assert_eq!(message(english.post("/api/logout"), false).await, "logged out");
    assert_eq!(message(english.get("/api/profile"), true).await, "the token is not valid");
    let stranger = app.client().header("accept-language", "en");
    assert_eq!(message(stranger.get("/api/profile"), true).await, "the token is missing");
    assert_eq!(message(stranger.get("/nowhere"), true).await, "there is nothing here");
    assert_eq!(message(stranger.put("/login"), true).await, "this method is not allowed here");
    assert_refused(&app.get("/nowhere").send().await, 404, "请求的资源不存在");
}

#[tokio::test]
async fn a_login_outlives_the_program_and_a_hash_gets_new_parameters() {
    let App { server: first, directory } = app().await;
    let login = async |app: &TestServer| {
        let asked = app.post("/login").json(json!({ "username": "user3", "password": "password" }));
        asked.send().await.assert_status(200).json::<Value>()
    };
    let token = text(&login(&first).await, "token");
    first.stop().await;
    let mut stronger = config(&directory);
    stronger.auth.password_passes = 2;
    let next = TestServer::start(server(&stronger)).await;
    next.get("/api/profile").bearer(&token).send().await.assert_status(200);
    let hash = async || {
        let database = gin_worker::database::Database::open(&stronger.database).await.unwrap();
        let statement = gin_worker::sea_orm::Statement::from_string(
            gin_worker::sea_orm::DbBackend::Sqlite,
            "SELECT hash FROM accounts WHERE username = 'user3'",
        );
        let row = gin_worker::sea_orm::ConnectionTrait::query_one_raw(&database, statement).await.unwrap().unwrap();
        row.try_get::<String>("", "hash").unwrap()
    };
    assert!(hash().await.contains("t=1"));
    login(&next).await;
    assert!(hash().await.contains("t=2"));
    login(&next).await;
}

/// Deletes an account, and then comes a login whose password was checked before.
async fn late_login(accounts: accounts::Accounts, auth: Auth) -> gin_worker::Result<String> {
    let account = accounts.find("user2").await?.unwrap();
    accounts.remove(account.id).await?;
    auth.logout_everywhere(account.id).await?;
    routes::begin(&accounts, &auth, &account, Grants::default()).await.map(|tokens| tokens.access)
}

#[tokio::test]
async fn no_login_of_an_account_outlives_it() {
    let directory = tempfile::tempdir().unwrap();
    let app = TestServer::start(server(&config(&directory)).get("/late", late_login)).await;
    assert_refused(&app.get("/late").send().await, 401, "用户名或密码错误");
}

/// A new password, and then the end of a login with the old one, whose hash was outdated. Answers what is stored.
async fn rehash(accounts: accounts::Accounts) -> gin_worker::Result<String> {
    let account = accounts.find("user2").await?.unwrap();
    accounts.set_hash(account.id, &account.hash, "new".to_owned()).await?;
    accounts.set_hash(account.id, &account.hash, "late".to_owned()).await?;
    Ok(accounts.find("user2").await?.unwrap().hash)
}

#[tokio::test]
async fn a_login_puts_no_old_password_in_the_place_of_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let app = TestServer::start(server(&config(&directory)).get("/rehash", rehash)).await;
    app.get("/rehash").send().await.assert_status(200).assert_text("new");
}

/// In release mode nobody has a password that is known.
#[tokio::test]
async fn the_first_password_of_release_mode_is_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut release = config(&directory);
    release.server.mode = Mode::Release;
    let file = directory.path().join("password");
    std::fs::write(&file, "correct horse\n").unwrap();
    release.app.admin_password_file = Some(file);
    let app = App { server: TestServer::start(server(&release)).await, directory };
    app.login("admin", "password").send().await.assert_status(401);
    let tokens: Value = app.login("admin", "correct horse").send().await.assert_status(200).json();
    let users = app.get("/api/admin/users").bearer(&text(&tokens, "token")).send().await;
    let users: Value = users.assert_status(200).json();
    assert_eq!(users["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(app.login("user2", "password").send().await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
#[should_panic(expected = "app.admin_password_file")]
async fn release_mode_does_not_start_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut release = config(&directory);
    release.server.mode = Mode::Release;
    TestServer::start(server(&release)).await;
}
