//! Profiles and figures under `/debug/`, as their users ask for them: with curl, `go tool pprof`, a browser and gin-ctl.
//!
//! - `site` has the servers and clients that the other files share
//! - `endpoints`: the documents' commands, time limits, drains, wrong requests
//! - `tokens`: whom a public listener answers
//! - `cpu`, `heap`: a profile names the function that it must name
//! - `alive`: the requests that are under way, and the polls that took long
//! - `ctl`: `gin-ctl profile`, and the paths of the control API
//! - `flames`: a flame graph in Chromium
//!
//! gin-server answers what needs no function of a known name. Such functions are the fixture's, which `tests/run --services` builds.

mod alive;
mod cpu;
mod ctl;
mod endpoints;
mod flames;
mod heap;
mod site;
mod tokens;
