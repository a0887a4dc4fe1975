//! The users of the documents (4.2): pages and a search, creation, change and deletion, with their paths, texts and JSON.
//!
//! The texts follow `Accept-Language`: Chinese, or English.
//!
//! The list is in memory: each worker has its own, and a restart begins anew. A real service keeps it in a database.

#[path = "texts.rs"]
mod texts;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use gin_worker::api::Created;
use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, State, rejection::PathRejection};
use gin_worker::binding::{ShouldBindJson, ShouldBindQuery};
use gin_worker::garde::Validate;
use gin_worker::{Config, Error, Group, Result, Route, Server, StartError};
use serde::{Deserialize, Serialize};

use crate::texts::{Text, Texts};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    id: i64,
    name: String,
    email: String,
    created_at: String,
}

#[derive(Debug, Deserialize, Validate)]
struct NewUser {
    #[garde(length(min = 1, max = 200))]
    name: String,
    #[garde(email)]
    email: String,
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, Validate)]
struct Change {
    #[garde(length(min = 1, max = 200))]
    name: Option<String>,
    #[garde(email)]
    email: Option<String>,
}

#[derive(Debug, Deserialize, Validate)]
#[serde(default)]
struct Asked {
    #[garde(range(min = 1))]
    page: usize,
    #[garde(range(min = 1, max = 100))]
    size: usize,
    #[garde(skip)]
    search: String,
}

impl Default for Asked {
    fn default() -> Self {
        Self { page: 1, size: 10, search: String::new() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Page {
    data: Vec<User>,
    pagination: Pagination,
    message: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pagination {
    page: usize,
    size: usize,
    total: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct One {
    data: User,
    message: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    message: String,
}

/// The number in a path, or what axum says of one that is none.
type Id = Result<Path<i64>, PathRejection>;

#[derive(Clone)]
struct Users(Arc<Mutex<Store>>);

struct Store {
    all: Vec<User>,
    next_id: i64,
}

impl Default for Users {
    fn default() -> Self {
        let store = Self(Arc::new(Mutex::new(Store { all: Vec::new(), next_id: 1 })));
        for (name, email) in [("张三", "zhangsan@example.com"), ("李四", "lisi@example.com")] {
            store.lock().add(NewUser { name: name.to_owned(), email: email.to_owned() });
        }
        store
    }
}

impl Users {
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn add(&mut self, NewUser { name, email }: NewUser) -> User {
        let created_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let user = User { id: self.next_id, name, email, created_at };
        self.next_id += 1;
        self.all.push(user.clone());
        user
    }

    fn place(&self, id: i64, texts: Texts) -> Result<usize> {
        let place = self.all.iter().position(|user| user.id == id);
        place.ok_or_else(|| Error::not_found(texts.say(Text::ThereIsNoSuchUser)))
    }

    /// Refuses an email that somebody else has.
    fn check(&self, email: &str, own: Option<i64>, texts: Texts) -> Result {
        let is_taken = self.all.iter().any(|user| user.email == email && Some(user.id) != own);
        if is_taken { Err(Error::conflict(texts.say(Text::TheEmailIsTaken))) } else { Ok(()) }
    }
}

fn invalid(texts: Texts, error: Error) -> Error {
    Error::new(error.status(), texts.say(Text::BadRequest)).details(error.in_words())
}

fn number(texts: Texts, id: Id) -> Result<i64> {
    id.map(|Path(id)| id).map_err(|_| Error::bad_request(texts.say(Text::TheUserIdIsNotValid)))
}

fn one(data: User, message: &str) -> Json<One> {
    Json(One { data, message: message.to_owned() })
}

async fn list(users: State<Users>, texts: Texts, ShouldBindQuery(asked): ShouldBindQuery<Asked>) -> Result<Json<Page>> {
    let Asked { page, size, search } = asked.map_err(|error| invalid(texts, error))?;
    let store = users.lock();
    let found: Vec<&User> =
        store.all.iter().filter(|user| user.name.contains(&search) || user.email.contains(&search)).collect();
    let data = found.iter().skip((page - 1).saturating_mul(size)).take(size).copied().cloned().collect();
    let pagination = Pagination { page, size, total: found.len() };
    Ok(Json(Page { data, pagination, message: texts.say(Text::ListOfUsers).to_owned() }))
}

async fn create(
    users: State<Users>,
    texts: Texts,
    ShouldBindJson(new): ShouldBindJson<NewUser>,
) -> Result<Created<Json<One>>> {
    let new = new.map_err(|error| invalid(texts, error))?;
    let mut store = users.lock();
    store.check(&new.email, None, texts)?;
    Ok(Created(one(store.add(new), texts.say(Text::TheUserIsCreated))))
}

async fn show(users: State<Users>, texts: Texts, id: Id) -> Result<Json<One>> {
    let (id, store) = (number(texts, id)?, users.lock());
    Ok(one(store.all[store.place(id, texts)?].clone(), texts.say(Text::DetailsOfTheUser)))
}

async fn update(
    users: State<Users>,
    texts: Texts,
    id: Id,
    ShouldBindJson(change): ShouldBindJson<Change>,
) -> Result<Json<One>> {
    let (id, Change { name, email }) = (number(texts, id)?, change.map_err(|error| invalid(texts, error))?);
    let mut store = users.lock();
    let place = store.place(id, texts)?;
    email.iter().try_for_each(|email| store.check(email, Some(id), texts))?;
    let user = &mut store.all[place];
    user.name = name.unwrap_or_else(|| user.name.clone());
    user.email = email.unwrap_or_else(|| user.email.clone());
    Ok(one(user.clone(), texts.say(Text::TheUserIsUpdated)))
}

async fn delete(users: State<Users>, texts: Texts, id: Id) -> Result<Json<Done>> {
    let (id, mut store) = (number(texts, id)?, users.lock());
    let place = store.place(id, texts)?;
    store.all.remove(place);
    Ok(Json(Done { message: texts.say(Text::TheUserIsDeleted).to_owned() }))
}

fn server(config: &Config, users: Users) -> Server {
    let routes = Group::new("/users")
        .tag("users")
        .route(Route::api_get("/", list).describe("获取用户列表"))
        .route(Route::api_post("/", create).describe("创建用户"))
        .route(Route::api_get("/:id", show).describe("获取用户详情"))
        .route(Route::api_put("/:id", update).describe("更新用户"))
        .route(Route::api_delete("/:id", delete).describe("删除用户"));
    Server::new(config)
        .middleware(texts::told)
        .error_handler(texts::refused)
        .group(Group::new("/api/v1").group(routes))
        .with_state(users)
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    server(&Config::load()?, Users::default()).run().await
}

#[cfg(test)]
#[path = "users/tests.rs"]
mod tests;
