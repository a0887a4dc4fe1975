//! Services that are traced, and clients with a trace of their own.

use harness::{Address, Builder, Client, Collector, Failure, Response, supervisor};

/// Sections that send all traces to the receiver; `more` are lines of `[monitoring.jaeger]`.
pub fn traced(collector: &Collector, more: &str) -> String {
    let endpoint = collector.endpoint();
    // A line of `more` may set the rate.
    let rate = if more.contains("sample_rate") { "" } else { "sample_rate = 1.0\n" };
    format!(
        "[features]\ntracing = true\n[monitoring.jaeger]\nendpoint = {endpoint:?}\ninterval = \"50ms\"\n{rate}{more}\n"
    )
}

/// A fleet of the fixture that is traced.
pub fn site(collector: &Collector, more: &str) -> Builder {
    supervisor().set("soak = \"0s\"").observed("one", "ok").section(&traced(collector, more))
}

/// A trace that a client has begun.
#[derive(Debug, Clone)]
pub struct Parent {
    /// Id of the trace.
    pub trace: String,
    /// Id of the client's span.
    pub span: String,
    /// True if the client samples it.
    pub is_sampled: bool,
}

impl Parent {
    /// The trace of this number, sampled.
    pub fn sampled(number: u64) -> Self {
        // No id is all zeros.
        let (trace, span) = (format!("4bf92f3577b34da6{number:016x}"), format!("00f067aa{:08x}", number + 1));
        Self { trace, span, is_sampled: true }
    }

    /// The trace of this number, not sampled.
    pub fn unsampled(number: u64) -> Self {
        Self { is_sampled: false, ..Self::sampled(number) }
    }

    /// Its `traceparent`, as a line of a request's head.
    pub fn field(&self) -> String {
        format!("traceparent: 00-{}-{}-0{}\r\n", self.trace, self.span, u8::from(self.is_sampled))
    }
}

/// A GET on a connection of its own, with these lines in its head.
pub fn try_ask(address: &Address, path: &str, fields: &str) -> Result<Response, Failure> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    Client::asking(address, &head)?.response()
}

/// The same; it is answered.
pub fn ask(address: &Address, path: &str, fields: &str) -> Response {
    try_ask(address, path, fields).unwrap_or_else(|failure| panic!("{path}: {failure:?}"))
}
