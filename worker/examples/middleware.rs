//! What stands around handlers: for all, for a group, for a route, for some requests; a value that travels with a request; errors in a
//! shape of one's own.

use std::time::{Duration, Instant};

use gin_worker::axum::extract::{Extension, Request};
use gin_worker::axum::http::HeaderValue;
use gin_worker::axum::middleware::Next;
use gin_worker::axum::response::{IntoResponse, Response};
use gin_worker::axum::{Json, http::header};
use gin_worker::middleware::{Report, compression, rate_limit, when};
use gin_worker::serde_json::{Value, json};
use gin_worker::{Config, Error, Group, Result, Route, Server, StartError};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    User,
    Admin,
}

/// Who asks: set by [`auth`], taken by handlers (`c.Set`, `c.Get`).
#[derive(Debug, Clone)]
struct User {
    name: &'static str,
    role: Role,
}

/// A real service looks the token up.
async fn auth(mut request: Request, next: Next) -> Result<Response> {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let user = match token {
        Some("Bearer ann") => User { name: "ann", role: Role::Admin },
        Some("Bearer bob") => User { name: "bob", role: Role::User },
        Some(_) => return Err(Error::unauthorized("invalid token")),
        None => return Err(Error::unauthorized("missing token")), // c.Abort
    };
    request.extensions_mut().insert(user); // c.Set
    Ok(next.run(request).await) // c.Next
}

async fn admin(Extension(user): Extension<User>, request: Request, next: Next) -> Result<Response> {
    if user.role != Role::Admin {
        return Err(Error::forbidden("for administrators"));
    }
    Ok(next.run(request).await)
}

/// Goes on after the handler.
async fn took(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let mut response = next.run(request).await;
    let text = format!("app;dur={:.3}", began.elapsed().as_secs_f64() * 1e3);
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert("server-timing", value);
    }
    response
}

async fn profile(Extension(user): Extension<User>) -> Json<Value> {
    Json(json!({ "name": user.name }))
}

async fn report() -> String {
    "a line of a long report\n".repeat(1000)
}

/// RFC 9457.
fn problem(report: Report) -> impl IntoResponse {
    let body = json!({ "title": report.message, "status": report.status.as_u16() });
    (report.status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body))
}

fn server(config: &Config) -> Server {
    let is_private = |request: &Request| request.uri().path().starts_with("/private");
    Server::new(config)
        .middleware(took)
        .error_handler(problem)
        .middleware(when(is_private, auth))
        .get("/", || async { "for everybody" })
        .get("/private", || async { "for who has a token" })
        .route(Route::post("/login", || async { "welcome" }).middleware(rate_limit(
            "login",
            3,
            Duration::from_secs(60),
        )))
        .group(
            Group::new("/api").middleware(auth).route(Route::get("/profile", profile)).group(
                Group::new("/admin").middleware(admin).route(Route::get("/report", report).layer(compression())),
            ),
        )
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    server(&Config::load()?).run().await
}

#[cfg(test)]
mod tests {
    use gin_worker::testing::TestServer;

    use super::*;

    #[tokio::test]
    async fn each_stands_where_it_was_put() {
        let app = TestServer::start(server(&Config::default())).await;
        for (path, token, status) in [
            ("/", "", 200),
            ("/private", "", 401),
            ("/private", "Bearer bob", 200),
            ("/api/profile", "", 401),
            ("/api/profile", "Bearer eve", 401),
            ("/api/profile", "Bearer bob", 200),
            ("/api/admin/report", "Bearer bob", 403),
            ("/api/admin/report", "Bearer ann", 200),
        ] {
            let answer = app.get(path).header("authorization", token).send().await;
            answer.assert_status(status);
            assert!(answer.header("server-timing").is_some(), "{path}");
        }
        let answer = app.get("/api/profile").send().await;
        answer.assert_header("content-type", "application/problem+json");
        answer.assert_json(json!({ "title": "missing token", "status": 401 }));
        let asked = app.get("/api/admin/report").header("authorization", "Bearer ann");
        let answer = asked.header("accept-encoding", "gzip").send().await;
        answer.assert_header("content-encoding", "gzip");
        assert!(answer.body.len() < 1000);
    }

    #[tokio::test]
    async fn nobody_guesses_on() {
        let app = TestServer::start(server(&Config::default())).await;
        for _ in 0..3 {
            app.post("/login").send().await.assert_status(200);
        }
        let refused = app.post("/login").send().await;
        refused.assert_status(429).assert_header("content-type", "application/problem+json");
        app.get("/").send().await.assert_status(200);
    }
}
