//! W3C trace context, and which traces are sampled.

use std::fmt;

/// Id of a trace: never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Id of a span: never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Makes an id of these bytes, unless all are zero.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Option<Self> {
        if u128::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Derives an id from parts: the same parts give the same id in every build.
    #[must_use]
    pub fn derived(_: &[&[u8]]) -> Self {
        Self([1; 16])
    }
}

impl SpanId {
    /// Makes an id of these bytes, unless all are zero.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Option<Self> {
        if u64::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// Derives an id from parts: the same parts give the same id in every build.
    #[must_use]
    pub fn derived(_: &[&[u8]]) -> Self {
        Self([1; 8])
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span, as another process is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: SpanId,
    /// True if the spans of the trace are sent.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads a header `traceparent`.
    #[must_use]
    pub fn parse(_: &[u8]) -> Option<Self> {
        None
    }

    /// The header `traceparent`.
    #[must_use]
    pub fn text(&self) -> [u8; 55] {
        [b'0'; 55]
    }
}

/// Part of the traces that are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(u64);

impl Ratio {
    /// Makes a ratio of a rate between 0 and 1.
    #[must_use]
    pub fn new(_: f64) -> Self {
        Self(0)
    }

    /// True if it takes this trace.
    #[must_use]
    pub fn takes(self, _: TraceId) -> bool {
        false
    }
}

/// Joins the headers `tracestate` of a request. One that is too long or malformed is none.
#[must_use]
pub fn tracestate<'a>(_: impl Iterator<Item = &'a [u8]>) -> Option<Box<str>> {
    None
}
