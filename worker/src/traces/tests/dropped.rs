//! Spans of work that nobody waits for any more.

use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use futures_util::FutureExt;
use gin_otlp::SpanKind;
use gin_shared::trace_context::Ratio;
use tower::ServiceExt;

use super::super::{Call, ended, span};
use super::captured::spans;
use super::{asked, begun, tracer};
use crate::{Config, Server};

/// A query without an answer: its span is made when it is dropped.
struct Query;

impl Drop for Query {
    fn drop(&mut self) {
        ended(SpanKind::Client, Duration::ZERO, |span| span.name("SELECT users"));
    }
}

async fn waits() {
    let _query = Query;
    pending::<()>().await;
}

#[tokio::test]
async fn a_request_whose_client_has_gone_ends_with_all_spans_in_it() {
    let mut config = Config::<()>::default();
    (config.tracing.is_on, config.tracing.sample_rate) = (true, Ratio::new(1.0));
    for server in [Server::new(&config), Server::bare(&config)] {
        // A router of axum's has no spans of handlers.
        let merged = Router::new().route("/merged", get(waits));
        let worker = server.get("/", waits).merge(merged).worker(None).unwrap();
        let tracer = worker.tracer.unwrap();
        for (path, count) in [("/", 3), ("/merged", 2)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            assert!(worker.router.clone().oneshot(request).now_or_never().is_none(), "{path}");
            let all = spans(tracer);
            assert_eq!((all.len(), all[0].name.as_str()), (count, "SELECT users"), "{path}: {all:?}");
            for pair in all.windows(2) {
                assert_eq!(pair[0].parent, pair[1].id, "{path}: {all:?}");
                assert_eq!(pair[1].attribute("error.type"), Some("cancelled"), "{path}: {all:?}");
            }
            tracer.pushed.lock().unwrap().clear();
        }
    }
}

#[test]
fn a_call_that_is_given_up_has_failed_and_an_applications_own_work_has_not() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    request.within(|| {
        assert!(span("work").around(waits()).now_or_never().is_none());
        let mut call = Call::begin(SpanKind::Client, || "GET".into());
        assert!(call.around(waits()).now_or_never().is_none());
    });
    let all = spans(tracer);
    let [in_work, work, in_call, call] = &all[..] else { panic!("{all:?}") };
    assert_eq!((work.name.as_str(), &work.error, &in_work.parent), ("work", &None, &work.id));
    assert_eq!((call.name.as_str(), call.attribute("error.type")), ("GET", Some("cancelled")));
    assert_eq!(in_call.parent, call.id);
}
