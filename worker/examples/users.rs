//! The users of the documents (4.2): pages and a search, creation, change and deletion, with their paths, texts and JSON.
//!
//! The list is in memory: each worker has its own, and a restart begins anew. A real service keeps it in a database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use gin_worker::api::Created;
use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, State, rejection::PathRejection};
use gin_worker::binding::{ShouldBindJson, ShouldBindQuery};
use gin_worker::garde::Validate;
use gin_worker::{Config, Error, Group, Result, Route, Server, StartError};
use serde::{Deserialize, Serialize};

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

    fn place(&self, id: i64) -> Result<usize> {
        self.all.iter().position(|user| user.id == id).ok_or_else(|| Error::not_found("用户不存在"))
    }

    /// Refuses an email that somebody else has.
    fn check(&self, email: &str, own: Option<i64>) -> Result {
        let is_taken = self.all.iter().any(|user| user.email == email && Some(user.id) != own);
        if is_taken { Err(Error::conflict("邮箱已存在")) } else { Ok(()) }
    }
}

fn invalid(error: Error) -> Error {
    Error::new(error.status(), "请求参数错误").details(error.in_words())
}

fn number(id: Id) -> Result<i64> {
    id.map(|Path(id)| id).map_err(|_| Error::bad_request("无效的用户ID"))
}

fn one(data: User, message: &str) -> Json<One> {
    Json(One { data, message: message.to_owned() })
}

async fn list(users: State<Users>, ShouldBindQuery(asked): ShouldBindQuery<Asked>) -> Result<Json<Page>> {
    let Asked { page, size, search } = asked.map_err(invalid)?;
    let store = users.lock();
    let found: Vec<&User> =
        store.all.iter().filter(|user| user.name.contains(&search) || user.email.contains(&search)).collect();
    let data = found.iter().skip((page - 1).saturating_mul(size)).take(size).copied().cloned().collect();
    let pagination = Pagination { page, size, total: found.len() };
    Ok(Json(Page { data, pagination, message: "获取用户列表成功".to_owned() }))
}

async fn create(users: State<Users>, ShouldBindJson(new): ShouldBindJson<NewUser>) -> Result<Created<Json<One>>> {
    let new = new.map_err(invalid)?;
    let mut store = users.lock();
    store.check(&new.email, None)?;
    Ok(Created(one(store.add(new), "用户创建成功")))
}

async fn show(users: State<Users>, id: Id) -> Result<Json<One>> {
    let (id, store) = (number(id)?, users.lock());
    Ok(one(store.all[store.place(id)?].clone(), "获取用户详情成功"))
}

async fn update(users: State<Users>, id: Id, ShouldBindJson(change): ShouldBindJson<Change>) -> Result<Json<One>> {
    let (id, Change { name, email }) = (number(id)?, change.map_err(invalid)?);
    let mut store = users.lock();
    let place = store.place(id)?;
    email.iter().try_for_each(|email| store.check(email, Some(id)))?;
    let user = &mut store.all[place];
    user.name = name.unwrap_or_else(|| user.name.clone());
    user.email = email.unwrap_or_else(|| user.email.clone());
    Ok(one(user.clone(), "用户更新成功"))
}

async fn delete(users: State<Users>, id: Id) -> Result<Json<Done>> {
    let (id, mut store) = (number(id)?, users.lock());
    let place = store.place(id)?;
    store.all.remove(place);
    Ok(Json(Done { message: "用户删除成功".to_owned() }))
}

fn server(config: &Config, users: Users) -> Server {
    let routes = Group::new("/users")
        .tag("users")
        .route(Route::api_get("/", list).describe("获取用户列表"))
        .route(Route::api_post("/", create).describe("创建用户"))
        .route(Route::api_get("/:id", show).describe("获取用户详情"))
        .route(Route::api_put("/:id", update).describe("更新用户"))
        .route(Route::api_delete("/:id", delete).describe("删除用户"));
    Server::new(config).group(Group::new("/api/v1").group(routes)).with_state(users)
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    server(&Config::load()?, Users::default()).run().await
}

#[cfg(test)]
#[path = "users/tests.rs"]
mod tests;
