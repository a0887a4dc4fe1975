//! Starts the real binaries, loads them, and counts each way in which a client can be hurt.
//!
//! Nothing here sleeps to wait for something: a start is awaited on NOTIFY_SOCKET, an upgrade on gin-ctl or on the events
//! stream, an end on the process itself.

#![allow(clippy::unwrap_used, reason = "a harness fails by panicking: that is its verdict")]

mod alone;
mod builder;
mod control;
mod http;
mod lab;
mod load;
mod notify;
mod place;
mod releases;
mod supervisor;

pub use alone::{Alone, alone, alone_in};
pub use builder::{Builder, supervisor};
pub use control::{Ctl, Events};
pub use http::{Address, Client, Failure, Response, get};
pub use lab::Lab;
pub use load::{Load, Report};
pub use notify::Notifications;
pub use place::{binary, fake_clock, fixture, points, soak, times};
pub use releases::Releases;
pub use supervisor::Supervisor;

use std::time::Duration;

/// Nothing in these tests takes so long; what does is a failure.
pub const PATIENCE: Duration = Duration::from_secs(45);
