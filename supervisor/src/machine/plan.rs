//! What the machine knows of a generation's frozen configuration: no paths, only numbers and choices.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a worker shows that it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// It says READY=1.
    Notify,
    /// It has run for so long.
    After(Duration),
    /// A command of the operator's says so, by exit code 0; asked again after [`CHECK_INTERVAL`].
    Check,
}

/// Between two checks of [`Readiness::Check`].
pub const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The part of a generation's configuration that decides its course.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The name people know it by.
    pub release: Option<String>,
    /// How many slots.
    pub workers: u32,
    /// When a worker counts as ready.
    pub ready: Readiness,
    /// How long it may take to get there, and to accept after `go`.
    pub ready_timeout: Duration,
    /// How long both generations serve before the old one drains.
    pub soak: Duration,
    /// How long a worker may drain.
    pub drain_timeout: Duration,
    /// Whether the worker waits for `go` on its channel.
    pub channel: bool,
}
