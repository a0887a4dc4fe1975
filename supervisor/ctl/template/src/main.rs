//! A service on gin-worker. README.md says how to develop, test, restart and deploy it.

use gin_worker::axum::Json;
use gin_worker::axum::extract::Path;
use gin_worker::{Config, Group, Route, Server, StartError};
use serde::Serialize;

/// The answer to a greeting.
#[derive(Debug, Serialize)]
struct Greeting {
    message: String,
}

async fn greet(Path(name): Path<String>) -> Json<Greeting> {
    let message = format!("hello, {name}");
    Json(Greeting { message })
}

/// Everything that the service answers, beside `/health`, `/readyz` and the like.
fn server(config: &Config) -> Server {
    let greet = Route::get("/hello/:name", greet).describe("Greets somebody");
    Server::new(config)
        .version(env!("CARGO_PKG_VERSION"))
        .get("/", || async { "hello" })
        .group(Group::new("/api/v1").route(greet))
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    // Flags, environment, file, defaults.
    let config = Config::load()?;
    server(&config).run().await
}

#[cfg(test)]
mod tests {
    use gin_worker::serde_json::json;
    use gin_worker::testing::TestServer;

    use super::*;

    #[tokio::test]
    async fn it_greets() {
        let app = TestServer::start(server(&Config::default())).await;
        app.get("/").send().await.assert_status(200);
        let answer = app.get("/api/v1/hello/gopher").send().await;
        answer.assert_status(200);
        answer.assert_json(json!({ "message": "hello, gopher" }));
        app.get("/nowhere").send().await.assert_status(404);
    }
}
