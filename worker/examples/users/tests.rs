//! The requests of the documents, and what they print.

use gin_worker::axum::http::Method;
use gin_worker::serde_json::{Value, json};
use gin_worker::testing::TestServer;

use super::*;

async fn app() -> TestServer {
    TestServer::start(server(&Config::default(), Users::default())).await
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
    let text = search.assert_status(200).text();
    let begin = r#"{"data":[{"id":1,"name":"张三","email":"zhangsan@example.com","created_at":""#;
    let end = r#""}],"pagination":{"page":1,"size":10,"total":1},"message":"获取用户列表成功"}"#;
    assert!(text.starts_with(begin) && text.ends_with(end), "{text}");
    for (query, names, total) in [
        ("", vec!["张三", "李四"], 2),
        ("page=2&size=1", vec!["李四"], 2),
        ("page=3&size=1", vec![], 2),
        ("search=lisi", vec!["李四"], 1),
        ("page=18446744073709551615&size=100", vec![], 2),
    ] {
        let page: Page = app.get(&format!("/api/v1/users/?{query}")).send().await.assert_status(200).json();
        let found: Vec<_> = page.data.iter().map(|user| user.name.as_str()).collect();
        assert_eq!((found, page.pagination.total), (names, total), "{query}");
    }
    for query in ["page=0", "page=-1", "page=x", "size=0", "size=101"] {
        let refused = app.get(&format!("/api/v1/users/?{query}")).send().await;
        let refused: Value = refused.assert_status(400).json();
        assert_eq!(refused["error"], "请求参数错误");
        assert!(refused["details"].as_str().is_some_and(|details| details.contains(&query[..4])), "{refused}");
    }
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
}

#[tokio::test]
async fn a_user_is_shown_changed_and_deleted() {
    let app = app().await;
    let shown: Value = app.get("/api/v1/users/1").send().await.assert_status(200).json();
    assert_eq!((&shown["message"], &shown["data"]["name"]), (&json!("获取用户详情成功"), &json!("张三")));
    let changed: Value = app.put("/api/v1/users/1").json(json!({ "name": "n" })).send().await.assert_status(200).json();
    assert_eq!(changed["message"], "用户更新成功");
    assert_eq!(timeless(changed["data"].clone()), json!({ "id": 1, "name": "n", "email": "zhangsan@example.com" }));
    app.put("/api/v1/users/1").json(json!({ "email": "bad" })).send().await.assert_status(400);
    let taken = app.put("/api/v1/users/1").json(json!({ "email": "lisi@example.com" })).send().await;
    taken.assert_status(409).assert_json(json!({ "error": "邮箱已存在" }));
    app.put("/api/v1/users/1").json(json!({ "email": "zhangsan@example.com" })).send().await.assert_status(200);
    let deleted = app.delete("/api/v1/users/1").send().await;
    deleted.assert_status(200).assert_json(json!({ "message": "用户删除成功" }));
    let gone = json!({ "error": "用户不存在" });
    app.delete("/api/v1/users/1").send().await.assert_status(404).assert_json(&gone);
    app.get("/api/v1/users/1").send().await.assert_status(404).assert_json(&gone);
    app.put("/api/v1/users/1").json(json!({ "name": "n" })).send().await.assert_status(404).assert_json(&gone);
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
    let routes: Value = app().await.get("/routes").send().await.assert_status(200).json();
    let create = &routes["routes"]["POST:/api/v1/users/"];
    assert_eq!((&create["handler"], &create["description"]), (&json!("create"), &json!("创建用户")));
    let body = &create["operation"]["inputs"][0];
    assert_eq!((&body["in"], &body["schema"]["required"]), (&json!("body"), &json!(["name", "email"])));
    assert_eq!(create["operation"]["outputs"][0]["status"], 201);
}
