//! A request's values as a type, checked: from the body, the query, the path and the headers.
//!
//! `Bind` answers 400 by itself, in plain text; `ShouldBind` gives the handler a `Result`, and its error is JSON.

use std::sync::{Arc, Mutex};

use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, State};
use gin_worker::axum::http::StatusCode;
use gin_worker::axum::response::IntoResponse;
use gin_worker::binding::{BindQuery, ShouldBind, ShouldBindJson};
use gin_worker::garde::Validate;
use gin_worker::serde_json::{Value, json};
use gin_worker::{Config, Error, Group, Result, Route, Server, StartError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
struct NewUser {
    #[garde(length(min = 1, max = 50))]
    name: String,
    #[garde(email)]
    email: String,
}

/// `binding:"min=1"` and its like are garde's rules; what is left out is a serde default.
#[derive(Debug, Deserialize, Validate)]
struct Page {
    #[serde(default = "one")]
    #[garde(range(min = 1))]
    page: usize,
    #[serde(default = "ten")]
    #[garde(range(min = 1, max = 100))]
    size: usize,
}

fn one() -> usize {
    1
}

fn ten() -> usize {
    10
}

#[derive(Debug, Deserialize)]
struct Id {
    id: usize,
}

type Users = Arc<Mutex<Vec<NewUser>>>;

/// Bad input: 400, and a line that says which field and why.
async fn list(State(users): State<Users>, BindQuery(page): BindQuery<Page>) -> Json<Value> {
    let users = users.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let data: Vec<_> = users.iter().skip((page.page - 1).saturating_mul(page.size)).take(page.size).collect();
    Json(json!({ "data": data, "pagination": { "page": page.page, "size": page.size, "total": users.len() } }))
}

/// A handler that writes reads the body alone, so that no URL sets a field of it. Bad input: an error of the handler's choice.
async fn create(State(users): State<Users>, ShouldBindJson(new): ShouldBindJson<NewUser>) -> Result<impl IntoResponse> {
    let new = new?;
    let mut users = users.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if users.iter().any(|user| user.email == new.email) {
        return Err(Error::conflict("email already exists"));
    }
    users.push(new.clone());
    Ok((StatusCode::CREATED, Json(json!({ "data": new }))))
}

/// Nothing is written, so it may come by Content-Type, as JSON or a form, and what is left out by the query; the status is 422 here.
async fn check(ShouldBind(new): ShouldBind<NewUser>) -> Result<&'static str> {
    new.map_err(|error| error.with_status(StatusCode::UNPROCESSABLE_ENTITY))?;
    Ok("fine")
}

async fn show(State(users): State<Users>, Path(Id { id }): Path<Id>) -> Result<Json<NewUser>> {
    let users = users.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    users.get(id).cloned().map(Json).ok_or_else(|| Error::not_found("no such user"))
}

fn server(config: &Config, users: Users) -> Server {
    Server::new(config)
        .group(
            Group::new("/api/v1/users")
                .route(Route::get("/", list).describe("List users"))
                .route(Route::post("/", create).describe("Create a user"))
                .route(Route::post("/check", check).describe("Whether it could be created"))
                .route(Route::get("/:id", show).describe("Show a user")),
        )
        .with_state(users)
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    server(&Config::load()?, Users::default()).run().await
}

#[cfg(test)]
mod tests {
    use gin_worker::testing::TestServer;

    use super::*;

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let app = TestServer::start(server(&Config::default(), Users::default())).await;
        let ann = json!({ "name": "ann", "email": "ann@example.org" });
        app.post("/api/v1/users/").json(&ann).send().await.assert_status(201).assert_json(json!({ "data": ann }));
        app.post("/api/v1/users/").json(&ann).send().await.assert_status(409);
        let bad = app.post("/api/v1/users/").json(json!({ "name": "", "email": "b" })).send().await;
        bad.assert_status(400).assert_header("content-type", "application/json");
        let details = &bad.json::<Value>()["details"];
        assert!(details["name"].is_array() && details["email"].is_array(), "{}", bad.text());
        let form = app.post("/api/v1/users/check").form(&[("name", "bob"), ("email", "bob@example.org")]);
        form.send().await.assert_status(200).assert_text("fine");
        app.post("/api/v1/users/check").form(&[("name", "bob")]).send().await.assert_status(422);
        app.get("/api/v1/users/0").send().await.assert_json(&ann);
        app.get("/api/v1/users/x").send().await.assert_status(400);
        app.get("/api/v1/users/7").send().await.assert_status(404);
    }

    #[tokio::test]
    async fn pages_are_bounded() {
        let app = TestServer::start(server(&Config::default(), Users::default())).await;
        let list = app.get("/api/v1/users/").send().await;
        list.assert_json(json!({ "data": [], "pagination": { "page": 1, "size": 10, "total": 0 } }));
        for query in ["page=0", "size=-1", "size=101", "page=x"] {
            let answer = app.get(&format!("/api/v1/users/?{query}")).send().await;
            answer.assert_status(400).assert_header("content-type", "text/plain; charset=utf-8");
            assert!(answer.text().contains(&query[..4]), "{query}: {}", answer.text());
        }
        app.get(&format!("/api/v1/users/?page={}&size=100", usize::MAX)).send().await.assert_status(200);
    }
}
