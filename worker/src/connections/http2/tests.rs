//! Connections of real clients over many servers of h2, the engine of hyper: each rest ends one server and begins the next.

mod alone;
mod clients;
mod frames;
mod raw;
mod rig;
