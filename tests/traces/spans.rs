//! Spans of a request, and of what its handler does.

use std::time::Duration;

use harness::{Collector, Http2, Span, Trace, WINDOW};

use super::site::{ask, site};

const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// The value in the fixture's statement.
const SECRET: &str = "swordfish-7f3a91c5";

/// The trace of a request to `path`, when all that `name` is in has come.
fn trace_of(collector: &Collector, gin: &harness::Supervisor, path: &str, name: &str) -> Trace {
    let answer = ask(&gin.tcp(), path, "");
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    let id = answer.json()["trace"].as_str().expect("the answer has its trace").to_owned();
    collector.until_trace(|trace| trace.id == id && is_whole(trace) && trace.find(name).is_some())
}

/// True if the request's own span has come: it ends last.
fn is_whole(trace: &Trace) -> bool {
    trace.spans.iter().any(|span| span.parent.is_none())
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn a_request_is_a_tree_of_its_handler_and_its_query() {
    for collector in [Collector::grpc(), Collector::http()] {
        let gin = site(&collector, "").start();
        let trace = trace_of(&collector, &gin, "/users", "SELECT users");
        let path = trace.path("SELECT users");
        assert!(path.len() == 3 && path[0] == "GET /users" && path[1] == "list", "{path:?}\n{trace}");

        let root = trace.span("GET /users");
        assert_eq!((root.kind, &root.parent, root.status.is_error), (SERVER, &None, false), "{trace}");
        for (name, value) in [
            ("http.request.method", "GET"),
            ("http.route", "/users"),
            ("url.path", "/users"),
            ("url.scheme", "http"),
            ("server.address", "x"),
            ("client.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
        ] {
            assert_eq!(root.text(name), value, "{name}: {trace}");
        }
        assert_eq!(root.attributes["http.response.status_code"], 200);
        let handler = trace.children(root)[0];
        assert_eq!(handler.kind, INTERNAL);
        assert!(handler.text("code.function.name").ends_with("users::list"), "{trace}");

        let query = trace.span("SELECT users");
        assert_eq!(query.kind, CLIENT);
        for (name, value) in
            [("db.system.name", "sqlite"), ("db.operation.name", "SELECT"), ("db.collection.name", "users")]
        {
            assert_eq!(query.text(name), value, "{name}: {trace}");
        }
        assert!(query.text("db.query.text").contains("FROM"), "{trace}");
        assert!(!format!("{:?}", collector.spans()).contains(SECRET), "a value of the statement is in a span");
        assert!(handler.is_within(root) && query.is_within(handler), "{trace}");
        assert!(query.time.took > Duration::ZERO);
        gin.stop();
    }
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn the_resource_names_the_worker() {
    let collector = Collector::grpc();
    let gin = site(&collector, "attributes = { deployment = \"test\" }").start();
    let resource = &trace_of(&collector, &gin, "/", "GET /").spans[0].resource;
    let pid = gin.workers()[0].to_string();
    for (name, value) in [
        ("service.name", "shop"),
        ("gin.instance", "shop"),
        ("gin.generation", "1"),
        ("gin.slot", "0"),
        ("process.pid", pid.as_str()),
        ("telemetry.sdk.name", "gin-worker"),
        ("telemetry.sdk.language", "rust"),
        ("deployment", "test"),
    ] {
        assert_eq!(resource.get(name).map(String::as_str), Some(value), "{name}: {resource:#?}");
    }
    assert!(resource["service.instance.id"].starts_with("shop/1.0."), "{resource:#?}");
    assert!(resource.contains_key("gin.release") && resource.contains_key("host.name"), "{resource:#?}");
    gin.restart();
    // The generation before may still accept: who has answered is in the answer alone.
    let _ = gin.who();
    collector
        .until_all("a span of generation 2", |spans| spans.iter().any(|span| span.resource["gin.generation"] == "2"));
    gin.stop();
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn errors_are_told_and_secrets_are_not() {
    let collector = Collector::grpc();
    let gin = site(&collector, "").start();
    assert_eq!(ask(&gin.tcp(), &format!("/fails?token={SECRET}"), "").status, 500);
    assert_eq!(ask(&gin.tcp(), &format!("/unknown?token={SECRET}"), "").status, 404);
    let fails = collector.until_trace(|trace| trace.find("GET /fails").is_some());
    let root = fails.span("GET /fails");
    assert!(root.status.is_error && root.text("error.type") == "500", "{fails}");
    let unknown = collector.until_trace(|trace| trace.find("GET").is_some());
    let root = unknown.span("GET");
    assert!(!root.status.is_error && !root.attributes.contains_key("http.route"), "{unknown}");
    assert_eq!(root.attributes["http.response.status_code"], 404, "{unknown}");
    assert!(!format!("{:?}", collector.spans()).contains(SECRET), "a query is in a span");
    gin.stop();
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn a_client_that_goes_away_is_told() {
    let collector = Collector::grpc();
    let gin = site(&collector, "").start();
    let hold = gin.hold();
    // Over HTTP/1.1 a client that has closed its side may still wait for the answer: there the handler goes on to its end.
    let mut client = Http2::open(&gin.tcp(), WINDOW, &Http2::thread()).unwrap();
    let asked = client.get(&hold.target());
    let arrived = client.runtime.spawn_blocking(move || hold.arrived());
    let held = client.runtime.block_on(arrived).unwrap();
    drop((asked, client));
    let trace = collector.until_trace(is_whole);
    let root = trace.span("GET /held");
    let handler = trace.children(root)[0];
    assert_eq!([root, handler].map(|span| span.text("error.type")), ["cancelled"; 2], "{trace}");
    held.release();
    gin.stop();
}

#[test]
#[ignore = "needs the fixture with traces: tests/run --services"]
fn caches_tasks_and_instrumented_functions_have_spans() {
    let collector = Collector::grpc();
    let gin = site(&collector, "").start();
    let of_cache =
        |span: &Span, result: &str| span.text("gin.cache.name") == "users" && span.text("gin.cache.result") == result;
    for (result, asks_database) in [("miss", true), ("hit", false)] {
        let trace = trace_of(&collector, &gin, "/cached", "GET /cached");
        assert!(trace.spans.iter().any(|span| of_cache(span, result)), "{result}: {trace}");
        assert_eq!(trace.find("SELECT users").is_some(), asks_database, "{trace}");
    }

    let spawned = trace_of(&collector, &gin, "/spawned", "spawned work");
    assert_eq!(spawned.path("spawned work")[0], "GET /spawned", "{spawned}");

    let traced = trace_of(&collector, &gin, "/traced", "priced");
    let priced = traced.span("priced");
    assert!(priced.text("what").contains("apple"), "{traced}");
    assert!(priced.events.iter().any(|event| event.contains("priced")), "{traced}: {priced:?}");
    assert_eq!(traced.path("priced").len(), 3, "it lies below the handler: {traced}");

    ask(&gin.tcp(), "/tick", "");
    // The handler has that name, too.
    let is_of_task = |span: &Span| span.name == "tick" && span.parent.is_none();
    let tick = collector.until_trace(|trace| trace.spans.iter().any(is_of_task));
    let root = tick.span("tick");
    assert_eq!((root.text("gin.task"), &root.parent), ("ticker", &None), "{tick}");
    gin.stop();
}
