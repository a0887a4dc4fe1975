//! The least that is worth having: routes in a group, a state, a number of its own, a hook, and a test of it all.
//!
//! ```text
//! cargo run --example basic_server
//! curl http://127.0.0.1:8080/api/v1/hello/gopher?greeting=hi
//! gin-supervisor --listen :8080 -- target/debug/examples/basic_server       and then: gin-ctl restart
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gin_worker::axum::Json;
use gin_worker::axum::extract::{Path, Query, State};
use gin_worker::metrics::counter;
use gin_worker::serde_json::{Value, json};
use gin_worker::{Config, Group, Route, Server, StartError};

#[derive(Clone, Default)]
struct App {
    greeted: Arc<AtomicU64>,
}

#[derive(serde::Deserialize)]
struct Who {
    name: String,
}

/// Gin's `DefaultQuery`.
#[derive(serde::Deserialize)]
struct How {
    #[serde(default = "hello")]
    greeting: String,
}

fn hello() -> String {
    "hello".to_owned()
}

async fn greet(State(app): State<App>, Path(who): Path<Who>, Query(how): Query<How>) -> Json<Value> {
    // `app` is this worker's; the counter is that of all workers, and goes on over restarts.
    let number = app.greeted.fetch_add(1, Ordering::Relaxed) + 1;
    let kind = if how.greeting == "hello" { "usual" } else { "other" };
    counter("greetings", "Greetings, by kind").with(&[("kind", kind)]).add(1);
    Json(json!({ "message": format!("{}, {}", how.greeting, who.name), "number": number }))
}

fn server(config: &Config, app: App) -> Server {
    let greeted = Arc::clone(&app.greeted);
    Server::new(config)
        .get("/", || async { "hello" })
        .group(Group::new("/api/v1").route(Route::get("/hello/:name", greet).describe("Greets").tag("greeting")))
        .on_shutdown("tell", Duration::from_secs(5), move || async move {
            println!("greeted {} times", greeted.load(Ordering::Relaxed));
            Ok(())
        })
        .with_state(app)
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    // Flags, environment, file, defaults.
    let config = Config::load()?;
    server(&config, App::default()).run().await
}

#[cfg(test)]
mod tests {
    use gin_worker::testing::TestServer;

    use super::*;

    #[tokio::test]
    async fn it_greets() {
        let mut config = Config::default();
        config.server.public.push("/metrics".to_owned());
        let app = TestServer::start(server(&config, App::default())).await;
        app.get("/").send().await.assert_status(200).assert_text("hello");
        let answer = app.get("/api/v1/hello/gopher").send().await;
        answer.assert_status(200).assert_json(json!({ "message": "hello, gopher", "number": 1 }));
        let answer = app.get("/api/v1/hello/%E4%BD%A0?greeting=hi").send().await;
        answer.assert_json(json!({ "message": "hi, \u{4f60}", "number": 2 }));
        let numbers = app.get("/metrics").send().await.text();
        for line in ["greetings_total{kind=\"usual\"} 1", "greetings_total{kind=\"other\"} 1"] {
            assert!(numbers.contains(line), "{numbers}");
        }
        app.get("/readyz").send().await.assert_status(200);
        app.get("/nowhere").send().await.assert_status(404).assert_json(json!({ "error": "not found" }));
    }
}
