//! Names of the configuration's sections, and whose they are.
//!
//! Each reader rejects unknown keys in its own sections and passes over the others'.

/// Read by the master alone.
pub const SUPERVISOR: &str = "supervisor";
/// Host and port are both parts'; the rest is the worker's.
pub const SERVER: &str = "server";
/// Switches. `hot_restart` is the master's, the rest the worker's.
pub const FEATURES: &str = "features";
/// The worker's; the master makes memory for so many `clients`.
pub const RATE_LIMIT: &str = "rate_limit";
/// The master's: the memory in which workers count. A worker may read it, too.
pub const METRICS: &str = "metrics";
/// The workers'; the master reads which certificates there are, too.
pub const SECURITY: &str = "security";
/// The application's own.
pub const APP: &str = "app";

/// Every section that a file may have.
pub const ALL: &[&str] = &[
    SUPERVISOR,
    SERVER,
    FEATURES,
    APP,
    "timeouts",
    "limits",
    "websocket",
    "static",
    "cors",
    RATE_LIMIT,
    METRICS,
    "logging",
    "database",
    "redis",
    "cache",
    "sessions",
    "auth",
    "uploads",
    "monitoring",
    SECURITY,
];
