//! The documents' logins (4.3): tokens that are signed, refreshed and revoked, passwords that are hashed, roles.
//!
//! ```text
//! GIN_SERVER_MODE=debug cargo run --package auth --features program
//! curl http://127.0.0.1:8080/login -H 'Content-Type: application/json' -d '{"username": "admin", "password": "password"}'
//! curl http://127.0.0.1:8080/api/profile -H "Authorization: Bearer $TOKEN"
//! ```

mod accounts;
mod migrations;
mod routes;
#[cfg(test)]
mod tests;
#[path = "../../texts.rs"]
mod texts;

use std::path::PathBuf;

use gin_worker::axum::Json;
use gin_worker::serde_json::{Value, json};
use gin_worker::{Config, Group, Route, Server, StartError};
use serde::Deserialize;

/// `[app]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The password of `admin`, for the first start.
    admin_password_file: Option<PathBuf>,
}

async fn welcome() -> Json<Value> {
    Json(json!({ "message": "Welcome to Gin Server" }))
}

fn server(config: &Config<Settings>) -> Server {
    migrations::begin_with(config, config.app.admin_password_file.as_deref());
    let admin = Group::new("/admin")
        .route(Route::get("/users", routes::users).describe("管理员用户列表"))
        .route(Route::delete("/users/:id", routes::remove).describe("删除用户"));
    let api = Group::new("/api")
        .route(Route::get("/profile", routes::profile).describe("用户信息"))
        .route(Route::post("/logout", routes::logout).describe("退出登录"))
        .group(admin);
    Server::new(config)
        .database()
        .migrations::<migrations::Migrator>()
        .auth()
        .middleware(texts::told)
        .error_handler(texts::refused)
        .get("/", welcome)
        .route(Route::post("/login", routes::login).describe("用户登录"))
        .route(Route::post("/refresh", routes::refresh).describe("刷新令牌"))
        .group(api)
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    server(&Config::load()?).run().await
}
