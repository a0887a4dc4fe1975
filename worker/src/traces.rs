//! Traces of requests, sent by OTLP to a receiver: Jaeger, say, or a collector of OpenTelemetry.
//!
//! ```toml
//! [features]
//! tracing = true
//!
//! [monitoring.jaeger]
//! endpoint = "http://127.0.0.1:4317"
//! sample_rate = 0.1
//! ```
//!
//! These have spans by themselves:
//!
//! | what | name | kind |
//! |---|---|---|
//! | a request | `GET /users/:id` | server |
//! | its handler | the handler's name; what lies between the two is middleware | internal |
//! | a statement of SQL, without its values | `SELECT users` | client |
//! | a command of Redis | `GET` | client |
//! | a call of a cache, without its key | `cache get prices` | internal |
//! | a background task | `background mailer` | internal |
//! | a span of the crate `tracing`, where the log lets it pass | its name | internal |
//!
//! An application adds its own by [`span`], and calls to other services by [`ClientLayer`] or [`outgoing`]. A task that a handler spawns
//! belongs to the request's trace if it is wrapped in [`carry`]. Events of `tracing` at INFO and above stand in the span in which they
//! happen, and each line of the log has `trace_id` and `span_id`.
//!
//! # Which traces are sampled
//!
//! `sample_rate` is the part of the traces that begin here. A request with a header `traceparent` (W3C Trace Context) goes on with the
//! trace of its client, and is sampled if the client's is; `parents` says whose headers count. A span is nothing where the request is not
//! sampled, so nothing need be asked before: only where a value is costly to find out, look at [`Span::is_sampled`].
//!
//! # The receiver
//!
//! No request waits for it. Spans wait in memory, `memory` bytes at most, and are sent in batches; what has no room is dropped and counted
//! (`_trace_spans_total`). A worker that drains sends what it has, for two seconds at most. A worker that is killed loses the spans of its
//! last `interval`.

#[allow(dead_code, reason = "each of databases, Redis and caches uses its part")]
mod call;
mod carried;
#[cfg(feature = "tls")]
mod connect;
mod current;
mod handler;
mod layer;
mod open;
mod propagate;
mod random;
mod request;
mod span;
mod task;
#[cfg(test)]
pub(crate) mod tests;
mod tracer;

pub use gin_shared::trace_context::{SpanId, TraceContext, TraceId};

#[allow(unused_imports, reason = "as above")]
pub(crate) use call::{Call, ended};
pub use carried::Carried;
pub(crate) use gin_otlp::Exporter;
#[allow(unused_imports, reason = "as above")]
pub(crate) use gin_otlp::{SpanKind, Value};
pub(crate) use handler::HandlerLayer;
pub use layer::layer;
#[allow(unused_imports, reason = "as above")]
pub(crate) use open::Attributes;
pub use propagate::{Calling, Client, ClientLayer, Outgoing, context, inject, outgoing};
pub(crate) use request::{Facts, RequestSpan};
pub use span::{Attribute, Span, carry, root, span};
pub(crate) use task::{Phase, draining, starting, task};
pub(crate) use tracer::{Tracer, is_on};

use crate::observed::ids::Ids;

/// Ids of the current span, sampled or not.
pub(crate) fn ids() -> Option<Ids> {
    current::with(|active| Ids { trace: active.context.trace, span: active.context.span })
}
