//! Databases, caches and sessions on real servers, which are killed, stopped and started again meanwhile. Only
//! `tests/run --services` runs these: it installs the servers, and builds the fixture.
//!
//! - `store` is a database of each kind, and `site` the fixture under a supervisor
//! - `traffic` has clients that write and read, and know what must be there
//! - `visitors` are clients with sessions
//! - the other files have the tests

mod caches;
mod cookies;
mod example;
mod figures;
mod input;
mod limits;
mod migrations;
mod outages;
mod secrets;
mod sessions;
mod site;
mod starts;
mod store;
mod traffic;
mod visitors;
