//! Spans on their way to a receiver by OTLP.
//!
//! *Nobody waits for a receiver; what cannot be sent is counted; memory has a bound.*
//!
//! | you want | go to |
//! |---|---|
//! | to write a span | [`write_span`], [`write_attribute`], [`write_event`], [`link`] |
//! | to send spans | [`exporter()`]: a [`Sink`] for those who make spans, and the [`Exporter`] that sends them |
//! | to send them from a program without a runtime | [`Thread`] |
//! | another way to connect | [`Connect`] |

mod connection;
mod exporter;
mod resource;
mod sink;
mod span;
mod thread;

pub use connection::{Cleartext, Connect, Stream};
pub use exporter::{Exporter, Settings, exporter};
pub use gin_shared::trace_endpoint::{Endpoint, Protocol};
pub use resource::Resource;
pub use sink::{Counts, Outcome, Sink};
pub use span::{SpanHead, SpanKind, SpanStatus, Value, link, write_attribute, write_event, write_span};
pub use thread::Thread;
