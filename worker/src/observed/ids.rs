//! Ids of the span that something belongs to.

use gin_shared::trace_context::{SpanId, TraceId};

/// Ids for a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
}
