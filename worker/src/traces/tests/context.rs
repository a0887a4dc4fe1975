//! The context of a trace: in from clients, out to other services.

use std::convert::Infallible;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use futures_util::FutureExt;
use gin_shared::trace_context::TraceContext;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::super::{ClientLayer, context, inject, outgoing, span};
use super::captured::{named, spans};
use super::{asked, begun, believing, tracer};
use crate::config::TraceParents;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn told(text: &str) -> TraceContext {
    TraceContext::parse(text.as_bytes()).unwrap()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn a_clients_trace_goes_on_if_its_word_counts() {
    for (parents, is_trusted, counts) in [
        (TraceParents::All, false, true),
        (TraceParents::All, true, true),
        (TraceParents::Trusted, false, false),
        (TraceParents::Trusted, true, true),
        (TraceParents::None, true, false),
    ] {
        let tracer = believing(parents);
        let mut request = begun(tracer, &asked(&[("traceparent", SAMPLED)]), is_trusted);
        assert_eq!(request.ids().unwrap().trace == told(SAMPLED).trace, counts, "{parents:?} {is_trusted}");
        request.answered(StatusCode::OK);
        let span = &spans(tracer)[0];
        let (trace, parent) = (told(SAMPLED).trace.bytes(), told(SAMPLED).span.bytes());
        if counts {
            assert_eq!((span.parent.as_slice(), span.links.len()), (&parent[..], 0));
        } else {
            assert!(span.parent.is_empty());
            assert_eq!(span.links, [(trace.to_vec(), parent.to_vec())]);
        }
    }
}

#[test]
fn a_header_that_is_none_or_there_twice_begins_a_trace_of_its_own() {
    for headers in [
        &[("traceparent", "nonsense")][..],
        &[("traceparent", SAMPLED), ("traceparent", SAMPLED)],
        &[("tracestate", "a=1")],
    ] {
        let tracer = tracer(1.0);
        let mut request = begun(tracer, &asked(headers), true);
        assert_ne!(request.ids().unwrap().trace, told(SAMPLED).trace);
        request.answered(StatusCode::OK);
        assert!(spans(tracer)[0].parent.is_empty() && spans(tracer)[0].links.is_empty());
    }
}

#[test]
fn a_trace_that_its_client_does_not_sample_is_told_on_and_not_recorded() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[("traceparent", UNSAMPLED), ("tracestate", "a=1,b=2")]), false);
    let own = request.ids().unwrap();
    assert_eq!(own.trace, told(UNSAMPLED).trace);
    assert_ne!(own.span, told(UNSAMPLED).span);
    request.within(|| {
        assert!(!span("nothing").is_sampled());
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        let sent = told(&text(&headers, "traceparent").unwrap());
        assert_eq!((sent.trace, sent.span, sent.is_sampled), (own.trace, own.span, false));
        assert_eq!(text(&headers, "tracestate").as_deref(), Some("a=1,b=2"));
        assert_eq!(outgoing(&Method::GET, &Uri::from_static("http://a/")).headers().count(), 2);
    });
    request.answered(StatusCode::OK);
    assert!(spans(tracer).is_empty());
}

#[test]
fn without_a_request_nothing_is_told() {
    let mut headers = HeaderMap::new();
    headers.insert("tracestate", "its=own".parse().unwrap());
    inject(&mut headers);
    assert_eq!((headers.len(), context()), (1, None));
    assert_eq!(outgoing(&Method::GET, &Uri::from_static("http://a/")).headers().count(), 0);
}

#[test]
fn a_call_to_another_service_is_told_its_own_span() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[("traceparent", SAMPLED), ("tracestate", "a=1")]), false);
    let uri = "http://ann:secret@prices.test/1?key=secret";
    let (sent, inner) = request.within(|| {
        let client = service_fn(async |asked: Request<()>| {
            let inner = context().unwrap();
            Ok::<_, Infallible>(Response::builder().status(404).body((asked.headers().clone(), inner)).unwrap())
        });
        let call = ClientLayer.layer(client).oneshot(Request::get(uri).body(()).unwrap());
        call.now_or_never().unwrap().unwrap().into_body()
    });
    let span = named(tracer, "GET");
    assert_eq!(text(&sent, "traceparent").unwrap().as_bytes(), inner.text());
    assert_eq!(text(&sent, "tracestate").as_deref(), Some("a=1"));
    assert_eq!((span.id, span.kind), (inner.span.bytes().to_vec(), 3));
    let attributes = ["url.full", "server.address", "server.port", "http.response.status_code", "error.type"];
    let values = attributes.map(|key| span.attributes.get(key).map(String::as_str));
    let expected = ["http://prices.test/1", "prices.test", "80", "404", "404"].map(Some);
    assert_eq!(values, expected);
}

#[test]
fn a_call_that_fails_or_is_given_up_says_so() {
    let tracer = tracer(1.0);
    let mut request = begun(tracer, &asked(&[]), false);
    request.within(|| {
        let mut client = ClientLayer.layer(service_fn(async |_: Request<()>| Err::<Response<()>, _>("refused")));
        let answer = client.call(Request::post("http://a.test/").body(()).unwrap()).now_or_never();
        assert_eq!(answer.unwrap().unwrap_err(), "refused");
        drop(outgoing(&Method::PUT, &Uri::from_static("https://a.test/")));
    });
    let (refused, given_up) = (named(tracer, "POST"), named(tracer, "PUT"));
    assert_eq!(refused.error.as_deref(), Some("refused"));
    assert_eq!((given_up.attribute("error.type"), given_up.attribute("server.port")), (Some("cancelled"), Some("443")));
}
