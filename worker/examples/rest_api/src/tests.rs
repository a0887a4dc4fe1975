//! The requests of the documents and what they print, on SQLite; and what a database adds.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gin_worker::axum::extract::State;
use gin_worker::axum::http::Method;
use gin_worker::cache::Cache;
use gin_worker::sea_orm::{self, ConnectionTrait, DatabaseConnection};
use gin_worker::sea_orm_migration::MigratorTrait;
use gin_worker::serde_json::{Value, json};
use gin_worker::testing::TestServer;

use super::*;
use crate::answers::Answers;
use crate::migrations::Migrator;

/// The service on a database of its own.
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

fn config(directory: &tempfile::TempDir) -> Config<Settings> {
    let file = directory.path().join("users.db").display().to_string();
    Config::builder().set(|config| config.database.database = Some(file)).app(Settings::default()).build()
}

async fn app() -> App {
    let directory = tempfile::tempdir().unwrap();
    App { server: TestServer::start(server(&config(&directory))).await, directory }
}

/// A path with a query, whose values are written for a URL.
fn asked(search: &str) -> String {
    let search: String = search.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/api/v1/users/?search={search}")
}

fn names(page: &Page) -> Vec<&str> {
    page.data.iter().map(|user| user.name.as_str()).collect()
}

/// A user without the time of its creation, which is there.
fn timeless(mut user: Value) -> Value {
    let created_at = user.as_object_mut().and_then(|user| user.remove("created_at"));
    assert!(created_at.is_some_and(|at| at.as_str().is_some_and(|at| at.ends_with('Z'))), "{user}");
    user
}

#[tokio::test]
async fn the_list_is_as_the_documents_print_it() {
    let app = app().await;
    let search = app.get("/api/v1/users/?page=1&size=10&search=%E5%BC%A0").send().await;
    let text = search.assert_status(200).assert_header("content-type", "application/json").text();
    let begin = r#"{"data":[{"id":1,"name":"张三","email":"zhangsan@example.com","created_at":""#;
    let end = r#""}],"pagination":{"page":1,"size":10,"total":1},"message":"获取用户列表成功"}"#;
    assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
    for (query, found, total) in [
        ("", vec!["张三", "李四"], 2),
        ("page=2&size=1", vec!["李四"], 2),
        ("page=3&size=1", vec![], 2),
        ("search=lisi", vec!["李四"], 1),
        ("search=LISI", vec!["李四"], 1),
        ("search=nobody", vec![], 0),
        ("page=18446744073709551615&size=100", vec![], 2),
    ] {
        let page: Page = app.get(&format!("/api/v1/users/?{query}")).send().await.assert_status(200).json();
        assert_eq!((names(&page), page.pagination.total), (found, total), "{query}");
    }
    for query in ["page=0", "page=-1", "page=x", "page=18446744073709551616", "size=0", "size=101", "search=%00"] {
        let refused = app.get(&format!("/api/v1/users/?{query}")).send().await;
        let refused: Value = refused.assert_status(400).json();
        assert_eq!(refused["error"], "请求参数错误");
        assert!(refused["details"].as_str().is_some_and(|details| details.contains(&query[..4])), "{refused}");
    }
}

#[tokio::test]
async fn a_search_takes_no_character_for_another() {
    let app = app().await;
    let names_to_find = ["100%", "a_b", "axb", "wow!", r"back\slash", "Robert'); DROP TABLE users;--"];
    for (number, name) in names_to_find.into_iter().enumerate() {
        let new = json!({ "name": name, "email": format!("u{number}@example.com") });
        app.post("/api/v1/users/").json(&new).send().await.assert_status(201);
    }
    for (search, found) in [
        ("%", vec!["100%"]),
        ("_", vec!["a_b"]),
        ("A_B", vec!["a_b"]),
        ("!", vec!["wow!"]),
        (r"\", vec![r"back\slash"]),
        ("'); DROP", vec!["Robert'); DROP TABLE users;--"]),
        ("' OR '1'='1", vec![]),
    ] {
        let page: Page = app.get(&asked(search)).send().await.assert_status(200).json();
        assert_eq!(names(&page), found, "{search}");
    }
    app.get(&asked(&"a".repeat(201))).send().await.assert_status(400);
}

#[tokio::test]
async fn a_user_is_created_once() {
    let app = app().await;
    let new = json!({ "name": "王五", "email": "wangwu@example.com" });
    let made: Value = app.post("/api/v1/users/").json(&new).send().await.assert_status(201).json();
    assert_eq!(made["message"], "用户创建成功");
    assert_eq!(timeless(made["data"].clone()), json!({ "id": 3, "name": "王五", "email": "wangwu@example.com" }));
    let again = app.post("/api/v1/users/").json(&new).send().await;
    again.assert_status(409).assert_json(json!({ "error": "邮箱已存在" }));
    let refused: Value = app.post("/api/v1/users/").json(json!({})).send().await.assert_status(400).json();
    let details = refused["details"].as_str().unwrap();
    assert!(details.contains("name: is required") && details.contains("email: is required"), "{details}");
    // The URL sets no field of it.
    let half = app.post("/api/v1/users/?email=a@example.com").json(json!({ "name": "a" })).send().await;
    half.assert_status(400);
    for name in ["", "a\0b", &"a".repeat(201)] {
        let new = json!({ "name": name, "email": "a@example.com" });
        let refused: Value = app.post("/api/v1/users/").json(&new).send().await.assert_status(400).json();
        assert!(refused["details"].as_str().is_some_and(|details| details.contains("name: ")), "{refused}");
    }
}

#[tokio::test]
async fn of_many_who_want_an_email_at_once_one_has_it() {
    let app = Arc::new(app().await);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let app = Arc::clone(&app);
        let new = json!({ "name": format!("n{number}"), "email": "wanted@example.com" });
        all.spawn(async move { app.post("/api/v1/users/").json(&new).send().await.status.as_u16() });
    }
    let statuses = all.join_all().await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(409)), (1, 19), "{statuses:?}");
}

#[tokio::test]
async fn a_user_is_shown_changed_and_deleted() {
    let app = app().await;
    let shown: Value = app.get("/api/v1/users/1").send().await.assert_status(200).json();
    assert_eq!((&shown["message"], &shown["data"]["name"]), (&json!("获取用户详情成功"), &json!("张三")));
    let changed: Value = app.put("/api/v1/users/1").json(json!({ "name": "n" })).send().await.assert_status(200).json();
    assert_eq!(changed["message"], "用户更新成功");
    assert_eq!(timeless(changed["data"].clone()), json!({ "id": 1, "name": "n", "email": "zhangsan@example.com" }));
    // Both were cached before.
    let shown: Value = app.get("/api/v1/users/1").send().await.assert_status(200).json();
    assert_eq!(shown["data"], changed["data"]);
    let page: Page = app.get("/api/v1/users/").send().await.assert_status(200).json();
    assert_eq!(names(&page), ["n", "李四"]);
    app.put("/api/v1/users/1").json(json!({ "email": "bad" })).send().await.assert_status(400);
    app.put("/api/v1/users/1").json(json!({ "name": "a\0b" })).send().await.assert_status(400);
    let taken = app.put("/api/v1/users/1").json(json!({ "email": "lisi@example.com" })).send().await;
    taken.assert_status(409).assert_json(json!({ "error": "邮箱已存在" }));
    app.put("/api/v1/users/1").json(json!({ "email": "zhangsan@example.com" })).send().await.assert_status(200);
    let deleted = app.delete("/api/v1/users/1").send().await;
    deleted.assert_status(200).assert_json(json!({ "message": "用户删除成功" }));
    let gone = json!({ "error": "用户不存在" });
    app.delete("/api/v1/users/1").send().await.assert_status(404).assert_json(&gone);
    app.get("/api/v1/users/1").send().await.assert_status(404).assert_json(&gone);
    app.put("/api/v1/users/1").json(json!({ "name": "n" })).send().await.assert_status(404).assert_json(&gone);
    app.put("/api/v1/users/1").json(json!({})).send().await.assert_status(404).assert_json(&gone);
    let page: Page = app.get("/api/v1/users/").send().await.assert_status(200).json();
    assert_eq!(names(&page), ["李四"]);
}

#[tokio::test]
async fn an_id_is_a_number() {
    let app = app().await;
    let refused = json!({ "error": "无效的用户ID" });
    app.get("/api/v1/users/abc").send().await.assert_status(400).assert_json(&refused);
    app.put("/api/v1/users/abc").json(json!({})).send().await.assert_status(400).assert_json(&refused);
    app.delete("/api/v1/users/abc").send().await.assert_status(400).assert_json(&refused);
}

#[tokio::test]
async fn the_texts_follow_the_clients_language() {
    let app = app().await;
    let asked = |method: Method, path: &str| {
        let request = app.request(method, &format!("/api/v1/users/{path}"));
        request.header("accept-language", "en-US,en;q=0.9")
    };
    for (method, path, status, field, text) in [
        (Method::GET, "", 200, "message", "list of users"),
        (Method::GET, "1", 200, "message", "details of the user"),
        (Method::GET, "?page=0", 400, "error", "bad request"),
        (Method::GET, "x", 400, "error", "the user id is not valid"),
        (Method::GET, "9", 404, "error", "there is no such user"),
        (Method::DELETE, "2", 200, "message", "the user is deleted"),
    ] {
        let answer = asked(method, path).send().await;
        answer.assert_status(status).assert_header("content-language", "en");
        assert_eq!(answer.json::<Value>()[field], text, "{path}");
    }
    let new = json!({ "name": "n", "email": "n@example.com" });
    let made: Value = asked(Method::POST, "").json(&new).send().await.assert_status(201).json();
    assert_eq!(made["message"], "the user is created");
    let taken = asked(Method::POST, "").json(&new).send().await;
    taken.assert_status(409).assert_json(json!({ "error": "the email is taken" }));
    let changed: Value = asked(Method::PUT, "1").json(json!({ "name": "m" })).send().await.assert_status(200).json();
    assert_eq!(changed["message"], "the user is updated");
    // The cache, where there is one, has an answer for each language.
    let shown: Value = asked(Method::GET, "1").send().await.assert_status(200).json();
    assert_eq!(shown["message"], "details of the user");
    let chinese = app.get("/api/v1/users/1").send().await;
    let shown: Value = chinese.assert_status(200).assert_header("content-language", "zh").json();
    assert_eq!(shown["message"], "获取用户详情成功");
}

#[tokio::test]
async fn its_routes_know_their_types() {
    let app = app().await;
    let routes: Value = app.get("/routes").send().await.assert_status(200).json();
    let create = &routes["routes"]["POST:/api/v1/users/"];
    assert_eq!((&create["handler"], &create["description"]), (&json!("create"), &json!("创建用户")));
    let body = &create["operation"]["inputs"][0];
    assert_eq!((&body["in"], &body["schema"]["required"]), (&json!("body"), &json!(["name", "email"])));
    assert_eq!(create["operation"]["outputs"][0]["status"], 201);
    let list = &routes["routes"]["GET:/api/v1/users/"]["operation"]["outputs"][0];
    assert_eq!(list["schema"]["required"], json!(["data", "pagination", "message"]));
}

#[tokio::test]
async fn the_users_outlive_the_program() {
    let App { server: first, directory } = app().await;
    let new = json!({ "name": "王五", "email": "wangwu@example.com" });
    first.post("/api/v1/users/").json(&new).send().await.assert_status(201);
    first.stop().await;
    let next = TestServer::start(server(&config(&directory))).await;
    let page: Page = next.get("/api/v1/users/").send().await.assert_status(200).json();
    assert_eq!(names(&page), ["张三", "李四", "王五"]);
}

/// A source that counts how often it is asked, and how long its answers are kept.
#[derive(Clone)]
struct Counter {
    asked: Arc<AtomicU32>,
    fresh: Duration,
}

async fn count(State(Counter { asked, fresh }): State<Counter>, cache: Cache) -> Result<Rendered<u32>> {
    Answers::new(&cache, "zh", fresh).get("count", || async { Ok(asked.fetch_add(1, Ordering::Relaxed)) }).await
}

async fn forget(State(Counter { fresh, .. }): State<Counter>, cache: Cache) {
    Answers::new(&cache, "zh", fresh).forget().await;
}

async fn counter(fresh: Duration) -> TestServer {
    let server = Server::new(&Config::<()>::default()).cache().get("/count", count).post("/forget", forget);
    TestServer::start(server.with_state(Counter { asked: Arc::default(), fresh })).await
}

#[tokio::test]
async fn the_source_is_asked_once_until_something_changes() {
    let app = counter(Duration::from_secs(3600)).await;
    for (forget, count) in [(false, "0"), (false, "0"), (true, "1"), (false, "1")] {
        if forget {
            app.post("/forget").send().await.assert_status(200);
        }
        app.get("/count").send().await.assert_status(200).assert_text(count);
    }
}

#[tokio::test]
async fn the_source_is_asked_each_time_if_nothing_is_kept() {
    let app = counter(Duration::ZERO).await;
    for count in ["0", "1", "2"] {
        app.get("/count").send().await.assert_status(200).assert_text(count);
    }
}

async fn connection(directory: &tempfile::TempDir) -> DatabaseConnection {
    let file = directory.path().join("users.db");
    sea_orm::Database::connect(format!("sqlite://{}?mode=rwc", file.display())).await.unwrap()
}

/// The statements of each release, on the database that the next one has migrated.
#[tokio::test]
async fn each_release_works_on_the_database_of_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let database = connection(&directory).await;
    let run = async |sql: &str| database.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let first = "INSERT INTO users (name, email, nickname, created_at) VALUES ('a', 'a@example.com', 'n', 0)";
    let second = "INSERT INTO users (name, email, created_at, updated_at) VALUES ('b', 'b@example.com', 0, 0)";
    Migrator::up(&database, Some(3)).await.unwrap();
    run(first).await;
    Migrator::up(&database, None).await.unwrap();
    run(second).await;
    database.close().await.unwrap();
    let app = TestServer::start(server(&config(&directory))).await;
    let page: Page = app.get("/api/v1/users/").send().await.assert_status(200).json();
    assert_eq!(names(&page), ["张三", "李四", "a", "b"]);
    app.put("/api/v1/users/3").json(json!({ "name": "c" })).send().await.assert_status(200);
}

#[tokio::test]
async fn every_migration_can_be_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let database = connection(&directory).await;
    for count in 1..=4 {
        Migrator::up(&database, None).await.unwrap();
        Migrator::down(&database, Some(count)).await.unwrap();
    }
    Migrator::up(&database, None).await.unwrap();
}
