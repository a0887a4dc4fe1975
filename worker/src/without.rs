//! Stand-ins for the parts of this library that a build leaves out: see the table of features at the head of the crate.
//!
//! Each has the names that the rest of the library uses of its part, so that the rest has no conditions in it.

#[cfg(not(feature = "static-files"))]
pub(crate) mod assets;
#[cfg(not(feature = "logging"))]
pub(crate) mod logging;
#[cfg(not(feature = "metrics"))]
pub(crate) mod metrics;
#[cfg(not(feature = "profile"))]
pub(crate) mod requests;
#[cfg(not(feature = "tls"))]
pub(crate) mod tls;
#[cfg(not(feature = "otel"))]
pub(crate) mod traces;
#[cfg(not(feature = "websocket"))]
pub(crate) mod websocket;

/// In place of a watch of the configuration's file: there is none without the feature `watch`.
#[cfg(not(feature = "watch"))]
#[derive(Debug)]
pub(crate) enum Watch {}
