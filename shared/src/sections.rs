//! Names of the configuration's sections, and whose they are.
//!
//! Each reader rejects unknown keys in its own sections and passes over the others'.

/// Read by the master alone.
pub const SUPERVISOR: &str = "supervisor";
/// Host and port are both parts'; the rest is the worker's.
pub const SERVER: &str = "server";
/// Switches. `hot_restart` is the master's, the rest the worker's.
pub const FEATURES: &str = "features";
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
    "static",
    "cors",
    "rate_limit",
    "logging",
    "database",
    "redis",
    "monitoring",
    "security",
];
