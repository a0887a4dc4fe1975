//! Traces: spans of requests as a receiver of OTLP gets them, whatever the receiver does, and over restarts.
//!
//! - `site` starts what is traced, and asks it
//! - `receivers`, `configuration` and a part of `logs` trace gin-server
//! - the other files need a fixture with features of its own, or a supervisor with the feature `otel`: only `tests/run --services` builds
//!   these

mod configuration;
mod context;
mod logs;
mod others;
mod receivers;
mod restart_trace;
mod restarts;
mod site;
mod spans;
