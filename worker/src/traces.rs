//! Traces of requests.

pub use gin_shared::trace_context::{SpanId, TraceContext, TraceId};

pub(crate) use crate::without::traces::*;
