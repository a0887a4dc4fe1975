//! The same routes and requests to real Gin (Debian's) and to ours: equal answers, or a difference that is named here with its reason.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use axum::extract::{Extension, Request};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use gin_worker::binding::{Bind, ShouldBind, ShouldBindHeader, ShouldBindJson, ShouldBindPath, ShouldBindQuery};
use gin_worker::garde::Validate;
use gin_worker::testing::TestServer;
use gin_worker::{Config, Error, Group, Result, Route, Server};
use harness::{Address, Client, fixture};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Validate)]
struct Login {
    #[garde(length(min = 1))]
    user: String,
    #[garde(length(min = 1))]
    password: String,
    #[serde(default)]
    #[garde(range(min = 0, max = 150))]
    age: i64,
}

#[derive(Debug, Deserialize, Validate)]
struct Contact {
    #[garde(email)]
    email: String,
}

#[derive(Debug, Default, Deserialize, Validate)]
#[serde(default)]
struct Page {
    #[garde(skip)]
    page: i64,
    #[garde(skip)]
    size: i64,
    #[garde(skip)]
    tag: Vec<String>,
}

#[derive(Debug, Deserialize, Validate)]
struct Item {
    #[garde(skip)]
    id: i64,
    #[garde(skip)]
    name: String,
}

#[derive(Debug, Default, Deserialize, Validate)]
#[serde(default)]
struct Headers {
    #[garde(skip)]
    rate: i64,
    #[garde(skip)]
    domain: String,
}

#[derive(Debug, Clone)]
struct Who(&'static str);

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    a: String,
    #[serde(default = "none")]
    b: String,
}

fn none() -> String {
    "none".to_owned()
}

fn invalid(status: StatusCode) -> impl Fn(Error) -> Error {
    move |_| Error::new(status, "invalid")
}

async fn stop(mut request: Request, next: Next) -> Result<Response> {
    if !request.headers().contains_key("authorization") {
        return Err(Error::unauthorized("missing token"));
    }
    request.extensions_mut().insert(Who("ann"));
    Ok(next.run(request).await)
}

/// Gin's middleware writes the header before the handler runs, from the outside in; ours adds it on the way out.
async fn mark(name: &'static str, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let inner = response.headers().get("x-seen").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let seen = HeaderValue::try_from(format!("{name}{inner}")).unwrap();
    response.headers_mut().insert("x-seen", seen);
    response
}

fn ours() -> Server {
    use axum::extract::{Path, Query as Q};
    let bad = StatusCode::BAD_REQUEST;
    Server::new(&Config::<()>::default())
        .get("/", async || "root")
        .get("/about", async || "about")
        .post("/about", async || "posted")
        .get("/contact/", async || "contact")
        .post("/form/", async || "form")
        .get("/users/:name", async |Path(name): Path<String>| format!("user {name}"))
        .get("/users/:name/posts/:post", async |Path((name, post)): Path<(String, String)>| {
            format!("post {post} of {name}")
        })
        .get("/users/new", async || "new user")
        .get("/files/*path", async |Path(path): Path<String>| format!("file {path}"))
        .any("/any", async |method: Method| format!("any {method}"))
        .get("/query", async |Q(Query { a, b }): Q<Query>| format!("{a}|{b}"))
        .get("/boom", boom)
        .group(
            Group::new("/api").middleware(|request: Request, next: Next| mark("a", request, next)).group(
                Group::new("/v1")
                    .middleware(|request: Request, next: Next| mark("b", request, next))
                    .route(
                        Route::get("/me", async |Extension(Who(who)): Extension<Who>| format!("me {who}"))
                            .middleware(stop)
                            .middleware(|request: Request, next: Next| mark("c", request, next)),
                    )
                    .route(Route::get("/open", async || "open")),
            ),
        )
        .post("/bind", async |Bind(login): Bind<Login>| axum::Json(login))
        .post("/should", async |ShouldBind(login): ShouldBind<Login>| {
            login.map(axum::Json).map_err(invalid(StatusCode::UNPROCESSABLE_ENTITY))
        })
        .post("/json", async move |ShouldBindJson(login): ShouldBindJson<Login>| {
            login.map(axum::Json).map_err(invalid(bad))
        })
        .post("/email", async move |ShouldBind(contact): ShouldBind<Contact>| {
            contact.map(|contact| contact.email).map_err(invalid(bad))
        })
        .get("/page", async move |ShouldBindQuery(page): ShouldBindQuery<Page>| {
            page.map(|p| format!("{} {} [{}]", p.page, p.size, p.tag.join(" "))).map_err(invalid(bad))
        })
        .get("/items/:id/:name", async move |ShouldBindPath(item): ShouldBindPath<Item>| {
            item.map(|item| format!("{} {}", item.id, item.name)).map_err(invalid(bad))
        })
        .get("/headers", async move |ShouldBindHeader(headers): ShouldBindHeader<Headers>| {
            headers.map(|headers| format!("{} {}", headers.rate, headers.domain)).map_err(invalid(bad))
        })
}

async fn boom() -> &'static str {
    panic!("as told")
}

struct Gin(Child, Address);

impl Drop for Gin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn gin() -> Gin {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = target.join("gin-in-go");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(fixture("gin"))
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")])
        .env("GOCACHE", target.join("go-cache"))
        .output()
        .expect("go: golang-go is not installed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut child = Command::new(program).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Gin(child, Address::from(line.trim()))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    location: Option<String>,
    seen: Option<String>,
    /// Of a success alone: errors have a shape of their own.
    body: Option<String>,
    kind: Option<String>,
}

fn ask(address: &Address, request: &str) -> Answer {
    let mut client = Client::asking(address, request).unwrap();
    let response = if request.starts_with("HEAD") { client.head() } else { client.response() }.unwrap();
    let header = |name: &str| response.headers.get(name).cloned();
    let is_success = response.status == 200;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    // Whatever the order of an object's keys.
    let body = serde_json::from_str::<serde_json::Value>(&text).map_or(text, |value| value.to_string());
    let kind = header("content-type").map(|kind| kind.split(';').next().unwrap_or_default().to_owned());
    Answer {
        status: response.status,
        location: header("location"),
        seen: header("x-seen"),
        body: is_success.then_some(body),
        kind: kind.filter(|_| is_success),
    }
}

const CLOSE: &str = "Host: x\r\nConnection: close\r\n";

fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {target} HTTP/1.1\r\n{CLOSE}{headers}{length}\r\n{body}")
}

fn routing() -> Vec<String> {
    let get = |target: &str| request("GET", target, "", "");
    let mut all: Vec<String> = [
        "/",
        "/about",
        "/about/",
        "/about?x=1",
        "/about/?x=1&y=2",
        "/contact",
        "/contact/",
        "/contact?a=b",
        "/none",
        "/none/",
        "/users/ann",
        "/users/ann/",
        "/users/new",
        "/users/new/",
        "/users/",
        "/users",
        "/users/ann/posts/1",
        "/users/ann/posts/1/",
        "/users/ann/posts",
        "/users/new/posts/2",
        "/users/newer",
        "/users/%C3%A9",
        "/users/a%20b",
        "/users/a+b",
        "/files/",
        "/files/a",
        "/files/a/b/c",
        "/files/a/",
        "/files/a%20b",
        "/any",
        "/any/",
        "/query",
        "/query?a=1",
        "/query?a=1&b=2",
        "/query?b=",
        "/query?a=%E4%BD%A0",
        "/query?a=x+y",
        "/boom",
        "/api/v1/open",
        "/api/v1/open/",
        "/api/v1/me",
        "/api/v1",
        "/api",
        "/items/7/ann",
        "/items/x/ann",
        "/items/-7/a%20b",
        "/page",
        "/page?page=2&size=10",
        "/page?page=x",
        "/page?tag=a&tag=b",
        "/page?page=2&page=3",
        "/page?page=",
        "/headers",
        "/ABOUT",
        "/about.",
        "/about%2F",
    ]
    .iter()
    .map(|target| get(target))
    .collect();
    for (method, target) in [
        ("POST", "/about"),
        ("PUT", "/about"),
        ("DELETE", "/"),
        ("POST", "/users/ann"),
        ("POST", "/contact"),
        ("POST", "/form"),
        ("GET", "/form"),
        ("PATCH", "/any"),
        ("OPTIONS", "/any"),
        ("DELETE", "/any"),
        ("PUT", "/none"),
        ("POST", "/contact/"),
        ("GET", "/bind"),
        ("POST", "/files/a"),
    ] {
        all.push(request(method, target, "", ""));
    }
    all.push(request("GET", "/api/v1/me", "Authorization: t\r\n", ""));
    all.push(request("GET", "/headers", "Rate: 7\r\nDomain: music\r\n", ""));
    all.push(request("GET", "/headers", "rate: x\r\n", ""));
    all
}

fn bodies() -> Vec<String> {
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let mut all = Vec::new();
    for path in ["/bind", "/should", "/json"] {
        for (kind, body) in [
            (json, r#"{"user":"ann","password":"x","age":7}"#),
            (json, r#"{"user":"ann","password":"x"}"#),
            (json, r#"{"user":"ann"}"#),
            (json, r#"{"user":"","password":"x"}"#),
            (json, r#"{"user":"ann","password":"x","age":151}"#),
            (json, r#"{"user":"ann","password":"x","age":"7"}"#),
            (json, r#"{"user":"ann","password":"x","other":[1,2]}"#),
            (json, r#"{"user":7,"password":"x"}"#),
            (json, r#"{"user":null,"password":"x"}"#),
            (json, r#"{"user":"ann","password":"x""#),
            (json, "[]"),
            (json, "null"),
            ("application/json; charset=utf-8", r#"{"user":"ann","password":"x"}"#),
            (form, "user=ann&password=x&age=7"),
            (form, "user=ann&password=x"),
            (form, "user=a+b&password=%E4%BD%A0"),
            (form, "user=ann&password=x&age=seven"),
            (form, "user=ann"),
            (form, "user=ann&password="),
            (form, "user=ann&user=bob&password=x"),
            ("text/plain", "user=ann&password=x"),
        ] {
            all.push(request("POST", path, &format!("Content-Type: {kind}\r\n"), body));
        }
        all.push(request("POST", &format!("{path}?user=ann&password=x"), "", ""));
        let asked = format!("{path}?password=y&age=9");
        all.push(request("POST", &asked, &format!("Content-Type: {form}\r\n"), "user=ann&password=x"));
        let multipart = "--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nann\r\n--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nx\r\n--b--\r\n";
        all.push(request("POST", path, "Content-Type: multipart/form-data; boundary=b\r\n", multipart));
    }
    for email in [
        "ann@example.org",
        "ann",
        "",
        "@",
        "ann@",
        "a@b",
        "ann@example",
        "\"a b\"@example.org",
        "ann@exa mple.org",
        "a.b+c@example.co.uk",
    ] {
        let body = serde_json::json!({ "email": email }).to_string();
        all.push(request("POST", "/email", &format!("Content-Type: {json}\r\n"), &body));
    }
    all
}

/// Where ours answers otherwise: the beginning of the request, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("GET /files/ ", "axum's `{*path}` is at least one byte; who wants the directory, too, registers it"),
    ("GET /about%2F ", "a path is taken apart before it is decoded (RFC 3986, section 2.4); Gin decodes it first"),
    ("GET /page?page= ", "nothing is no number; Gin takes it for 0"),
    ("Content-Type: text/plain", "a body that cannot be read is 415; Gin passes it over"),
    ("{\"email\":\"a@b\"}", "a host may have one name alone, as in HTML's rule (4.10.5.1.5), which garde goes by"),
    ("{\"email\":\"ann@example\"}", "the same"),
    ("{\"email\":\"\\\"a b\\\"@example.org\"}", "names in quotes are refused, as in HTML's rule"),
];

#[tokio::test(flavor = "multi_thread")]
async fn ours_answers_as_gin_does_or_says_why_not() {
    let server = TestServer::start(ours()).await;
    let own = Address::Tcp(server.address());
    tokio::task::spawn_blocking(move || {
        let gin = gin();
        let (mut other, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
        for asked in routing().into_iter().chain(bodies()) {
            let (gins, ours) = (ask(&gin.1, &asked), ask(&own, &asked));
            let known = DIFFERENCES.iter().position(|(begins, _)| asked.contains(begins));
            match known {
                _ if gins == ours => {}
                Some(place) => drop(seen.insert(place)),
                None => other.push(format!("{asked}\n  Gin:  {gins:?}\n  ours: {ours:?}")),
            }
        }
        assert!(other.is_empty(), "{} differences that nobody has named:\n{}", other.len(), other.join("\n"));
        let gone: Vec<_> =
            (0..DIFFERENCES.len()).filter(|place| !seen.contains(place)).map(|n| DIFFERENCES[n]).collect();
        assert!(gone.is_empty(), "no differences any more: {gone:?}");
        println!("{} requests, {} differences", routing().len() + bodies().len(), DIFFERENCES.len());
    })
    .await
    .unwrap();
}
