//! Metrics are the service's: each place that tells them tells the same, and no count is lost with a worker or a master.
//!
//! - `service` starts a supervisor whose workers count, and knows the places that tell the metrics
//! - `traffic` has clients that count for themselves
//! - `watch` scrapes meanwhile, and notes each counter that is set back
//! - the other files have the tests

mod alarms;
mod crossed;
mod listener;
mod nonsense;
mod places;
mod registered;
mod service;
mod shortage;
mod traffic;
mod truth;
mod watch;
