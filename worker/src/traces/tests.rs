mod captured;
mod context;
mod dropped;
mod nesting;
mod recording;
#[cfg(feature = "testing")]
mod served;
#[cfg(feature = "profile")]
mod waits;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use futures_util::future::BoxFuture;
use gin_otlp::{Connect, Counts, Endpoint, Outcome, Resource, Settings, Stream};
use gin_shared::trace_context::Ratio;

use super::request::{Facts, RequestSpan};
use super::tracer::Tracer;
use crate::config::{TraceParents, Tracing};
use crate::observed::ids::Ids;

/// A receiver that cannot be reached, and that nobody counts for.
struct Nobody;

impl Connect for Nobody {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

impl Counts for Nobody {
    fn add(&self, _: Outcome, _: u64) {}
}

fn tracer_with(tracing: &Tracing) -> &'static Tracer {
    let settings = Settings {
        endpoint: Endpoint::default(),
        headers: HeaderMap::new(),
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(1),
        memory: 1 << 20,
        resource: Resource::default(),
        scope_version: String::new(),
    };
    Tracer::with(settings, Arc::new(Nobody), Arc::new(Nobody), tracing).0
}

/// A tracer that samples this part.
fn tracer(rate: f64) -> &'static Tracer {
    tracer_with(&Tracing { sample_rate: Ratio::new(rate), ..Tracing::default() })
}

fn believing(parents: TraceParents) -> &'static Tracer {
    tracer_with(&Tracing { sample_rate: Ratio::new(1.0), parents, ..Tracing::default() })
}

fn asked(headers: &[(&str, &str)]) -> Request {
    let builder = headers
        .iter()
        .fold(Request::get("/users/7?token=secret"), |builder, (name, value)| builder.header(*name, *value));
    builder.header("host", "shop.test:8080").body(Body::empty()).unwrap()
}

fn begun(tracer: &'static Tracer, request: &Request, is_trusted: bool) -> RequestSpan {
    let facts = || Facts { client: Some([10, 0, 0, 1].into()), is_tls: true, id: None };
    RequestSpan::begin(tracer, request, Instant::now(), || is_trusted, facts)
}

/// Runs `f` in a request that is sampled, and gives its ids.
pub(crate) fn within_a_request(f: impl FnOnce()) -> Ids {
    let mut span = begun(tracer(1.0), &asked(&[]), false);
    span.within(f);
    span.ids().unwrap()
}
