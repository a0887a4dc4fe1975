//! The users of the documents (4.2) in a database: the paths, texts and JSON of `examples/users.rs`, on SQLite, MariaDB or PostgreSQL, with
//! migrations, a cache, pages and a search in SQL.
//!
//! ```text
//! cargo run --package rest_api --features data
//! DATABASE_URL=postgres://me@localhost/users cargo run --package rest_api --features data
//! cargo run --package rest_api --features data -- --migrate status
//! ```

mod answers;
mod asked;
mod entity;
mod migrations;
mod settings;
#[cfg(test)]
mod tests;
#[path = "../../texts.rs"]
mod texts;
mod users;

use gin_worker::api::Created;
use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, rejection::PathRejection};
use gin_worker::binding::{ShouldBindJson, ShouldBindQuery};
use gin_worker::{Config, Error, Group, Result, Route, Server, StartError};
use serde::{Deserialize, Serialize};

use crate::answers::Rendered;
use crate::asked::{Asked, Change, NewUser, invalid};
use crate::settings::Settings;
use crate::texts::{Text, Texts};
use crate::users::{One, Page, Users};

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    message: String,
}

/// The number in a path, or what axum says of one that is none.
type Id = Result<Path<i64>, PathRejection>;

fn number(texts: Texts, id: Id) -> Result<i64> {
    id.map(|Path(id)| id).map_err(|_| Error::bad_request(texts.say(Text::TheUserIdIsNotValid)))
}

async fn list(users: Users, texts: Texts, ShouldBindQuery(asked): ShouldBindQuery<Asked>) -> Result<Rendered<Page>> {
    users.page(asked.map_err(|error| invalid(texts, error))?).await
}

async fn create(
    users: Users,
    texts: Texts,
    ShouldBindJson(new): ShouldBindJson<NewUser>,
) -> Result<Created<Json<One>>> {
    let added = users.add(new.map_err(|error| invalid(texts, error))?).await?;
    Ok(Created(Json(One::new(added, texts.say(Text::TheUserIsCreated)))))
}

async fn show(users: Users, texts: Texts, id: Id) -> Result<Rendered<One>> {
    users.one(number(texts, id)?).await
}

async fn update(
    users: Users,
    texts: Texts,
    id: Id,
    ShouldBindJson(change): ShouldBindJson<Change>,
) -> Result<Json<One>> {
    let change = change.map_err(|error| invalid(texts, error));
    let changed = users.change(number(texts, id)?, change?).await?;
    Ok(Json(One::new(changed, texts.say(Text::TheUserIsUpdated))))
}

async fn delete(users: Users, texts: Texts, id: Id) -> Result<Json<Done>> {
    users.remove(number(texts, id)?).await?;
    Ok(Json(Done { message: texts.say(Text::TheUserIsDeleted).to_owned() }))
}

fn server(config: &Config<Settings>) -> Server {
    let routes = Group::new("/users")
        .tag("users")
        .route(Route::api_get("/", list).describe("获取用户列表"))
        .route(Route::api_post("/", create).describe("创建用户"))
        .route(Route::api_get("/:id", show).describe("获取用户详情"))
        .route(Route::api_put("/:id", update).describe("更新用户"))
        .route(Route::api_delete("/:id", delete).describe("删除用户"));
    Server::new(config)
        .database()
        .migrations::<migrations::Migrator>()
        .cache()
        .middleware(texts::told)
        .error_handler(texts::refused)
        .group(Group::new("/api/v1").group(routes))
        .with_state(config.app)
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    server(&Config::load()?).run().await
}
