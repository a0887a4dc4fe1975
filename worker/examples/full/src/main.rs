//! The documents' programs as one: logins, uploads, files and a chat, with a page to click through.
//!
//! ```text
//! GIN_SERVER_MODE=debug cargo run --package full --features program
//! ```
//!
//! Then <http://127.0.0.1:8080> is the page: in debug mode the first users are `admin` and `user2` to `user8`, with the password `password`.
//! Programs use the same routes with a token:
//!
//! ```text
//! curl http://127.0.0.1:8080/login -H 'Content-Type: application/json' -d '{"username": "admin", "password": "password"}'
//! curl http://127.0.0.1:8080/upload -H "Authorization: Bearer $TOKEN" -F file=@report.pdf
//! ```
//!
//! - `people` has the logins: `/login` of `auth`, with a session for the page, too
//! - `access` says who may use the files
//! - `talk` has the chat for users who are logged in
//!
//! The rest is that of the other programs: `accounts`, `migrations` and `routes` are `auth`'s, `files` and `page` are `upload`'s, `hub` is
//! `chat`'s. Everything is kept in the state directory.

mod access;
mod people;
mod settings;
mod talk;
#[cfg(test)]
mod tests;

#[path = "../../auth/src/accounts.rs"]
mod accounts;
#[path = "../../upload/src/files.rs"]
mod files;
#[path = "../../chat/hub.rs"]
mod hub;
#[path = "../../auth/src/migrations.rs"]
mod migrations;
#[path = "../../upload/src/page.rs"]
mod page;
#[path = "../../chat/room_file.rs"]
mod room_file;
#[path = "../../auth/src/routes.rs"]
#[allow(dead_code, reason = "`people` has some of them with a session")]
mod routes;
#[path = "../../texts.rs"]
mod texts;

use gin_worker::uploads::Uploads;
use gin_worker::websocket::WebSockets;
use gin_worker::{BoxError, Config, Group, Route, Server};

use crate::hub::Hub;
use crate::settings::Settings;

/// Longest message of the chat, in bytes.
const MESSAGE_MAX: u64 = 8 << 10;
/// Most messages of one client in a second.
const RATE_MAX: u32 = 20;

fn its_page() -> Group<Hub> {
    Group::new("")
        .tag("page")
        .route(page::file("/", page::HTML, include_str!("../page/index.html")))
        .route(page::file("/app.js", page::SCRIPT, include_str!("../page/app.js")))
        .route(page::file("/chat.js", page::SCRIPT, include_str!("../page/chat.js")))
        .route(page::file("/full.css", page::STYLE, include_str!("../page/full.css")))
}

fn logins() -> Group<Hub> {
    let admin = Group::new("/admin")
        .route(Route::get("/users", routes::users).describe("管理员用户列表"))
        .route(Route::delete("/users/:id", people::remove).describe("删除用户"));
    let api = Group::new("/api")
        .route(Route::get("/profile", people::profile).describe("用户信息"))
        .route(Route::post("/logout", people::logout).describe("退出登录"))
        .group(admin);
    Group::new("")
        .tag("logins")
        .route(Route::post("/login", people::login).describe("用户登录"))
        .route(Route::post("/refresh", routes::refresh).describe("刷新令牌"))
        .group(api)
}

fn stored() -> Group<Hub> {
    Group::new("")
        .middleware(access::of_files)
        .group(files::routes())
        .group(Uploads::resumable("/tus"))
        .route(Route::delete("/files/:filename", access::remove_file).describe("删除文件"))
}

fn chat() -> Group<Hub> {
    let sockets = WebSockets::new("chat").message_max(MESSAGE_MAX).rate_max(RATE_MAX);
    Group::new("")
        .tag("chat")
        .route(Route::websocket("/ws", sockets, talk::join, talk::serve).describe("聊天"))
        .route(Route::post("/broadcast", talk::broadcast).describe("广播消息"))
}

fn server(config: &Config<Settings>, hub: Hub) -> Server {
    migrations::begin_with(config, config.app.admin_password_file.as_deref());
    Server::new(config)
        .database()
        .migrations::<migrations::Migrator>()
        .sessions()
        .auth()
        .uploads()
        .middleware(texts::told)
        .error_handler(texts::refused)
        .group(its_page())
        .group(page::shared(&config.uploads))
        .group(logins())
        .group(stored())
        .group(chat())
        .with_state(hub)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let config = Config::load()?;
    let path = gin_worker::state_directory()?.join("chat.log");
    let hub = Hub::open(&path).map_err(|error| format!("the chat's file {}: {error}", path.display()))?;
    server(&config, hub).run().await?;
    Ok(())
}
