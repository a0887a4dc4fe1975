//! What stands in a span, and what is left out of it.

use std::fmt;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::FutureExt;
use gin_otlp::{SpanKind, Value};
use gin_shared::trace_context::TraceContext;
use tower::ServiceExt;
use tracing_subscriber::layer::SubscriberExt;

use super::super::tracer::of_process;
use super::super::{HandlerLayer, context, ended, ids, layer, span, starting};
use super::captured::{named, spans};
use super::{asked, begun, tracer};
use crate::{Config, Server};

#[test]
fn a_request_is_told_by_conventions_and_without_its_query() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[("user-agent", "curl 8")]), false);
    request.answered(StatusCode::NOT_FOUND);
    let span = &spans(tracer)[0];
    assert_eq!((span.name.as_str(), span.kind, span.error.as_deref()), ("GET", 2, None));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/users/7"),
        ("url.scheme", "https"),
        ("server.address", "shop.test"),
        ("server.port", "8080"),
        ("client.address", "10.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "curl 8"),
        ("http.response.status_code", "404"),
    ] {
        assert_eq!(span.attribute(key), Some(value), "{key}");
    }
    assert!(!format!("{span:?}").contains("secret"));
}

#[test]
fn an_answer_of_5xx_and_a_client_that_has_gone_are_errors() {
    let tracer = tracer(1.0);
    begun(tracer, &asked(&[]), false).answered(StatusCode::BAD_GATEWAY);
    drop(begun(tracer, &asked(&[]), false));
    let all = spans(tracer);
    assert_eq!((all[0].attribute("error.type"), all[0].error.as_deref()), (Some("502"), Some("")));
    assert_eq!(all[1].attribute("error.type"), Some("cancelled"));
    assert_eq!(all.len(), 2);
}

#[test]
fn a_start_that_fails_says_why() {
    // The process's first one may be another test's.
    let _ = tracer(1.0);
    let parent = TraceContext::parse(b"00-6d1f6e8a5a3e4c0b9d7c2b1a0f9e8d7c-b7ad6b7169203331-01").unwrap();
    let start = starting(Some(parent));
    start.step("open database").fail("connection refused");
    start.step("ready").end();
    start.fail("database: connection refused");
    starting(Some(parent)).cancel();
    let all = spans(of_process().unwrap());
    let own = all.iter().filter(|span| span.trace == parent.trace.bytes());
    let told: Vec<_> =
        own.map(|span| (span.name.as_str(), span.attribute("error.type"), span.error.as_deref())).collect();
    let expected = [
        ("open database", Some("failed"), Some("connection refused")),
        ("ready", None, None),
        ("start", Some("failed"), Some("database: connection refused")),
        ("start", Some("cancelled"), Some("given up before its end")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_request_that_is_not_sampled_has_ids_and_no_spans() {
    let tracer = tracer(0.0);
    let mut request = begun(tracer, &asked(&[]), false);
    let own = request.ids().unwrap();
    request.within(|| {
        assert_eq!(ids(), Some(own));
        assert!(context().is_some_and(|context| !context.is_sampled));
        ended(SpanKind::Client, Duration::ZERO, |_| panic!("nobody asks"));
        drop(span("nothing"));
    });
    request.answered(StatusCode::INTERNAL_SERVER_ERROR);
    assert!(spans(tracer).is_empty());
}

#[test]
fn a_rate_that_changes_counts_for_the_next_request() {
    let tracer = tracer(0.0);
    begun(tracer, &asked(&[]), false).answered(StatusCode::OK);
    tracer.set_ratio(gin_shared::trace_context::Ratio::new(1.0));
    begun(tracer, &asked(&[]), false).answered(StatusCode::OK);
    assert_eq!(spans(tracer).len(), 1);
}

#[test]
fn a_span_that_ended_before_it_was_made_has_its_time() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    request.within(|| {
        std::hint::black_box(vec![0_u8; 1 << 20]);
        ended(SpanKind::Client, Duration::from_nanos(700), |span| {
            span.name("SELECT users");
            span.set("db.operation.name", Value::Text("SELECT"));
        });
    });
    let span = named(tracer, "SELECT users");
    assert!(span.ended_ns - span.began_ns >= 700);
    assert_eq!(span.attribute("db.operation.name"), Some("SELECT"));
}

#[test]
fn what_is_too_much_is_cut_or_counted() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer()), || {
        request.within(|| {
            let mut full = span("full");
            full.set("long", "é".repeat(4000));
            for _ in 0..70 {
                full.set("one more", 1_i64);
            }
            full.within(|| (0..40).for_each(|number| tracing::info!(number, "again")));
        });
    });
    let full = named(tracer, "full");
    assert_eq!((full.attributes["long"].len(), full.dropped.attributes), (4096, 7));
    assert_eq!((full.events.len(), full.dropped.events), (32, 8));
}

/// Logs where its fields are recorded.
struct Chatty;

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!("said meanwhile");
        f.write_str("chatty")
    }
}

#[test]
fn events_stand_in_the_span_in_which_they_happen() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer()), || {
        // A callsite that tracing meets first while a span is made would be one that nobody wants from then on: for a subscriber of one
        // thread, as here, tracing sees none there.
        let _ = format!("{Chatty:?}");
        request.within(|| {
            tracing::warn!(user = 7, "made");
            tracing::debug!("too quiet");
            tracing::info!(target: "gin_otlp::sink", "would feed itself");
            tracing::info!(target: crate::request_id::ACCESS, "is the span itself");
            let order = tracing::info_span!("order", late = tracing::field::Empty, own = ?Chatty);
            order.in_scope(|| {
                order.record("late", tracing::field::debug(Chatty));
                tracing::error!(?order, "broken");
            });
            let _ = tracing::info_span!(target: "gin_worker::request", "request").entered();
        });
    });
    request.answered(StatusCode::OK);
    let (own, order) = (named(tracer, "GET"), named(tracer, "order"));
    let names = |span: &super::captured::Span| span.events.iter().map(|event| event.name.clone()).collect::<Vec<_>>();
    // With a subscriber of one thread, tracing passes over what is logged while a span is made. What is logged while a field is written
    // later stands in the span.
    assert_eq!(names(&own), ["made"]);
    assert_eq!(own.events[0].attributes["user"], "7");
    assert_eq!(names(&order), ["said meanwhile", "exception"]);
    assert_eq!(order.events[1].attributes["exception.message"], "broken");
    assert_eq!((order.attribute("late"), order.attribute("own")), (Some("chatty"), Some("chatty")));
    assert_eq!(spans(tracer).len(), 2, "none for gin_worker::request");
}

#[test]
fn a_handler_has_a_span_within_the_request() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    let own = request.ids().unwrap().span.bytes();
    let handled =
        get(async || assert!(span("inner").is_sampled())).layer(HandlerLayer::new("show".into(), "app::show"));
    let router = Router::new().route("/users/{id}", handled);
    let answer = request.within(|| router.oneshot(asked(&[])).now_or_never());
    assert_eq!(answer.unwrap().unwrap().status(), 200);
    let handler = named(tracer, "show");
    assert_eq!((handler.parent, handler.attributes["code.function.name"].as_str()), (own.to_vec(), "app::show"));
    assert_eq!(named(tracer, "inner").parent, handler.id);
}

#[tokio::test]
async fn a_router_for_another_server_makes_no_traces() {
    let mut config = Config::<()>::default();
    config.tracing.is_on = true;
    let handler = async || context().map_or("none", |_| "one");
    let router = Server::new(&config).get("/", handler).into_router().unwrap();
    let answer = router.oneshot(axum::extract::Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
    assert_eq!(body, "none");
}
