//! Routes with names, descriptions and groups, over axum's router.
//!
//! ```
//! use gin_worker::{Group, Route};
//! # async fn list() {}
//! # async fn me() {}
//! let api = Group::<()>::new("/api/v1")
//!     .route(Route::get("/users", list).describe("List users").tag("users"))
//!     .group(Group::new("/me").route(Route::get("/:id", me)));
//! ```

mod api;
mod catch_all;
mod group;
mod names;
mod path;
mod place;
mod record;
mod redirect;
mod registry;
mod session;
#[cfg(test)]
mod tests;
mod tree;

pub use group::{Group, Route};
pub(crate) use names::short_name;
pub(crate) use path::RoutePath;
pub(crate) use place::Place;
pub(crate) use record::{Record, Routes};
pub(crate) use redirect::Redirects;
pub(crate) use registry::{Built, Registry};
pub(crate) use session::{RouteSession, SessionKind};
