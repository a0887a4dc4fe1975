//! Spans on their way to a receiver by OTLP.
//!
//! *Nobody waits for a receiver; what cannot be sent is counted; memory has a bound.*
//!
//! | you want | go to |
//! |---|---|
//! | to write a span | [`write_span`], [`write_attribute`], [`write_event`], [`link`] |
//! | to send spans | [`exporter()`]: a [`Sink`] for those who make spans, and the [`Exporter`] that sends them |
//! | to send them from a program without a runtime | [`Thread`] |
//! | another way to connect | [`Connect`], [`open_socket`] |
//!
//! A span is bytes from the moment at which it ends. [`Sink::push`] copies them into a chunk (`waiting`). The exporter takes a chunk that
//! is full or old enough, writes the heads of the messages before it (`batch`), and sends both (`client`, `http`, `grpc`). Each answer
//! leads to a state (`machine`): the receiver is well, or it is away and the batch is sent again, byte for byte.

mod batch;
mod client;
mod connection;
mod exporter;
mod grpc;
mod http;
mod machine;
mod resource;
mod rpc_status;
mod sink;
mod span;
mod thread;
mod waiting;

pub use connection::{Cleartext, Connect, Stream, open_socket};
pub use exporter::{Exporter, Settings, exporter};
pub use gin_shared::trace_endpoint::{Endpoint, Protocol};
pub use resource::Resource;
pub use sink::{Counts, Outcome, Sink};
pub use span::{SpanHead, SpanKind, SpanStatus, Value, link, write_attribute, write_event, write_span};
pub use thread::Thread;
