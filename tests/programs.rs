//! The documents' programs (`worker/examples`): each request by request, through restarts under load, and in a browser. Only
//! `tests/run --services` runs these: it builds the programs, each with its own features of gin-worker.
//!
//! - `site` is a program under a supervisor
//! - `browser` has Chromium on the pages of `upload` and `full`
//! - `configuration` checks the file of each program
//! - `kills` ends a worker at each step of an upload
//! - `tus` has the official client of resumable uploads
//! - the other files have the tests of one program each

mod auth;
mod browser;
mod chat;
mod configuration;
mod full;
mod kills;
mod site;
mod tus;
mod upload;
mod users;
